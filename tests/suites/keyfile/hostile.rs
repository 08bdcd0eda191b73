//! No file makes the reader panic, or work for long.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use pkcs8::{
    EncryptedPrivateKeyInfoRef,
    der::{Decode, Encode},
    pkcs5::{EncryptionScheme, pbes2::Kdf},
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use sfkey::keyfile::KeyFileError;

use crate::material::{RSA, decode, refusal};

/// More than any single file may take, on a slow and busy machine without optimisation.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// What the work yields, if it does not take long.
#[track_caller]
pub(crate) fn promptly<T>(work: impl FnOnce() -> T) -> T {
    #[expect(clippy::disallowed_methods, reason = "the time it takes is what is tested")]
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < LONG, "it took {:?}", start.elapsed());
    result
}

/// The key encrypted with these arguments of `openssl pkcs8`, and its key derivation then changed.
fn with_kdf(arguments: &str, change: impl Fn(&mut Kdf)) -> Vec<u8> {
    let der = RSA.openssl_with_passphrase(&format!("pkcs8 -topk8 -in key.pem -outform DER {arguments}"));
    let mut info = EncryptedPrivateKeyInfoRef::from_der(&der).expect("openssl wrote it");
    let EncryptionScheme::Pbes2(parameters) = &mut info.encryption_algorithm else {
        panic!("openssl wrote PBES2")
    };
    change(&mut parameters.kdf);
    info.to_der().expect("it can be encoded")
}

fn iterations(number: u32) -> impl Fn(&mut Kdf) {
    move |kdf| match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count = number,
        _ => panic!("this is PBKDF2"),
    }
}

fn scrypt(n: u64, r: u16, p: u16) -> impl Fn(&mut Kdf) {
    move |kdf| match kdf {
        Kdf::Scrypt(parameters) => {
            (
                parameters.cost_parameter,
                parameters.block_size,
                parameters.parallelization,
            ) = (n, r, p);
        }
        _ => panic!("this is scrypt"),
    }
}

#[test]
fn a_costly_key_derivation_is_refused_before_it_is_run() {
    let pbkdf2 = "-v2 aes-256-cbc -v2prf hmacWithSHA512";
    for number in [2_666_667, 100_000_000] {
        assert_eq!(
            promptly(|| refusal(with_kdf(pbkdf2, iterations(number)))),
            KeyFileError::TooCostly
        );
    }
    for (n, r, p) in [
        (1 << 18, 8, 1),
        (1 << 40, 8, 1),
        (2, 1, u16::MAX),
        (1 << 14, u16::MAX, u16::MAX),
    ] {
        assert_eq!(
            promptly(|| refusal(with_kdf("-scrypt", scrypt(n, r, p)))),
            KeyFileError::TooCostly
        );
    }
    for (n, r, p) in [(0, 8, 1), (3, 8, 1), (1 << 14, 0, 1), (1 << 14, 8, 0)] {
        assert_eq!(
            promptly(|| refusal(with_kdf("-scrypt", scrypt(n, r, p)))),
            KeyFileError::Damaged
        );
    }
}

#[test]
fn a_costly_keystore_is_refused_before_its_key_derivation_is_run() {
    for arguments in ["", "-legacy"] {
        let export = format!("pkcs12 -export -inkey key.pem -in certificate.pem -iter 1000000 {arguments}");
        let mut p12 = RSA.openssl_with_passphrase(&export);
        assert!(
            promptly(|| decode(p12.clone())).is_ok(),
            "a million iterations are allowed"
        );
        let (million, largest) = ([2, 3, 0x0F, 0x42, 0x40], [2, 3, 0x7F, 0xFF, 0xFF]);
        while let Some(at) = p12.windows(million.len()).position(|window| window == million) {
            p12[at..at + largest.len()].copy_from_slice(&largest);
        }
        assert_eq!(promptly(|| refusal(p12)), KeyFileError::TooCostly, "{arguments}");
    }
}

