//! Quoting for shells.

/// `text` as one word of a command to be copied: as it is when no shell would change it, else quoted.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+-@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        shell(text)
    }
}

/// `text` as one word of a POSIX shell. Single quotes keep everything literal, `!` of opaque tokens
/// included; a single quote itself is written outside of them.
pub(crate) fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in [
            "00D!AQ.x_y",
            "a'b",
            "''",
            "line\nend",
            "",
            r#"$HOME `id` "x" \ *"#,
            "-n",
            "é",
        ] {
            let script = format!("printf %s {}", shell(text));
            let output = Command::new("sh")
                .arg("-c")
                .arg(script)
                .output()
                .expect("sh runs");
            assert_eq!(output.stdout, text.as_bytes(), "{text:?}");
        }
        assert_eq!(shell("a'b!"), r"'a'\''b!'");
    }

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_change_it() {
        assert_eq!(word("/home/me/server.key"), "/home/me/server.key");
        assert_eq!(word("my key"), "'my key'");
        assert_eq!(word(""), "''");
    }
}
