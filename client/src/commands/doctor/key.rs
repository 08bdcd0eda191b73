//! Can the key be read, by nobody else, and does the certificate belong to it?

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use jiff::Timestamp;
use sfkey::{
    keyfile::{KeyFileError, Passphrase, readable_by_others},
    proto::AccountName,
};
use sha2::{Digest, Sha256};
use x509_cert::{
    Certificate,
    der::{Decode, DecodePem, Encode},
};

use super::{Report, setup::Setup};
use crate::{
    commands::Invocation,
    config::AccountEntry,
    exit::{Failure, words},
    output::{Finding, Output},
    quote,
    secrets::{self, Purpose, Reference, keyring::Unlock},
};

/// Largest certificate that Salesforce takes, in bytes.
const MAX_CERTIFICATE_BYTES: u64 = 4096;

/// A certificate that ends within this time deserves attention: replacing it takes an administrator.
const SOON_SECONDS: i64 = 30 * 24 * 3600;

pub(super) fn check(
    invocation: &Invocation<'_>,
    setup: &Setup,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let (Some(name), Some(entry)) = (&setup.name, &setup.entry) else {
        return Ok(());
    };
    let own = key(invocation, name, entry, report)?;
    let loaded = setup
        .loaded
        .as_ref()
        .map(|account| account.key_fingerprint.clone());
    if let (Some(own), Some(loaded)) = (&own, &loaded)
        && own != loaded
    {
        report.add(Finding::warning(
            "key",
            format!("{name} is loaded with another key than the configuration names"),
            format!("sfkey add {name} --replace"),
        ))?;
    }
    match &entry.certificate {
        Some(path) => certificate(path, own.or(loaded).as_deref(), invocation.now, report),
        None => Ok(()),
    }
}

/// Reads the key as far as nobody needs to be asked, and returns the fingerprint of its public half.
fn key(
    invocation: &Invocation<'_>,
    name: &AccountName,
    entry: &AccountEntry,
    report: &mut Report<'_>,
) -> Result<Option<String>, Failure> {
    let Some(reference) = entry.key.as_ref().filter(|key| **key != Reference::StandardInput) else {
        return Ok(None);
    };
    // What it would say aloud is said by the checks here.
    let silent = Output::new(true);
    let file = match secrets::read_key(
        reference,
        Some(name),
        Unlock::Never,
        &invocation.environment,
        &silent,
    ) {
        Ok(file) => file,
        Err(failure) => {
            report.fail("key", &failure)?;
            return Ok(None);
        }
    };
    let passphrase = match (&entry.passphrase, file.needs_passphrase()) {
        (Some(kept), true) => {
            match secrets::read(
                kept,
                Purpose::Passphrase(name),
                Unlock::Never,
                &invocation.environment,
                &silent,
            ) {
                Ok(passphrase) => Some(Passphrase::new(passphrase)),
                Err(failure) => {
                    report.fail("key", &failure)?;
                    return Ok(None);
                }
            }
        }
        _ => None,
    };
    match file.decode(passphrase.as_ref()) {
        Ok(key) => {
            report.add(readable(name, reference, &format!("RSA of {} bits", key.bits())))?;
            Ok(Some(key.spki_fingerprint()))
        }
        Err(KeyFileError::PassphraseNeeded) => {
            report.add(readable(
                name,
                reference,
                "encrypted, its passphrase is asked for",
            ))?;
            Ok(None)
        }
        Err(error) => {
            report.fail("key", &secrets::key_failure(reference, &error))?;
            Ok(None)
        }
    }
}

/// A key that can be read; the worse if others can read it too.
fn readable(name: &AccountName, reference: &Reference, what: &str) -> Finding {
    if let Reference::File(path) = reference
        && let Some(mode) = readable_by_others(path)
    {
        let word = quote::word(&path.to_string_lossy());
        return Finding::failed(
            "key",
            format!("others can read {} (mode {mode:04o})", path.display()),
            format!("chmod go= {word}   (and make another key if others use this machine)"),
        );
    }
    Finding::ok(
        "key",
        format!("the key of {name} can be read: {what}, {reference}"),
    )
}

