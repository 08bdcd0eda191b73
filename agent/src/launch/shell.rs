//! What a shell evaluates to learn where the agent is.

use clap::ValueEnum;

/// A family of shells, by how they set a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// sh, dash, bash, zsh, ksh.
    Sh,
    /// csh, tcsh.
    Csh,
    /// fish.
    Fish,
}

impl Shell {
    /// The line that sets and exports `SFKEY_SOCK`, with its line end. `None` for a path that no line of this
    /// shell can name: csh ends a word at a line end, quoted or not.
    #[must_use]
    pub fn line(self, path: &str) -> Option<String> {
        let word = self.word(path)?;
        Some(match self {
            Self::Sh => format!("SFKEY_SOCK={word}; export SFKEY_SOCK;\n"),
            Self::Csh => format!("setenv SFKEY_SOCK {word};\n"),
            Self::Fish => format!("set -gx SFKEY_SOCK {word};\n"),
        })
    }

    fn word(self, text: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            return Some(text.to_owned());
        }
        match self {
            Self::Sh => Some(format!("'{}'", text.replace('\'', r"'\''"))),
            // History takes an exclamation mark even out of quotes.
            Self::Csh if !text.contains('\n') => {
                Some(format!("'{}'", text.replace('\'', r"'\''").replace('!', r"\!")))
            }
            Self::Csh => None,
            Self::Fish => Some(format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_written_as_it_is() {
        let line = |shell: Shell| shell.line("/run/user/1000/sfkey/agent.sock").expect("a line");
        assert_eq!(
            line(Shell::Sh),
            "SFKEY_SOCK=/run/user/1000/sfkey/agent.sock; export SFKEY_SOCK;\n"
        );
        assert_eq!(
            line(Shell::Csh),
            "setenv SFKEY_SOCK /run/user/1000/sfkey/agent.sock;\n"
        );
        assert_eq!(
            line(Shell::Fish),
            "set -gx SFKEY_SOCK /run/user/1000/sfkey/agent.sock;\n"
        );
    }

    #[test]
    fn what_a_shell_would_change_is_quoted_in_its_own_way() {
        let line = |shell: Shell| shell.line(r"/a b/it's\!").expect("a line");
        assert_eq!(
            line(Shell::Sh),
            "SFKEY_SOCK='/a b/it'\\''s\\!'; export SFKEY_SOCK;\n"
        );
        assert_eq!(line(Shell::Csh), "setenv SFKEY_SOCK '/a b/it'\\''s\\\\!';\n");
        assert_eq!(line(Shell::Fish), "set -gx SFKEY_SOCK '/a b/it\\'s\\\\!';\n");
        assert_eq!(Shell::Csh.line("/a\nb"), None);
    }
}
