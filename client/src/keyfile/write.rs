//! Writing a key as PKCS#8 PEM, encrypted or in the clear.

use std::io;

use pkcs8::{
    PrivateKeyInfoRef, SecretDocument,
    der::{
        asn1::OctetStringRef,
        pem::{LineEnding, PemLabel},
    },
    pkcs5::pbes2::Parameters,
};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use super::{Passphrase, PrivateKey};

/// Iterations of PBKDF2 with SHA-256 that OWASP recommends. A third of a second of one core; every program
/// that reads encrypted PKCS#8 reads it, which cannot be said of scrypt.
const PBKDF2_ITERATIONS: u32 = 600_000;

impl PrivateKey {
    /// The key as unencrypted PKCS#8 (`BEGIN PRIVATE KEY`), which every program reads.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let document = SecretDocument::encode_msg(&self.info()).expect("a checked key is valid DER");
        pem(&document, PrivateKeyInfoRef::PEM_LABEL)
    }

    /// The key as encrypted PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`): PBES2 with AES-256-CBC under PBKDF2 with
    /// SHA-256. OpenSSL 1.1 and later read it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn to_encrypted_pem(&self, passphrase: &Passphrase) -> io::Result<Zeroizing<String>> {
        let salt: [u8; 16] = random()?;
        let iv: [u8; 16] = random()?;
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(PBKDF2_ITERATIONS, &salt, iv)
            .expect("the lengths of salt and vector are right");
        let document = self
            .info()
            .encrypt_with_params(parameters, passphrase.expose())
            .expect("a checked key is valid DER, and these parameters can be used");
        Ok(pem(&document, "ENCRYPTED PRIVATE KEY"))
    }

    fn info(&self) -> PrivateKeyInfoRef<'_> {
        let key = OctetStringRef::new(self.pkcs1_der()).expect("a key is shorter than DER allows");
        PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, key)
    }
}

fn pem(document: &SecretDocument, label: &'static str) -> Zeroizing<String> {
    document
        .to_pem(label, LineEnding::LF)
        .expect("the label is valid, and the length is counted first")
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}
