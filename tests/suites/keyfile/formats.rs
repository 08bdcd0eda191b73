//! Every format that developers have decodes to what OpenSSL decodes it to.

use base64ct::{Base64, Encoding};
use sfkey::keyfile::{KeyFile, KeyFileError, Passphrase};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::material::{PASSPHRASE, RSA, assert_encrypted_key, assert_key, decode, decode_with, passphrase};

const ONE_KEY_JKS: &[u8] = include_bytes!("fixtures/one-key.jks");
const TWO_KEYS_JKS: &[u8] = include_bytes!("fixtures/two-keys.jks");
const JAVA_P12: &[u8] = include_bytes!("fixtures/java.p12");
const JAVA_LEGACY_P12: &[u8] = include_bytes!("fixtures/java-legacy.p12");
const NO_KEY_JKS: &[u8] = include_bytes!("fixtures/no-key.jks");

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traditional_pem() -> String {
    String::from_utf8(RSA.openssl("rsa -in key.pem -traditional")).expect("PEM is ASCII")
}

fn pkcs8_pem() -> String {
    String::from_utf8(RSA.pem()).expect("PEM is ASCII")
}

/// A PEM as editors, shells, chat programs and CI systems pass it on.
fn disguises(pem: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        mark.into_iter()
            .chain(pem.encode_utf16().flat_map(bytes))
            .collect()
    };
    let base64 = Base64::encode_string(pem.as_bytes());
    let wrapped: Vec<_> = base64
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    vec![
        ("as it is", pem.into()),
        ("CRLF", pem.replace('\n', "\r\n").into()),
        ("CR", pem.replace('\n', "\r").into()),
        ("no final line end", pem.trim_end().into()),
        ("trailing blanks", pem.replace('\n', "  \t\n").into()),
        ("indented", pem.replace('\n', "\n    ").into()),
        ("empty lines", pem.replace('\n', "\n\n").into()),
        ("literal line ends", pem.replace('\n', "\\n").into()),
        ("literal CRLF", pem.replace('\n', "\\r\\n").into()),
        ("twice escaped", pem.replace('\n', "\\\\n").into()),
        (
            "quoted in an env file",
            format!("KEY=\"{}\"\n", pem.replace('\n', "\\n")).into(),
        ),
        (
            "inside JSON",
            format!("{{\"key\": \"{}\"}}", pem.replace('\n', "\\n")).into(),
        ),
        ("blanks for line ends", pem.replace('\n', " ").into()),
        ("nothing for line ends", pem.replace('\n', "").into()),
        (
            "text around",
            format!("Bag Attributes\n    localKeyID: 01\n{pem}\nthe end").into(),
        ),
        ("byte order mark", format!("\u{feff}{pem}").into()),
        ("UTF-16 of PowerShell", utf16([0xFF, 0xFE], u16::to_le_bytes)),
        ("UTF-16 big-endian", utf16([0xFE, 0xFF], u16::to_be_bytes)),
        ("base64", base64.clone().into()),
        ("wrapped base64", wrapped.join("\n").into()),
        ("unpadded base64", base64.trim_end_matches('=').into()),
        (
            "base64 of base64",
            Base64::encode_string(base64.as_bytes()).into(),
        ),
    ]
}

#[test]
fn unencrypted_keys_are_read_in_pem_and_der_and_base64_of_each() {
    let pkcs8 = RSA.openssl("pkcs8 -topk8 -nocrypt -in key.pem -outform DER");
    for der in [RSA.pkcs1_der(), pkcs8] {
        assert_key("base64 of DER", Base64::encode_string(&der));
        assert_key("DER with a line end", [&der[..], b"\r\n"].concat());
        assert_key("DER", der);
    }
    for pem in [pkcs8_pem(), traditional_pem()] {
        for (disguise, bytes) in disguises(&pem) {
            assert_key(disguise, bytes);
        }
    }
}

#[test]
fn a_key_with_a_wrong_label_or_beside_certificates_is_read() {
    assert_key(
        "PKCS#8 labelled PKCS#1",
        pkcs8_pem().replace("PRIVATE", "RSA PRIVATE"),
    );
    assert_key("PKCS#1 labelled PKCS#8", traditional_pem().replace("RSA ", ""));
    let certificate = String::from_utf8(RSA.openssl("x509 -in certificate.pem")).expect("PEM is ASCII");
    assert_key("certificate first", certificate.clone() + &pkcs8_pem());
    assert_key("certificate last", pkcs8_pem() + &certificate + &certificate);
}

