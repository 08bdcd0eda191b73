//! Secrets, from where they are kept: files, the keyring, systemd credentials, variables, the terminal.

mod keeping;
pub(crate) mod keyring;
mod prompt;
mod reference;
mod rejected;

use std::{
    env,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use sfkey::{
    Environment,
    keyfile::{KeyFile, KeyFileError, readable_by_others},
    proto::AccountName,
};
use zeroize::Zeroizing;

pub(crate) use keeping::Keeping;
pub(crate) use keyring::Keeper;
pub(crate) use prompt::{Prompted, Terminal};
pub(crate) use reference::Reference;
pub(crate) use rejected::Rejected;

use self::keyring::{Item, Keyring, KeyringError, Kind, Unlock};
use crate::{
    exit::{Cause, Failure, words},
    output::Output,
    quote,
};

/// Longest passphrase or consumer secret, in bytes.
const MAX_SECRET_BYTES: usize = 16 * 1024;

/// What a secret is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// It opens the key of an account.
    Passphrase(&'a AccountName),
    /// The consumer secret of an account's app.
    ConsumerSecret(&'a AccountName),
    /// It will open a key that is being made.
    NewKey,
    /// It locks or unlocks the agent.
    Lock,
}

impl Purpose<'_> {
    /// What messages call it, with its article.
    fn words(self) -> String {
        match self {
            Self::Passphrase(account) => format!("the passphrase of {account}'s key"),
            Self::ConsumerSecret(account) => format!("the consumer secret of {account}"),
            Self::NewKey => "the passphrase of the new key".to_owned(),
            Self::Lock => "the passphrase".to_owned(),
        }
    }

    /// What the keyring has it as; it has secrets of accounts only.
    fn item(self) -> Option<Item> {
        match self {
            Self::Passphrase(account) => Some(Item::new(account, Kind::Passphrase)),
            Self::ConsumerSecret(account) => Some(Item::new(account, Kind::ConsumerSecret)),
            Self::NewKey | Self::Lock => None,
        }
    }
}

/// Reads a passphrase or a consumer secret.
pub(crate) fn read(
    reference: &Reference,
    purpose: Purpose<'_>,
    unlock: Unlock,
    environment: &Environment,
    output: &Output,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let what = &purpose.words();
    let secret = match located(reference, environment)? {
        Located::Keyring => {
            let item = purpose.item().ok_or_else(not_of_an_account)?;
            without_line_end(from_keyring(&item, unlock, environment, output)?)
        }
        Located::File(path) => {
            warn_if_readable_by_others(&path, output);
            read_file(&path, what)?
        }
        Located::Value(value) => value,
        Located::StandardInput => bounded(io::stdin().lock(), "standard input", what)?,
    };
    if secret.is_empty() {
        return Err(Failure::new(
            Cause::Secret,
            format!("{what} is empty: {reference}"),
            "write the secret there, or name another place",
        ));
    }
    Ok(secret)
}

/// Reads a private key as it is kept, still encrypted where it was. In the keyring it is kept for an `account`.
pub(crate) fn read_key(
    reference: &Reference,
    account: Option<&AccountName>,
    unlock: Unlock,
    environment: &Environment,
    output: &Output,
) -> Result<KeyFile, Failure> {
    let read = match located(reference, environment)? {
        Located::Keyring => {
            let account = account.ok_or_else(not_of_an_account)?;
            let item = Item::new(account, Kind::Key);
            KeyFile::from_bytes(from_keyring(&item, unlock, environment, output)?)
        }
        Located::File(path) => {
            warn_if_readable_by_others(&path, output);
            KeyFile::read(&path)
        }
        Located::Value(value) => KeyFile::from_bytes(value),
        Located::StandardInput => KeyFile::from_reader(io::stdin().lock()),
    };
    read.map_err(|error| key_failure(reference, &error))
}

/// A key that cannot be used, in the words of its reader.
pub(crate) fn key_failure(reference: &Reference, error: &KeyFileError) -> Failure {
    let place = match reference {
        Reference::File(path) => path.display().to_string(),
        other => other.to_string(),
    };
    Failure::new(Cause::Key, format!("{place}: {error}"), error.fix(&place))
}

/// A reference that was followed as far as its kind goes.
enum Located {
    File(PathBuf),
    Value(Zeroizing<Vec<u8>>),
    StandardInput,
    Keyring,
}

fn located(reference: &Reference, environment: &Environment) -> Result<Located, Failure> {
    match reference {
        Reference::File(path) => Ok(Located::File(path.clone())),
        Reference::StandardInput => Ok(Located::StandardInput),
        Reference::Credential(name) => match &environment.credentials {
            Some(directory) => Ok(Located::File(directory.join(name))),
            None => Err(Failure::new(
                Cause::Secret,
                format!("credential:{name} cannot be read: CREDENTIALS_DIRECTORY is not set"),
                "run sfkey from a systemd unit with LoadCredential= or SetCredential=",
            )),
        },
        Reference::Variable(name) => match env::var_os(name) {
            Some(value) => Ok(Located::Value(Zeroizing::new(value.into_vec()))),
            None => Err(Failure::new(
                Cause::Secret,
                format!("env:{name} cannot be read: the variable {name} is not set"),
                format!("export {name}=…, or name another place for the secret"),
            )),
        },
        Reference::Keyring => Ok(Located::Keyring),
    }
}

/// Reads an item of the keyring, and says so where it is not kept for good.
fn from_keyring(
    item: &Item,
    unlock: Unlock,
    environment: &Environment,
    output: &Output,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = Keyring::of(environment, unlock, output).read(item);
    let found = read.map_err(|error| keyring_failure(item, &error))?;
    if let Some(caution) = found.keeper.caution() {
        output.warn(&caution);
    }
    Ok(found.secret)
}

fn not_of_an_account() -> Failure {
    Failure::new(
        Cause::Usage,
        "the keyring holds secrets of accounts only, and this one belongs to none",
        "name a file:PATH, credential:NAME or env:NAME instead",
    )
}

/// Why the keyring did not do it, and what does help.
pub(crate) fn keyring_failure(item: &Item, error: &KeyringError) -> Failure {
    let (cause, fix) = match error {
        KeyringError::Locked | KeyringError::Dismissed | KeyringError::Unanswered => (
            Cause::KeyringLocked,
            "unlock it in your desktop session (Passwords and Keys, KeePassXC …), and run this again".to_owned(),
        ),
        KeyringError::NoItem { .. } => (
            Cause::Secret,
            format!("put it there: {}", item.store_command()),
        ),
        KeyringError::Several { .. } => (
            Cause::Secret,
            "remove those that are not meant: secret-tool search --all service sfkey".to_owned(),
        ),
        KeyringError::Silent | KeyringError::Absent { .. } | KeyringError::Failed(_) => (
            Cause::Keyring,
            "start a keyring such as gnome-keyring-daemon, or keep the secret elsewhere: file:PATH, credential:NAME"
                .to_owned(),
        ),
    };
    Failure::new(cause, error.to_string(), fix)
}

fn warn_if_readable_by_others(path: &Path, output: &Output) {
    if let Some(mode) = readable_by_others(path) {
        let word = quote::word(&path.to_string_lossy());
        output.warn(&format!(
            "others can read {} (mode {mode:04o}); to end that: chmod go= {word}",
            path.display()
        ));
    }
}

fn read_file(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&place, what, &error))?;
    Ok(without_line_end(bounded(file, &place, what)?))
}

