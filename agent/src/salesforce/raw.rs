//! Foreign text made fit to be shown: bounded, escaped, and without anything secret.

use sfkey_proto::refusal::{MAX_RAW_BYTES, clip};

/// Stands where the assertion, a secret or a token was.
const REMOVED: &str = "[removed]";

/// A word this long made only of token characters is taken for a credential.
const CREDENTIAL_LENGTH: usize = 40;

/// Text of an answer as it may be shown: at most 1 KiB, control characters escaped, the `secrets` and
/// whatever looks like a token replaced by `[removed]`.
#[must_use]
pub fn shown(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REMOVED);
    }
    clip(escape_controls(&remove_credentials(&text)), MAX_RAW_BYTES)
}

/// Access tokens (`00D…!…`) and JWTs, whole or cut off: long words with a `!` or at least one dot.
fn remove_credentials(text: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || "._!-+/=%".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(part_of_word) {
        let end = rest[start..]
            .find(|c| !part_of_word(c))
            .map_or(rest.len(), |length| start + length);
        shown.push_str(&rest[..start]);
        let word = &rest[start..end];
        shown.push_str(if is_credential(word) { REMOVED } else { word });
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

/// An address is taken apart at its slashes, for its parts are no longer than a host's name; a dotted line is no
/// part of a credential. Whatever is left and long, or has the form of an access token, is one.
fn is_credential(word: &str) -> bool {
    let is_address = word.starts_with("//");
    let opaque = |part: &str| part.contains("00D") && (part.contains('!') || part.contains("%21"));
    word.split("..")
        .flat_map(|part| part.split(|c| is_address && c == '/'))
        .any(|part| opaque(part) || part.len() >= CREDENTIAL_LENGTH)
}

/// C0, DEL, C1 and the bidirectional controls, none of which belongs into a terminal or a log.
fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_that_salesforce_sends_are_shown_as_they_are() {
        for text in [
            "user hasn't approved this consumer",
            "refresh_token scope is required and the connected app should be installed and preauthorized",
            "<html><body>We are down for maintenance. See https://status.salesforce.com/instances/</body></html>",
        ] {
            assert_eq!(shown(text, &[]), text);
        }
    }

    #[test]
    fn an_echoed_assertion_secret_or_token_is_removed_even_when_cut_off() {
        let assertion = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", "a".repeat(60), "b".repeat(340));
        assert_eq!(
            shown(&format!("bad assertion={assertion}&x"), &[&assertion]),
            "bad assertion=[removed]&x"
        );
        let cut = &assertion[..120];
        assert!(!shown(&format!("bad {cut}"), &[&assertion]).contains(cut));
        assert_eq!(shown("token \"00Dxx!AQ8\" bad", &[]), "token \"[removed]\" bad");
        assert_eq!(shown("secret s3cr3t.", &["s3cr3t"]), "secret [removed].");
    }

    #[test]
    fn control_and_reordering_characters_are_escaped() {
        assert_eq!(
            shown("a\r\nb\u{1b}[31m\u{7f}\u{9b}\u{202e}c", &[]),
            "a\\r\\nb\\u{1b}[31m\\u{7f}\\u{9b}\\u{202e}c"
        );
    }

    #[test]
    fn no_text_is_longer_than_one_kibibyte() {
        assert!(shown(&"é ".repeat(5000), &[]).len() <= MAX_RAW_BYTES);
        assert!(shown(&"\u{7} ".repeat(5000), &[]).len() <= MAX_RAW_BYTES);
    }
}
