//! PKCS#12 (RFC 7292): finds the one key of a keystore, and opens the encryption that is PKCS#12's own.
//!
//! Certificates are passed over. So is the MAC: it would cost a second key derivation to say what the padding
//! and the key's own structure say as well, that the passphrase is right. Keys stand in the part of the file
//! that is not encrypted as a whole, each "shrouded" by itself: OpenSSL, Java, NSS, Windows and macOS all
//! write them so.

use des::TdesEde3;
use pkcs8::der::{AnyRef, Tag, Tagged, asn1::ObjectIdentifier};
use sha1::{Digest, Sha1};
use zeroize::{Zeroize, Zeroizing};

use super::{
    KeyFileError, Passphrase,
    der::{Elements, sequence},
    encrypted::{Encrypted, cbc_decrypt, check_iterations},
};

const DATA_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const KEY_BAG_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");

const SHA1_BYTES: usize = 20;
const SHA1_BLOCK_BYTES: usize = 64;

/// Longest salt that is taken, in bytes; real ones have 8 or 20.
const MAX_SALT_BYTES: usize = 1024;

/// The one key of a keystore.
pub(super) enum Key<'a> {
    /// PKCS#8 DER in the clear.
    Plain(&'a [u8]),
    /// Encrypted PKCS#8.
    Shrouded(Encrypted),
}

/// Finds the one key.
///
/// # Errors
/// `NoKeyInKeystore`, `SeveralKeys`, and `UnsupportedKeystore` for whatever needs OpenSSL to be read.
pub(super) fn key(pfx: &[u8]) -> Result<Key<'_>, KeyFileError> {
    let keys = key_bags(pfx).map_err(|_| KeyFileError::UnsupportedKeystore)?;
    match keys[..] {
        [] => Err(KeyFileError::NoKeyInKeystore),
        [(KEY_BAG_OID, der)] => Ok(Key::Plain(der)),
        [(_, der)] => Encrypted::from_der(der)
            .map(Key::Shrouded)
            .map_err(|error| match error {
                KeyFileError::UnsupportedEncryption => KeyFileError::UnsupportedKeystore,
                other => other,
            }),
        _ => Err(KeyFileError::SeveralKeys(keys.len())),
    }
}

fn key_bags(pfx: &[u8]) -> Result<Vec<(ObjectIdentifier, &[u8])>, KeyFileError> {
    let mut pfx = Elements::of(sequence(pfx)?)?;
    pfx.expect(Tag::Integer)?;
    let authenticated = data(pfx.expect(Tag::Sequence)?)?.ok_or(KeyFileError::UnsupportedKeystore)?;
    let mut safes = Elements::of(sequence(authenticated)?)?;
    let mut keys = Vec::new();
    while !safes.is_empty() {
        // Safes that are encrypted as a whole hold the certificates.
        let Some(contents) = data(safes.expect(Tag::Sequence)?)? else {
            continue;
        };
        let mut bags = Elements::of(sequence(contents)?)?;
        while !bags.is_empty() {
            let mut bag = Elements::of(bags.expect(Tag::Sequence)?)?;
            let (oid, value) = (bag.oid()?, bag.next()?.value());
            if oid == KEY_BAG_OID || oid == SHROUDED_KEY_BAG_OID {
                keys.push((oid, value));
            }
        }
    }
    Ok(keys)
}

/// The octets of a `ContentInfo` of type data; `None` for other types.
fn data(content_info: &[u8]) -> Result<Option<&[u8]>, KeyFileError> {
    let mut content_info = Elements::of(content_info)?;
    if content_info.oid()? != DATA_OID {
        return Ok(None);
    }
    let explicit = content_info.next()?;
    if !matches!(
        explicit.tag(),
        Tag::ContextSpecific {
            constructed: true,
            ..
        }
    ) {
        return Err(KeyFileError::Damaged);
    }
    Elements::of(explicit.value())?.expect(Tag::OctetString).map(Some)
}

/// `pbeWithSHAAnd3-KeyTripleDES-CBC` (RFC 7292, appendix C), which most keystores older than 2020 have.
pub(super) struct Sha1TripleDes {
    salt: Vec<u8>,
    iterations: u32,
}

impl Sha1TripleDes {
    /// Reads `pkcs-12PbeParams`, and refuses those that are too costly.
    pub(super) fn new(parameters: AnyRef<'_>) -> Result<Self, KeyFileError> {
        let mut parameters = Elements::of(parameters.value())?;
        let salt = parameters.expect(Tag::OctetString)?.to_vec();
        let iterations = parameters
            .next()?
            .decode_as()
            .map_err(|_| KeyFileError::TooCostly)?;
        if salt.len() > MAX_SALT_BYTES {
            return Err(KeyFileError::Damaged);
        }
        // Two hashes for the key and one for the vector.
        check_iterations(iterations, 3)?;
        Ok(Self { salt, iterations })
    }

    /// The plaintext, which need not be a key when the passphrase was wrong.
    pub(super) fn decrypt(
        &self,
        passphrase: &Passphrase,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let mut passphrase = passphrase.utf16();
        // PKCS#12 counts a final NUL character among the passphrase.
        passphrase.extend_from_slice(&[0, 0]);
        let key = self.derive::<24>(1, &passphrase);
        let iv = self.derive::<8>(2, &passphrase);
        cbc_decrypt::<TdesEde3>(&key[..], &iv[..], ciphertext)
    }

    /// The key derivation of RFC 7292, appendix B.2, with SHA-1. `id` is 1 for a key and 2 for a vector.
    fn derive<const LENGTH: usize>(&self, id: u8, passphrase: &[u8]) -> Zeroizing<[u8; LENGTH]> {
        let mut input = Zeroizing::new(filled_up(&self.salt, passphrase));
        let mut derived = Zeroizing::new([0; LENGTH]);
        for stretch in derived.chunks_mut(SHA1_BYTES) {
            let mut digest: [u8; SHA1_BYTES] = Sha1::new()
                .chain_update([id; SHA1_BLOCK_BYTES])
                .chain_update(&input[..])
                .finalize()
                .into();
            for _ in 1..self.iterations {
                digest = Sha1::digest(digest).into();
            }
            stretch.copy_from_slice(&digest[..stretch.len()]);
            for block in input.chunks_mut(SHA1_BLOCK_BYTES) {
                add_with_one(block, &digest);
            }
            digest.zeroize();
        }
        derived
    }
}

/// Salt and passphrase, each repeated to a multiple of the hash's block.
fn filled_up(salt: &[u8], passphrase: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| part.len().next_multiple_of(SHA1_BLOCK_BYTES);
    let mut input = Vec::with_capacity(length(salt) + length(passphrase));
    for part in [salt, passphrase] {
        input.extend(part.iter().cycle().take(length(part)));
    }
    input
}

/// `block + digest + 1` as big-endian numbers, with the digest repeated to the block's length.
fn add_with_one(block: &mut [u8], digest: &[u8; SHA1_BYTES]) {
    let mut carry = 1_u16;
    for (at, byte) in block.iter_mut().enumerate().rev() {
        carry += u16::from(*byte) + u16::from(digest[at % SHA1_BYTES]);
        let [high, low] = carry.to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
}
