//! What setup knows so far: one value a field, each checked before it is kept.
//!
//! The same TOML is an answers file (`--answers`) and what an interrupted setup keeps. It holds references to
//! secrets and never a secret.

use std::{collections::BTreeMap, path::Path};

use sfkey::{Environment, proto::AccountName};
use toml_edit::{Document, DocumentMut, Item, value};

use super::org;
use crate::{
    config::similar,
    duration,
    exit::{Cause, Failure},
    metadata::{ApiName, Email, Label},
    secrets::Reference,
};

/// Longest value of a field, in bytes: far above every consumer key, username and path that there is.
const MAX_VALUE_BYTES: usize = 4096;

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $key:literal,)*) => {
        /// One thing to know, in the order in which it is asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Field { $($(#[$doc])* $field,)* }

        impl Field {
            const ALL: &'static [Field] = &[$(Field::$field,)*];

            /// The field's name in a file.
            pub(super) const fn key(self) -> &'static str {
                match self { $(Field::$field => $key,)* }
            }
        }
    };
}

fields! {
    /// Name of the account.
    Account = "account",
    /// Production, sandbox, Experience Cloud site, or another host.
    Org = "org",
    /// A new External Client App, one that is there, or a Connected App.
    App = "app",
    /// Token host.
    LoginUrl = "login_url",
    /// The assertion's audience.
    Audience = "audience",
    /// Where the private key is kept.
    Key = "key",
    /// Where a new private key is to be written.
    NewKey = "new_key",
    /// Where the key's passphrase is kept, or `ask`.
    Passphrase = "passphrase",
    /// A new key is not encrypted.
    NoPassphrase = "no_passphrase",
    /// The certificate of the key, or `none` where it is not to be compared.
    Certificate = "certificate",
    /// How the app is made: `metadata` or `clicks`.
    Create = "create",
    /// API name of the app.
    AppName = "app_name",
    /// Label of the app.
    AppLabel = "app_label",
    /// E-mail address of whoever looks after the app.
    ContactEmail = "contact_email",
    /// Names of permission sets, with commas between.
    PermissionSet = "permission_set",
    /// Where the metadata is to be written.
    MetadataFolder = "metadata_folder",
    /// The app was made.
    AppReady = "app_ready",
    /// Consumer key of the app.
    ConsumerKey = "consumer_key",
    /// Where the consumer secret is kept, or `none`.
    ConsumerSecret = "consumer_secret",
    /// Salesforce username.
    Username = "username",
    /// Where the key is kept once it works: `file`, where it is, or `keyring`.
    StoreKey = "store_key",
    /// Session timeout of the app's policy.
    SessionTimeout = "session_timeout",
    /// Whether it is the account that is meant when none is named.
    Default = "default",
}

/// What `app` may be.
pub(super) const NEW_APP: &str = "new";
/// An External Client App that is there already.
pub(super) const EXTERNAL_CLIENT_APP: &str = "external-client-app";
/// A Connected App, which was there before Spring '26.
pub(super) const CONNECTED_APP: &str = "connected-app";

/// What `org` may be.
pub(super) const ORGS: [&str; 4] = ["production", "sandbox", "site", "other"];

/// What `create` may be.
pub(super) const METADATA: &str = "metadata";
/// The other way to make an app.
pub(super) const CLICKS: &str = "clicks";

/// For `store_key`, and for a field that takes a reference: the keyring.
pub(super) const KEYRING: &str = "keyring";

/// For a field that takes a reference: whoever loads the key is asked.
pub(super) const ASK: &str = "ask";
/// For a field that takes a reference: there is none.
pub(super) const NONE: &str = "none";