/// Editors, and `echo`, end what they write with a line end that is no part of the secret.
fn without_line_end(mut secret: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    secret
}

fn unreadable(place: &str, what: &str, error: &io::Error) -> Failure {
    Failure::new(
        Cause::Secret,
        format!("{what} cannot be read from {place}: {}", words(error)),
        format!("check the path: ls -l {}", quote::word(place)),
    )
}

/// Reads to the end into a buffer that never moves, for a move leaves a copy behind.
fn bounded(reader: impl Read, place: &str, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    let limit = MAX_SECRET_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut secret)
        .map_err(|error| unreadable(place, what, &error))?;
    if secret.len() > MAX_SECRET_BYTES {
        return Err(Failure::new(
            Cause::Secret,
            format!("{place} is too long for {what}"),
            "name the file that holds the secret alone",
        ));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(content: &[u8]) -> Result<Vec<u8>, Failure> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("secret");
        fs::write(&path, content).expect("written");
        read(
            &Reference::File(path),
            Purpose::Lock,
            Unlock::Never,
            &Environment::default(),
            &Output::new(true),
        )
        .map(|secret| secret.to_vec())
    }

    #[test]
    fn a_secret_file_loses_one_final_line_end_and_nothing_else() {
        for (content, secret) in [
            (&b"s3cret"[..], &b"s3cret"[..]),
            (b"s3cret\n", b"s3cret"),
            (b"s3cret\r\n", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n"),
            (b" s3\ncret \r", b" s3\ncret \r"),
        ] {
            assert_eq!(read_text(content).expect("read"), secret);
        }
    }

    #[test]
    fn an_empty_secret_and_a_too_long_one_are_refused() {
        assert!(read_text(b"\n").expect_err("empty").message.contains("empty"));
        let long = vec![b'x'; MAX_SECRET_BYTES + 1];
        assert!(read_text(&long).expect_err("long").message.contains("too long"));
        assert_eq!(read_text(&long[1..]).expect("just fits").len(), MAX_SECRET_BYTES);
    }

    #[test]
    fn a_reference_that_leads_nowhere_says_where_it_led() {
        for (reference, part) in [
            (Reference::Keyring, "secrets of accounts only"),
            (Reference::Credential("key".to_owned()), "CREDENTIALS_DIRECTORY"),
            (
                Reference::Variable("SFKEY_TEST_UNSET".to_owned()),
                "SFKEY_TEST_UNSET",
            ),
            (Reference::File("/nonexistent/p".into()), "/nonexistent/p"),
        ] {
            let environment = Environment::default();
            let output = Output::new(true);
            let read = read(&reference, Purpose::Lock, Unlock::Never, &environment, &output);
            let failure = read.expect_err("leads nowhere");
            assert!(failure.message.contains(part), "{}", failure.message);
            assert!(!failure.fix.is_empty());
        }
    }
}
