//! Custody: secrets at rest and the keys that sign.
//!
//! Everything secret that the agent keeps (private keys, consumer secrets, access tokens) is sealed with
//! ChaCha20-Poly1305 under a master secret that lives in a protected page. A signature unseals, parses,
//! signs and wipes. Keys are used, never fetched: there is no way from a [`Signer`] to key bytes.

mod key;
mod page;

use std::{fmt, io, sync::Arc};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use sfkey_proto::v1::MemoryProtection;
use zeroize::Zeroizing;

pub use key::{Fingerprint, KeyRejected, SignError, Signer};

/// The vault: the master secret and what is done with it.
pub struct Custody {
    master: page::SecretPage,
    keys: key::KeyRing,
}

/// A secret as it is kept: useless without the [`Custody`] that sealed it.
pub struct SealedSecret {
    nonce: [u8; NONCE_LEN],
    ciphertext: Vec<u8>,
}

/// The sealed bytes do not open: they were sealed by another custody, or memory is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret does not open")]
pub struct DoesNotOpen;

impl Custody {
    /// Makes a vault with a fresh master secret.
    ///
    /// # Errors
    /// When no memory can be mapped or the system's random source fails.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            master: page::SecretPage::random()?,
            keys: key::KeyRing::default(),
        }))
    }

    /// How the master secret is protected.
    #[must_use]
    pub fn protection(&self) -> MemoryProtection {
        self.master.protection()
    }

    /// Seals a copy of `secret`; the caller wipes the original.
    #[must_use]
    pub fn seal(&self, secret: &[u8]) -> SealedSecret {
        // 96 random bits: at one secret a second a collision is not to be expected within a million years.
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the kernel's random source answered when custody was made");
        let mut ciphertext = Vec::with_capacity(secret.len() + CHACHA20_POLY1305.tag_len());
        ciphertext.extend_from_slice(secret);
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut ciphertext)
            .expect("secrets are far shorter than the cipher's limit of 256 GiB");
        SealedSecret { nonce, ciphertext }
    }

    /// Opens what [`Custody::seal`] sealed, into memory that is wiped on drop.
    ///
    /// # Errors
    /// [`DoesNotOpen`] when it was sealed by another custody.
    pub fn open(&self, sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let mut buffer = Zeroizing::new(sealed.ciphertext.clone());
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::empty(), &mut buffer)
            .map_err(|_| DoesNotOpen)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Takes an RSA private key (PKCS#1 DER) into custody and returns its signer. The same key taken twice
    /// is kept once; it is wiped when its last signer goes.
    ///
    /// # Errors
    /// [`KeyRejected`] when the bytes are no sound RSA key of 2048 to 8192 bits.
    pub fn import(self: &Arc<Self>, pkcs1: &[u8]) -> Result<Arc<dyn Signer>, KeyRejected> {
        key::import(self, pkcs1)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.master.bytes())
            .expect("the master secret has the cipher's key length");
        LessSafeKey::new(key)
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody")
            .field("protection", &self.protection())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again_and_only_in_the_same_custody() {
        let (ours, other) = (Custody::new().expect("custody"), Custody::new().expect("custody"));
        let sealed = ours.seal(b"canary");
        assert_eq!(&**ours.open(&sealed).expect("opens"), b"canary");
        assert_eq!(other.open(&sealed), Err(DoesNotOpen));
        assert!(!sealed.ciphertext.windows(6).any(|window| window == b"canary"));
        assert!(!format!("{sealed:?} {ours:?}").contains("canary"));
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let custody = Custody::new().expect("custody");
        assert_ne!(
            custody.seal(b"canary").ciphertext,
            custody.seal(b"canary").ciphertext
        );
    }
}
