//! Assertions: reading and checking those that clients send, and making some for tests.
//!
//! Signatures are checked with aws-lc-rs directly, so that a mistake in the JWT library of a client under test
//! cannot hide behind the same mistake here.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use x509_cert::Certificate;
use x509_cert::der::DecodePem as _;

/// Salesforce takes certificates of at most so many bytes.
const MAX_CERTIFICATE: usize = 4096;

/// An assertion taken apart, its signature not yet checked.
pub(super) struct Assertion<'a> {
    pub(super) header: Value,
    pub(super) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

/// `exp` of an assertion.
#[derive(Debug, PartialEq)]
pub(super) enum Expiry {
    Missing,
    Unreadable,
    /// Seconds since 1970.
    At(f64),
}

impl<'a> Assertion<'a> {
    /// Takes a compact JWS apart; nothing unless it has three parts, of which two are JSON objects.
    pub(super) fn parse(compact: &'a str) -> Option<Self> {
        let (signed, signature) = compact.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = json_object(header)?;
        let claims = json_object(claims)?;
        Some(Self {
            header,
            claims,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether the header asks for the one algorithm that Salesforce takes.
    pub(super) fn is_rs256(&self) -> bool {
        self.header.get("alg").and_then(Value::as_str) == Some("RS256")
    }

    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// `aud` may be one text or, as RFC 7519 allows, a list.
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        }
    }

    pub(super) fn expiry(&self) -> Expiry {
        let seconds = match self.claims.get("exp") {
            None | Some(Value::Null) => return Expiry::Missing,
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        seconds
            .filter(|seconds: &f64| seconds.is_finite())
            .map_or(Expiry::Unreadable, Expiry::At)
    }

    /// Whether the signature was made with the key of `certificate` (PEM).
    pub(super) fn is_signed_by(&self, certificate: &str) -> bool {
        let Ok(key) = public_key(certificate) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

fn json_object(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

/// The `RSAPublicKey` (PKCS#1 DER) of a certificate, or why it cannot be put on an app.
pub(super) fn public_key(certificate: &str) -> Result<Vec<u8>, String> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    if certificate.len() > MAX_CERTIFICATE {
        return Err(format!(
            "it has {} bytes, and an app takes at most {MAX_CERTIFICATE}",
            certificate.len()
        ));
    }
    let certificate = Certificate::from_pem(certificate.trim()).map_err(|cause| cause.to_string())?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid.to_string() != RSA {
        return Err("its key is not an RSA key".to_owned());
    }
    Ok(key.subject_public_key.raw_bytes().to_vec())
}

/// A private key and the certificate to put on an app. `Debug` does not show the key.
#[derive(Clone)]
pub struct AppKey {
    /// The private key, PKCS#8 in PEM.
    pub private_key_pem: String,
    /// The self-signed certificate in PEM.
    pub certificate_pem: String,
    pkcs8: Vec<u8>,
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl AppKey {
    /// Makes an RSA key of 2048 bits and a certificate for it.
    #[must_use]
    pub fn generate() -> Self {
        Self::of_size(rcgen::RsaKeySize::_2048)
    }

    /// Makes an RSA key of 4096 bits and a certificate for it. That can take a second or two.
    #[must_use]
    pub fn generate_4096() -> Self {
        Self::of_size(rcgen::RsaKeySize::_4096)
    }

    fn of_size(size: rcgen::RsaKeySize) -> Self {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)
            .expect("aws-lc-rs makes RSA keys of this size");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "salesforce-sim app");
        let certificate = params.self_signed(&key).expect("the parameters are valid");
        Self {
            private_key_pem: key.serialize_pem(),
            certificate_pem: certificate.pem(),
            pkcs8: key.serialize_der(),
        }
    }
}

/// A compact JWS of `claims` under `header`, signed with `key` (RS256, whatever the header says).
#[must_use]
pub fn sign_assertion(key: &AppKey, header: &Value, claims: &Value) -> String {
    let pair = KeyPair::from_pkcs8(&key.pkcs8).expect("the key was made by AppKey");
    sign(&pair, header, claims)
}

/// The same with a key pair of aws-lc-rs.
pub(super) fn sign(pair: &KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("the signature has the length of the modulus");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
