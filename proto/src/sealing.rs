//! Sealed requests: RFC 9180 base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! A sealed request hides its secrets from buffers, recordings and passive readers of the socket. It does
//! not authenticate the agent; the client checks the socket's owner for that. A [`SealingKey`] is consumed
//! by the one message it opens, so that a replay has nothing to be opened with.

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal,
};
use prost::Message;
use zeroize::Zeroizing;

use crate::v1::{AccountSpec, LockSpec, UnlockSpec};

/// Length of an encoded X25519 public key and of an encapsulated key, in bytes (RFC 9180, section 7.1).
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Length of the agent's instance id, the `aad`, in bytes.
pub const INSTANCE_ID_BYTES: usize = 16;

/// A sealing key lives this long at most, in seconds: time for one request, and no more.
pub const KEY_LIFETIME_SECONDS: u32 = 120;

type AgentKem = X25519HkdfSha256;

/// An inner request that only ever travels sealed.
pub trait Sealable: Message + Default {
    /// The `info` of RFC 9180: a message sealed for one method does not open for another.
    const INFO: &'static [u8];
}

impl Sealable for AccountSpec {
    const INFO: &'static [u8] = b"sfkey.agent.v1/AddAccount";
}

impl Sealable for LockSpec {
    const INFO: &'static [u8] = b"sfkey.agent.v1/Lock";
}

impl Sealable for UnlockSpec {
    const INFO: &'static [u8] = b"sfkey.agent.v1/Unlock";
}

/// A request as it travels: the two fields of `AddAccountRequest`, `LockRequest` and `UnlockRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Encapsulated key, [`PUBLIC_KEY_BYTES`] long.
    pub enc: Vec<u8>,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// Why a message was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The agent's reply has a public key or an instance id of the wrong length or value.
    #[error("the agent's sealing key is malformed")]
    MalformedKey,
    /// Not sealed for this key, this agent and this method, or changed on the way.
    #[error("the sealed request does not open with this connection's sealing key")]
    DoesNotOpen,
    /// Opened, but not a message of the expected type.
    #[error("the sealed request holds no well-formed message")]
    MalformedMessage,
}

/// Seals `inner` for the agent that gave `public_key` and `instance_id`.
///
/// # Errors
/// [`SealingError::MalformedKey`] when either has the wrong length or the key is not a usable point.
pub fn seal<M: Sealable>(inner: &M, public_key: &[u8], instance_id: &[u8]) -> Result<Sealed, SealingError> {
    let key = <AgentKem as Kem>::PublicKey::from_bytes(public_key).map_err(|_| SealingError::MalformedKey)?;
    if instance_id.len() != INSTANCE_ID_BYTES {
        return Err(SealingError::MalformedKey);
    }
    // Allocated once at its full size: growing would leave unwiped pieces behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(inner.encoded_len()));
    inner
        .encode(&mut *plaintext)
        .expect("the buffer has the encoded length");
    let (enc, ciphertext) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, AgentKem>(
        &OpModeS::Base,
        &key,
        M::INFO,
        &plaintext,
        instance_id,
    )
    .map_err(|_| SealingError::MalformedKey)?;
    Ok(Sealed {
        enc: enc.to_bytes().to_vec(),
        ciphertext,
    })
}

/// The agent's half of one sealed request. Wiped on drop; not `Clone`, and used up by [`SealingKey::open`].
pub struct SealingKey {
    private: Box<<AgentKem as Kem>::PrivateKey>,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl SealingKey {
    /// Makes a fresh key from the system's random source.
    #[must_use]
    pub fn generate() -> Self {
        let (private, public) = AgentKem::gen_keypair();
        Self {
            private: Box::new(private),
            public: public.to_bytes().into(),
        }
    }

    /// The public half, for `GetSealingKeyResponse.public_key`.
    #[must_use]
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.public
    }

    /// Opens one message and destroys the key, whether it opened or not.
    ///
    /// # Errors
    /// [`SealingError::DoesNotOpen`] or [`SealingError::MalformedMessage`].
    pub fn open<M: Sealable>(self, sealed: &Sealed, instance_id: &[u8]) -> Result<M, SealingError> {
        let enc =
            <AgentKem as Kem>::EncappedKey::from_bytes(&sealed.enc).map_err(|_| SealingError::DoesNotOpen)?;
        let plaintext = single_shot_open::<ChaCha20Poly1305, HkdfSha256, AgentKem>(
            &OpModeR::Base,
            &self.private,
            &enc,
            M::INFO,
            &sealed.ciphertext,
            instance_id,
        )
        .map(Zeroizing::new)
        .map_err(|_| SealingError::DoesNotOpen)?;
        M::decode(plaintext.as_slice()).map_err(|_| SealingError::MalformedMessage)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: [u8; INSTANCE_ID_BYTES] = [7; INSTANCE_ID_BYTES];

    fn lock(passphrase: &[u8]) -> LockSpec {
        LockSpec {
            passphrase: passphrase.to_vec(),
        }
    }

    #[test]
    fn what_is_sealed_for_a_key_opens_with_it() {
        let key = SealingKey::generate();
        let sealed = seal(&lock(b"open sesame"), &key.public_key(), &AGENT).expect("sealed");
        let opened: LockSpec = key.open(&sealed, &AGENT).expect("opened");
        assert_eq!(opened.passphrase, b"open sesame");
    }

    #[test]
    fn another_key_another_agent_and_another_method_do_not_open_it() {
        let key = SealingKey::generate();
        let sealed = seal(&lock(b"x"), &key.public_key(), &AGENT).expect("sealed");
        let other = SealingKey::generate().open::<LockSpec>(&sealed, &AGENT);
        assert_eq!(other.expect_err("another key"), SealingError::DoesNotOpen);
        let reseal = |key: &SealingKey| seal(&lock(b"x"), &key.public_key(), &AGENT).expect("sealed");
        let key = SealingKey::generate();
        let sealed = reseal(&key);
        assert_eq!(
            key.open::<LockSpec>(&sealed, &[8; 16])
                .expect_err("another agent"),
            SealingError::DoesNotOpen
        );
        let key = SealingKey::generate();
        let sealed = reseal(&key);
        assert_eq!(
            key.open::<UnlockSpec>(&sealed, &AGENT)
                .expect_err("another method"),
            SealingError::DoesNotOpen
        );
    }

    #[test]
    fn a_changed_or_shortened_message_does_not_open() {
        for change in 0..4 {
            let key = SealingKey::generate();
            let mut sealed = seal(&lock(b"x"), &key.public_key(), &AGENT).expect("sealed");
            match change {
                0 => sealed.ciphertext[0] ^= 1,
                1 => drop(sealed.ciphertext.pop()),
                2 => sealed.enc[0] ^= 1,
                _ => sealed.enc.truncate(31),
            }
            assert_eq!(
                key.open::<LockSpec>(&sealed, &AGENT).expect_err("changed"),
                SealingError::DoesNotOpen,
                "change {change}"
            );
        }
    }

    #[test]
    fn a_malformed_public_key_or_instance_id_is_refused_before_sealing() {
        let spec = lock(b"x");
        let good = SealingKey::generate().public_key();
        assert_eq!(seal(&spec, &good[..31], &AGENT), Err(SealingError::MalformedKey));
        assert_eq!(seal(&spec, &[0; 32], &AGENT), Err(SealingError::MalformedKey));
        assert_eq!(seal(&spec, &good, &AGENT[..15]), Err(SealingError::MalformedKey));
    }
}
