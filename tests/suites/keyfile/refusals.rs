//! What is no usable private key is refused by name, with a next step.

use std::{fs, process::Command};

use base64ct::{Base64, Encoding};
use pkcs1::{
    RsaPrivateKeyRef,
    der::{AnyRef, Decode, Encode, Tag, asn1::UintRef},
};
use sfkey::keyfile::{KeyFile, KeyFileError};
use zeroize::Zeroizing;

use crate::material::{RSA, assert_key, decode, passphrase, refusal};

#[test]
fn a_certificate_a_request_and_a_public_key_are_called_what_they_are() {
    for (command, expected) in [
        ("x509 -in certificate.pem", KeyFileError::Certificate),
        (
            "x509 -in certificate.pem -trustout -addtrust serverAuth",
            KeyFileError::Certificate,
        ),
        (
            "crl2pkcs7 -nocrl -certfile certificate.pem",
            KeyFileError::Certificate,
        ),
        (
            "req -new -key key.pem -subj /CN=sfkey",
            KeyFileError::CertificateRequest,
        ),
        ("pkey -in key.pem -pubout", KeyFileError::PublicKey),
        ("rsa -in key.pem -RSAPublicKey_out", KeyFileError::PublicKey),
    ] {
        let pem = RSA.openssl(command);
        assert_eq!(refusal(pem.clone()), expected, "{command}");
        assert_eq!(
            refusal(Base64::encode_string(&pem)),
            expected,
            "base64 of {command}"
        );
        if !command.contains("trust") {
            assert_eq!(
                refusal(RSA.openssl(&format!("{command} -outform DER"))),
                expected,
                "DER of {command}"
            );
        }
    }
    assert_eq!(
        refusal("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC somebody@host\n"),
        KeyFileError::PublicKey
    );
    assert_eq!(refusal("ecdsa-sha2-nistp256 AAAA= x"), KeyFileError::PublicKey);
}

#[test]
fn keys_of_other_algorithms_are_named() {
    for (make, name) in [
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "an elliptic-curve (EC) key",
        ),
        ("genpkey -algorithm ED25519", "an Ed25519 key"),
        ("genpkey -algorithm X25519", "an X25519 key"),
        (
            "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
            "restricted to PSS signatures",
        ),
    ] {
        RSA.openssl(&format!("{make} -out other.pem"));
        for encode in ["-nocrypt", "-nocrypt -outform DER", "-passout pass:@"] {
            let file = RSA.openssl(&format!("pkcs8 -topk8 -in other.pem {encode}"));
            assert_eq!(refusal(file), KeyFileError::NotRsa(name), "{make}, {encode}");
        }
    }
}

#[test]
fn elliptic_curve_and_dsa_keys_in_their_own_formats_are_named() {
    let ec = RSA.openssl("ecparam -genkey -name prime256v1");
    assert_eq!(refusal(ec), KeyFileError::NotRsa("an elliptic-curve (EC) key"));
    RSA.openssl("ecparam -genkey -noout -name prime256v1 -out ec.pem");
    assert_eq!(
        refusal(RSA.openssl("ec -in ec.pem -outform DER")),
        KeyFileError::NotRsa("an elliptic-curve (EC) key")
    );
    let encrypted = RSA.openssl_with_passphrase("pkcs8 -topk8 -in ec.pem");
    assert_eq!(
        refusal(encrypted),
        KeyFileError::NotRsa("an elliptic-curve (EC) key")
    );

    RSA.openssl("dsaparam -genkey -noout -out dsa.pem 1024");
    for command in [
        "dsa -in dsa.pem",
        "dsa -in dsa.pem -outform DER",
        "pkcs8 -topk8 -nocrypt -in dsa.pem",
    ] {
        assert_eq!(
            refusal(RSA.openssl(command)),
            KeyFileError::NotRsa("a DSA key"),
            "{command}"
        );
    }
}

