#!/usr/bin/env bash
# Fuzzes every target for SECONDS each (5 when not said), one after another, or only the TARGETs that are named:
#
#   tests/fuzz/run.sh [SECONDS [TARGET…]]
#
# Starts from the seeds in tests/fuzz/corpus and from what earlier runs found; every one of them is tried, however
# few the seconds. New finds and inputs that break a target land below the target directory; the tree stays clean.
# cargo-fuzz, and a C++ compiler for libFuzzer, are installed when they are missing.
#
# No sanitizer: the parsers are safe Rust, and everything else about the build is then stable.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/install.bash

# The first version that builds without a sanitizer on a stable compiler as it is asked to here.
cargo_fuzz_version=0.13.0

seconds=${1:-5}
shift || true
place=$(realpath -m "$target")/fuzz
# cfg(fuzzing) would weaken what dependencies check; more codegen units halve the time to build.
flags=(--fuzz-dir tests/fuzz --target-dir "$place" --sanitizer none --no-cfg-fuzzing --codegen-units 16)

mapfile -t packages < <(missing_packages c++:g++)
install_packages "${packages[@]}"
cargo_tool cargo-fuzz "$cargo_fuzz_version"
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
echo "cargo fuzz build: ${targets[*]}"
cargo fuzz build "${flags[@]}" >"$place.log" 2>&1 || {
    tail -n 40 "$place.log" >&2
    exit 1
}

# The target of the configuration writes a file for every input, best into memory.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/sfkey-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# The broken property is in the panic's message; a backtrace only pushes it off the screen.
export RUST_BACKTRACE=0

host=$(rustc -vV | sed -n 's/^host: //p')
failed=()
for name in "${targets[@]}"; do
    seeds=tests/fuzz/corpus/$name
    finds=$place/corpus/$name
    breaks=$place/artifacts/$name
    mkdir -p "$finds" "$breaks"
    dictionary=()
    [ ! -f "tests/fuzz/dictionaries/$name" ] || dictionary=("-dict=tests/fuzz/dictionaries/$name")
    printf '\n== fuzz %s, %d s\n' "$name" "$seconds"
    # The last lines: what broke, or how much was tried. An input may take 10 s and 1 GB.
    if "$place/$host/release/$name" "$finds" "$seeds" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 -artifact_prefix="$breaks/" "${dictionary[@]}" \
        >"$place/$name.log" 2>&1; then
        grep -E '^(Done|stat::(number_of_executed_units|average_exec_per_sec|slowest_unit|peak_rss))' "$place/$name.log"
    else
        failed+=("$name")
        grep -v -E '^(INFO|#[0-9])' "$place/$name.log" | tail -n 40
    fi
done

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nerror: %s\n' "fuzzing broke ${failed[*]}; the inputs are in $place/artifacts" >&2
    echo "try: cargo fuzz run ${flags[*]} ${failed[0]} $place/artifacts/${failed[0]}/FILE" >&2
    exit 1
fi