#[test]
fn the_costliest_key_derivations_that_are_allowed_end_in_time() {
    let wrong = |bytes: Vec<u8>| promptly(|| refusal(bytes));
    for (hash, number) in [("SHA1", 4_000_000), ("SHA256", 8_000_000), ("SHA512", 2_666_666)] {
        let arguments = format!("-v2 aes-256-cbc -v2prf hmacWith{hash}");
        assert_eq!(
            wrong(with_kdf(&arguments, iterations(number))),
            KeyFileError::WrongPassphrase,
            "{hash}"
        );
    }
    for (n, r, p) in [(1 << 17, 8, 1), (1 << 10, 8, 128), (64, 1, 1 << 14)] {
        assert_eq!(
            wrong(with_kdf("-scrypt", scrypt(n, r, p))),
            KeyFileError::WrongPassphrase,
            "{n} {r} {p}"
        );
    }
}

/// Sound key files, one of each kind, to be damaged.
static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let p12 = "pkcs12 -export -inkey key.pem -in certificate.pem";
    vec![
        RSA.pem(),
        RSA.pkcs1_der(),
        RSA.openssl("pkcs8 -topk8 -nocrypt -in key.pem -outform DER"),
        RSA.openssl_with_passphrase("pkcs8 -topk8 -in key.pem"),
        RSA.openssl_with_passphrase("pkcs8 -topk8 -in key.pem -outform DER"),
        RSA.openssl_with_passphrase("pkcs8 -topk8 -in key.pem -outform DER -scrypt"),
        RSA.openssl_with_passphrase("pkcs8 -topk8 -in key.pem -outform DER -v1 PBE-SHA1-3DES"),
        RSA.openssl_with_passphrase("rsa -in key.pem -traditional -aes256"),
        RSA.openssl_with_passphrase(p12),
        RSA.openssl_with_passphrase(&format!("{p12} -legacy")),
        include_bytes!("fixtures/one-key.jks").to_vec(),
    ]
});

/// One kind of damage, at a place given as a fraction of the file.
#[derive(Debug, Clone)]
enum Damage {
    Set(f64, u8),
    Cut(f64),
    Remove(f64, usize),
    Insert(f64, Vec<u8>),
    Repeat(f64, usize),
}

impl Damage {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "any place will do"
    )]
    fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let place = |fraction: f64| ((fraction * length as f64) as usize).min(length.saturating_sub(1));
        match self {
            _ if length == 0 => {}
            Self::Set(at, byte) => bytes[place(at)] = byte,
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Remove(at, count) => drop(bytes.drain(place(at)..length.min(place(at) + count))),
            Self::Insert(at, new) => drop(bytes.splice(place(at)..place(at), new)),
            Self::Repeat(at, count) => {
                let piece = bytes[place(at)..length.min(place(at) + count)].to_vec();
                bytes.splice(place(at)..place(at), piece);
            }
        }
    }
}

/// Half of the places are within the first bytes, where the structure of DER is decided.
fn damage() -> impl Strategy<Value = Damage> {
    let place = || prop_oneof![0.0..0.06, 0.0..1.0];
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (
            place(),
            prop_oneof![Just(0x00), Just(0x7F), Just(0x80), Just(0x84), Just(0xFF)]
        )
            .prop_map(|(at, byte)| Damage::Set(at, byte)),
        place().prop_map(Damage::Cut),
        (place(), 1_usize..40).prop_map(|(at, count)| Damage::Remove(at, count)),
        (place(), proptest::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, new)| Damage::Insert(at, new)),
        (place(), 1_usize..200).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_key(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(promptly(|| decode(bytes)).is_err());
    }

    #[test]
    fn arbitrary_text_that_looks_like_a_key_is_no_key(text in "(-----BEGIN (RSA |ENCRYPTED |)PRIVATE KEY-----|-----END [A-Z ]{0,20}-----|DEK-Info:|[A-Za-z0-9+/=\\\\ \n]{0,40}){0,12}") {
        prop_assert!(promptly(|| decode(text)).is_err());
    }

    #[test]
    fn damaged_key_files_neither_panic_nor_take_long(which in 0_usize..11, damages in proptest::collection::vec(damage(), 1..5)) {
        let mut bytes = SOUND[which].clone();
        for damage in damages {
            damage.apply(&mut bytes);
        }
        // Whether the exponents still fit each other is the agent's to see; the modulus is checked here.
        if let Ok(key) = promptly(|| decode(bytes)) {
            prop_assert!((2048..=8192).contains(&key.bits()));
        }
    }
}