#[test]
fn keys_of_ssh_programs_come_with_the_command_that_converts_them() {
    let block = |name: &str| {
        let content = [&b"openssh-key-v1\0\0\0\0\x04none"[..], name.as_bytes()].concat();
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            Base64::encode_string(&content)
        )
    };
    assert_eq!(refusal(block("ssh-rsa")), KeyFileError::OpenSsh);
    assert_eq!(
        refusal(block("ssh-ed25519")),
        KeyFileError::NotRsa("an OpenSSH key that is not RSA")
    );
    assert!(
        KeyFileError::OpenSsh
            .fix("id_rsa")
            .contains("ssh-keygen -p -m PKCS8")
    );
    let putty = refusal("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n");
    assert_eq!(
        (putty.clone(), putty.fix("k.ppk").contains("puttygen k.ppk")),
        (KeyFileError::Putty, true)
    );
}

#[test]
fn pages_settings_and_noise_are_told_apart() {
    assert_eq!(refusal(""), KeyFileError::Empty);
    assert_eq!(refusal(" \r\n\t"), KeyFileError::Empty);
    assert_eq!(
        refusal(" {\"privateKey\": \"/home/me/server.key\"}"),
        KeyFileError::Json
    );
    assert_eq!(refusal("[]"), KeyFileError::Json);
    assert_eq!(
        refusal("<!DOCTYPE html><title>Login</title>"),
        KeyFileError::Markup
    );
    assert_eq!(
        refusal("<?xml version='1.0'?><RSAKeyValue/>"),
        KeyFileError::Markup
    );
    assert_eq!(refusal("404: Not Found"), KeyFileError::Unrecognised);
    assert_eq!(refusal("server"), KeyFileError::Unrecognised);
    assert_eq!(
        refusal([0x7F, b'E', b'L', b'F', 2, 1, 1]),
        KeyFileError::Unrecognised
    );
    assert_eq!(refusal(vec![b'?'; 70_000]), KeyFileError::TooLarge);
    assert_eq!(refusal(vec![b'A'; 2_000_000]), KeyFileError::TooLarge);
    assert_eq!(
        refusal([RSA.pem(), vec![b' '; 70_000]].concat()),
        KeyFileError::TooLarge
    );
    assert_eq!(
        refusal([&[0x30, 0x80][..], &[0; 50]].concat()),
        KeyFileError::UnsupportedKeystore
    );
}

#[test]
fn several_keys_in_one_file_are_refused_with_their_number() {
    assert_eq!(refusal(RSA.pem().repeat(3)), KeyFileError::SeveralKeys(3));
    let ec = RSA.openssl("ecparam -genkey -noout -name prime256v1");
    assert_eq!(refusal([RSA.pem(), ec].concat()), KeyFileError::SeveralKeys(2));
}

#[test]
fn obsolete_encryption_is_refused_before_the_passphrase_with_a_command_that_works() {
    let legacy = "-provider legacy -provider default";
    for scheme in [
        "PBE-MD5-DES",
        "PBE-SHA1-DES",
        "PBE-SHA1-RC2-40",
        "PBE-SHA1-RC4-128",
    ] {
        let pem = RSA.openssl_with_passphrase(&format!("pkcs8 -topk8 -in key.pem -v1 {scheme} {legacy}"));
        assert_eq!(refusal(pem), KeyFileError::UnsupportedEncryption, "{scheme}");
    }
    let pem = RSA.openssl_with_passphrase(&format!("rsa -in key.pem -traditional -des {legacy}"));
    assert_eq!(refusal(pem.clone()), KeyFileError::UnsupportedEncryption);

    fs::write(RSA.path("obsolete.pem"), pem).expect("the directory is writable");
    let fix = KeyFileError::UnsupportedEncryption.fix("obsolete.pem");
    converts(&fix, "-passin pass:\"$P\" -passout pass:\"$P\"");
}

#[test]
fn an_unreadable_keystore_comes_with_a_command_that_works() {
    let p12 = RSA.openssl_with_passphrase(
        "pkcs12 -export -inkey key.pem -in certificate.pem -legacy -keypbe PBE-SHA1-RC2-40",
    );
    assert_eq!(refusal(p12.clone()), KeyFileError::UnsupportedKeystore);
    fs::write(RSA.path("old.p12"), p12).expect("the directory is writable");
    converts(
        &KeyFileError::UnsupportedKeystore.fix("old.p12"),
        "-passin pass:\"$P\" -passout pass:\"$P\"",
    );
}