#[test]
fn an_unencrypted_key_asks_for_no_passphrase_and_ignores_one() {
    let file = KeyFile::from_bytes(Zeroizing::new(RSA.pem())).expect("a good key");
    assert!(!file.needs_passphrase());
    assert!(file.decode(None).is_ok());
    assert!(file.decode(Some(&passphrase("anything"))).is_ok());
}

#[test]
fn encrypted_pkcs8_is_read_with_every_cipher_and_every_hash() {
    let ciphers = ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3"];
    let hashes = ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"];
    for cipher in ciphers {
        for hash in hashes {
            let arguments = format!("-v2 {cipher} -v2prf hmacWith{hash}");
            assert_encrypted_key(&arguments, pkcs8(&arguments));
        }
        let arguments = format!("-v2 {cipher} -scrypt");
        assert_encrypted_key(&arguments, pkcs8(&arguments));
    }
    assert_encrypted_key("PBE-SHA1-3DES", pkcs8("-v1 PBE-SHA1-3DES"));
    assert_encrypted_key("DER", pkcs8("-v2 aes-256-cbc -outform DER"));
    let pem = String::from_utf8(pkcs8("-v2 aes-256-cbc")).expect("PEM is ASCII");
    for (disguise, bytes) in disguises(&pem) {
        assert_encrypted_key(disguise, bytes);
    }
}

fn pkcs8(arguments: &str) -> Vec<u8> {
    RSA.openssl_with_passphrase(&format!("pkcs8 -topk8 -in key.pem {arguments}"))
}

#[test]
fn legacy_encrypted_pem_is_read_with_every_cipher() {
    for cipher in ["aes128", "aes192", "aes256", "des3"] {
        let pem = RSA.openssl_with_passphrase(&format!("rsa -in key.pem -traditional -{cipher}"));
        let pem = String::from_utf8(pem).expect("PEM is ASCII");
        assert!(
            pem.contains("Proc-Type: 4,ENCRYPTED"),
            "openssl wrote the old format"
        );
        for (disguise, bytes) in disguises(&pem) {
            // Without any white space the header's end cannot be told from the base64.
            if disguise != "nothing for line ends" {
                assert_encrypted_key(&format!("{cipher}, {disguise}"), bytes);
            }
        }
    }
}

#[test]
fn pkcs12_is_read_as_new_and_old_openssl_write_it() {
    let export = "pkcs12 -export -inkey key.pem -in certificate.pem";
    for arguments in [
        "",
        " -legacy",
        " -descert",
        " -keypbe PBE-SHA1-3DES",
        " -keypbe aes-128-cbc -macalg sha512",
        " -nomac",
        " -name ä",
    ] {
        assert_encrypted_key(
            arguments,
            RSA.openssl_with_passphrase(&format!("{export}{arguments}")),
        );
    }
    let p12 = RSA.openssl_with_passphrase(export);
    assert_encrypted_key("base64 of PKCS#12", Base64::encode_string(&p12));
    assert_key(
        "unencrypted PKCS#12",
        RSA.openssl_with_passphrase(&format!("{export} -keypbe NONE -certpbe NONE")),
    );
}

#[test]
fn pkcs12_with_an_empty_passphrase_is_read() {
    for arguments in ["", " -legacy"] {
        let p12 = RSA.openssl(&format!(
            "pkcs12 -export -inkey key.pem -in certificate.pem -passout pass:{arguments}"
        ));
        assert!(decode_with(p12.clone(), "").is_ok(), "{arguments}");
        assert_eq!(decode_with(p12, "x").err(), Some(KeyFileError::WrongPassphrase));
    }
}

#[test]
fn pkcs12_without_exactly_one_key_is_refused() {
    let nothing = RSA.openssl_with_passphrase("pkcs12 -export -nokeys -in certificate.pem");
    assert_eq!(decode(nothing).err(), Some(KeyFileError::NoKeyInKeystore));
    let rc2 = RSA.openssl_with_passphrase(
        "pkcs12 -export -inkey key.pem -in certificate.pem -legacy -keypbe PBE-SHA1-RC2-40",
    );
    assert_eq!(decode(rc2).err(), Some(KeyFileError::UnsupportedKeystore));
}