fn certificate(
    path: &Path,
    key: Option<&str>,
    now: Timestamp,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let place = path.display();
    let parsed = match read(path) {
        Ok(parsed) => parsed,
        Err(why) => {
            let fix = format!(
                "openssl x509 -noout -subject -in {}",
                quote::word(&path.to_string_lossy())
            );
            return report.add(Finding::failed("certificate", format!("{place}: {why}"), fix));
        }
    };
    report.add(validity(&place.to_string(), &parsed, now))?;
    let Some(key) = key else {
        return report.add(Finding::warning(
            "key_certificate",
            "the key is encrypted, so it cannot be compared with the certificate before it is loaded",
            "sfkey add NAME, then sfkey doctor NAME",
        ));
    };
    report.add(if parsed.fingerprint == key {
        Finding::ok("key_certificate", "the certificate belongs to the key")
    } else {
        Finding::failed(
            "key_certificate",
            format!(
                "{place} is the certificate of another key: its key is {}, ours is {}",
                parsed.fingerprint, key
            ),
            "name the key that belongs to the app's certificate, or upload the certificate of this key",
        )
    })
}

/// What matters of a certificate.
struct Parsed {
    /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`).
    fingerprint: String,
    /// UTC epoch seconds.
    begins: i64,
    /// UTC epoch seconds.
    ends: i64,
}

fn read(path: &Path) -> Result<Parsed, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| words(&error))?;
    let kind = file.metadata().map_err(|error| words(&error))?;
    if !kind.is_file() {
        return Err("it is no file".to_owned());
    }
    file.take(MAX_CERTIFICATE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error: io::Error| words(&error))?;
    if bytes.len() as u64 > MAX_CERTIFICATE_BYTES {
        return Err("it is longer than 4 KB, the most that Salesforce takes".to_owned());
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let certificate = if bytes.starts_with(b"-----") {
        Certificate::from_pem(bytes.trim_ascii_end())
    } else {
        Certificate::from_der(bytes)
    };
    let certificate = certificate.map_err(|_| "it holds no certificate (X.509, PEM or DER)".to_owned())?;
    let inner = certificate.tbs_certificate();
    let key = inner.subject_public_key_info().to_der();
    let key = key.map_err(|_| "its public key is damaged".to_owned())?;
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Ok(Parsed {
        fingerprint: hexadecimal(&Sha256::digest(&key)),
        begins: seconds(inner.validity().not_before.to_unix_duration()),
        ends: seconds(inner.validity().not_after.to_unix_duration()),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn validity(place: &str, certificate: &Parsed, now: Timestamp) -> Finding {
    let now = now.as_second();
    let day = |seconds: i64| match Timestamp::from_second(seconds) {
        Ok(at) => at.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a day far away".to_owned(),
    };
    let (begins, ends) = (day(certificate.begins), day(certificate.ends));
    let renew = "make another certificate for the key, and upload it to the app: openssl req -new -x509 -sha256 -days 365 -key KEY -out NEW.crt -subj /CN=sfkey";
    if certificate.ends <= now {
        Finding::failed("certificate", format!("{place} ended on {ends}"), renew)
    } else if certificate.begins > now {
        let fix = "check this machine's clock, or make another certificate";
        Finding::failed("certificate", format!("{place} begins on {begins} only"), fix)
    } else if certificate.ends - now < SOON_SECONDS {
        Finding::warning("certificate", format!("{place} ends on {ends}"), renew)
    } else {
        Finding::ok("certificate", format!("{place} ends on {ends}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Standing;

    const DAY: i64 = 24 * 3600;

    fn judged(begins: i64, ends: i64) -> Standing {
        let certificate = Parsed {
            fingerprint: String::new(),
            begins,
            ends,
        };
        let now = Timestamp::from_second(100 * DAY).expect("a moment");
        validity("server.crt", &certificate, now).status
    }

    #[test]
    fn a_certificate_that_ended_fails_and_one_that_ends_soon_is_a_warning() {
        assert_eq!(judged(0, 131 * DAY), Standing::Ok);
        assert_eq!(judged(0, 129 * DAY), Standing::Warning);
        assert_eq!(judged(0, 100 * DAY), Standing::Failed);
        assert_eq!(judged(101 * DAY, 200 * DAY), Standing::Failed);
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        for bytes in [
            &b""[..],
            b"-----BEGIN CERTIFICATE-----\nx\n",
            b"\x30\x80",
            b"hello",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(read(Path::new("/")).is_err());
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
