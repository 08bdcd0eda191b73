# What the other rules know of Rust. rustfmt has put every closing brace below the first word of its item, so
# indentation is all that needs to be understood.

FNR == 1 { state = 0 }

function indent(line) { match(line, /^ */); return RLENGTH }

# Whether a line belongs to what stands behind `#[cfg(test)]`: one line, or everything up to the closing brace
# at the same indentation. To be asked for every line, once.
function of_test(line) {
    if (line ~ /^ *#\[cfg\(test\)\]$/) { state = 1; depth_of_test = indent(line); return 1 }
    if (state == 1 && line ~ /^ *#\[/) return 1
    if (state == 1) { state = (line ~ /(;|\{\})$/) ? 0 : 2; return 1 }
    if (state == 2) { if (line ~ /^ *\};?$/ && indent(line) == depth_of_test) state = 0; return 1 }
    return 0
}
