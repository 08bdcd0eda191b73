//! Key files in every format, with the passphrases of the seeds.
//!
//! Input: the file. The cost of a key derivation is bounded by the parser; the run bounds the time of an input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfkey::keyfile::{KeyFile, KeyFileError, Passphrase, PrivateKey};
use sfkey_fuzz::text;
use zeroize::Zeroizing;

/// Of the seeds that are encrypted: those of openssl, and the keystore of Java.
const PASSPHRASES: [&str; 2] = ["pass wörd", "key-secret"];

fuzz_target!(|input: &[u8]| {
    let file = match read(input) {
        Ok(file) => file,
        Err(refused) => return assert_refused(&refused),
    };
    let locked = file.needs_passphrase();
    match (locked, file.decode(None)) {
        (true, unopened) => assert_eq!(unopened.err(), Some(KeyFileError::PassphraseNeeded)),
        (false, key) => assert_key(&key.expect("a key in the clear was checked when it was read")),
    }
    let mut keys = Vec::new();
    for passphrase in PASSPHRASES {
        match file.decode(Some(&self::passphrase(passphrase))) {
            Ok(key) => keys.push(key),
            Err(refused) => assert_refused(&refused),
        }
    }
    keys.iter().for_each(assert_key);
    match (locked, &keys[..]) {
        (true, [] | [_]) => {}
        (false, [one, other]) => assert!(one.pkcs1_der() == other.pkcs1_der(), "two keys in one file"),
        _ => panic!("{} passphrases of 2 open a file, locked: {locked}", keys.len()),
    }
});

fn read(bytes: &[u8]) -> Result<KeyFile, KeyFileError> {
    KeyFile::from_bytes(Zeroizing::new(bytes.to_vec()))
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(Zeroizing::new(text.to_owned()))
}

/// What is shown of a refusal is one line that is made of the project's own words.
fn assert_refused(refused: &KeyFileError) {
    text::assert_shown(&refused.to_string(), 200);
    text::assert_shown(&refused.fix("server.key"), 200);
    assert!(refused.to_string().is_ascii() && refused.fix("server.key").is_ascii());
}

/// A key is in the bounds, and is read again from what the agent is sent, in any disguise of text.
fn assert_key(key: &PrivateKey) {
    assert!((2048..=8192).contains(&key.bits()));
    let der = key.pkcs1_der();
    let modulus = modulus(der);
    assert_eq!(modulus.len(), key.bits().div_ceil(8));
    let within = |bytes: &[u8]| bytes.windows(modulus.len()).any(|window| window == modulus);
    assert!(within(key.spki_der()), "the public key is another one's");
    let fingerprint = key.spki_fingerprint();
    assert!(
        fingerprint.len() == 64
            && fingerprint
                .bytes()
                .all(|digit| b"0123456789abcdef".contains(&digit))
    );
    let base64 = base64(der);
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{base64}\n-----END RSA PRIVATE KEY-----\n");
    for disguise in [
        der.to_vec(),
        base64.into_bytes(),
        pem.replace('\n', "\\n").into_bytes(),
        pem.into_bytes(),
    ] {
        let same = read(&disguise)
            .and_then(|file| file.decode(None))
            .expect("the same key");
        assert!(same.pkcs1_der() == der && same.spki_fingerprint() == fingerprint);
    }
}

/// The modulus of a DER `RSAPrivateKey` whose lengths take two bytes each: SEQUENCE, version, INTEGER.
fn modulus(der: &[u8]) -> &[u8] {
    let [0x30, 0x82, _, _, 2, 1, 0, 2, 0x82, high, low, rest @ ..] = der else {
        panic!("no RSAPrivateKey begins like {:x?}", &der[..12.min(der.len())])
    };
    let number = &rest[..usize::from(*high) << 8 | usize::from(*low)];
    number.strip_prefix(&[0]).unwrap_or(number)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let bits = (0..3).fold(0_u32, |bits, at| {
            bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        let digit = move |at: u32| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        let count = chunk.len() as u32 + 1;
        (0..4).map(move |at| if at < count { digit(at) } else { '=' })
    };
    bytes.chunks(3).flat_map(digits).collect()
}
