//! Keys made by the real `openssl` when the tests start, and the calls the tests share.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

use sfkey::keyfile::{KeyFile, KeyFileError, Passphrase, PrivateKey};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// The passphrase of everything that is encrypted here, with a letter outside ASCII.
pub(crate) const PASSPHRASE: &str = "pass wörd";

/// One RSA 2048 key, made once for all tests, and a certificate for it.
pub(crate) static RSA: LazyLock<Material> = LazyLock::new(Material::new);

pub(crate) struct Material {
    dir: TempDir,
}

impl Material {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let material = Self { dir };
        material.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem");
        material.openssl("req -new -x509 -key key.pem -subj /CN=sfkey -days 30 -out certificate.pem");
        material
    }

    /// Runs openssl in the directory of the key. Arguments are split at blanks; `@` stands for the
    /// passphrase.
    pub(crate) fn openssl(&self, arguments: &str) -> Vec<u8> {
        let arguments = arguments
            .split_ascii_whitespace()
            .map(|argument| argument.replace('@', PASSPHRASE));
        let output = Command::new("openssl")
            .args(arguments.clone())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("these tests need the program openssl, version 3");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "openssl {:?}: {complaint}",
            arguments.collect::<Vec<_>>()
        );
        output.stdout
    }

    /// The same for a command that encrypts.
    pub(crate) fn openssl_with_passphrase(&self, arguments: &str) -> Vec<u8> {
        self.openssl(&format!("{arguments} -passout pass:@"))
    }

    /// The PKCS#8 PEM itself.
    pub(crate) fn pem(&self) -> Vec<u8> {
        fs::read(self.path("key.pem")).expect("openssl wrote the key")
    }

    /// What every format of the key must decode to, by OpenSSL's own account.
    pub(crate) fn pkcs1_der(&self) -> Vec<u8> {
        self.openssl("rsa -in key.pem -traditional -outform DER")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Reads and decodes bytes as a key file, with the passphrase when one is needed.
pub(crate) fn decode(bytes: impl Into<Vec<u8>>) -> Result<PrivateKey, KeyFileError> {
    decode_with(bytes, PASSPHRASE)
}

pub(crate) fn decode_with(bytes: impl Into<Vec<u8>>, passphrase: &str) -> Result<PrivateKey, KeyFileError> {
    let file = KeyFile::from_bytes(Zeroizing::new(bytes.into()))?;
    file.decode(
        file.needs_passphrase()
            .then(|| self::passphrase(passphrase))
            .as_ref(),
    )
}

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(Zeroizing::new(text.to_owned()))
}

/// Why the bytes are no key.
pub(crate) fn refusal(bytes: impl Into<Vec<u8>>) -> KeyFileError {
    decode(bytes).expect_err("this is no usable key")
}

/// Asserts that the bytes are encrypted, and decode to the one key.
#[track_caller]
pub(crate) fn assert_encrypted_key(what: &str, bytes: impl Into<Vec<u8>>) {
    let bytes = bytes.into();
    let file =
        KeyFile::from_bytes(Zeroizing::new(bytes.clone())).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(file.needs_passphrase(), "{what} is encrypted");
    assert_eq!(
        file.decode(None).err(),
        Some(KeyFileError::PassphraseNeeded),
        "{what}"
    );
    assert_eq!(
        file.decode(Some(&passphrase("pass word"))).err(),
        Some(KeyFileError::WrongPassphrase),
        "{what}"
    );
    assert_key(what, bytes);
}

/// Asserts that the bytes decode to the one key.
#[track_caller]
pub(crate) fn assert_key(what: &str, bytes: impl Into<Vec<u8>>) {
    let key = decode(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        **key.pkcs1_der() == RSA.pkcs1_der(),
        "{what} decodes to another key"
    );
}
