//! Foreign text made fit to be shown.
//!
//! Input: a secret, a line end, the text. Markers in the text stand for credentials.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfkey_agent::salesforce::raw;
use sfkey_fuzz::{planted, text};

/// As the design has it.
const MAX_BYTES: usize = 1024;

/// A secret of fewer bytes may occur in a text by chance.
const SECRET_BYTES: usize = 16;

fuzz_target!(|input: &str| {
    let (secret, foreign) = input.split_once('\n').unwrap_or(("", input));
    let Some(foreign) = planted::plant(foreign) else {
        return;
    };
    // A secret is no part of another one: what is left of that would be too short to be known for one.
    if [planted::ASSERTION, planted::TOKEN]
        .iter()
        .any(|other| other.contains(secret))
        && !secret.is_empty()
    {
        return;
    }
    let shown = raw::shown(&foreign, &[planted::ASSERTION, secret]);
    text::assert_shown(&shown, MAX_BYTES);
    planted::assert_nothing_left(&shown);
    // Brackets, braces and backslashes are written by the masking itself.
    let telling = |c: char| c.is_ascii_graphic() && !r"[]{}\".contains(c);
    if secret.len() >= SECRET_BYTES && secret.chars().all(telling) {
        assert!(!shown.contains(secret), "{secret:?} is left in {shown:?}");
    } else if is_harmless(&foreign) && !foreign.contains(secret) {
        assert_eq!(shown, foreign, "what needs no masking is left alone");
    }
});

/// Short words of letters and blanks between them are shown as they came.
fn is_harmless(text: &str) -> bool {
    text.len() <= MAX_BYTES
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_alphabetic())
        && text.split(' ').all(|word| word.len() < SECRET_BYTES)
}
