//! What a DER structure is, told by the shape of its outermost elements, and the walk through such elements.

use pkcs8::der::{AnyRef, Decode, Header, Reader, SliceReader, Tag, Tagged, asn1::ObjectIdentifier};

use super::KeyFileError;

/// The kinds of structure that people mistake for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `RSAPrivateKey` (RFC 8017).
    Pkcs1,
    /// `PrivateKeyInfo` (RFC 5208, RFC 5958).
    Pkcs8,
    /// `EncryptedPrivateKeyInfo` (RFC 5208).
    EncryptedPkcs8,
    /// `PFX` (RFC 7292).
    Pkcs12,
    /// `Certificate` (RFC 5280), or PKCS#7, in which certificates come in bundles.
    Certificate,
    /// `CertificationRequest` (RFC 2986).
    CertificateRequest,
    /// `SubjectPublicKeyInfo`, or the bare `RSAPublicKey`.
    PublicKey,
    /// `ECPrivateKey` (RFC 5915).
    EcPrivateKey,
    /// OpenSSL's own DSA private key: six integers.
    DsaPrivateKey,
}

/// The elements of a sequence, set or other constructed value, one after the other.
pub(super) struct Elements<'a>(SliceReader<'a>);

impl<'a> Elements<'a> {
    /// Walks through the value of a constructed element.
    pub(super) fn of(value: &'a [u8]) -> Result<Self, KeyFileError> {
        SliceReader::new(value)
            .map(Self)
            .map_err(|_| KeyFileError::Damaged)
    }

    /// The next element, which must be there.
    pub(super) fn next(&mut self) -> Result<AnyRef<'a>, KeyFileError> {
        AnyRef::decode(&mut self.0).map_err(|_| KeyFileError::Damaged)
    }

    /// The value of the next element, which must be there and have this tag.
    pub(super) fn expect(&mut self, tag: Tag) -> Result<&'a [u8], KeyFileError> {
        let element = self.next()?;
        if element.tag() == tag {
            Ok(element.value())
        } else {
            Err(KeyFileError::Damaged)
        }
    }

    /// The next element as an object identifier.
    pub(super) fn oid(&mut self) -> Result<ObjectIdentifier, KeyFileError> {
        self.next()?.decode_as().map_err(|_| KeyFileError::Damaged)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_finished()
    }
}

/// The value of the one sequence that these bytes are.
pub(super) fn sequence(der: &[u8]) -> Result<&[u8], KeyFileError> {
    let mut outer = Elements::of(der)?;
    let value = outer.expect(Tag::Sequence)?;
    if outer.is_empty() {
        Ok(value)
    } else {
        Err(KeyFileError::Damaged)
    }
}

/// The bytes of the sequence that `bytes` begin with, when nothing but white space and NULs follow it.
pub(super) fn document(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let header = Header::decode(&mut reader)
        .ok()
        .filter(|header| header.tag() == Tag::Sequence)?;
    let end = usize::try_from((reader.position() + header.length()).ok()?).ok()?;
    let (document, trailing) = bytes.split_at_checked(end)?;
    trailing
        .iter()
        .all(|byte| byte.is_ascii_whitespace() || *byte == 0)
        .then_some(document)
}

/// What the sequence is, `None` when it is none of the known kinds. Looks at the outermost elements only: the
/// decoder of each kind checks the rest.
pub(super) fn kind(der: &[u8]) -> Option<Kind> {
    let mut outer = Elements::of(sequence(der).ok()?).ok()?;
    let (first, second) = (outer.next().ok()?, outer.next().ok()?);
    let third = outer.next().ok();
    let kind = match (first.tag(), second.tag(), third.map(|third| third.tag())) {
        (Tag::Integer, Tag::Integer, None) => Kind::PublicKey,
        (Tag::Integer, Tag::Integer, Some(Tag::Integer)) => integers(outer),
        (Tag::Integer, Tag::Sequence, Some(Tag::OctetString)) => Kind::Pkcs8,
        (Tag::Integer, Tag::OctetString, _) => Kind::EcPrivateKey,
        (Tag::Integer, Tag::Sequence, _) if first.value() == [3] => Kind::Pkcs12,
        (Tag::Sequence, Tag::OctetString, None) => Kind::EncryptedPkcs8,
        (Tag::Sequence, Tag::BitString, None) => Kind::PublicKey,
        (Tag::Sequence, Tag::Sequence, Some(Tag::BitString)) => signed(first.value())?,
        (Tag::ObjectIdentifier, Tag::ContextSpecific { .. }, None) => Kind::Certificate,
        _ => return None,
    };
    Some(kind)
}

/// Three integers have been seen: six in all are a DSA key, nine an RSA key, ten elements a multi-prime one.
fn integers(mut rest: Elements<'_>) -> Kind {
    let mut seen = 3;
    while rest.next().is_ok() {
        seen += 1;
    }
    if seen == 6 {
        Kind::DsaPrivateKey
    } else {
        Kind::Pkcs1
    }
}

/// Certificates and requests differ in what is signed: a request begins with its version and then the
/// subject's name, a certificate with its version in brackets, or (X.509 v1) its serial number and then an
/// algorithm.
fn signed(content: &[u8]) -> Option<Kind> {
    let mut content = Elements::of(content).ok()?;
    if content.next().ok()?.tag() != Tag::Integer {
        return Some(Kind::Certificate);
    }
    let second = content.expect(Tag::Sequence).ok()?;
    let starts_with_oid = Elements::of(second)
        .ok()?
        .next()
        .is_ok_and(|first| first.tag() == Tag::ObjectIdentifier);
    Some(if starts_with_oid {
        Kind::Certificate
    } else {
        Kind::CertificateRequest
    })
}
