//! X.509 certificates, as far as the user of a key needs to know them: does it belong to the key, when does it end,
//! will Salesforce take it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use jiff::Timestamp;
use sfkey::keyfile::PrivateKey;
use x509_cert::der::{
    self, Decode, Encode,
    pem::{self, LineEnding},
};

use crate::exit::words;

/// Largest certificate, in bytes of PEM, that Salesforce takes.
const MAX_BYTES: usize = 4096;

/// Largest file that is read to find one.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// How long before its end, in seconds, a certificate is spoken of: replacing it at the app takes a person, an
/// approval perhaps, and a cut-over.
const NOTICE_SECONDS: i64 = 30 * 24 * 3600;

/// Where a certificate stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// More than the notice is left.
    Good,
    /// It ends soon.
    Ending,
    /// It has ended.
    Ended,
}

/// A certificate that can be given to Salesforce.
pub(crate) struct Certificate {
    pem: String,
    spki: Vec<u8>,
    subject: String,
    ends_at: Timestamp,
}

/// Why a file gives no such certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// It cannot be read.
    #[error("it cannot be read: {}", words(.0))]
    Unreadable(io::Error),
    /// It is something else.
    #[error("it holds no X.509 certificate, neither as PEM nor as DER")]
    NoCertificate,
    /// It is too long for Salesforce.
    #[error("it has {0} bytes, and Salesforce takes {MAX_BYTES}")]
    TooLarge(usize),
    /// It has ended.
    #[error("it ended on {}", .0.strftime("%Y-%m-%d"))]
    Ended(Timestamp),
    /// It is another key's.
    #[error("it belongs to another key: the public keys differ")]
    OtherKey,
}

impl Certificate {
    /// Reads a PEM or DER file.
    pub(crate) fn read(path: &Path) -> Result<Self, CertificateError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
            .map_err(CertificateError::Unreadable)?;
        Self::parse(&bytes)
    }

    /// Reads PEM or DER. Of several certificates in a PEM the first one counts: it is the key's, and those of its
    /// issuers follow.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        let der = match first_block(bytes) {
            Some(block) => pem::decode_vec(block)
                .ok()
                .filter(|(label, _)| *label == "CERTIFICATE")
                .map(|(_, der)| der),
            None => Some(bytes.to_vec()),
        };
        let der = der.ok_or(CertificateError::NoCertificate)?;
        Self::from_der(&der).map_err(|_| CertificateError::NoCertificate)
    }

    fn from_der(der: &[u8]) -> der::Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let body = certificate.tbs_certificate();
        let ends_at = body.validity().not_after.to_unix_duration().as_secs();
        let ends_at = i64::try_from(ends_at)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Self {
            pem: pem::encode_string("CERTIFICATE", LineEnding::LF, der)?,
            spki: body.subject_public_key_info().to_der()?,
            subject: body.subject().to_string(),
            ends_at: ends_at.unwrap_or(Timestamp::MAX),
        })
    }

    /// Requires that Salesforce takes it at `now`, for the key `key`.
    pub(crate) fn require_good(&self, key: &PrivateKey, now: Timestamp) -> Result<(), CertificateError> {
        if self.spki != key.spki_der() {
            Err(CertificateError::OtherKey)
        } else if self.ends_at <= now {
            Err(CertificateError::Ended(self.ends_at))
        } else if self.pem.len() > MAX_BYTES {
            Err(CertificateError::TooLarge(self.pem.len()))
        } else {
            Ok(())
        }
    }

    /// Where it stands at `now`.
    pub(crate) fn life(&self, now: Timestamp) -> Life {
        match self.ends_at.as_second().saturating_sub(now.as_second()) {
            ..=0 => Life::Ended,
            1..=NOTICE_SECONDS => Life::Ending,
            _ => Life::Good,
        }
    }

    /// Whether it is the key's.
    pub(crate) fn is_of(&self, key: &PrivateKey) -> bool {
        self.spki == key.spki_der()
    }

    /// The certificate as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Whom it names, as RFC 4514 writes it.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// When it ends.
    pub(crate) fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

/// The first PEM block of a text, whatever stands around it.
fn first_block(bytes: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(bytes).ok()?;
    let begin = text.find("-----BEGIN CERTIFICATE-----")?;
    let end = text[begin..].find("-----END CERTIFICATE-----")? + begin + "-----END CERTIFICATE-----".len();
    Some(&bytes[begin..end])
}
