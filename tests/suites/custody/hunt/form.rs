//! Secrets in the forms that they take while they are used.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Length of the words that ChaCha20 works on, in bytes (RFC 8439, section 2.3).
const WORD_BYTES: usize = 4;

/// How many blocks the narrowest vector code computes at once; wider code has longer runs of the same.
const LANES: usize = 4;

/// What vector code makes of a ChaCha20 key. The cipher has no key schedule of its own: its state holds the key's
/// bytes as they are. But code that computes several blocks at once spreads each word of the key over a whole
/// vector, and keeps those vectors on the stack.
pub(crate) fn chacha_schedule(key: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let words = key.chunks_exact(WORD_BYTES);
    words
        .map(|word| ("ChaCha20 key, spread over a vector", word.repeat(LANES)))
        .collect()
}

/// What HTTP Basic authentication (RFC 7617) makes of the secret: the base64 of `KEY:SECRET`, without the beginning,
/// which tells the consumer key and nothing else.
pub(crate) fn basic_credentials(consumer_key: &str, secret: &str) -> String {
    let public = consumer_key.len() + 1;
    let credentials = STANDARD.encode(format!("{consumer_key}:{secret}"));
    credentials[public.div_ceil(3) * 4..].to_owned()
}

#[test]
fn a_spread_key_is_found_by_any_of_its_words() {
    let key: Vec<u8> = (0..32).map(|byte: u8| byte.wrapping_mul(197) ^ 0x35).collect();
    let quarry = super::Quarry::default().and_all(chacha_schedule(&key));
    for word in key.chunks_exact(WORD_BYTES) {
        let vector = word.repeat(2 * LANES);
        assert!(!quarry.hits_in_bytes("a test", &vector).is_empty(), "{word:?}");
    }
    assert_eq!(quarry.hits_in_bytes("a test", &key), []);
}

#[test]
fn basic_credentials_are_searched_for_from_the_secret_on() {
    for consumer_key in ["k", "kk", "kkk", "kkkk"] {
        let header = STANDARD.encode(format!("{consumer_key}:one secret"));
        let part = basic_credentials(consumer_key, "one secret");
        assert!(header.ends_with(&part) && part.len() >= 12, "{part}");
        assert!(!STANDARD.encode(format!("{consumer_key}:another")).contains(&part));
    }
}
