//! The configuration file: which accounts there are, and where their secrets are kept.

mod save;
mod show;

pub(crate) use save::replace;

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sfkey::{
    Environment,
    proto::{AccountName, place::is_own_or_roots},
};
use toml_edit::{Document, Item, TableLike};

pub(crate) use self::show::{Setting, Source};
use crate::{
    duration,
    exit::{Cause, Failure, words},
    quote,
    secrets::Reference,
    value,
};

/// Where accounts log in that name no other place.
pub(crate) const DEFAULT_LOGIN_URL: &str = "https://login.salesforce.com";

/// Writable by the group or by everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A suggestion must be at least this similar to what was written (Jaro–Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

const TOP_KEYS: [&str; 2] = ["default_account", "accounts"];

const ACCOUNT_KEYS: [&str; 11] = [
    "login_url",
    "audience",
    "consumer_key",
    "username",
    "key",
    "passphrase",
    "consumer_secret",
    "certificate",
    "lifetime",
    "idle",
    "session_timeout",
];

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The account that is meant when none is named.
    pub(crate) default_account: Option<AccountName>,
    /// The accounts by name.
    pub(crate) accounts: BTreeMap<AccountName, AccountEntry>,
}

/// What is said of one account, in the file or on the command line. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountEntry {
    pub(crate) login_url: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) consumer_key: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) key: Option<Reference>,
    pub(crate) passphrase: Option<Reference>,
    pub(crate) consumer_secret: Option<Reference>,
    /// The file of the certificate that the app has, for telling in time when it expires.
    pub(crate) certificate: Option<PathBuf>,
    /// Seconds.
    pub(crate) lifetime: Option<u32>,
    /// Seconds.
    pub(crate) idle: Option<u32>,
    /// Seconds.
    pub(crate) session_timeout: Option<u32>,
}

impl AccountEntry {
    /// This entry, with what it lacks taken from `other`.
    pub(crate) fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            login_url: self.login_url.or(other.login_url),
            audience: self.audience.or(other.audience),
            consumer_key: self.consumer_key.or(other.consumer_key),
            username: self.username.or(other.username),
            // A passphrase belongs to its key: another key is not opened with the old one's.
            passphrase: self.passphrase.or(if self.key.is_none() {
                other.passphrase
            } else {
                None
            }),
            key: self.key.or(other.key),
            consumer_secret: self.consumer_secret.or(other.consumer_secret),
            certificate: self.certificate.or(other.certificate),
            lifetime: self.lifetime.or(other.lifetime),
            idle: self.idle.or(other.idle),
            session_timeout: self.session_timeout.or(other.session_timeout),
        }
    }
}

/// The path of the configuration file; `None` when neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub(crate) fn path(environment: &Environment) -> Option<PathBuf> {
    let home = environment.config_home.as_ref()?;
    Some(home.join("sfkey/config.toml"))
}

impl Config {
    /// Reads the user's file. One that does not exist says nothing.
    pub(crate) fn read(environment: &Environment) -> Result<Self, Failure> {
        let Some(path) = path(environment) else {
            return Ok(Self::default());
        };
        let Some(text) = read_text(&path)? else {
            return Ok(Self::default());
        };
        require_owner_only(&path, environment.uid)?;
        let (config, problems) = Self::parse(&text, &path, environment);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(config),
        }
    }

    /// What the text says, as far as it is right, and everything that is not, from top to bottom.
    pub(crate) fn parse(text: &str, path: &Path, environment: &Environment) -> (Self, Vec<Failure>) {
        let mut reader = Reader {
            text,
            path,
            environment,
            problems: Vec::new(),
        };
        match Document::parse(text) {
            Ok(document) => (reader.config(document.as_table()), reader.problems),
            Err(error) => {
                let problem = reader.failure(error.span(), error.message().trim(), "correct that line");
                (Self::default(), vec![problem])
            }
        }
    }
}

/// The text of the file; `None` when there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            Cause::Config,
            format!("cannot read {}: {}", path.display(), words(&error)),
            format!("look at it: ls -l {}", quote::word(&path.to_string_lossy())),
        )),
    }
}