impl Field {
    /// The value as it is kept, or why it cannot be. `base` is what relative paths are relative to.
    pub(super) fn check(self, text: &str, base: &Path, environment: &Environment) -> Result<String, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.len() > MAX_VALUE_BYTES || text.contains(char::is_control) {
            return Err("it is too long, or holds control characters".to_owned());
        }
        let kept = |checked: String| Ok(checked);
        let reference = |text: &str| {
            let parsed = if self == Self::Key {
                Reference::parse_key(text, base, environment)
            } else {
                Reference::parse(text, base, environment)
            };
            parsed
                .map(|reference| reference.to_string())
                .map_err(|error| error.to_string())
        };
        let path = |text: &str| Ok(base.join(environment.expand(text)).display().to_string());
        match self {
            Self::Account => text
                .parse::<AccountName>()
                .map(|name| name.to_string())
                .map_err(|error| error.to_string()),
            Self::Org => one_of(text, &ORGS),
            Self::App => one_of(text, &[NEW_APP, EXTERNAL_CLIENT_APP, CONNECTED_APP]),
            Self::Create => one_of(text, &[METADATA, CLICKS]),
            Self::NoPassphrase | Self::AppReady | Self::Default => one_of(text, &["yes", "no"]),
            Self::StoreKey => one_of(text, &["file", KEYRING]),
            Self::LoginUrl | Self::Audience => org::url(text).map_err(|refused| refused.to_string()),
            Self::Passphrase if text == ASK => kept(text.to_owned()),
            Self::ConsumerSecret | Self::Certificate if text == NONE => kept(text.to_owned()),
            Self::Key | Self::Passphrase | Self::ConsumerSecret => reference(text),
            Self::NewKey | Self::Certificate | Self::MetadataFolder => path(text),
            Self::AppName => text.parse::<ApiName>().map(|name| name.to_string()),
            Self::AppLabel => text.parse::<Label>().map(|label| label.to_string()),
            Self::ContactEmail => text.parse::<Email>().map(|email| email.to_string()),
            Self::PermissionSet => permission_sets(text).map(|sets| {
                let names: Vec<String> = sets.iter().map(ToString::to_string).collect();
                names.join(", ")
            }),
            Self::ConsumerKey | Self::Username => one_word(text),
            Self::SessionTimeout => session_timeout(text),
        }
    }
}

fn one_of(text: &str, values: &[&str]) -> Result<String, String> {
    if values.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("it is one of: {}", values.join(", ")))
    }
}

/// Names of permission sets, with commas between.
pub(super) fn permission_sets(text: &str) -> Result<Vec<ApiName>, String> {
    text.split(',')
        .map(|name| {
            name.trim().parse().map_err(|error| {
                format!("the permission set's API name is needed, not its label or its id: {error}")
            })
        })
        .collect()
}

