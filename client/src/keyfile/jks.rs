//! JKS, Java's old keystore and what "Export to Keystore" in Salesforce yields.
//!
//! The format is that of `sun.security.provider.JavaKeyStore`, the protection of a key that of its
//! `KeyProtector`: the key is XORed with a chain of SHA-1 digests and followed by a digest of passphrase and
//! key. The keystore's own digest, which needs the keystore's passphrase, is not looked at: the key's
//! passphrase may be another one, and the key's digest says whether that is right.

use pkcs8::der::asn1::ObjectIdentifier;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::{KeyFileError, Passphrase, encrypted::Encrypted};

/// How a JKS keystore begins.
pub(super) const MAGIC: [u8; 4] = [0xFE, 0xED, 0xFE, 0xED];

/// How a JCEKS keystore begins.
pub(super) const JCEKS_MAGIC: [u8; 4] = [0xCE; 4];

/// The algorithm of a protected key.
pub(super) const PROTECTION_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");

const PRIVATE_KEY_TAG: u32 = 1;
const CERTIFICATE_TAG: u32 = 2;

const SHA1_BYTES: usize = 20;

/// Finds the one key of the keystore.
pub(super) fn key(keystore: &[u8]) -> Result<Encrypted, KeyFileError> {
    let mut fields = Fields(keystore);
    fields.take(MAGIC.len())?;
    let version = fields.number()?;
    if !matches!(version, 1 | 2) {
        return Err(KeyFileError::Damaged);
    }
    let mut keys = Vec::new();
    // The count is not trusted: every entry takes bytes, and those run out.
    for _ in 0..fields.number()? {
        let tag = fields.number()?;
        fields.string()?;
        fields.take(size_of::<u64>())?;
        match tag {
            PRIVATE_KEY_TAG => {
                keys.push(fields.bytes()?);
                for _ in 0..fields.number()? {
                    fields.certificate(version)?;
                }
            }
            CERTIFICATE_TAG => fields.certificate(version)?,
            _ => return Err(KeyFileError::Damaged),
        }
    }
    match keys[..] {
        [] => Err(KeyFileError::NoKeyInKeystore),
        [key] => Encrypted::from_der(key),
        _ => Err(KeyFileError::SeveralKeys(keys.len())),
    }
}

/// Undoes the protection of one key: 20 bytes of salt, the key, a digest.
pub(super) fn decrypt(passphrase: &Passphrase, protected: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let (salt, rest) = protected
        .split_first_chunk::<SHA1_BYTES>()
        .ok_or(KeyFileError::Damaged)?;
    let (body, digest) = rest
        .split_last_chunk::<SHA1_BYTES>()
        .ok_or(KeyFileError::Damaged)?;
    let passphrase = passphrase.utf16();
    let mut key = Zeroizing::new(body.to_vec());
    let mut pad = Zeroizing::new(*salt);
    for stretch in key.chunks_mut(SHA1_BYTES) {
        *pad = Sha1::new()
            .chain_update(&passphrase[..])
            .chain_update(&pad[..])
            .finalize()
            .into();
        for (byte, mask) in stretch.iter_mut().zip(&pad[..]) {
            *byte ^= mask;
        }
    }
    let expected = Sha1::new()
        .chain_update(&passphrase[..])
        .chain_update(&key[..])
        .finalize();
    if expected[..] == digest[..] {
        Ok(key)
    } else {
        Err(KeyFileError::WrongPassphrase)
    }
}

/// The fields of Java's `DataOutputStream`, big-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], KeyFileError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(KeyFileError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, KeyFileError> {
        Ok(self
            .take(size_of::<u32>())?
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], KeyFileError> {
        let length = usize::try_from(self.number()?).map_err(|_| KeyFileError::Damaged)?;
        self.take(length)
    }

    fn string(&mut self) -> Result<&'a [u8], KeyFileError> {
        let length = self
            .take(size_of::<u16>())?
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }

    fn certificate(&mut self, version: u32) -> Result<(), KeyFileError> {
        if version == 2 {
            self.string()?;
        }
        self.bytes().map(drop)
    }
}
