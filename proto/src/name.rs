//! What an account may be called.

use std::{borrow::Borrow, fmt, str::FromStr};

/// Longest account name, in bytes.
pub const MAX_NAME_BYTES: usize = 80;

/// A checked account name: `[A-Za-z0-9][A-Za-z0-9._@+-]{0,79}`.
///
/// The alphabet leaves out whatever a shell, a path, a terminal or a log could take for something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

/// The name does not fit the alphabet or the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account name starts with a letter or digit and has at most 80 characters out of letters, digits, . _ @ + -"
)]
pub struct InvalidName;

impl AccountName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let follows = |c: u8| c.is_ascii_alphanumeric() || b"._@+-".contains(&c);
        let bytes = text.as_bytes();
        let starts = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if starts && bytes.len() <= MAX_NAME_BYTES && bytes.iter().copied().all(follows) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AccountName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_are_accepted() {
        for name in ["prod", "a", "0", "ci@acme.com", "dev-1_x.y+z", &"a".repeat(80)] {
            assert_eq!(name.parse::<AccountName>().expect("a good name").as_str(), name);
        }
    }

    #[test]
    fn names_that_a_shell_or_terminal_could_mistake_are_refused() {
        for name in [
            "",
            "-x",
            ".x",
            "a b",
            "a/b",
            "a\n",
            "a\r",
            "a\u{1b}[0m",
            "é",
            "a;b",
            "a$b",
            &"a".repeat(81),
        ] {
            assert_eq!(name.parse::<AccountName>(), Err(InvalidName), "{name:?}");
        }
    }
}
