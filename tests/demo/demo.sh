#!/bin/sh
# `make demo`: from a key made by openssl to a query answered by an org, in ten seconds and without Salesforce.
#
# Everything happens in a private folder that is removed at the end, however it ends. No token is ever printed.
set -eu
cd "$(dirname "$0")/../.."

binaries=${CARGO_TARGET_DIR:-target}/debug
case $binaries in /*) ;; *) binaries=$PWD/$binaries ;; esac

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
else
    bold='' dim='' plain=''
fi
step=0

# A headline with what the step is for.
step() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"; }

# A command as one would type it, a line an argument.
typed() {
    mark='$'
    for line in "$@"; do
        printf '   %s%s %s%s\n' "$dim" "$mark" "$line" "$plain"
        mark=' '
    done
}

# What came of it.
say() { printf '   %s\n' "$*"; }

# Runs a command and shows its output; the demo ends with a command that fails.
show() {
    output=$("$@")
    printf '%s\n' "$output" | sed 's/^/   /'
}

fail() { printf 'error: %s\ntry: %s\n' "$1" "$2" >&2; exit 1; }

# The value of a member of a flat JSON object: text or number.
member() { printf '%s\n' "$2" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

printf '%ssfkey, from a key to a query, offline%s\n' "$bold" "$plain"
if [ -x "$binaries/sfkey" ] && [ -x "$binaries/sfkey-agent" ] && [ -x "$binaries/salesforce-sim" ]; then
    say 'Bringing sfkey, sfkey-agent and salesforce-sim up to date with cargo build.'
    cargo build --quiet --workspace --bins
else
    say 'Building sfkey, sfkey-agent and salesforce-sim; the first time takes minutes.'
    cargo build --workspace --bins
fi
curl=$(command -v curl) || {
    say 'curl is not here; a small program takes its place.'
    cargo build --quiet --package sfkey-tests --example query
}

work=$(mktemp -d "${TMPDIR:-/tmp}/sfkey-demo.XXXXXX")
simulator='' agent='' reader=''

end() {
    status=$?
    trap - EXIT HUP INT PIPE TERM
    # The ones that are gone already are no error.
    for pid in $agent $simulator; do kill "$pid" 2>/dev/null || true; done
    for pid in $agent $simulator; do wait "$pid" 2>/dev/null || true; done
    if [ -n "$reader" ]; then kill "$reader" 2>/dev/null || true; fi
    if [ "$status" -gt 0 ] && [ "$status" -lt 128 ] && [ -s "$work/agent.log" ]; then
        printf '\nThe log of the agent:\n' >&2
        cat "$work/agent.log" >&2
    fi
    rm -rf "$work"
    exit "$status"
}
trap end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# Nothing of the user's own: neither configuration nor agent nor proxy.
unset SFKEY_SOCK SFKEY_ACCOUNT SFKEY_LOG SSL_CERT_DIR XDG_CONFIG_HOME XDG_STATE_HOME
unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy
mkdir -m 700 "$work/home" "$work/run"
export HOME="$work/home" XDG_RUNTIME_DIR="$work/run" PATH="$binaries:$PATH"
umask 077
cd "$work"

step 'A key and its certificate, made as the Salesforce guide says'
if command -v openssl >/dev/null; then
    # No character of base64 needs quoting.
    openssl rand -base64 24 >passphrase
    typed 'openssl genrsa -aes256 -passout file:passphrase -out server.key 2048'
    openssl genrsa -aes256 -passout file:passphrase -out server.key 2048 2>openssl.log ||
        fail "openssl made no key: $(tail -n 1 openssl.log)" 'openssl version'
    typed 'openssl req -new -x509 -sha256 -days 1 -key server.key -subj /CN=sfkey-demo -out server.crt'
    openssl req -new -x509 -sha256 -days 1 -key server.key -passin file:passphrase -subj /CN=sfkey-demo \
        -out server.crt 2>openssl.log || fail "openssl made no certificate: $(tail -n 1 openssl.log)" 'openssl version'
    grep -q ENCRYPTED server.key || fail 'openssl left the key unencrypted' 'openssl version'
    say 'The key on disk is encrypted, and stays so.'
    app='--certificate server.crt'
    key='--key server.key --passphrase-file passphrase'
else
    say 'openssl is not here, so the simulated org makes the key pair. That key is not encrypted.'
    app='--key-out server.key'
    key='--key server.key'
fi

step 'A Salesforce org, simulated, with an app that has the certificate and a user who is approved'
typed "salesforce-sim $app --username ci@acme.example"
mkfifo simulator.ready agent.ready agent.messages
# shellcheck disable=SC2086 # two words
salesforce-sim $app --username ci@acme.example --ca-out ca.pem --json </dev/null >simulator.ready &
simulator=$!
# The simulator prints one line once it listens. If it fails, the pipe ends without one.
IFS= read -r ready <simulator.ready || fail 'the simulator did not start' 'salesforce-sim'
url=$(member url "$ready")
consumer_key=$(member consumer_key "$ready")
say "My Domain      $url"
say "consumer key   $(printf '%.20s' "$consumer_key")…"

step 'The agent'
typed 'sfkey-agent &'

# Keeps the agent's log, and passes on that it is ready, or that it ended before it was.
read_log() {
    told=''
    while IFS= read -r line; do
        printf '%s\n' "$line" >>agent.log
        case $line in
        *': ready '*) if [ -z "$told" ]; then told=ready && echo ready >agent.ready; fi ;;
        esac
    done
    if [ -z "$told" ]; then echo ended >agent.ready; fi
}
read_log <agent.messages &
reader=$!
SSL_CERT_FILE=$work/ca.pem sfkey-agent --log-level info </dev/null 2>agent.messages &
agent=$!
IFS= read -r word <agent.ready
[ "$word" = ready ] || fail 'the agent did not start' 'read its log below'
status=$(sfkey status --json)
say "It answers on a socket that only this user may use. Memory protection: $(member memory_protection "$status")."

step 'The key goes to the agent, sealed; from now on no tool needs the file'
typed "sfkey add demo --login-url $url \\" \
    "    --consumer-key $(printf '%.8s' "$consumer_key")… --username ci@acme.example \\" "    $key"
# shellcheck disable=SC2086 # several words
show sfkey add demo --login-url "$url" --consumer-key "$consumer_key" --username ci@acme.example $key

step 'A token'
typed 'sfkey token demo'
token=$(sfkey token demo)
say "$(printf '%.3s' "$token")…!… (${#token} characters, not shown here): the org granted it."
typed 'sfkey token demo'
[ "$(sfkey token demo)" = "$token" ] || fail 'the second token is another one' 'make test'
token=''
status=$(sfkey status --json)
say "The same one again, from memory: $(member token_requests "$status") requests," \
    "$(member cache_hits "$status") of them answered from memory, $(member exchanges "$status") exchange with the org."
[ "$(member exchanges "$status")" = 1 ] || fail 'the second token cost an exchange' 'make test'

step 'A query, with the token in no argument list'
query='SELECT Id, Name FROM Account LIMIT 3'
if [ -n "$curl" ]; then
    question="$url/services/data/v64.0/query?q=$(printf '%s' "$query" | tr ' ' '+')"
    typed "sfkey token demo -o header | curl -H @- \\" "    \"$question\""
    answer=$(sfkey token demo -o header |
        curl --silent --show-error --fail --noproxy '*' --cacert ca.pem -H @- "$question")
else
    typed "sfkey exec demo -- query \"$query\""
    answer=$(SSL_CERT_FILE=$work/ca.pem sfkey exec demo -- "$binaries/examples/query" "$query")
fi
printf '%s\n' "$answer" | tr '{' '\n' |
    sed -n 's/.*"Id":"\([^"]*\)","Name":"\([^"]*\)".*/\1  \2/p' >rows
[ -s rows ] || fail 'the query found nothing' 'make test'
show cat rows

step 'Any program can be run with a token'
typed "sfkey exec demo -- sh -c 'echo \"\$SF_ORG_INSTANCE_URL, a token of \${#SF_ACCESS_TOKEN} characters\"'"
# shellcheck disable=SC2016 # for the inner shell
show sfkey exec demo -- sh -c 'echo "$SF_ORG_INSTANCE_URL, a token of ${#SF_ACCESS_TOKEN} characters"'

step 'What is loaded, and how the agent fares'
typed 'sfkey list'
show sfkey list
typed 'sfkey status'
show sfkey status

step 'The end: the agent forgets everything'
typed 'sfkey stop'
show sfkey stop
wait "$agent" || fail 'the agent did not end well' 'read its log below'
agent=''

printf '\n%sThat was a simulated org. README.md tells how to link a real one.%s\n' "$bold" "$plain"
