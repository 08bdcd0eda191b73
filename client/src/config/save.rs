//! Writing an account into the configuration file, around the user's own words and comments.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use sfkey::{Environment, proto::AccountName};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use super::{AccountEntry, Config};
use crate::{
    duration,
    exit::{Cause, Failure, words},
    secrets::Reference,
};

impl Config {
    /// Writes what `entry` says of the account `name`, and with `default` also that it is the default one.
    /// Of secrets only the references are written. Returns the path of the file.
    pub(crate) fn save(
        environment: &Environment,
        name: &AccountName,
        entry: &AccountEntry,
        default: bool,
    ) -> Result<PathBuf, Failure> {
        let path = super::path(environment).ok_or_else(|| {
            Failure::new(
                Cause::Config,
                "where the configuration belongs cannot be told: XDG_CONFIG_HOME and HOME are not set",
                "set HOME",
            )
        })?;
        let failure = |error: io::Error| {
            Failure::new(
                Cause::Config,
                format!(
                    "the account is loaded, but cannot be saved to {}: {}",
                    path.display(),
                    words(&error)
                ),
                "see that the directory can be written to, then add it again with --save",
            )
        };
        let before = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failure)?,
        };
        let after = edit(&before, name, entry, default).map_err(failure)?;
        replace(&path, &after).map_err(failure)?;
        Ok(path)
    }
}

/// The file's text with the account in it.
fn edit(before: &str, name: &AccountName, entry: &AccountEntry, default: bool) -> io::Result<String> {
    let mut document: DocumentMut = before.parse().map_err(io::Error::other)?;
    let root = document.as_table_mut();
    if default {
        set(root, "default_account", name.as_str());
    }
    let accounts = root.entry("accounts").or_insert_with(|| {
        let mut accounts = Table::new();
        accounts.set_implicit(true);
        Item::Table(accounts)
    });
    let no_table = || io::Error::other("accounts is not a table");
    let accounts = accounts.as_table_like_mut().ok_or_else(no_table)?;
    let account = accounts.entry(name.as_str()).or_insert_with(toml_edit::table);
    let account = account.as_table_like_mut().ok_or_else(no_table)?;
    for (key, value) in settings(entry) {
        set(account, key, &value);
    }
    if entry.key.is_some() && entry.passphrase.is_none() {
        // The passphrase that stands there was the old key's.
        account.remove("passphrase");
    }
    Ok(document.to_string())
}

/// What of the entry can be saved, in the order in which people read it.
pub(super) fn settings(entry: &AccountEntry) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone();
    let reference = |value: &Option<Reference>| {
        let saved = value.as_ref().filter(|value| **value != Reference::StandardInput);
        saved.map(Reference::to_string)
    };
    let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.display().to_string());
    let length = |value: Option<u32>| value.map(duration::format);
    [
        ("login_url", text(&entry.login_url)),
        ("audience", text(&entry.audience)),
        ("consumer_key", text(&entry.consumer_key)),
        ("username", text(&entry.username)),
        ("key", reference(&entry.key)),
        ("passphrase", reference(&entry.passphrase)),
        ("consumer_secret", reference(&entry.consumer_secret)),
        ("certificate", path(&entry.certificate)),
        ("lifetime", length(entry.lifetime)),
        ("idle", length(entry.idle)),
        ("session_timeout", length(entry.session_timeout)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

/// Sets a value and keeps the comment that stands behind the old one.
fn set(table: &mut dyn TableLike, key: &str, text: &str) {
    let mut value = Value::from(text);
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// Puts `text` in the place of the file in one step: a reader finds the old text or the new one, whole.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Who keeps the file elsewhere behind a symbolic link wants the link to stay.
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
        resolved => resolved?,
    };
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = target.with_file_name(format!(".{}.{}", name.display(), process::id()));
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        drop(fs::remove_file(&beside));
    }
    written?;
    File::open(target.parent().unwrap_or(directory))?.sync_all()
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn name() -> AccountName {
        "ci@acme.com".parse().expect("a name")
    }

    fn entry() -> AccountEntry {
        AccountEntry {
            username: Some("ci@acme.com".to_owned()),
            key: Some(Reference::File("/k/server.key".into())),
            lifetime: Some(5400),
            ..AccountEntry::default()
        }
    }

    #[test]
    fn an_account_is_appended_to_an_empty_file() {
        let text = edit("", &name(), &entry(), true).expect("edited");
        assert_eq!(
            text,
            "default_account = \"ci@acme.com\"\n\n[accounts.\"ci@acme.com\"]\nusername = \"ci@acme.com\"\n\
             key = \"file:/k/server.key\"\nlifetime = \"1h30m\"\n"
        );
    }

    #[test]
    fn comments_and_what_else_stands_there_are_kept() {
        let before = "# mine\n[accounts.\"ci@acme.com\"] # CI\nusername = 'old' # was bob\n# keep\naudience = \"a\"\n\
                      passphrase = \"env:OLD\"\n\n[accounts.z]\nkey = \"k\" # z\n";
        let text = edit(before, &name(), &entry(), false).expect("edited");
        assert_eq!(
            text,
            "# mine\n[accounts.\"ci@acme.com\"] # CI\nusername = \"ci@acme.com\" # was bob\n# keep\naudience = \"a\"\n\
             key = \"file:/k/server.key\"\nlifetime = \"1h30m\"\n\n[accounts.z]\nkey = \"k\" # z\n"
        );
    }

    #[test]
    fn the_file_is_private_replaced_whole_and_stays_behind_its_link() {
        let place = tempfile::tempdir().expect("a directory");
        let environment = Environment {
            uid: rustix::process::geteuid().as_raw(),
            config_home: Some(place.path().join("cfg")),
            ..Environment::default()
        };
        let path = Config::save(&environment, &name(), &entry(), false).expect("saved");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        let directory = path.parent().expect("a parent");
        assert_eq!(fs::metadata(directory).expect("there").mode() & 0o7777, 0o700);
        assert_eq!(
            Config::read(&environment).expect("read").accounts[&name()],
            entry()
        );

        let elsewhere = place.path().join("dotfiles.toml");
        fs::rename(&path, &elsewhere).expect("moved");
        symlink(&elsewhere, &path).expect("linked");
        let other = AccountEntry {
            username: Some("new".to_owned()),
            ..entry()
        };
        Config::save(&environment, &name(), &other, false).expect("saved");
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert!(fs::read_to_string(&elsewhere).expect("read").contains("\"new\""));
        assert_eq!(
            fs::read_dir(directory).expect("listed").count(),
            1,
            "nothing is left beside it"
        );
    }
}
