#!/usr/bin/env bash
# Fuzzes every target for SECONDS each (20 when not said), one after another, or only the TARGETs that are named:
#
#   tests/fuzz/run.sh [SECONDS [TARGET…]]
#
# Starts from the seeds in tests/fuzz/corpus and from what earlier runs found. New finds and inputs that break a
# target land below the target directory; the tree stays clean. cargo-fuzz is installed when it is missing.
#
# No sanitizer: the parsers are safe Rust, and everything else about the build is then stable. C++ (for libFuzzer)
# is needed.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-20}
shift || true
place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
# cfg(fuzzing) would weaken what dependencies check; more codegen units halve the time to build.
flags=(--fuzz-dir tests/fuzz --target-dir "$place" --sanitizer none --no-cfg-fuzzing --codegen-units 16)

if ! command -v cargo-fuzz >/dev/null; then
    echo "cargo install --locked cargo-fuzz"
    cargo install --quiet --locked --target-dir "$place/tool" cargo-fuzz
fi
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
cargo fuzz build "${flags[@]}"

# The target of the configuration writes a file for every input, best into memory.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/sfkey-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# The broken property is in the panic's message; a backtrace only pushes it off the screen.
export RUST_BACKTRACE=0

failed=()
for target in "${targets[@]}"; do
    seeds=tests/fuzz/corpus/$target
    finds=$place/corpus/$target
    breaks=$place/artifacts/$target
    mkdir -p "$finds" "$breaks"
    dictionary=()
    [ ! -f "tests/fuzz/dictionaries/$target" ] || dictionary=("-dict=tests/fuzz/dictionaries/$target")
    printf '\n== fuzz %s, %d s\n' "$target" "$seconds"
    # The last lines: what broke, or how much was tried. An input may take 10 s and 1 GB.
    if cargo fuzz run "${flags[@]}" "$target" "$finds" "$seeds" -- -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 -artifact_prefix="$breaks/" "${dictionary[@]}" \
        >"$place/$target.log" 2>&1; then
        grep -E '^(Done|stat::(number_of_executed_units|average_exec_per_sec|slowest_unit|peak_rss))' "$place/$target.log"
    else
        failed+=("$target")
        grep -v -E '^(INFO|#[0-9])' "$place/$target.log" | tail -n 40
    fi
done

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nerror: %s\n' "fuzzing broke ${failed[*]}; the inputs are in $place/artifacts" >&2
    echo "try: cargo fuzz run ${flags[*]} ${failed[0]} $place/artifacts/${failed[0]}/FILE" >&2
    exit 1
fi
