//! Colour, where there is a person to see it.

use std::{env, fmt::Display, io::IsTerminal};

/// Colours words, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Colour(bool);

impl Colour {
    /// For standard output.
    pub(crate) fn of_output() -> Self {
        Self::of(&std::io::stdout())
    }

    /// For standard error.
    pub(crate) fn of_errors() -> Self {
        Self::of(&std::io::stderr())
    }

    /// No colour, whatever the terminal.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(false)
    }

    fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        Self(wanted(
            stream.is_terminal(),
            set("NO_COLOR").is_some(),
            set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            set("TERM").is_some_and(|value| value != "dumb"),
        ))
    }

    /// Whether words are coloured.
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.with("32", text)
    }

    pub(crate) fn odd(self, text: impl Display) -> String {
        self.with("33", text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with("1;31", text)
    }

    pub(crate) fn heading(self, text: impl Display) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}

/// `NO_COLOR` (no-color.org) beats `CLICOLOR_FORCE` (bixense.com/clicolors), and that the terminal.
fn wanted(terminal: bool, no_color: bool, force: bool, able: bool) -> bool {
    !no_color && (force || (terminal && able))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_the_user_says_otherwise() {
        assert!(wanted(true, false, false, true));
        assert!(!wanted(false, false, false, true));
        assert!(!wanted(true, false, false, false), "a dumb terminal");
        assert!(!wanted(true, true, true, true));
        assert!(wanted(false, false, true, false));
        assert_eq!(Colour(true).bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
        assert_eq!(Colour(false).bad("x"), "x");
    }
}
