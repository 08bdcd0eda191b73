//! What is secret of keys.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use pkcs1::{RsaPrivateKeyRef, der::Decode};
use sfkey_tests::support::TestKey;

use super::memory::Memory;

/// Length of an X25519 key in bytes (RFC 7748).
const X25519_BYTES: usize = 32;

/// malloc(3) aligns what it gives out to so many bytes.
const ALIGNMENT: usize = 16;

/// A random key has more different bytes than this; pointers, text and zeros have fewer.
const DIFFERENT_BYTES: usize = 20;

/// The private numbers of an RSA key in both byte orders, and the body of its PEM without the header, which all
/// keys have in common.
pub(crate) fn rsa_parts(key: &TestKey) -> Vec<(&'static str, Vec<u8>)> {
    let numbers = RsaPrivateKeyRef::from_der(key.pkcs1_der()).expect("the test made it");
    let mut parts = Vec::new();
    for (name, reversed, number) in [
        ("d", "d reversed", numbers.private_exponent),
        ("p", "p reversed", numbers.prime1),
        ("q", "q reversed", numbers.prime2),
        ("dp", "dp reversed", numbers.exponent1),
        ("dq", "dq reversed", numbers.exponent2),
        ("qinv", "qinv reversed", numbers.coefficient),
    ] {
        let bytes = number.as_bytes().to_vec();
        parts.push((reversed, bytes.iter().rev().copied().collect()));
        parts.push((name, bytes));
    }
    let body = key
        .pkcs8_pem()
        .lines()
        .filter(|line| !line.starts_with('-'))
        .skip(1);
    parts.extend(
        body.filter(|line| line.len() >= 16)
            .map(|line| ("PEM body", line.as_bytes().to_vec())),
    );
    parts
}

/// The X25519 private key of which only the public half is known, if it lies in the memory: every block that
/// could be one is tried.
pub(crate) fn x25519_private_key(memory: &Memory, public: &[u8]) -> Option<[u8; X25519_BYTES]> {
    let writable = memory
        .parts()
        .filter(|(mapping, _)| mapping.permissions.starts_with("rw"));
    let blocks = writable.flat_map(|(_, bytes)| bytes.windows(X25519_BYTES).step_by(ALIGNMENT));
    let mut candidates = blocks.filter(|block| seems_random(block));
    let found = candidates.find(|block| public_half(block).is_some_and(|half| half == public))?;
    found.try_into().ok()
}

fn seems_random(block: &[u8]) -> bool {
    let mut seen = [false; 256];
    block.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.into_iter().filter(|seen| *seen).count() > DIFFERENT_BYTES
}

fn public_half(private: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKey::from_private_key(&X25519, private).ok()?;
    key.compute_public_key().ok().map(|half| half.as_ref().to_vec())
}