/// Made by `keytool -genkeypair -storetype PKCS12 -storepass store-secret -keyalg RSA -keysize 2048`, one
/// with `-J-Dkeystore.pkcs12.legacy=true`; the fingerprints come from openssl.
#[test]
fn pkcs12_is_read_as_new_and_old_java_write_it() {
    for (keystore, fingerprint) in [
        (
            JAVA_P12,
            "ad8ce33fcd78876d6430ac8df1f0146ba1484ead6dfc954d1c006b07647980c4",
        ),
        (
            JAVA_LEGACY_P12,
            "ff391357bacc30819d5caf6ef489e159dc283baac7e6a996c977b32c62e23b3a",
        ),
    ] {
        let key = decode_with(keystore, "store-secret").expect("the keystore's one key");
        assert_eq!(key.spki_fingerprint(), fingerprint);
        assert_eq!(
            decode_with(keystore, "store-secre").err(),
            Some(KeyFileError::WrongPassphrase)
        );
    }
}

/// The keystores were made by `keytool -genkeypair -storetype JKS -storepass store-secret -keypass key-secret
/// -keyalg RSA -keysize 2048`; the digests come from `keytool -importkeystore -deststoretype PKCS12` and
/// openssl.
#[test]
fn jks_is_read_with_the_passphrase_of_the_key() {
    let key = decode_with(ONE_KEY_JKS, "key-secret").expect("the keystore's one key");
    assert_eq!(
        key.spki_fingerprint(),
        "2f060ce6dffb22df994d19b4d106c84f4c95e9d24b42a64d57493d5e184f176a"
    );
    let digest = hexadecimal(&Sha256::digest(&key.pkcs1_der()[..]));
    assert_eq!(
        digest,
        "a0037cc9ce259eb9a02a5cf55a2084ab4270828d66ce143e1cee32b924ad23b3"
    );
    assert!(decode_with(Base64::encode_string(ONE_KEY_JKS), "key-secret").is_ok());

    assert_eq!(
        decode_with(ONE_KEY_JKS, "store-secret").err(),
        Some(KeyFileError::WrongPassphrase)
    );
    assert_eq!(
        decode_with(TWO_KEYS_JKS, "key-secret").err(),
        Some(KeyFileError::SeveralKeys(2))
    );
    assert_eq!(
        decode_with(NO_KEY_JKS, "key-secret").err(),
        Some(KeyFileError::NoKeyInKeystore)
    );
    assert_eq!(
        decode_with([0xCE, 0xCE, 0xCE, 0xCE, 0, 0, 0, 2], "").err(),
        Some(KeyFileError::Jceks)
    );
}

#[test]
fn a_jks_key_that_was_altered_is_refused_by_its_digest() {
    // Where the algorithm 1.3.6.1.4.1.42.2.17.1.1 is named; the private exponent is some hundred bytes on.
    let algorithm = [0x2B, 6, 1, 4, 1, 0x2A, 2, 0x11, 1, 1];
    let mut keystore = ONE_KEY_JKS.to_vec();
    let at = keystore
        .windows(algorithm.len())
        .position(|window| window == algorithm);
    keystore[at.expect("keytool wrote it") + 500] ^= 1;
    assert_eq!(
        decode_with(keystore, "key-secret").err(),
        Some(KeyFileError::WrongPassphrase)
    );
}

#[test]
fn a_truncated_jks_is_damaged_wherever_it_ends() {
    // The last 20 bytes are the keystore's own digest, which is not needed.
    for length in 4..ONE_KEY_JKS.len() - 20 {
        assert_eq!(
            decode_with(&ONE_KEY_JKS[..length], "key-secret").err(),
            Some(KeyFileError::Damaged),
            "{length}"
        );
    }
}

#[test]
fn the_fingerprint_and_the_length_are_those_that_openssl_shows() {
    let key = decode(RSA.pem()).expect("a good key");
    let spki = RSA.openssl("pkey -in key.pem -pubout -outform DER");
    let expected = hexadecimal(&Sha256::digest(&spki));
    assert_eq!((key.spki_fingerprint(), key.bits()), (expected, 2048));
    assert_eq!(key.spki_der(), spki);

    RSA.openssl("genrsa -out 3072.pem 3072");
    let longer = decode(std::fs::read(RSA.path("3072.pem")).expect("openssl wrote it")).expect("a good key");
    assert_eq!(longer.bits(), 3072);
}

#[test]
fn nothing_secret_shows_in_debug_output() {
    let file = KeyFile::from_bytes(Zeroizing::new(RSA.pem())).expect("a good key");
    let key = file.decode(None).expect("a good key");
    let shown = format!(
        "{file:?} {key:?} {:?}",
        Passphrase::new(Zeroizing::new(PASSPHRASE.into()))
    );
    let expected = format!(
        "KeyFile {{ needs_passphrase: false, .. }} PrivateKey {{ bits: 2048, spki_fingerprint: {:?}, .. }} Passphrase([redacted])",
        key.spki_fingerprint()
    );
    assert_eq!(shown, expected);
}