/// Whoever can write the file can have another key sent to another place.
pub(crate) fn require_owner_only(path: &Path, own: u32) -> Result<(), Failure> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let word = quote::word(&path.to_string_lossy());
    let shown = path.display();
    if !is_own_or_roots(metadata.uid(), own) {
        let message = format!("{shown} belongs to another user (uid {})", metadata.uid());
        return Err(Failure::new(
            Cause::Config,
            message,
            format!("chown {own} {word}"),
        ));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        let message = format!(
            "others may write to {shown} (mode {:04o})",
            metadata.mode() & 0o7777
        );
        return Err(Failure::new(Cause::Config, message, format!("chmod go-w {word}")));
    }
    Ok(())
}

/// Walks through the file, takes what is right, and says the line of whatever is not.
struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    environment: &'a Environment,
    problems: Vec<Failure>,
}

/// The line, from 1, on which the byte at `offset` stands.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .split(|b| *b == b'\n')
        .count()
}

impl Reader<'_> {
    fn failure(&self, span: Option<Range<usize>>, message: &str, fix: &str) -> Failure {
        let line = span.map_or_else(String::new, |span| {
            format!(", line {}", line_of(self.text, span.start))
        });
        let place = format!("{}{line}", self.path.display());
        Failure::new(Cause::Config, format!("{place}: {message}"), fix)
    }

    /// The value, or one problem more.
    fn take<T>(&mut self, read: Result<T, Failure>) -> Option<T> {
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn config(&mut self, table: &dyn TableLike) -> Config {
        let mut config = Config::default();
        for (key, item) in table.iter() {
            match key {
                "default_account" => {
                    let name = self.string(key, item).and_then(|text| self.name(text, item));
                    config.default_account = self.take(name);
                }
                "accounts" => config.accounts = self.accounts(item),
                unknown => {
                    let problem = self.unknown_key(table, unknown, &TOP_KEYS);
                    self.problems.push(problem);
                }
            }
        }
        if let Some(name) = &config.default_account
            && !config.accounts.contains_key(name)
        {
            let problem = self.no_such_default(table, name, &config);
            self.problems.push(problem);
        }
        config
    }

    fn no_such_default(&self, table: &dyn TableLike, name: &AccountName, config: &Config) -> Failure {
        let message = format!("default_account names {name}, and there is no [accounts.{name}]");
        let names = config.accounts.keys().map(AccountName::as_str);
        let fix = match similar(name.as_str(), names) {
            Some(other) => format!("default_account = \"{other}\""),
            None => format!("sfkey add {name} --save …, or remove the line"),
        };
        let item = table.get("default_account");
        self.failure(item.and_then(Item::span), &message, &fix)
    }

    fn accounts(&mut self, item: &Item) -> BTreeMap<AccountName, AccountEntry> {
        let mut entries = BTreeMap::new();
        let accounts = self.table("accounts", item);
        let Some(accounts) = self.take(accounts) else {
            return entries;
        };
        for (name, item) in accounts.iter() {
            let name = self.name(name, item);
            let Some(name) = self.take(name) else { continue };
            let table = self.table(&format!("accounts.{name}"), item);
            if let Some(table) = self.take(table) {
                let entry = self.entry(table);
                entries.insert(name, entry);
            }
        }
        entries
    }

    fn entry(&mut self, table: &dyn TableLike) -> AccountEntry {
        let mut entry = AccountEntry::default();
        for (key, item) in table.iter() {
            let read = if ACCOUNT_KEYS.contains(&key) {
                self.string(key, item)
                    .and_then(|text| self.setting(&mut entry, key, text, item))
            } else {
                Err(self.unknown_key(table, key, &ACCOUNT_KEYS))
            };
            self.take(read);
        }
        entry
    }

    fn setting(&self, entry: &mut AccountEntry, key: &str, text: &str, item: &Item) -> Result<(), Failure> {
        match key {
            "login_url" => entry.login_url = Some(self.url(key, text, item)?),
            "audience" => entry.audience = Some(self.url(key, text, item)?),
            "consumer_key" => entry.consumer_key = Some(text.to_owned()),
            "username" => entry.username = Some(text.to_owned()),
            "key" => entry.key = Some(self.reference(key, text, item)?),
            "passphrase" => entry.passphrase = Some(self.reference(key, text, item)?),
            "consumer_secret" => entry.consumer_secret = Some(self.reference(key, text, item)?),
            "lifetime" => entry.lifetime = Some(self.duration(key, text, item)?),
            "idle" => entry.idle = Some(self.duration(key, text, item)?),
            "session_timeout" => entry.session_timeout = Some(self.duration(key, text, item)?),
            "certificate" => entry.certificate = Some(self.base().join(self.environment.expand(text))),
            _ => unreachable!("{key} is none of ACCOUNT_KEYS"),
        }
        Ok(())
    }

    /// What relative paths are relative to.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn string<'i>(&self, key: &str, item: &'i Item) -> Result<&'i str, Failure> {
        item.as_str().ok_or_else(|| {
            let message = format!("{key} is {}, not a string", with_article(item.type_name()));
            self.failure(item.span(), &message, &format!("put it in quotes: {key} = \"…\""))
        })
    }

    fn table<'i>(&self, key: &str, item: &'i Item) -> Result<&'i dyn TableLike, Failure> {
        item.as_table_like().ok_or_else(|| {
            let message = format!("{key} is {}, not a table", with_article(item.type_name()));
            self.failure(
                item.span(),
                &message,
                "write [accounts.NAME] and below it the account's settings",
            )
        })
    }

    fn name(&self, text: &str, item: &Item) -> Result<AccountName, Failure> {
        text.parse().map_err(|error: sfkey::proto::name::InvalidName| {
            self.failure(
                item.span(),
                &format!("\"{text}\": {error}"),
                "give the account another name",
            )
        })
    }

    fn reference(&self, key: &str, text: &str, item: &Item) -> Result<Reference, Failure> {
        let parsed = if key == "key" {
            Reference::parse_key(text, self.base(), self.environment)
        } else {
            Reference::parse(text, self.base(), self.environment)
        };
        parsed.map_err(|error| {
            let fix =
                format!("put the secret into a file only you can read, and write {key} = \"file:PATH\"");
            self.failure(item.span(), &format!("{key} {error}"), &fix)
        })
    }

    fn url(&self, key: &str, text: &str, item: &Item) -> Result<String, Failure> {
        value::url(text).map_err(|error| {
            let fix = format!("{key} = \"https://ORG.my.salesforce.com\", for instance");
            self.failure(item.span(), &format!("{key}: {error}"), &fix)
        })
    }

    fn duration(&self, key: &str, text: &str, item: &Item) -> Result<u32, Failure> {
        duration::parse_positive(text).map_err(|error| {
            let message = format!("{key} = \"{text}\": {error}");
            self.failure(item.span(), &message, &format!("{key} = \"8h\", for instance"))
        })
    }

    fn unknown_key(&self, table: &dyn TableLike, unknown: &str, known: &[&'static str]) -> Failure {
        let span = table.key(unknown).and_then(toml_edit::Key::span);
        let fix = match similar(&unknown.to_lowercase().replace('-', "_"), known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the keys there are: {}", known.join(", ")),
        };
        self.failure(span, &format!("unknown key {unknown}"), &fix)
    }
}

