//! The wrapped master secret of a locked agent, as whoever has an image of its memory would look for it.

use std::collections::BTreeSet;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::memory::Memory;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;

/// Memory of the derivation in KiB, as the documentation of the lock tells it.
const MEMORY_KIB: u32 = 19 * 1024;

/// The salt, the nonce and the number of passes lie so close to the ciphertext's `Vec`, in bytes.
const NEAR: usize = 64;

/// The key that `passphrase` opens the wrapped secret with, if what else it takes lies in this memory: a salt, a
/// nonce, a number of passes, and a ciphertext of `master`.
pub(crate) fn wrapping_key(memory: &Memory, passphrase: &[u8], master: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let mut tried = BTreeSet::new();
    for (near, ciphertext) in vectors(memory) {
        let numbers: BTreeSet<u32> = near
            .chunks_exact(4)
            .map(|bytes| u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
            .filter(|passes| (2..=64).contains(passes))
            .collect();
        let salts = near
            .windows(SALT_BYTES)
            .step_by(4)
            .filter(|salt| seems_random(salt));
        for (salt, passes) in salts.flat_map(|salt| numbers.iter().map(move |passes| (salt, *passes))) {
            if !tried.insert((salt.to_vec(), passes)) {
                continue;
            }
            let key = stretch(passphrase, salt, passes);
            let nonces = near.windows(NONCE_LEN).step_by(4);
            if nonces
                .into_iter()
                .any(|nonce| opens(&key, nonce, ciphertext, master))
            {
                return Some(key);
            }
        }
    }
    None
}

/// Every `Vec` of the ciphertext's length and capacity: what lies around it, and what it points to.
fn vectors(memory: &Memory) -> Vec<(&[u8], &[u8])> {
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let wanted = WRAPPED_BYTES as u64;
    let mut found = Vec::new();
    for (_, bytes) in memory
        .parts()
        .filter(|(mapping, _)| mapping.permissions.starts_with("rw"))
    {
        for at in (0..bytes.len().saturating_sub(24)).step_by(8) {
            let words = [0, 8, 16].map(|offset| word(&bytes[at + offset..at + offset + 8]));
            if words.iter().filter(|word| **word == wanted).count() != 2 {
                continue;
            }
            let pointer = words.into_iter().find(|word| *word != wanted);
            let pointed = pointer.and_then(|address| memory.at(address, WRAPPED_BYTES));
            let near = &bytes[at.saturating_sub(NEAR)..bytes.len().min(at + 24 + NEAR)];
            found.extend(pointed.map(|ciphertext| (near, ciphertext)));
        }
    }
    found
}

/// A salt has fewer zeros than this; pointers and lengths have more.
fn seems_random(salt: &[u8]) -> bool {
    salt.iter().filter(|byte| **byte == 0).count() < 4
}

fn stretch(passphrase: &[u8], salt: &[u8], passes: u32) -> [u8; KEY_BYTES] {
    let params = Params::new(MEMORY_KIB, passes, 1, Some(KEY_BYTES)).expect("in range");
    let mut key = [0; KEY_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut key)
        .expect("lengths are in range");
    key
}

fn opens(key: &[u8], nonce: &[u8], ciphertext: &[u8], master: &[u8]) -> bool {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes"));
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("twelve bytes");
    let mut buffer = ciphertext.to_vec();
    let opened = key.open_in_place(nonce, Aad::empty(), &mut buffer);
    opened.is_ok_and(|opened| opened == master)
}
