//! Key files: from whatever a Salesforce developer has to a checked RSA key.
//!
//! ```text
//! path ─ read ─▶ bytes ─ text, pem, der, pkcs12, jks ─▶ KeyFile ─ encrypted, legacy ─▶ rsa ─▶ PrivateKey
//!       bounded         what is it? (no passphrase yet)          passphrase, bounded cost   checked
//!                                                                         write ─▶ PEM
//! ```
//!
//! [`KeyFile::read`] already refuses what can never become a key (a certificate, an elliptic-curve key, a web
//! page), so that nobody is asked for a passphrase in vain. [`KeyFile::decode`] takes the passphrase and
//! yields a [`PrivateKey`], which exists only for an RSA key that passed every check.
//!
//! A key file is hostile input. Its size is bounded before it is read, the cost of its key derivation before
//! it is run, and every buffer of this module that held key material is wiped when it is dropped.

mod der;
mod encrypted;
mod error;
mod jks;
mod legacy;
mod passphrase;
mod pem;
mod pkcs12;
mod read;
mod recognise;
mod rsa;
mod text;
mod write;

use std::{fmt, io, path::Path};

use zeroize::Zeroizing;

use self::{encrypted::Encrypted, legacy::LegacyPem};

pub use self::{error::KeyFileError, passphrase::Passphrase, read::readable_by_others, rsa::PrivateKey};

/// Largest file that is read, in bytes: keystores may carry long certificate chains.
pub const MAX_KEYSTORE_BYTES: usize = 1024 * 1024;

/// Largest PEM or DER key, in bytes. An encrypted RSA 8192 key with a chain of certificates beside it is
/// well below.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// A private key as it was found: recognised, still encrypted where it was.
///
/// Its bytes are wiped on drop and never shown.
pub struct KeyFile(Content);

/// What a key file turned out to hold. Keystores are already opened down to their one key.
enum Content {
    /// PKCS#1 or PKCS#8 DER in the clear.
    Plain(Zeroizing<Vec<u8>>),
    /// An `EncryptedPrivateKeyInfo`: encrypted PKCS#8, or the key of a PKCS#12 or JKS keystore.
    Encrypted(Encrypted),
    /// The body of a PEM with `Proc-Type: 4,ENCRYPTED`.
    LegacyPem(LegacyPem),
}

impl KeyFile {
    /// Reads a key file, at most [`MAX_KEYSTORE_BYTES`] of it.
    ///
    /// Pipes (`/dev/fd/63`, as shells give for `<(command)`) are read while they deliver; devices, sockets
    /// and directories are refused.
    ///
    /// # Errors
    /// Whatever keeps the file from being read, and whatever shows that it holds no usable private key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::from_bytes(read::file(path)?)
    }

    /// Reads a key from a stream such as standard input, to its end or to [`MAX_KEYSTORE_BYTES`].
    ///
    /// # Errors
    /// As [`KeyFile::read`]. Waits for the stream as long as it stays open and silent.
    pub fn from_reader(reader: impl io::Read) -> Result<Self, KeyFileError> {
        Self::from_bytes(read::stream(reader)?)
    }

    /// Recognises a key in bytes that came from elsewhere (a keyring, a systemd credential, the environment).
    ///
    /// # Errors
    /// What shows that the bytes hold no usable private key.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller parts with the key, so that it is wiped here"
    )]
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyFileError> {
        if bytes.len() > MAX_KEYSTORE_BYTES {
            return Err(KeyFileError::TooLarge);
        }
        recognise::content(&bytes).map(Self)
    }

    /// Whether [`KeyFile::decode`] needs a passphrase.
    pub fn needs_passphrase(&self) -> bool {
        !matches!(self.0, Content::Plain(_))
    }

    /// Decrypts the key where it is encrypted, and checks it. A passphrase that is not needed is ignored.
    ///
    /// May be called again after [`KeyFileError::WrongPassphrase`].
    ///
    /// # Errors
    /// A missing or wrong passphrase, or a key that is not a sound two-prime RSA key of 2048 to 8192 bits.
    pub fn decode(&self, passphrase: Option<&Passphrase>) -> Result<PrivateKey, KeyFileError> {
        let plaintext = match (&self.0, passphrase) {
            (Content::Plain(der), _) => return PrivateKey::from_der(der),
            (_, None) => return Err(KeyFileError::PassphraseNeeded),
            (Content::Encrypted(key), Some(passphrase)) => key.decrypt(passphrase)?,
            (Content::LegacyPem(key), Some(passphrase)) => key.decrypt(passphrase)?,
        };
        // About one wrong passphrase in 256 leaves valid padding. What it leaves before the padding is no key
        // structure, and that is a wrong passphrase too.
        PrivateKey::from_der(&plaintext).map_err(|error| match error {
            KeyFileError::Damaged => KeyFileError::WrongPassphrase,
            other => other,
        })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("needs_passphrase", &self.needs_passphrase())
            .finish_non_exhaustive()
    }
}
