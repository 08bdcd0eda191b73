# Lengths of functions and files, tests apart. A function longer than a screen has a second subject, and so has
# a file that takes more than a few screens. Used with rust.awk.

BEGIN {
    FUNCTION_MAX = 80     # lines, from `fn` to its closing brace
    FUNCTION_P95 = 40     # lines: 95 of 100 functions have at most this
    FILE_MAX = 500        # lines
    functions = 0
    failed = 0
}

FNR == 1 {
    end_file()
    file = FILENAME
    lines = 0
    split("", open)
    split("", signature)
}

of_test($0) { next }

{ lines++ }

/^ *(pub(\([a-z: ]+\))? )?(default )?(const )?(async )?(unsafe )?(extern "C" )?fn [a-z_]/ {
    depth = indent($0)
    if ($0 ~ /[;}]$/ && $0 !~ /[{]$/) next   # declared only, or on one line
    open[depth] = FNR
    signature[depth] = ($0 !~ /[{]$/)
    name[depth] = $0
    next
}

# The end of a signature, then the end of the body, both at the indentation of `fn`.
indent($0) in open {
    depth = indent($0)
    if (signature[depth] && $0 ~ /[{]$/) signature[depth] = 0
    else if (signature[depth] && $0 ~ /;$/) delete open[depth]
    else if ($0 ~ /^ *}$/) { record(FNR - open[depth] + 1, open[depth], name[depth]); delete open[depth] }
}

END {
    end_file()
    if (functions == 0) fail(".: no function was found: the rule does not see the sources")
    # An exact count: at most one function in twenty may be longer.
    if (long * 20 > functions)
        fail(sprintf(".: %d of %d functions have more than %d lines, more than one in twenty", long, functions, FUNCTION_P95))
    exit failed
}

function record(count, line, text) {
    functions++
    if (count > FUNCTION_P95) long++
    if (count > FUNCTION_MAX) {
        sub(/^ */, "", text)
        fail(sprintf("%s:%d: %d lines, more than %d: %s", file, line, count, FUNCTION_MAX, text))
    }
}

function end_file() {
    if (file != "" && lines > FILE_MAX)
        fail(sprintf("%s: %d lines without tests, more than %d: it has a second subject", file, lines, FILE_MAX))
}

function fail(text) { print text; failed = 1 }