/// Runs a recipe where its prompts are answered, in a directory of its own, and reads what it wrote.
fn converts(recipe: &str, answers: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    for name in ["obsolete.pem", "old.p12"] {
        if RSA.path(name).exists() {
            fs::copy(RSA.path(name), dir.path().join(name)).expect("the directory is writable");
        }
    }
    let output = Command::new("sh")
        .args(["-c", &format!("{recipe} {answers}")])
        .env("P", crate::material::PASSPHRASE)
        .current_dir(dir.path())
        .output()
        .expect("there is a shell");
    assert!(
        output.status.success(),
        "{recipe}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_key(
        recipe,
        fs::read(dir.path().join("key.pem")).expect("the recipe wrote the key"),
    );
}

#[test]
fn keys_that_are_too_short_or_have_too_many_primes_are_refused() {
    assert_eq!(refusal(RSA.openssl("genrsa 1024")), KeyFileError::TooShort(1024));
    assert_eq!(refusal(RSA.openssl("genrsa 2047")), KeyFileError::TooShort(2047));
    assert_eq!(
        refusal(RSA.openssl("genrsa -primes 3 2048")),
        KeyFileError::MultiPrime
    );
}

/// A change to one number of a sound key.
type Change = fn(&mut RsaPrivateKeyRef<'_>);

const ONE: &[u8] = &[1];
const EVEN: &[u8] = &[1, 0, 0];
const LONG: &[u8] = &[0xFF; 1025];
const HUGE: &[u8] = &[0xFF; 70_000];
const LONGER_THAN_N: &[u8] = &[0x55; 257];

fn number(bytes: &'static [u8]) -> UintRef<'static> {
    UintRef::new(bytes).expect("a number this short fits")
}

#[test]
fn numbers_that_cannot_belong_together_are_refused() {
    let changes: [(&str, Change, KeyFileError); 13] = [
        (
            "modulus of 70 kB",
            |key| key.modulus = number(HUGE),
            KeyFileError::TooLarge,
        ),
        (
            "modulus of 8200 bits",
            |key| key.modulus = number(LONG),
            KeyFileError::TooLong(8200),
        ),
        (
            "modulus of one",
            |key| key.modulus = number(ONE),
            KeyFileError::TooShort(1),
        ),
        (
            "another modulus",
            |key| key.modulus = number(LONGER_THAN_N),
            KeyFileError::Inconsistent,
        ),
        (
            "even exponent",
            |key| key.public_exponent = number(EVEN),
            KeyFileError::Inconsistent,
        ),
        (
            "exponent of one",
            |key| key.public_exponent = number(ONE),
            KeyFileError::Inconsistent,
        ),
        (
            "long exponent",
            |key| key.public_exponent = number(LONGER_THAN_N),
            KeyFileError::Inconsistent,
        ),
        (
            "long private exponent",
            |key| key.private_exponent = number(LONGER_THAN_N),
            KeyFileError::Inconsistent,
        ),
        (
            "no private exponent",
            |key| key.private_exponent = number(&[0]),
            KeyFileError::Inconsistent,
        ),
        (
            "the same prime twice",
            |key| key.prime1 = key.prime2,
            KeyFileError::Inconsistent,
        ),
        (
            "a prime of one",
            |key| (key.prime1, key.prime2) = (number(ONE), key.modulus),
            KeyFileError::Inconsistent,
        ),
        (
            "long first exponent",
            |key| key.exponent1 = key.modulus,
            KeyFileError::Inconsistent,
        ),
        (
            "long coefficient",
            |key| key.coefficient = key.modulus,
            KeyFileError::Inconsistent,
        ),
    ];
    let der = RSA.pkcs1_der();
    for (what, change, expected) in changes {
        let mut key = RsaPrivateKeyRef::from_der(&der).expect("a good key");
        change(&mut key);
        assert_eq!(
            refusal(key.to_der().expect("it can be encoded")),
            expected,
            "{what}"
        );
    }
    assert!(decode(der).is_ok(), "the unchanged key is sound");
}

#[test]
fn a_key_that_was_cut_off_is_damaged_not_something_else() {
    let pem = RSA.pem();
    for length in [40, 100, 1000, pem.len() - 20] {
        assert_eq!(
            refusal(&pem[..length]),
            KeyFileError::Damaged,
            "{length} bytes of PEM"
        );
    }
    let der = RSA.pkcs1_der();
    for length in [2, 5, 300, der.len() - 1] {
        assert_eq!(
            refusal(&der[..length]),
            KeyFileError::Damaged,
            "{length} bytes of DER"
        );
    }
    let encrypted =
        String::from_utf8(RSA.openssl_with_passphrase("pkcs8 -topk8 -in key.pem")).expect("PEM is ASCII");
    let mut lines: Vec<_> = encrypted.lines().collect();
    lines.remove(10);
    assert_eq!(
        refusal(lines.join("\n")),
        KeyFileError::Damaged,
        "a line is missing"
    );
}

#[test]
fn a_ciphertext_that_was_cut_off_is_damaged_before_a_passphrase_is_asked_for() {
    for (arguments, block) in [("-v2 aes-128-cbc", 16), ("-v2 des3", 8), ("-v1 PBE-SHA1-3DES", 8)] {
        let der = RSA.openssl_with_passphrase(&format!("pkcs8 -topk8 -in key.pem -outform DER {arguments}"));
        let parts: Vec<AnyRef<'_>> = Vec::from_der(&der).expect("openssl wrote a sequence");
        let ciphertext = parts[1].value();
        for missing in [1, block - 1, ciphertext.len()] {
            let rest = &ciphertext[..ciphertext.len() - missing];
            let rest = AnyRef::new(Tag::OctetString, rest).expect("it is short");
            let cut = vec![parts[0], rest].to_der().expect("it can be encoded");
            assert_eq!(refusal(cut), KeyFileError::Damaged, "{arguments}, {missing}");
        }
    }
}

#[test]
fn a_wrong_passphrase_is_wrong_even_when_its_garbage_is_padded_well() {
    let pem = RSA.openssl_with_passphrase("rsa -in key.pem -traditional -aes128");
    let file = KeyFile::from_bytes(Zeroizing::new(pem)).expect("a good key");
    // One in 256 leaves valid padding: among 4000, more than one is certain.
    for attempt in 0..4000 {
        let error = file
            .decode(Some(&passphrase(&format!("guess {attempt}"))))
            .expect_err("it is a guess");
        assert_eq!(error, KeyFileError::WrongPassphrase, "guess {attempt}");
    }
}

#[test]
fn every_error_is_one_line_and_so_is_its_fix() {
    use KeyFileError as E;
    let all = [
        E::NotFound,
        E::PermissionDenied,
        E::Io(std::io::ErrorKind::Other),
        E::Directory,
        E::NotAFile,
        E::SilentPipe,
        E::TooLarge,
        E::Empty,
        E::Certificate,
        E::CertificateRequest,
        E::PublicKey,
        E::NotRsa("a DSA key"),
        E::OpenSsh,
        E::Putty,
        E::Json,
        E::Markup,
        E::Unrecognised,
        E::Damaged,
        E::SeveralKeys(2),
        E::NoKeyInKeystore,
        E::UnsupportedKeystore,
        E::Jceks,
        E::UnsupportedEncryption,
        E::TooCostly,
        E::PassphraseNeeded,
        E::WrongPassphrase,
        E::TooShort(1024),
        E::TooLong(16384),
        E::MultiPrime,
        E::Inconsistent,
    ];
    let what: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(what.len(), all.len(), "each says something of its own");
    for error in all {
        let (what, fix) = (error.to_string(), error.fix("server.key"));
        assert!(!what.is_empty() && !what.contains('\n'), "{what}");
        assert!(fix.len() > 10 && !fix.contains('\n'), "{fix}");
    }
}
