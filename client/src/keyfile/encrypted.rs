//! `EncryptedPrivateKeyInfo` (RFC 5208): encrypted PKCS#8, and the key inside a PKCS#12 or JKS keystore.

use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, block_padding::Pkcs7};
use pkcs8::{
    der::{AnyRef, Tag, asn1::ObjectIdentifier},
    pkcs5::{
        self,
        pbes2::{EncryptionScheme, Kdf, PBES2_OID, Parameters, Pbkdf2Params, Pbkdf2Prf, ScryptParams},
    },
};
use zeroize::Zeroizing;

use super::{
    KeyFileError, Passphrase,
    der::{Elements, sequence},
    jks,
    pkcs12::Sha1TripleDes,
};

/// `pbeWithSHAAnd3-KeyTripleDES-CBC` (RFC 7292, appendix C).
const SHA1_TRIPLE_DES_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");

/// Most hash blocks that a passphrase may cost. About 2 s of one slow core; 8 million iterations of PBKDF2
/// with SHA-256, six times the largest number that OWASP recommends for any hash.
pub(super) const MAX_HASH_BLOCKS: u64 = 16_000_000;

/// Most memory that scrypt may take, in bytes: N = 2^17 with r = 8, the largest that OWASP recommends.
const MAX_SCRYPT_MEMORY: u64 = 128 << 20;

/// Largest work of scrypt, N·r·p: that of the largest memory, once through. About half a second.
const MAX_SCRYPT_WORK: u64 = 1 << 20;

/// Largest p·r of scrypt: what PBKDF2 must produce before and after, in units of 128 bytes.
const MAX_SCRYPT_BLOCKS: u64 = 1 << 14;

/// An encrypted private key whose cost of decryption is known to be bearable.
pub(super) struct Encrypted {
    scheme: Scheme,
    ciphertext: Vec<u8>,
}

enum Scheme {
    Pbes2(Box<Parameters>),
    Sha1TripleDes(Sha1TripleDes),
    Jks,
}

impl Encrypted {
    /// Reads the structure, and refuses a scheme that is unknown or too costly before any of it is run.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyFileError> {
        let mut outer = Elements::of(sequence(der)?)?;
        let mut algorithm = Elements::of(outer.expect(Tag::Sequence)?)?;
        let scheme = match algorithm.oid()? {
            PBES2_OID => Scheme::Pbes2(pbes2(algorithm.next()?)?),
            SHA1_TRIPLE_DES_OID => Scheme::Sha1TripleDes(Sha1TripleDes::new(algorithm.next()?)?),
            jks::PROTECTION_OID => Scheme::Jks,
            _ => return Err(KeyFileError::UnsupportedEncryption),
        };
        let ciphertext = outer.expect(Tag::OctetString)?.to_vec();
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(scheme.block_bytes()) {
            return Err(KeyFileError::Damaged);
        }
        Ok(Self { scheme, ciphertext })
    }

    /// The plaintext, which need not be a key when the passphrase was wrong.
    pub(super) fn decrypt(&self, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        match &self.scheme {
            Scheme::Pbes2(parameters) => self.decrypt_pbes2(parameters, passphrase),
            Scheme::Sha1TripleDes(scheme) => scheme.decrypt(passphrase, &self.ciphertext),
            Scheme::Jks => jks::decrypt(passphrase, &self.ciphertext),
        }
    }

    fn decrypt_pbes2(
        &self,
        parameters: &Parameters,
        passphrase: &Passphrase,
    ) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let length = parameters
            .decrypt_in_place(passphrase.expose(), &mut buffer)
            .map_err(|error| match error {
                pkcs5::Error::DecryptFailed => KeyFileError::WrongPassphrase,
                _ => KeyFileError::UnsupportedEncryption,
            })?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl Scheme {
    /// What the length of every ciphertext is a multiple of: a file that was cut off is then told from a
    /// wrong passphrase.
    fn block_bytes(&self) -> usize {
        match self {
            Self::Pbes2(parameters) => match parameters.encryption {
                EncryptionScheme::Aes128Cbc { .. }
                | EncryptionScheme::Aes192Cbc { .. }
                | EncryptionScheme::Aes256Cbc { .. } => 16,
                EncryptionScheme::DesEde3Cbc { .. } => 8,
                _ => 1,
            },
            Self::Sha1TripleDes(_) => 8,
            Self::Jks => 1,
        }
    }
}

