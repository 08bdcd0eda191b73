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

/// `text` as one word of csh and tcsh, which look for history in single quotes too.
pub(crate) fn csh(text: &str) -> String {
    let text = text.replace('\'', r"'\''").replace('!', r"\!");
    format!("'{}'", text.replace('\n', "\\\n"))
}

/// `text` as one word of fish. Its single quotes know two escapes.
pub(crate) fn fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// `text` as a verbatim string of PowerShell (about_Quoting_Rules). It takes the typographic single quotes
/// for the ASCII one; each is doubled.
pub(crate) fn powershell(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('\'');
    for c in text.chars() {
        quoted.push(c);
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// `text` as a parameter in a configuration file of curl (curl(1), `--config`).
pub(crate) fn curl(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!(
        "\"{}\"",
        text.replace('\n', r"\n")
            .replace('\r', r"\r")
            .replace('\t', r"\t")
    )
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
    fn each_shell_has_rules_of_its_own() {
        assert_eq!(csh("00D!A'b"), r"'00D\!A'\''b'");
        assert_eq!(fish(r"a'b\c!"), r"'a\'b\\c!'");
        // about_Quoting_Rules: "To include a single quotation mark in a single-quoted string, use a second
        // consecutive single quote"; the tokenizer counts U+2018 to U+201B among them. Nothing else is special.
        assert_eq!(
            powershell("00D!A'b`$x\"\u{2019}"),
            "'00D!A''b`$x\"\u{2019}\u{2019}'"
        );
        assert_eq!(curl("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_change_it() {
        assert_eq!(word("/home/me/server.key"), "/home/me/server.key");
        assert_eq!(word("my key"), "'my key'");
        assert_eq!(word(""), "''");
    }
}
