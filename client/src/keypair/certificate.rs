//! A self-signed certificate, and the request for one that a CA signs.

use std::time::Duration;

use aws_lc_rs::{rand::SystemRandom, signature::RSA_PKCS1_SHA256};
use jiff::Timestamp;
use pkcs8::{
    Document, EncodePublicKey,
    spki::{self, DynSignatureAlgorithmIdentifier, SignatureBitStringEncoding},
};
use signature::{Keypair, Signer};
use x509_cert::{
    TbsCertificate,
    builder::{self, Builder, CertificateBuilder, profile::BuilderProfile},
    der::{
        self, Decode, EncodePem,
        asn1::{BitString, ObjectIdentifier},
        pem::LineEnding,
    },
    ext::{
        Extension, ToExtension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier},
    },
    name::Name,
    request::RequestBuilder,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
    time::{Time, Validity},
};

use super::{KeyPair, Subject};
use crate::exit::{Cause, Failure};

/// For how many days a certificate is good unless told otherwise.
pub(crate) const DEFAULT_DAYS: u32 = 365;

/// Longest life of a certificate in days: twenty years.
pub(crate) const MAX_DAYS: u32 = 7300;

/// A certificate is good from a little before it was made, for the clocks of two machines differ.
const BACKDATED_SECONDS: i64 = 300;

/// Largest certificate that Salesforce takes.
const MAX_CERTIFICATE_BYTES: usize = 4 * 1024;

/// Bytes of a serial number: RFC 5280 allows 20.
const SERIAL_BYTES: usize = 16;

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// A certificate, and when it ends.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) not_after: Timestamp,
}

impl KeyPair {
    /// A certificate for this key, signed by itself with SHA-256, good for `days` from `now`.
    pub(crate) fn certificate(
        &self,
        subject: &Subject,
        days: u32,
        now: Timestamp,
    ) -> Result<Certificate, Failure> {
        let not_after = now.as_second() + i64::from(days) * 86_400;
        let pem = self
            .self_signed(subject, now.as_second() - BACKDATED_SECONDS, not_after)
            .map_err(|error| unsigned(&error))?;
        if pem.len() >= MAX_CERTIFICATE_BYTES {
            return Err(Failure::new(
                Cause::Usage,
                "the certificate would be larger than the 4 KB that Salesforce takes",
                "give a shorter --subject",
            ));
        }
        let not_after = Timestamp::from_second(not_after).expect("twenty years from now is a time");
        Ok(Certificate { pem, not_after })
    }

    fn self_signed(&self, subject: &Subject, from: i64, to: i64) -> builder::Result<String> {
        let mut serial = [0; SERIAL_BYTES];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| signature::Error::new())?;
        // Positive, and of this length whatever the chance.
        serial[0] = serial[0] & 0x7f | 0x40;
        let builder = CertificateBuilder::new(
            OwnCertificate(subject.name().clone()),
            SerialNumber::new(&serial)?,
            Validity::new(time(from)?, time(to)?),
            SubjectPublicKeyInfoOwned::from_der(self.private().spki_der())?,
        )?;
        Ok(builder.build::<_, Signature>(self)?.to_pem(LineEnding::LF)?)
    }

    /// A request for a certificate of this key, as PEM.
    pub(crate) fn request(&self, subject: &Subject) -> Result<String, Failure> {
        let request = || -> builder::Result<String> {
            let builder = RequestBuilder::new(subject.name().clone())?;
            Ok(builder.build::<_, Signature>(self)?.to_pem(LineEnding::LF)?)
        };
        request().map_err(|error| unsigned(&error))
    }
}

fn unsigned(error: &builder::Error) -> Failure {
    Failure::new(Cause::Key, format!("signing failed: {error}"), "run it again")
}

/// Seconds since 1970 as a certificate tells them.
fn time(seconds: i64) -> der::Result<Time> {
    let since_1970 = Duration::from_secs(seconds.try_into().unwrap_or_default());
    Time::try_from(std::time::UNIX_EPOCH + since_1970)
}

/// What stands in the certificate of somebody who signs assertions and nothing else.
struct OwnCertificate(Name);

impl BuilderProfile for OwnCertificate {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        own_key: SubjectPublicKeyInfoRef<'_>,
        _issuers_key: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let subject = certificate.subject();
        let no_authority = BasicConstraints {
            ca: false,
            path_len_constraint: None,
        };
        Ok(vec![
            SubjectKeyIdentifier::try_from(own_key)?.to_extension(subject, &[])?,
            no_authority.to_extension(subject, &[])?,
            KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(subject, &[])?,
        ])
    }
}

/// An RSA signature with SHA-256, PKCS#1 v1.5.
pub(super) struct Signature(Vec<u8>);

impl SignatureBitStringEncoding for Signature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}

impl Signer<Signature> for KeyPair {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        let mut signature = vec![0; self.signer.public_modulus_len()];
        self.signer
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| signature::Error::new())?;
        Ok(Signature(signature))
    }
}

/// The public half, as DER `SubjectPublicKeyInfo`.
#[derive(Clone)]
pub(crate) struct PublicKey(Vec<u8>);

impl Keypair for KeyPair {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        PublicKey(self.private().spki_der().to_vec())
    }
}

impl EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.as_slice())?)
    }
}

impl DynSignatureAlgorithmIdentifier for KeyPair {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned {
            oid: SHA256_WITH_RSA,
            parameters: Some(der::asn1::Null.into()),
        })
    }
}
