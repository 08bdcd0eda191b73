# Completion of sfkey in bash. Every answer comes from sfkey itself, so this file never gets old.

_sfkey() {
    local line=${COMP_LINE:0:COMP_POINT} word cur prefix candidate
    local -a words=()
    COMPREPLY=()

    # bash splits words at the characters of COMP_WORDBREAKS, among them @, = and :, which names and URLs hold.
    # What no space separates belongs together.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -eq 0 || $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("")
        fi
        if [[ $line != "$word"* ]]; then word=$line; fi
        words[${#words[@]}-1]+=$word
        line=${line#"$word"}
    done
    cur=${words[${#words[@]}-1]}

    local index
    if [[ ${words[1]-} == exec ]]; then
        for ((index = 2; index < ${#words[@]} - 1; index++)); do
            [[ ${words[index]} == -- ]] || continue
            if ((index == ${#words[@]} - 2)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                compopt -o filenames
            fi
            return
        done
    fi

    # What bash counts as an earlier word must not be in the answer.
    prefix=${cur%"${cur##*[=:@]}"}
    while IFS=$'\t' read -r candidate _; do
        COMPREPLY+=("${candidate#"$prefix"}")
    done < <("${words[0]}" complete-words -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi
}

complete -o nosort -F _sfkey sfkey 2>/dev/null || complete -F _sfkey sfkey
