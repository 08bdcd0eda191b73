# What the checks and tests need and the machine lacks is installed here: Debian packages where that is
# allowed, everything else below the target directory. Sourced, never run.

# Everything that is not the project's own lands below this directory; `make clean` takes it away.
target=${CARGO_TARGET_DIR:-target}
tools=$target/tools

# Whether skipping is out of the question: in CI whatever can be installed must be there.
in_ci() { [ "${CI:-}" = true ]; }

# The Debian packages among "command:package" pairs whose command is not there.
missing_packages() {
    local pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || printf '%s\n' "${pair#*:}"
    done
}

# Installs Debian packages; false, with a word why, where that is not possible.
install_packages() {
    [ $# -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "not installed, this is no Debian: $*" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "not installed, that takes root: apt-get install $*" >&2
        return 1
    fi
    echo "apt-get install $*"
    local log=$tools/apt.log
    mkdir -p "$tools"
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        return 1
    fi
}

# A Python that can make virtual environments; Debian splits that ability off.
have_venv() { command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null; }

# Runs a command while nobody else installs NAME: of two `make test` in one tree the second waits, and then finds
# everything there.
alone_with() {
    local lock=$tools/$1.lock
    shift
    mkdir -p "$tools"
    (
        if command -v flock >/dev/null; then flock 9; fi
        "$@"
    ) 9>"$lock"
}

# Makes the virtual environment NAME as the requirements file says, unless it is there just so.
python_environment() { alone_with "$1" install_wheels "$@"; }

install_wheels() {
    local directory=$tools/$1 requirements=$2 stamp=$tools/$1/requirements.txt
    [ -x "$directory/bin/python" ] && cmp -s "$requirements" "$stamp" && return 0
    have_venv || install_packages python3 python3-venv || return 1
    have_venv || return 1
    echo "pip install --requirement $requirements (into $directory)"
    rm -rf "$directory"
    python3 -m venv "$directory" &&
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" \
            </dev/null && cp "$requirements" "$stamp"
}

# Installs what FOLDER/package-lock.json names as NAME below the target directory, unless it is there just so.
node_modules() { alone_with "$1" install_node_modules "$@"; }

install_node_modules() {
    local directory=$tools/$1 folder=$2 lock=$2/package-lock.json
    [ -d "$directory/node_modules" ] && cmp -s "$lock" "$directory/installed.json" && return 0
    local packages
    packages=$(missing_packages node:nodejs npm:npm)
    # shellcheck disable=SC2086 # one word a package
    install_packages $packages || return 1
    echo "npm ci (into $directory)"
    mkdir -p "$directory"
    cp "$folder/package.json" "$lock" "$directory/"
    # No package may run a program of its own while it is installed.
    npm ci --prefix "$directory" --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null &&
        cp "$lock" "$directory/installed.json"
}

# Installs a cargo subcommand unless one of at least this version is there.
cargo_tool() {
    local name=$1 wanted=$2 found
    found=$(cargo "${name#cargo-}" --version 2>/dev/null | awk '{ print $NF }') || found=
    if [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]; then
        return
    fi
    echo "cargo install $name (${found:-none} is there, $wanted or newer is needed)"
    # Built to be used for seconds: time to compile counts, speed does not.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        RUSTFLAGS='' cargo install --quiet --locked "$name" </dev/null
}
