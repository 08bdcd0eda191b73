//! OpenSSL's old encrypted PEM: `Proc-Type: 4,ENCRYPTED`, with the cipher and its vector in `DEK-Info`.

use aes::{Aes128Dec, Aes192Dec, Aes256Dec};
use des::TdesEde3;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::{KeyFileError, Passphrase, encrypted::cbc_decrypt};

/// Bytes of the initialisation vector that also serve as salt.
const SALT_BYTES: usize = 8;

/// The body of such a PEM, still encrypted.
pub(super) struct LegacyPem {
    cipher: Cipher,
    iv: Vec<u8>,
    ciphertext: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
}

impl LegacyPem {
    /// Takes the value of `DEK-Info`: the cipher's name, a comma, the vector in hexadecimal.
    pub(super) fn new(dek_info: &[u8], ciphertext: Zeroizing<Vec<u8>>) -> Result<Self, KeyFileError> {
        let dek_info = str::from_utf8(dek_info).map_err(|_| KeyFileError::Damaged)?;
        let (name, iv) = dek_info.split_once(',').ok_or(KeyFileError::Damaged)?;
        let (cipher, block_bytes) = match name.to_ascii_uppercase().as_str() {
            "AES-128-CBC" => (Cipher::Aes128, 16),
            "AES-192-CBC" => (Cipher::Aes192, 16),
            "AES-256-CBC" => (Cipher::Aes256, 16),
            "DES-EDE3-CBC" => (Cipher::TripleDes, 8),
            _ => return Err(KeyFileError::UnsupportedEncryption),
        };
        let iv = hexadecimal(iv)
            .filter(|iv| iv.len() == block_bytes)
            .ok_or(KeyFileError::Damaged)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(block_bytes) {
            return Err(KeyFileError::Damaged);
        }
        Ok(Self {
            cipher,
            iv,
            ciphertext,
        })
    }

    /// The plaintext, which need not be a key when the passphrase was wrong.
    pub(super) fn decrypt(&self, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let key = bytes_to_key(passphrase, &self.iv[..SALT_BYTES]);
        match self.cipher {
            Cipher::Aes128 => cbc_decrypt::<Aes128Dec>(&key[..16], &self.iv, &self.ciphertext),
            Cipher::Aes192 => cbc_decrypt::<Aes192Dec>(&key[..24], &self.iv, &self.ciphertext),
            Cipher::Aes256 => cbc_decrypt::<Aes256Dec>(&key[..], &self.iv, &self.ciphertext),
            Cipher::TripleDes => cbc_decrypt::<TdesEde3>(&key[..24], &self.iv, &self.ciphertext),
        }
    }
}

/// `EVP_BytesToKey` with MD5 and one iteration, as OpenSSL's PEM uses it. A shorter key is the beginning of
/// it.
fn bytes_to_key(passphrase: &Passphrase, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let (first, second) = key.split_at_mut(16);
    first.copy_from_slice(
        &Md5::new()
            .chain_update(passphrase.expose())
            .chain_update(salt)
            .finalize(),
    );
    let digest = Md5::new()
        .chain_update(&*first)
        .chain_update(passphrase.expose())
        .chain_update(salt)
        .finalize();
    second.copy_from_slice(&digest);
    key
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect()
}