/// The one of `known` that `text` probably was meant to be.
pub(crate) fn similar<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|known| (strsim::jaro_winkler(text, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Failure> {
        let environment = Environment {
            home: Some("/home/me".into()),
            ..Environment::default()
        };
        let (config, problems) = Config::parse(text, Path::new("/cfg/sfkey/config.toml"), &environment);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(config),
        }
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            r#"
            default_account = "prod"
            [accounts.prod]
            login_url = "https://acme.my.salesforce.com"
            audience = "https://login.salesforce.com"
            consumer_key = "3MVG9"
            username = "ci@acme.com"
            key = "keys/prod.key"
            passphrase = "env:PROD_PASSPHRASE"
            consumer_secret = "file:~/secret"
            certificate = "prod.crt"
            lifetime = "8h"
            idle = "30m"
            session_timeout = "2h"
            [accounts."ci@acme.com"]
            key = "keyring"
            "#,
        )
        .expect("a good file");
        assert_eq!(config.default_account.expect("set").as_str(), "prod");
        let prod = &config.accounts["prod"];
        assert_eq!(prod.login_url.as_deref(), Some("https://acme.my.salesforce.com"));
        assert_eq!(prod.key, Some(Reference::File("/cfg/sfkey/keys/prod.key".into())));
        assert_eq!(
            prod.consumer_secret,
            Some(Reference::File("/home/me/secret".into()))
        );
        assert_eq!(
            prod.passphrase,
            Some(Reference::Variable("PROD_PASSPHRASE".to_owned()))
        );
        assert_eq!(prod.certificate, Some("/cfg/sfkey/prod.crt".into()));
        assert_eq!(
            (prod.lifetime, prod.idle, prod.session_timeout),
            (Some(28_800), Some(1800), Some(7200))
        );
        assert_eq!(prod.certificate, Some("/cfg/sfkey/prod.crt".into()));
        assert_eq!(config.accounts["ci@acme.com"].key, Some(Reference::Keyring));
    }

    #[test]
    fn what_is_not_right_is_refused_with_its_line_and_a_next_step() {
        for (text, message, fix) in [
            (
                "[accounts.a]\n\nconsumer-key = \"x\"",
                "line 3: unknown key consumer-key",
                "did you mean consumer_key?",
            ),
            (
                "[accounts.a]\nusernme = \"x\"",
                "line 2: unknown key usernme",
                "did you mean username?",
            ),
            (
                "[account.a]\nkey = \"x\"",
                "line 1: unknown key account",
                "did you mean accounts?",
            ),
            (
                "[accounts.a]\nfoo = \"x\"",
                "line 2: unknown key foo",
                "the keys there are: login_url,",
            ),
            (
                "[accounts.a]\nlifetime = 8",
                "line 2: lifetime is an integer, not a string",
                "lifetime = \"…\"",
            ),
            (
                "[accounts.a]\nidle = \"30\"",
                "line 2: idle = \"30\": a duration needs a unit",
                "idle = \"8h\"",
            ),
            (
                "[accounts.a]\nlogin_url = \"https://me:pw@x\"",
                "line 2: login_url: only https://HOST",
                "login_url = \"https://ORG",
            ),
            (
                "accounts = 1",
                "line 1: accounts is an integer, not a table",
                "[accounts.NAME]",
            ),
            (
                "[accounts]\nx = \"y\"",
                "line 2: accounts.x is a string, not a table",
                "[accounts.NAME]",
            ),
            (
                "[accounts.\"a b\"]",
                "line 1: \"a b\": an account name",
                "another name",
            ),
            (
                "default_account = \"prd\"\n[accounts.prod]",
                "line 1: default_account names prd",
                "\"prod\"",
            ),
            ("[accounts.a\n", "line 1:", "correct that line"),
        ] {
            let failure = parse(text).expect_err(text);
            assert!(failure.message.contains(message), "{}", failure.message);
            assert!(failure.fix.contains(fix), "{}", failure.fix);
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        for key in ["passphrase", "consumer_secret"] {
            let failure = parse(&format!("[accounts.a]\n{key} = \"hunter2\"")).expect_err("a secret");
            assert!(
                failure.message.contains("never the secret itself"),
                "{}",
                failure.message
            );
            assert!(!failure.message.contains("hunter2") && !failure.fix.contains("hunter2"));
        }
    }

    #[test]
    fn the_command_line_beats_the_file_and_another_key_does_not_keep_the_old_passphrase() {
        let file = AccountEntry {
            username: Some("file".to_owned()),
            audience: Some("file".to_owned()),
            key: Some(Reference::Keyring),
            passphrase: Some(Reference::Keyring),
            ..AccountEntry::default()
        };
        let typed = AccountEntry {
            username: Some("typed".to_owned()),
            ..AccountEntry::default()
        };
        let merged = typed.clone().or(&file);
        assert_eq!(merged.username.as_deref(), Some("typed"));
        assert_eq!(merged.audience.as_deref(), Some("file"));
        assert_eq!(merged.passphrase, Some(Reference::Keyring));
        let other_key = AccountEntry {
            key: Some(Reference::StandardInput),
            ..typed
        };
        assert_eq!(other_key.or(&file).passphrase, None);
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let environment = Environment {
            uid: rustix::process::geteuid().as_raw(),
            config_home: Some(place.path().to_path_buf()),
            ..Environment::default()
        };
        assert!(
            Config::read(&environment)
                .expect("nothing there")
                .accounts
                .is_empty()
        );
        let path = path(&environment).expect("a path");
        fs::create_dir(path.parent().expect("a parent")).expect("created");
        fs::write(&path, "[accounts.a]").expect("written");
        for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode set");
            assert_eq!(Config::read(&environment).is_ok(), good, "{mode:o}");
        }
    }
}
