//! Private keys: taken in once, sealed at rest, unsealed for the length of one signature.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_lc_rs::{
    digest, rand,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};

use super::{Custody, SealedSecret, traces::without_traces};

/// Smallest modulus taken, in bits: Salesforce refuses shorter ones.
const MIN_BITS: usize = 2048;

/// Largest modulus taken, in bits: above it a signature takes longer than an exchange.
const MAX_BITS: usize = 8192;

/// SHA-256 of a public key (DER SubjectPublicKeyInfo), shown as 64 lower-case hexadecimal digits. The same
/// as `openssl pkey -in server.key -pubout -outform DER | sha256sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The bytes offered as a private key are none that the agent takes. The text never quotes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// Not a PKCS#1 `RSAPrivateKey`, or its numbers do not fit together.
    #[error("the private key is not a sound RSA key in PKCS#1 DER")]
    Malformed,
    /// Outside the accepted sizes.
    #[error("the private key has {0} bits; RSA keys of {MIN_BITS} to {MAX_BITS} bits are accepted")]
    Size(usize),
    /// Custody takes nothing in while it is locked.
    #[error("the agent is locked")]
    Locked,
}

/// A signature could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key in custody could not be used")]
pub struct SignError;

/// A private key in use: it signs, and that is all it does.
pub trait Signer: Send + Sync {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RS256, RFC 7518, section 3.3). Takes about a millisecond: call it on
    /// the blocking pool.
    ///
    /// # Errors
    /// [`SignError`] when custody does not give the key.
    fn sign_rs256(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Which key it is.
    fn fingerprint(&self) -> Fingerprint;
}

/// Keys in custody by fingerprint, for as long as somebody signs with them.
#[derive(Default)]
pub(super) struct KeyRing(Mutex<HashMap<Fingerprint, Weak<SealedKey>>>);

impl KeyRing {
    /// Forgets which keys there are: a key that somebody still signs with is not handed out again.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A private key at rest.
struct SealedKey {
    custody: Arc<Custody>,
    sealed: SealedSecret,
    fingerprint: Fingerprint,
}

pub(super) fn import(custody: &Arc<Custody>, pkcs1: &[u8]) -> Result<Arc<dyn Signer>, KeyRejected> {
    let pair = KeyPair::from_der(pkcs1).map_err(|_| KeyRejected::Malformed)?;
    let bits = pair.public_modulus_len() * 8;
    if !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(KeyRejected::Size(bits));
    }
    let fingerprint = fingerprint(&pair)?;
    let mut ring = custody.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
    ring.retain(|_, key| key.strong_count() > 0);
    if let Some(key) = ring.get(&fingerprint).and_then(Weak::upgrade) {
        return Ok(key);
    }
    let sealed = custody.seal(pkcs1).map_err(|_| KeyRejected::Locked)?;
    let key = Arc::new(SealedKey {
        custody: Arc::clone(custody),
        sealed,
        fingerprint,
    });
    ring.insert(fingerprint, Arc::downgrade(&key));
    Ok(key)
}

fn fingerprint(pair: &KeyPair) -> Result<Fingerprint, KeyRejected> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};

    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyRejected::Malformed)?;
    let hash = digest::digest(&digest::SHA256, spki.as_ref());
    Ok(Fingerprint(
        hash.as_ref().try_into().expect("a SHA-256 digest has 32 bytes"),
    ))
}

impl SealedKey {
    fn sign_leaving_traces(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let pair = {
            let der = self.custody.open(&self.sealed).map_err(|_| SignError)?;
            KeyPair::from_der(&der).map_err(|_| SignError)?
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(
            &RSA_PKCS1_SHA256,
            &rand::SystemRandom::new(),
            message,
            &mut signature,
        )
        .map_err(|_| SignError)?;
        Ok(signature)
    }
}

impl Signer for SealedKey {
    fn sign_rs256(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        without_traces(|| self.sign_leaving_traces(message))
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::KeySize,
        signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };

    use super::*;

    /// PKCS#8 v1 wraps the PKCS#1 key in its last OCTET STRING, 26 bytes in for RSA 2048.
    fn fresh_key() -> (KeyPair, Vec<u8>) {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
        let pkcs1 = pkcs8.as_ref()[26..].to_vec();
        (pair, pkcs1)
    }

    #[test]
    fn a_signer_makes_signatures_that_its_public_key_verifies() {
        let (pair, pkcs1) = fresh_key();
        let custody = Custody::new().expect("custody");
        let signer = custody.import(&pkcs1).expect("imported");
        let signature = signer.sign_rs256(b"message").expect("signed");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
        assert!(public.verify(b"message", &signature).is_ok());
        assert!(public.verify(b"another", &signature).is_err());
    }

    #[test]
    fn one_key_taken_twice_is_kept_once_and_goes_with_its_last_signer() {
        let (_, pkcs1) = fresh_key();
        let custody = Custody::new().expect("custody");
        let one = custody.import(&pkcs1).expect("imported");
        let two = custody.import(&pkcs1).expect("imported");
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        let ring = custody.keys.0.lock().expect("not poisoned");
        assert!(ring.values().all(|key| key.strong_count() == 0));
    }

    #[test]
    fn bytes_that_are_no_sound_key_are_refused() {
        let custody = Custody::new().expect("custody");
        let (_, mut pkcs1) = fresh_key();
        pkcs1[40] ^= 1;
        for bytes in [&b""[..], b"\x30\x03\x02\x01\x00", &pkcs1, &pkcs1[..200]] {
            assert_eq!(custody.import(bytes).err(), Some(KeyRejected::Malformed));
        }
    }
}