fn pbes2(parameters: AnyRef<'_>) -> Result<Box<Parameters>, KeyFileError> {
    let parameters: Parameters = parameters
        .decode_as()
        .map_err(|_| KeyFileError::UnsupportedEncryption)?;
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => check_pbkdf2(kdf, &parameters.encryption)?,
        Kdf::Scrypt(kdf) => check_scrypt(kdf)?,
        _ => return Err(KeyFileError::UnsupportedEncryption),
    }
    Ok(Box::new(parameters))
}

/// An iteration hashes two blocks for every stretch of key that one hash yields. Blocks of SHA-384 and
/// SHA-512 are twice as large, and take two to four times as long where only the shorter hashes have
/// instructions.
fn check_pbkdf2(kdf: &Pbkdf2Params, encryption: &EncryptionScheme) -> Result<(), KeyFileError> {
    let (hash_bytes, weight) = match kdf.prf {
        Pbkdf2Prf::HmacWithSha1 => (20, 1),
        Pbkdf2Prf::HmacWithSha224 => (28, 1),
        Pbkdf2Prf::HmacWithSha256 => (32, 1),
        Pbkdf2Prf::HmacWithSha384 => (48, 3),
        Pbkdf2Prf::HmacWithSha512 => (64, 3),
        _ => return Err(KeyFileError::UnsupportedEncryption),
    };
    let stretches = encryption.key_size().div_ceil(hash_bytes) as u64;
    check_iterations(kdf.iteration_count, 2 * weight * stretches)
}

pub(super) fn check_iterations(iterations: u32, blocks_each: u64) -> Result<(), KeyFileError> {
    if iterations == 0 {
        Err(KeyFileError::Damaged)
    } else if u64::from(iterations) * blocks_each > MAX_HASH_BLOCKS {
        Err(KeyFileError::TooCostly)
    } else {
        Ok(())
    }
}

fn check_scrypt(kdf: &ScryptParams) -> Result<(), KeyFileError> {
    let (n, r, p) = (
        kdf.cost_parameter,
        u64::from(kdf.block_size),
        u64::from(kdf.parallelization),
    );
    // Also keeps a cost of 0 away from the decoder, which would take its logarithm.
    if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
        return Err(KeyFileError::Damaged);
    }
    let within = |product: Option<u64>, limit| product.is_some_and(|product| product <= limit);
    let memory = n.checked_mul(r).and_then(|blocks| blocks.checked_mul(128));
    let work = n.checked_mul(r).and_then(|blocks| blocks.checked_mul(p));
    if within(memory, MAX_SCRYPT_MEMORY) && within(work, MAX_SCRYPT_WORK) && r * p <= MAX_SCRYPT_BLOCKS {
        Ok(())
    } else {
        Err(KeyFileError::TooCostly)
    }
}

/// Decrypts CBC with PKCS#7 padding. Bad padding is what a wrong passphrase leaves, 255 times in 256.
pub(super) fn cbc_decrypt<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| KeyFileError::Damaged)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = cipher
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .map_err(|_| KeyFileError::WrongPassphrase)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::{Salt, ScryptParams};

    use super::{KeyFileError, check_iterations, check_scrypt};

    fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Result<(), KeyFileError> {
        let salt = Salt::new([7; 16]).expect("16 bytes are a valid salt");
        check_scrypt(&ScryptParams {
            salt,
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        })
    }

    #[test]
    fn scrypt_may_cost_what_owasp_recommends_and_no_more() {
        assert_eq!(scrypt(1 << 14, 8, 1), Ok(()));
        assert_eq!(scrypt(1 << 17, 8, 1), Ok(()));
        for (n, r, p) in [
            (1 << 18, 8, 1),
            (1 << 17, 9, 1),
            (1 << 17, 8, 2),
            (2, 1 << 15, 1),
            (2, 2, u16::MAX),
            (1 << 63, u16::MAX, u16::MAX),
        ] {
            assert_eq!(scrypt(n, r, p), Err(KeyFileError::TooCostly), "{n} {r} {p}");
        }
        for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (2, 0, 1), (2, 8, 0)] {
            assert_eq!(scrypt(n, r, p), Err(KeyFileError::Damaged), "{n} {r} {p}");
        }
    }

    #[test]
    fn iterations_are_bounded_by_the_blocks_they_hash() {
        assert_eq!(check_iterations(8_000_000, 2), Ok(()));
        assert_eq!(check_iterations(8_000_001, 2), Err(KeyFileError::TooCostly));
        assert_eq!(
            check_iterations(u32::MAX, u64::from(u32::MAX)),
            Err(KeyFileError::TooCostly)
        );
        assert_eq!(check_iterations(0, 2), Err(KeyFileError::Damaged));
    }
}
