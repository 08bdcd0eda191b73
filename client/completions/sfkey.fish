# Completion of sfkey in fish. Every answer comes from sfkey itself, so this file never gets old.

function __sfkey_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    if test "$words[2]" = exec; and set -l dashes (contains --index -- -- $words)
        complete --do-complete (string join ' ' -- (string escape -- $words[(math $dashes + 1)..] $current))
        return
    end
    command $words[1] complete-words -- $words $current 2>/dev/null
end

complete --command sfkey --no-files --keep-order --arguments '(__sfkey_complete)'
