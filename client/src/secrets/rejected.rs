//! A refused token, for `sfkey token --rejected -`: from standard input, and from nowhere else.

use std::{
    convert::Infallible,
    io::{self, IsTerminal, Read},
    str::FromStr,
};

use zeroize::Zeroizing;

use crate::exit::{Cause, Failure, words};

/// Longest token taken, in bytes, with its line end: the agent takes none longer from Salesforce.
const MAX_TOKEN_BYTES: usize = 16 * 1024 + 2;

/// The line that is right.
const USAGE: &str = "printf %s \"$TOKEN\" | sfkey token NAME --rejected -";

/// Where the refused token is. What else stood in its place may be the token itself, and is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// `-`.
    StandardInput,
    /// Anything else.
    Argument,
}

impl FromStr for Rejected {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Self::StandardInput,
            _ => Self::Argument,
        })
    }
}

impl Rejected {
    /// The token's bytes.
    pub(crate) fn read(self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if self == Self::Argument {
            return Err(Failure::new(
                Cause::Usage,
                "a token is no argument, for everybody on this machine can read those; it comes on standard input",
                USAGE,
            ));
        }
        let input = io::stdin().lock();
        if input.is_terminal() {
            return Err(Failure::new(
                Cause::Usage,
                "standard input is a terminal, where a token would stay to be seen",
                USAGE,
            ));
        }
        from(input)
    }
}

fn from(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // The buffer never moves, for a move leaves a copy behind.
    let mut token = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_BYTES + 1));
    let limit = MAX_TOKEN_BYTES as u64 + 1;
    input.take(limit).read_to_end(&mut token).map_err(|error| {
        let message = format!("standard input cannot be read: {}", words(&error));
        Failure::new(Cause::Io, message, USAGE)
    })?;
    for end in [b'\n', b'\r'] {
        if token.last() == Some(&end) {
            token.pop();
        }
    }
    let wrong = |what: &str| {
        let message = format!("standard input holds no access token: {what}");
        Err(Failure::new(Cause::Usage, message, USAGE))
    };
    match &token[..] {
        [] => wrong("it is empty"),
        long if long.len() > MAX_TOKEN_BYTES - 2 => wrong("it is longer than 16 KiB"),
        token if !token.iter().all(u8::is_ascii_graphic) => {
            wrong("there is a space, a line end or another character that no token has")
        }
        _ => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_loses_one_line_end_and_nothing_else() {
        for input in ["00D!x", "00D!x\n", "00D!x\r\n"] {
            assert_eq!(from(input.as_bytes()).expect("a token").as_slice(), b"00D!x");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        let long = "x".repeat(MAX_TOKEN_BYTES);
        let endless = "x".repeat(3 * MAX_TOKEN_BYTES);
        for (input, why) in [
            ("", "empty"),
            ("\n", "empty"),
            ("00D!canary\n\n", "character"),
            ("Bearer canary", "character"),
            ("canary\u{e9}", "character"),
            (&long, "longer"),
            (&endless, "longer"),
        ] {
            let failure = from(input.as_bytes()).expect_err("no token");
            assert!(failure.message.contains(why), "{}", failure.message);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
        }
    }

    #[test]
    fn an_argument_in_its_place_is_forgotten() {
        let parsed: Rejected = "00D!canary".parse().expect("anything");
        assert_eq!(parsed, Rejected::Argument);
        let failure = parsed.read().expect_err("no place");
        assert!(!failure.message.contains("canary"), "{}", failure.message);
    }
}