fn one_word(text: &str) -> Result<String, String> {
    if text.contains(char::is_whitespace) {
        Err("it holds a space".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The timeouts that an org can set: 15 minutes to 24 hours.
fn session_timeout(text: &str) -> Result<String, String> {
    let seconds = duration::parse(text).map_err(|error| error.to_string())?;
    if (900..=86_400).contains(&seconds) && seconds % 60 == 0 {
        Ok(duration::format(seconds))
    } else {
        Err("a session timeout is 15m to 24h, in whole minutes".to_owned())
    }
}

/// The answers that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers(BTreeMap<Field, String>);

impl Answers {
    /// The value of a field.
    pub(super) fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// Whether a field has this value.
    pub(super) fn is(&self, field: Field, value: &str) -> bool {
        self.get(field) == Some(value)
    }

    /// Keeps a value that was checked.
    pub(super) fn set(&mut self, field: Field, value: impl Into<String>) {
        self.0.insert(field, value.into());
    }

    /// Keeps a value where there is none yet.
    pub(super) fn fill_one(&mut self, field: Field, value: impl Into<String>) {
        self.0.entry(field).or_insert_with(|| value.into());
    }

    /// Forgets a value, so that it is asked for again.
    pub(super) fn forget(&mut self, field: Field) -> Option<String> {
        self.0.remove(&field)
    }

    /// Takes from `other` what is missing here.
    pub(super) fn fill(&mut self, other: Self) {
        for (field, value) in other.0 {
            self.0.entry(field).or_insert(value);
        }
    }

    /// Reads a file's text. `path` is what it is called in messages, and where its relative paths begin.
    pub(super) fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Self, Failure> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let failure = |span: Option<std::ops::Range<usize>>, message: &str, fix: &str| {
            let line = span.map_or_else(String::new, |span| format!(", line {}", line(span.start)));
            Failure::new(Cause::Config, format!("{}{line}: {message}", path.display()), fix)
        };
        let document = Document::parse(text)
            .map_err(|error| failure(error.span(), error.message().trim(), "correct that line"))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        let mut answers = Self::default();
        for (key, item) in document.as_table() {
            let Some(field) = Field::ALL.iter().copied().find(|field| field.key() == key) else {
                let span = document.as_table().key(key).and_then(toml_edit::Key::span);
                let keys = || Field::ALL.iter().map(|field| field.key());
                let fix = match similar(&key.to_lowercase().replace('-', "_"), keys()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the keys there are: {}", keys().collect::<Vec<_>>().join(", ")),
                };
                return Err(failure(span, &format!("unknown key {key}"), &fix));
            };
            let text = match item.as_bool() {
                Some(true) => "yes",
                Some(false) => "no",
                None => item.as_str().ok_or_else(|| {
                    failure(
                        item.span(),
                        &format!("{key} is no string"),
                        &format!("put it in quotes: {key} = \"…\""),
                    )
                })?,
            };
            // What is wrong may be a secret that was put in the place of its reference: it is not repeated.
            let value = field
                .check(text, base, environment)
                .map_err(|why| failure(item.span(), &format!("{key}: {why}"), "correct that line"))?;
            answers.set(field, value);
        }
        Ok(answers)
    }

    /// The answers as a file's text.
    pub(super) fn to_toml(&self) -> String {
        let mut document = DocumentMut::new();
        for (field, text) in &self.0 {
            document.insert(
                field.key(),
                Item::Value(value(text.as_str()).into_value().expect("it is a value")),
            );
        }
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: Some("/home/me".into()),
            ..Environment::default()
        }
    }

    fn parse(text: &str) -> Result<Answers, Failure> {
        Answers::parse(text, Path::new("/work/answers.toml"), &environment())
    }

    #[test]
    fn what_is_kept_is_read_back_the_same() {
        let answers = parse(
            "account = \"prod\"\napp = \"new\"\nlogin_url = \"https://acme.my.salesforce.com/\"\n\
             key = \"keys/prod.key\"\npassphrase = \"ask\"\nno_passphrase = false\ncertificate = \"~/prod.crt\"\n\
             permission_set = \"A,B\"\nconsumer_secret = \"file:secret\"\nsession_timeout = \"120m\"\n",
        )
        .expect("good answers");
        assert_eq!(answers.get(Field::Key), Some("file:/work/keys/prod.key"));
        assert_eq!(answers.get(Field::Certificate), Some("/home/me/prod.crt"));
        assert_eq!(
            answers.get(Field::LoginUrl),
            Some("https://acme.my.salesforce.com")
        );
        assert_eq!(answers.get(Field::PermissionSet), Some("A, B"));
        assert_eq!(answers.get(Field::SessionTimeout), Some("2h"));
        let again = Answers::parse(&answers.to_toml(), Path::new("/elsewhere/x"), &environment());
        assert_eq!(again.expect("its own text"), answers);
    }

    #[test]
    fn what_is_not_right_is_refused_with_its_line_and_a_next_step() {
        for (text, message, fix) in [
            (
                "\nusernme = \"x\"",
                "line 2: unknown key usernme",
                "did you mean username?",
            ),
            (
                "org = \"prod\"",
                "line 1: org: it is one of: production,",
                "correct that line",
            ),
            ("account = 1", "line 1: account is no string", "account = \"…\""),
            ("default = 1", "line 1: default is no string", "default"),
            ("session_timeout = \"5m\"", "15m to 24h", "correct"),
            (
                "username = \"a b\"",
                "line 1: username: it holds a space",
                "correct",
            ),
            (
                "login_url = \"https://acme.lightning.force.com\"",
                "https://acme.my.salesforce.com",
                "correct",
            ),
        ] {
            let failure = parse(text).expect_err(text);
            assert!(failure.message.contains(message), "{}", failure.message);
            assert!(failure.fix.contains(fix), "{}", failure.fix);
        }
    }

    #[test]
    fn a_secret_in_the_place_of_its_reference_is_refused_and_not_repeated() {
        for key in ["consumer_secret", "passphrase"] {
            let failure = parse(&format!("{key} = \"hunter2\"")).expect_err("a secret");
            assert!(
                failure.message.contains("never the secret itself"),
                "{}",
                failure.message
            );
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
    }
}
