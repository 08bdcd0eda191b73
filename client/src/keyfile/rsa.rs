//! An RSA private key that passed every check the client can make without doing RSA.

use std::fmt::{self, Write as _};

use pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::{
    PrivateKeyInfoRef,
    der::{
        Decode, Encode,
        asn1::{BitStringRef, ObjectIdentifier, UintRef},
    },
    spki::SubjectPublicKeyInfoRef,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    KeyFileError,
    der::{self, Kind},
};

/// Shortest modulus, in bits, that Salesforce and the agent accept.
const MIN_BITS: usize = 2048;

/// Longest modulus, in bits, that the agent's library signs with.
const MAX_BITS: usize = 8192;

/// Longest public exponent, in bits, that the agent's library accepts; in practice it is 65537.
const MAX_EXPONENT_BITS: usize = 33;

/// A two-prime RSA private key of 2048 to 8192 bits, as PKCS#1 DER. Wiped on drop, never shown.
///
/// Its lengths are sane and its modulus is the product of its primes. Whether the exponents belong to it is
/// checked by the agent, which does RSA.
pub struct PrivateKey {
    pkcs1: Zeroizing<Vec<u8>>,
    bits: usize,
    spki: Vec<u8>,
}

impl PrivateKey {
    /// The key as DER `RSAPrivateKey` (RFC 8017, appendix A.1.2).
    pub fn pkcs1_der(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs1
    }

    /// The length of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The public key as DER `SubjectPublicKeyInfo` (RFC 5280), for comparing with that of a certificate.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 over [`PrivateKey::spki_der`] as 64 lower-case hexadecimal digits, the same as
    /// `openssl pkey -in KEY -pubout -outform DER | sha256sum`.
    pub fn spki_fingerprint(&self) -> String {
        Sha256::digest(&self.spki)
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
    }

