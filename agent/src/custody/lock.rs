//! The cryptographic lock: the master secret leaves memory and stays behind only as a ciphertext under a key
//! that nobody has but in his head.
//!
//! Argon2id (RFC 9106) makes that key from the passphrase. A memory image of a locked agent holds sealed
//! secrets, the wrapped master secret, and nothing that opens either.

use std::{sync::OnceLock, time::Duration};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use sfkey_proto::v1::MemoryProtection;
use zeroize::Zeroizing;

use super::page::SECRET_BYTES;
use crate::clock::Clock;

/// Memory of one derivation in KiB: 19 MiB, OWASP's recommendation for one lane.
const MEMORY_KIB: u32 = 19 * 1024;

/// Fewest passes over that memory, from the same recommendation.
const MIN_PASSES: u32 = 2;

/// Most passes: a clock that stands still must not make the agent work for minutes.
const MAX_PASSES: u32 = 64;

/// What one derivation may cost the owner; whoever guesses pays it for every guess.
const TARGET: Duration = Duration::from_millis(100);

/// Length of the salt, in bytes (RFC 9106, section 3.1).
const SALT_BYTES: usize = 16;

/// Longest passphrase, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// The master secret of a locked agent.
pub(super) struct WrappedSecret {
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_LEN],
    ciphertext: Vec<u8>,
    passes: u32,
    protection: MemoryProtection,
}

/// The passphrase does not open the wrapped secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DoesNotUnwrap;

/// A passphrase with the cost to stretch it, before the secret is touched.
pub(super) struct Wrapping {
    key: Zeroizing<[u8; SECRET_BYTES]>,
    salt: [u8; SALT_BYTES],
    passes: u32,
}

impl Wrapping {
    /// Stretches the passphrase. Takes about [`TARGET`], the first time twice as long.
    pub(super) fn derive(passphrase: &[u8], clock: &dyn Clock) -> Self {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).expect("the kernel's random source answered when custody was made");
        let passes = passes(clock);
        Self {
            key: stretch(passphrase, &salt, passes),
            salt,
            passes,
        }
    }

    /// Encrypts the master secret. The buffer that receives it holds ciphertext when this returns.
    pub(super) fn wrap(&self, secret: &[u8; SECRET_BYTES], protection: MemoryProtection) -> WrappedSecret {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the kernel's random source answered when custody was made");
        let mut ciphertext = Vec::with_capacity(SECRET_BYTES + CHACHA20_POLY1305.tag_len());
        ciphertext.extend_from_slice(secret);
        cipher(&self.key)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut ciphertext)
            .expect("a secret is far shorter than the cipher's limit");
        WrappedSecret {
            salt: self.salt,
            nonce,
            ciphertext,
            passes: self.passes,
            protection,
        }
    }
}

impl WrappedSecret {
    /// Stands for a secret that was wiped and could not be replaced: no passphrase opens it.
    pub(super) fn lost(protection: MemoryProtection) -> Self {
        Self {
            salt: [0; SALT_BYTES],
            nonce: [0; NONCE_LEN],
            ciphertext: Vec::new(),
            passes: MIN_PASSES,
            protection,
        }
    }

    /// Tells this wrapping from any other.
    pub(super) fn salt(&self) -> [u8; SALT_BYTES] {
        self.salt
    }

    /// Whether it is the wrapping with this salt.
    pub(super) fn is(&self, salt: &[u8; SALT_BYTES]) -> bool {
        self.salt == *salt
    }

    /// How the secret was protected while it was open.
    pub(super) fn protection(&self) -> MemoryProtection {
        self.protection
    }

    /// Decrypts the master secret with the passphrase. Takes about [`TARGET`].
    pub(super) fn unwrap(&self, passphrase: &[u8]) -> Result<Zeroizing<[u8; SECRET_BYTES]>, DoesNotUnwrap> {
        let key = stretch(passphrase, &self.salt, self.passes);
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let secret = cipher(&key)
            .open_in_place(nonce, Aad::empty(), &mut buffer)
            .map_err(|_| DoesNotUnwrap)?;
        let mut unwrapped = Zeroizing::new([0; SECRET_BYTES]);
        unwrapped.copy_from_slice(secret);
        Ok(unwrapped)
    }
}

fn cipher(key: &[u8; SECRET_BYTES]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the cipher's length");
    LessSafeKey::new(key)
}

fn stretch(passphrase: &[u8], salt: &[u8], passes: u32) -> Zeroizing<[u8; SECRET_BYTES]> {
    let params = Params::new(MEMORY_KIB, passes, 1, Some(SECRET_BYTES)).expect("the constants are in range");
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; SECRET_BYTES]);
    argon
        .hash_password_into(passphrase, salt, &mut *key)
        .expect("lengths are in range and 19 MiB can be had");
    key
}

/// Passes that take about [`TARGET`] on this machine, measured once.
fn passes(clock: &dyn Clock) -> u32 {
    static PASSES: OnceLock<u32> = OnceLock::new();
    *PASSES.get_or_init(|| {
        let before = clock.now().boot;
        drop(stretch(b"calibration", &[0; SALT_BYTES], MIN_PASSES));
        passes_for(clock.now().boot.saturating_sub(before))
    })
}

/// How many passes fit [`TARGET`] when [`MIN_PASSES`] took `measured`.
fn passes_for(measured: Duration) -> u32 {
    let per_pass = measured.as_micros() / u128::from(MIN_PASSES);
    let fitting = TARGET
        .as_micros()
        .checked_div(per_pass)
        .unwrap_or(u128::from(MAX_PASSES));
    u32::try_from(fitting)
        .unwrap_or(MAX_PASSES)
        .clamp(MIN_PASSES, MAX_PASSES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn only_the_passphrase_that_wrapped_the_secret_unwraps_it() {
        let secret = [7; SECRET_BYTES];
        let wrapped = Wrapping::derive(b"open sesame", &SystemClock).wrap(&secret, MemoryProtection::None);
        assert_eq!(*wrapped.unwrap(b"open sesame").expect("the right one"), secret);
        assert_eq!(wrapped.unwrap(b"open sesame ").err(), Some(DoesNotUnwrap));
        assert!(!wrapped.ciphertext.windows(4).any(|window| window == [7; 4]));
    }

    #[test]
    fn the_cost_follows_the_machine_within_its_bounds() {
        assert_eq!(passes_for(Duration::from_millis(40)), 5);
        assert_eq!(passes_for(Duration::from_secs(9)), MIN_PASSES);
        assert_eq!(passes_for(Duration::ZERO), MAX_PASSES);
        assert_eq!(passes_for(Duration::from_micros(2)), MAX_PASSES);
    }
}
