//! Making what an account needs: an RSA key, and a certificate or a request for one.
//!
//! ```text
//! generate ─▶ KeyPair ─ PrivateKey::to_encrypted_pem ─▶ server.key ┐
//!                     ─ certificate, request ─────────▶ server.crt ┴ files: all or none, and over nothing
//! ```
//!
//! aws-lc-rs makes the numbers and the signatures, as in the agent. Nothing of it runs in other commands.

mod certificate;
mod files;
mod strength;
mod subject;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
};
use sfkey::keyfile::{KeyFile, PrivateKey};
use zeroize::Zeroizing;

pub(crate) use self::{
    certificate::{DEFAULT_DAYS, MAX_DAYS},
    files::{NewFile, create, refuse_existing},
    strength::Strength,
    subject::Subject,
};
use crate::exit::{Cause, Failure};

/// Length of a new key's modulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bits {
    /// What Salesforce's guide uses, and good until 2030 by NIST SP 800-57.
    #[value(name = "2048")]
    Rsa2048,
    #[value(name = "3072")]
    Rsa3072,
    #[value(name = "4096")]
    Rsa4096,
}

/// An RSA key that can sign for itself.
pub(crate) struct KeyPair {
    private: PrivateKey,
    signer: rsa::KeyPair,
}

impl KeyPair {
    /// Makes a new key. Takes from a tenth of a second to some seconds.
    pub(crate) fn generate(bits: Bits) -> Result<Self, Failure> {
        let size = match bits {
            Bits::Rsa2048 => rsa::KeySize::Rsa2048,
            Bits::Rsa3072 => rsa::KeySize::Rsa3072,
            Bits::Rsa4096 => rsa::KeySize::Rsa4096,
        };
        let signer = rsa::KeyPair::generate(size).map_err(|_| unusable("no RSA key could be made"))?;
        let pkcs8: Pkcs8V1Der<'_> = signer
            .as_der()
            .map_err(|_| unusable("the new key cannot be written down"))?;
        let private = KeyFile::from_bytes(Zeroizing::new(pkcs8.as_ref().to_vec()))
            .and_then(|file| file.decode(None))
            .map_err(|error| unusable(&error.to_string()))?;
        Ok(Self { private, signer })
    }

    /// A key that exists already.
    pub(crate) fn of(private: PrivateKey) -> Result<Self, Failure> {
        match rsa::KeyPair::from_der(private.pkcs1_der()) {
            Ok(signer) => Ok(Self { private, signer }),
            Err(_) => Err(Failure::new(
                Cause::Key,
                "the numbers of the RSA key do not belong together",
                "make a new key pair: sfkey keygen",
            )),
        }
    }

    /// The key, for writing it down.
    pub(crate) fn private(&self) -> &PrivateKey {
        &self.private
    }
}

fn unusable(detail: &str) -> Failure {
    Failure::new(
        Cause::Key,
        format!("making a key failed: {detail}"),
        "run it again",
    )
}