    /// Takes PKCS#1 or PKCS#8 DER. Anything that is no key structure is `Damaged`.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyFileError> {
        match der::kind(der) {
            Some(Kind::Pkcs1) => Self::from_pkcs1(der),
            Some(Kind::Pkcs8) => Self::from_pkcs8(der),
            Some(Kind::EcPrivateKey) => Err(KeyFileError::NotRsa("an elliptic-curve (EC) key")),
            Some(Kind::DsaPrivateKey) => Err(KeyFileError::NotRsa("a DSA key")),
            _ => Err(KeyFileError::Damaged),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFileError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyFileError::Damaged)?;
        if info.algorithm.oid != pkcs1::ALGORITHM_OID {
            return Err(KeyFileError::NotRsa(algorithm_name(info.algorithm.oid)));
        }
        Self::from_pkcs1(info.private_key.as_bytes())
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyFileError> {
        let key = RsaPrivateKeyRef::from_der(der).map_err(|_| KeyFileError::Damaged)?;
        if key.other_prime_infos.is_some() {
            return Err(KeyFileError::MultiPrime);
        }
        let bits = check(&key)?;
        let spki = spki(&key.public_key()).map_err(|_| KeyFileError::Damaged)?;
        Ok(Self {
            pkcs1: Zeroizing::new(der.to_vec()),
            bits,
            spki,
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("bits", &self.bits)
            .field("spki_fingerprint", &self.spki_fingerprint())
            .finish_non_exhaustive()
    }
}

fn spki(public_key: &RsaPublicKeyRef<'_>) -> pkcs8::der::Result<Vec<u8>> {
    let public_key = public_key.to_der()?;
    let subject_public_key = BitStringRef::from_bytes(&public_key)?;
    SubjectPublicKeyInfoRef {
        algorithm: pkcs1::ALGORITHM_ID,
        subject_public_key,
    }
    .to_der()
}

/// The length of the modulus, if the numbers can belong to one key.
fn check(key: &RsaPrivateKeyRef<'_>) -> Result<usize, KeyFileError> {
    let bits = bit_length(key.modulus);
    if bits < MIN_BITS {
        return Err(KeyFileError::TooShort(bits));
    }
    if bits > MAX_BITS {
        return Err(KeyFileError::TooLong(bits));
    }
    let exponent_bits = bit_length(key.public_exponent);
    let sound = is_odd(key.modulus)
        && is_odd(key.public_exponent)
        && (2..=MAX_EXPONENT_BITS).contains(&exponent_bits)
        && is_below(key.private_exponent, key.modulus)
        && is_below(key.exponent1, key.prime1)
        && is_below(key.exponent2, key.prime2)
        && is_below(key.coefficient, key.prime1)
        && is_product(key.prime1, key.prime2, key.modulus);
    if sound {
        Ok(bits)
    } else {
        Err(KeyFileError::Inconsistent)
    }
}

/// Integers come without leading zeros, but for the one byte of zero itself.
fn bit_length(number: UintRef<'_>) -> usize {
    let bytes = number.as_bytes();
    bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize)
}

fn is_odd(number: UintRef<'_>) -> bool {
    number.as_bytes().last().is_some_and(|last| last % 2 == 1)
}

fn is_below(number: UintRef<'_>, limit: UintRef<'_>) -> bool {
    let (number_bits, limit_bits) = (bit_length(number), bit_length(limit));
    number_bits > 0 && (number_bits, number.as_bytes()) < (limit_bits, limit.as_bytes())
}

/// Whether `p · q = n`, both factors being longer than a byte.
fn is_product(p: UintRef<'_>, q: UintRef<'_>, n: UintRef<'_>) -> bool {
    let (p, q, n) = (p.as_bytes(), q.as_bytes(), n.as_bytes());
    let length = p.len() + q.len();
    if p.len() < 2 || q.len() < 2 || !(n.len()..=n.len() + 1).contains(&length) {
        return false;
    }
    let mut product = Zeroizing::new(vec![0_u8; length]);
    for (row, a) in p.iter().enumerate().rev() {
        let mut carry = 0_u16;
        for (column, b) in q.iter().enumerate().rev() {
            // 255 · 255 + 255 + 255 is exactly the largest 16-bit number.
            let sum = u16::from(*a) * u16::from(*b) + u16::from(product[row + column + 1]) + carry;
            let [high, low] = sum.to_be_bytes();
            product[row + column + 1] = low;
            carry = u16::from(high);
        }
        product[row] = carry.to_be_bytes()[1];
    }
    let (leading, rest) = product.split_at(length - n.len());
    rest == n && leading.iter().all(|byte| *byte == 0)
}

fn algorithm_name(oid: ObjectIdentifier) -> &'static str {
    const NAMES: [(ObjectIdentifier, &str); 7] = [
        (
            ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"),
            "an elliptic-curve (EC) key",
        ),
        (ObjectIdentifier::new_unwrap("1.3.101.112"), "an Ed25519 key"),
        (ObjectIdentifier::new_unwrap("1.3.101.113"), "an Ed448 key"),
        (ObjectIdentifier::new_unwrap("1.3.101.110"), "an X25519 key"),
        (ObjectIdentifier::new_unwrap("1.2.840.10040.4.1"), "a DSA key"),
        (
            ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1"),
            "a Diffie-Hellman key",
        ),
        (
            ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"),
            "restricted to PSS signatures",
        ),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == oid)
        .map_or("no RSA key", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use pkcs8::der::asn1::UintRef;

    use super::{is_below, is_product};

    fn number(bytes: &[u8]) -> UintRef<'_> {
        UintRef::new(bytes).expect("a short number")
    }

    #[test]
    fn a_product_is_told_from_its_neighbours() {
        let (p, q) = (0xFFFF_FFFB_u32, 0xFFFF_FFFF_u32);
        let n = u64::from(p) * u64::from(q);
        let product = |n: u64| {
            is_product(
                number(&p.to_be_bytes()),
                number(&q.to_be_bytes()),
                number(&n.to_be_bytes()),
            )
        };
        assert!(product(n));
        assert!(!product(n + 1) && !product(n - 1) && !product(n ^ 1 << 63) && !product(n >> 8));
        assert!(is_product(number(&[1, 1]), number(&[1, 1]), number(&[1, 2, 1])));
        assert!(!is_product(number(&[1]), number(&[1, 2, 1]), number(&[1, 2, 1])));
    }

    #[test]
    fn numbers_are_ordered_by_length_first_and_zero_is_below_nothing() {
        assert!(is_below(number(&[0xFF]), number(&[1, 0])));
        assert!(is_below(number(&[1, 0]), number(&[1, 1])));
        assert!(!is_below(number(&[1, 1]), number(&[1, 1])));
        assert!(!is_below(number(&[0]), number(&[1])));
    }
}
