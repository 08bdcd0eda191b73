//! The client's configuration file: reading it, and writing an account into it.
//!
//! Input: one byte that says what is done with the rest, which is the file. The parser belongs to the program
//! `sfkey` and to no library, so its modules are compiled into this target.

#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "the rest of these modules serves the program"
)]

#[path = "../../../client/src/config/mod.rs"]
mod config;
#[path = "../../../client/src/exit.rs"]
mod exit;
#[path = "../../../client/src/quote.rs"]
mod quote;
#[path = "../../../client/src/secrets/reference.rs"]
mod reference;
#[path = "../../../client/src/value.rs"]
mod value;
mod secrets {
    pub(crate) use crate::reference::Reference;
}

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
    sync::LazyLock,
};

use config::{AccountEntry, Config};
use exit::Failure;
use libfuzzer_sys::fuzz_target;
use secrets::Reference;
use sfkey::Environment;
use sfkey_fuzz::text;
use sfkey_proto::duration;
use tempfile::TempDir;

/// A secret where a reference should be: the mistake that must not be repeated to a terminal.
const CANARY: &str = "canary-5f1b0c8e2d";

/// Ways to make that mistake at the end of a file. Whatever stands before it, the file is then no good.
const MISTAKES: [&str; 6] = [
    "\n[accounts.planted-0]\npassphrase = \"@\"\n",
    "\n[accounts.planted-0]\nconsumer_secret = '@'\n",
    "\n[accounts.planted-0]\npassphrase = @\n",
    "\n[accounts.planted-0]\npassphrase = \"@\n",
    "\n[accounts.planted-0]\npassphrase @\n",
    "\n[accounts.planted-0]\npassphrase: @\n",
];

/// Quoted names and values are as long as the file has them.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A home of its own for every process.
static HOME: LazyLock<(TempDir, Environment)> = LazyLock::new(|| {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let uid = fs::metadata(home.path()).expect("just made").uid();
    let config = home.path().join("sfkey");
    fs::create_dir(&config).expect("a directory can be made");
    let environment = Environment {
        uid,
        config_home: Some(home.path().to_owned()),
        home: Some("/home/me".into()),
        ..Environment::default()
    };
    (home, environment)
});

fuzz_target!(|input: &[u8]| {
    let Some((mode, file)) = input.split_first() else {
        return;
    };
    if let Some(mistake) = MISTAKES.get(usize::from(*mode)) {
        return planted(file, mistake);
    }
    write(file);
    match Config::read(&HOME.1) {
        Ok(config) => {
            assert_config(&config);
            saved(&config, *mode);
        }
        Err(failure) => assert_failure(&failure),
    }
});

fn path() -> PathBuf {
    config::path(&HOME.1).expect("a configuration home is set")
}

fn write(bytes: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path()).and_then(|mut file| file.write_all(bytes));
    written.expect("a file can be written");
}

/// A secret that stands where a reference should be is refused, and not repeated.
fn planted(before: &[u8], mistake: &str) {
    let mut file = before.to_vec();
    file.extend_from_slice(mistake.replace('@', CANARY).as_bytes());
    write(&file);
    let failure = Config::read(&HOME.1).expect_err("no reference");
    assert_failure(&failure);
}

fn assert_failure(failure: &Failure) {
    for lines in [failure.lines(false), failure.lines(true)] {
        assert!(!lines.is_empty());
        for line in &lines {
            text::assert_shown(line, MAX_MESSAGE_BYTES);
            assert!(!line.contains(CANARY), "{line}");
        }
    }
    assert!(!failure.fix.is_empty(), "no next step: {}", failure.message);
}

/// Whatever is taken obeys the rules.
fn assert_config(config: &Config) {
    let default = config.default_account.as_ref();
    assert!(default.is_none_or(|name| config.accounts.contains_key(name)));
    for entry in config.accounts.values() {
        for seconds in [entry.lifetime, entry.idle, entry.session_timeout]
            .into_iter()
            .flatten()
        {
            assert!(seconds > 0);
            assert_eq!(duration::parse(&duration::format(seconds)), Ok(seconds));
        }
        for reference in [&entry.key, &entry.passphrase, &entry.consumer_secret]
            .into_iter()
            .flatten()
        {
            assert_reference(reference);
        }
    }
}

/// A reference is no way out of where it points to, and is read again as it is written.
fn assert_reference(reference: &Reference) {
    match reference {
        Reference::File(path) => assert!(path.is_absolute(), "{path:?}"),
        Reference::Credential(name) => assert!(!name.is_empty() && !name.contains('/') && name != ".."),
        Reference::Variable(name) => assert!(!name.is_empty()),
        Reference::Keyring => {}
        Reference::StandardInput => panic!("a file does not name standard input"),
    }
    let again = Reference::parse(&reference.to_string(), "/elsewhere".as_ref(), &HOME.1);
    assert_eq!(again.as_ref(), Ok(reference));
}

/// An account that is saved is there, and nothing else is changed.
fn saved(before: &Config, mode: u8) {
    let default = mode % 2 == 0;
    let known = before.accounts.keys().next().filter(|_| mode % 4 < 2);
    let name = known
        .cloned()
        .unwrap_or_else(|| "new.one".parse().expect("a name"));
    let entry = AccountEntry {
        username: Some("ci@\"acme\".example".to_owned()),
        key: (mode % 8 < 4).then(|| Reference::File("/k/server.key".into())),
        lifetime: Some(5400),
        ..AccountEntry::default()
    };
    Config::save(&HOME.1, &name, &entry, default).expect("a good file can be written to");
    let after = Config::read(&HOME.1).expect("a good file stays one");
    let expected = match before.accounts.get(&name) {
        Some(old) => entry.or(old),
        None => entry,
    };
    assert_eq!(after.accounts.get(&name), Some(&expected), "{name}");
    for (other, entry) in before.accounts.iter().filter(|(other, _)| **other != name) {
        assert_eq!(after.accounts.get(other), Some(entry), "{other}");
    }
    let known = before.accounts.contains_key(&name);
    assert_eq!(after.accounts.len(), before.accounts.len() + usize::from(!known));
    let expected = if default {
        Some(&name)
    } else {
        before.default_account.as_ref()
    };
    assert_eq!(after.default_account.as_ref(), expected);
}
