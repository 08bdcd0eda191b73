//! `agent.toml`: who may have which token, and what may be asked of whom. Strict, and its owner's alone.
//!
//! Policy comes from this file only; no client can change it.

mod file;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};
use sfkey_proto::{AccountName, duration};

use crate::escape::visible;
use crate::limits::{
    ASKPASS_TIME, CONNECTIONS, IDLE_TIME, MAX_ASKPASS_TIME, MAX_CONNECTIONS, MAX_LIFETIME_SECONDS,
    MAX_REQUESTS, MAX_TOKEN_CONNECTIONS, REQUEST_TIME, REQUESTS, TOKEN_CONNECTIONS,
    TOKEN_CONNECTIONS_PER_UID,
};

pub use file::{SYSTEM_DIRECTORY, SettingsFile};

/// A suggestion must be at least this similar to what was written (Jaro–Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// Every key there is, for suggestions.
const KEYS: [&str; 20] = [
    "askpass",
    "askpass_timeout",
    "askpass_environment",
    "limits",
    "token_socket",
    "accounts",
    "connections",
    "connections_per_uid",
    "requests",
    "request_time",
    "idle",
    "path",
    "mode",
    "group",
    "uids",
    "gids",
    "policy",
    "units",
    "executables",
    "confirm",
];

/// What the file says. Without a file, everything is as by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The program that asks the user: an absolute path.
    pub askpass: Option<PathBuf>,
    /// How long a question may stay unanswered.
    pub askpass_timeout: AskpassTimeout,
    /// Variables for that program, before those of the agent's own environment.
    pub askpass_environment: BTreeMap<String, String>,
    /// How much is served at once.
    pub limits: Limits,
    /// The restricted socket; off when missing.
    pub token_socket: Option<TokenSocket>,
    /// What is said of accounts.
    pub accounts: BTreeMap<Name, AccountSettings>,
}

/// What cannot be taken, and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    message: String,
    fix: String,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of the main socket.
    pub connections: Bounded<CONNECTIONS, MAX_CONNECTIONS>,
    /// Requests in work that came over the main socket.
    pub requests: Bounded<REQUESTS, MAX_REQUESTS>,
    /// How long a request may take.
    pub request_time: Time<{ REQUEST_TIME.as_secs() }, { REQUEST_TIME.as_secs() }>,
    /// How long a connection may be without a request.
    pub idle: Time<{ IDLE_TIME.as_secs() }, { MAX_LIFETIME_SECONDS as u64 }>,
}

/// `[token_socket]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenSocket {
    /// Where it is.
    pub path: Option<PathBuf>,
    /// Its permission bits; its directory gets the matching ones.
    pub mode: SocketMode,
    /// The group that socket and directory are given to; else the only one in `gids`, else the agent's.
    pub group: Option<u32>,
    /// Users that are answered besides the agent's own; root only if it is listed.
    pub uids: Vec<u32>,
    /// Groups whose members are answered.
    pub gids: Vec<u32>,
    /// Accounts that are served there.
    pub accounts: Vec<Name>,
    /// Connections in all.
    pub connections: Bounded<TOKEN_CONNECTIONS, MAX_TOKEN_CONNECTIONS>,
    /// Connections of one user.
    pub connections_per_uid: Bounded<TOKEN_CONNECTIONS_PER_UID, MAX_TOKEN_CONNECTIONS>,
}

/// `[accounts.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSettings {
    /// Who may have its tokens.
    pub policy: AccountPolicy,
}

/// `[accounts.NAME.policy]`: what is said must hold, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountPolicy {
    /// The caller runs in one of these systemd units.
    pub units: Option<Vec<UnitName>>,
    /// The caller runs one of these programs: absolute paths.
    pub executables: Option<Vec<PathBuf>>,
    /// The user is asked.
    pub confirm: Option<Confirm>,
}

/// How often the user is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// At every request.
    Always,
    /// Once, and then not again for this time.
    Remember(Duration),
}

impl Settings {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, with its line where there is one, and a suggestion.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| misread(text, &error))?;
        settings.check()?;
        Ok(settings)
    }

    /// What is said of an account; nothing, if it is not in the file.
    #[must_use]
    pub fn policy(&self, account: &AccountName) -> Option<&AccountPolicy> {
        self.accounts
            .get(account.as_str())
            .map(|settings| &settings.policy)
    }

    /// Every account policy, by name.
    pub fn policies(&self) -> impl Iterator<Item = (&AccountName, &AccountPolicy)> {
        self.accounts
            .iter()
            .map(|(name, settings)| (&name.0, &settings.policy))
    }

    /// What `new` says otherwise of things that are read at start only. Who asks the user is one of them: whoever
    /// may write the file could else have the questions answered by a program of his own.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<String> {
        let place = |settings: &Self| {
            let socket = settings.token_socket.as_ref();
            socket.map(|socket| {
                (
                    socket.mode,
                    socket.group,
                    socket.connections,
                    socket.connections_per_uid,
                )
            })
        };
        let path = |settings: &Self| {
            settings
                .token_socket
                .as_ref()
                .and_then(|socket| socket.path.clone())
        };
        [
            ("askpass", self.askpass != new.askpass),
            ("askpass_timeout", self.askpass_timeout != new.askpass_timeout),
            (
                "askpass_environment",
                self.askpass_environment != new.askpass_environment,
            ),
            ("[limits]", self.limits != new.limits),
            (
                "[token_socket] path, mode, group or connections",
                // A path that is not in the file may stand on the command line.
                new.token_socket.is_some() && place(self).is_some() && place(self) != place(new)
                    || path(new).is_some_and(|new| path(self).is_some_and(|old| old != new)),
            ),
        ]
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(what, _)| format!("{what} is another"))
        .collect()
    }

    fn check(&self) -> Result<(), SettingsError> {
        if let Some(path) = &self.askpass {
            require_absolute("askpass", path, "/usr/bin/ssh-askpass")?;
        }
        if let Some(path) = self.token_socket.as_ref().and_then(|socket| socket.path.as_ref()) {
            require_absolute("path of [token_socket]", path, "/run/sfkey-token/token.sock")?;
        }
        let programs = self
            .policies()
            .filter_map(|(_, policy)| policy.executables.as_deref());
        for path in programs.flatten() {
            require_absolute("executables", path, "/usr/bin/node")?;
        }
        Ok(())
    }
}

impl SettingsError {
    /// An error and its next step. Whatever they quote, neither steers a terminal.
    pub fn new(message: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self {
            message: visible(message.as_ref()),
            fix: visible(fix.as_ref()),
        }
    }

    /// The next step.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

/// A path that is looked up later, from wherever the agent then is, must not depend on where that is.
fn require_absolute(key: &str, path: &std::path::Path, example: &str) -> Result<(), SettingsError> {
    if path.is_absolute() {
        return Ok(());
    }
    let message = format!("{key}: {:?} is not an absolute path", path.display().to_string());
    Err(SettingsError::new(
        message,
        format!("write the whole path, for example {example:?}"),
    ))
}

fn misread(text: &str, error: &toml::de::Error) -> SettingsError {
    let span = error.span().unwrap_or_default();
    let line = 1 + text.as_bytes()[..span.start.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    let message = format!("line {line}: {}", error.message().trim().replace('\n', "; "));
    let written = text.get(span).unwrap_or_default();
    let fix = match similar(written, error.message()) {
        _ if !error.message().starts_with("unknown field") => "correct that line".to_owned(),
        Some(near) => format!("did you mean {near}?"),
        None => {
            "remove it; accounts themselves are configured in config.toml, with sfkey add --save".to_owned()
        }
    };
    SettingsError::new(message, fix)
}

/// The key that `written` probably was meant to be, of those that `message` says are expected there.
fn similar(written: &str, message: &str) -> Option<&'static str> {
    let written = written.trim_matches('"').replace('-', "_");
    KEYS.iter()
        .filter(|known| message.contains(&format!("`{known}`")))
        .map(|known| (strsim::jaro_winkler(&written, known), *known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// An account's name in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub AccountName);

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// A number from 1 to `MAX`, and `USUAL` if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const USUAL: usize, const MAX: usize>(pub usize);

impl<const USUAL: usize, const MAX: usize> Default for Bounded<USUAL, MAX> {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl<'de, const USUAL: usize, const MAX: usize> Deserialize<'de> for Bounded<USUAL, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)?.try_into() {
            Ok(number) if (1..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(de::Error::custom(format!("a number from 1 to {MAX} is wanted"))),
        }
    }
}

/// A time of at most `MAX` seconds, and `USUAL` seconds if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<const USUAL: u64, const MAX: u64>(pub Duration);

impl<const USUAL: u64, const MAX: u64> Default for Time<USUAL, MAX> {
    fn default() -> Self {
        Self(Duration::from_secs(USUAL))
    }
}

impl<'de, const USUAL: u64, const MAX: u64> Deserialize<'de> for Time<USUAL, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = time(deserializer)?;
        if time > Duration::from_secs(MAX) {
            return Err(de::Error::custom(format!("at most {MAX} s are possible")));
        }
        Ok(Self(time))
    }
}

/// How long a question may stay unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskpassTimeout(pub Duration);

impl Default for AskpassTimeout {
    fn default() -> Self {
        Self(ASKPASS_TIME)
    }
}

impl<'de> Deserialize<'de> for AskpassTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = time(deserializer)?;
        if time > MAX_ASKPASS_TIME {
            let longest = MAX_ASKPASS_TIME.as_secs();
            return Err(de::Error::custom(format!(
                "the caller's request ends after a minute: {longest}s at most"
            )));
        }
        Ok(Self(time))
    }
}

impl<'de> Deserialize<'de> for Confirm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "always" {
            return Ok(Self::Always);
        }
        let seconds = duration::parse_positive(&text).map_err(|error| {
            de::Error::custom(format!(
                "confirm is \"always\" or how long to remember, \"15m\": {error}"
            ))
        })?;
        Ok(Self::Remember(Duration::from_secs(seconds.into())))
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = duration::parse_positive(&String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    Ok(Duration::from_secs(seconds.into()))
}

/// Who may connect to the restricted socket, as far as the file system goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketMode {
    /// 0600 in a directory of 0700: the own user alone.
    Owner,
    /// 0660 in 0750: the group as well.
    #[default]
    Group,
    /// 0666 in 0755: everybody, and the agent alone says who is answered.
    Everybody,
}

impl SocketMode {
    /// Permission bits of the socket.
    #[must_use]
    pub fn socket(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
            Self::Everybody => 0o666,
        }
    }

    /// Permission bits of its directory.
    #[must_use]
    pub fn directory(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group => 0o750,
            Self::Everybody => 0o755,
        }
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "0600" => Ok(Self::Owner),
            "0660" => Ok(Self::Group),
            "0666" => Ok(Self::Everybody),
            _ => Err(de::Error::custom(
                "mode is \"0600\" (own user), \"0660\" (group) or \"0666\" (everybody may connect, those listed are answered)",
            )),
        }
    }
}

/// A systemd unit: `NAME.service` of the system's manager, `user/NAME.service` of the own user's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitName {
    /// A unit of the system manager. Only root can put a process into one.
    System(String),
    /// A unit of the own user's manager. Every process of that user can move into one.
    User(String),
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(name) => f.write_str(name),
            Self::User(name) => write!(f, "user/{name}"),
        }
    }
}

impl UnitName {
    /// Endings of units that hold processes.
    pub const ENDINGS: [&str; 2] = [".service", ".scope"];

    /// Longest name (systemd.unit(5)).
    const MAX_BYTES: usize = 255;

    /// Whether `name` is one of a unit that can hold processes.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || br":-_.\@".contains(&c);
        let stem = Self::ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        name.len() <= Self::MAX_BYTES
            && stem.is_some_and(|stem| !stem.is_empty())
            && name.bytes().all(allowed)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (user, name) = match text.strip_prefix("user/") {
            Some(name) => (true, name),
            None => (false, text.as_str()),
        };
        if !Self::is_name(name) {
            return Err(de::Error::custom(format!(
                "{text:?} is no unit that holds processes: NAME.service or NAME.scope, user/NAME.service for a unit of your own manager"
            )));
        }
        let name = name.to_owned();
        Ok(if user {
            Self::User(name)
        } else {
            Self::System(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        let error = Settings::parse(text).expect_err(text);
        (error.to_string(), error.fix().to_owned())
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let settings = Settings::parse("# nothing yet\n").expect("good");
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.limits.connections.0, CONNECTIONS);
        assert_eq!(settings.askpass_timeout.0, ASKPASS_TIME);
    }

    #[test]
    fn what_an_error_quotes_of_the_file_cannot_steer_a_terminal() {
        for text in [
            "\"\\u001b[2J\" = 1\n",
            "[accounts.a.policy]\nconfirm = \"\\u202e\"\n",
            "[accounts.a.policy]\nunits = [\"\\u0007.service\"]\n",
            "askpass = \"\\u001b[2J\"\n",
        ] {
            let (message, fix) = refused(text);
            let steers = |c: char| c.is_control() || c == '\u{202e}';
            assert!(
                !message.contains(steers) && !fix.contains(steers),
                "{message:?} {fix:?}"
            );
        }
    }

    /// What is not right, what is said of it, and which next step.
    const WRONG: &[(&str, &str, &str)] = &[
        (
            "askpas = \"/x\"",
            "line 1: unknown field `askpas`",
            "did you mean askpass?",
        ),
        (
            "\n[account.a.policy]",
            "line 2: unknown field `account`",
            "did you mean accounts?",
        ),
        (
            "[accounts.a.policy]\nunit = []",
            "line 2: unknown field `unit`",
            "did you mean units?",
        ),
        (
            "[token_socket]\npaths = \"x\"\n",
            "line 2: unknown field `paths`",
            "did you mean path?",
        ),
        (
            "[accounts.a]\nlogin_url = \"https://x\"",
            "line 2: unknown field `login_url`",
            "config.toml",
        ),
        (
            "[accounts.\"a b\".policy]",
            "an account name starts with",
            "correct that line",
        ),
        (
            "[accounts.a.policy]\nconfirm = \"15\"",
            "line 2: confirm is \"always\" or",
            "correct",
        ),
        (
            "[accounts.a.policy]\nconfirm = true",
            "line 2: invalid type: boolean",
            "correct",
        ),
        (
            "[accounts.a.policy]\nconfirm = \"never\"",
            "line 2: confirm is \"always\" or",
            "correct",
        ),
        (
            "[accounts.a.policy]\nunits = [\"nightly\"]",
            "no unit that holds processes",
            "correct",
        ),
        (
            "[accounts.a.policy]\nunits = [\"a/b.service\"]",
            "no unit that holds",
            "correct",
        ),
        (
            "[accounts.a.policy]\nexecutables = [\"node\"]",
            "\"node\" is not an absolute path",
            "write the whole path",
        ),
        (
            "askpass = \"ssh-askpass\"",
            "is not an absolute path",
            "/usr/bin/ssh-askpass",
        ),
        (
            "askpass_timeout = \"2m\"",
            "line 1: the caller's request ends",
            "correct",
        ),
        (
            "[limits]\nconnections = 0",
            "line 2: a number from 1 to 4000",
            "correct",
        ),
        (
            "[limits]\nconnections = 100000",
            "line 2: a number from 1 to 4000",
            "correct",
        ),
        (
            "[limits]\nrequest_time = \"2m\"",
            "line 2: at most 60 s are possible",
            "correct",
        ),
        (
            "[limits]\nidles = \"5m\"",
            "line 2: unknown field `idles`",
            "did you mean idle?",
        ),
        (
            "[token_socket]\nmode = \"0777\"",
            "line 2: mode is \"0600\"",
            "correct",
        ),
        ("[token_socket]\nuids = [-1]", "line 2: ", "correct"),
        (
            "[token_socket]\nuids = [\"me\"]",
            "line 2: invalid type: string",
            "correct",
        ),
        (
            "[token_socket]\npath = \"token.sock\"",
            "is not an absolute path",
            "the whole path",
        ),
        ("[limits\n", "line 1: ", "correct that line"),
    ];

    #[test]
    fn what_is_not_right_is_refused_with_its_line_and_a_next_step() {
        for (text, message, fix) in WRONG {
            let (said, next) = refused(text);
            assert!(said.contains(message), "{text}: {said}");
            assert!(next.contains(fix), "{text}: {next}");
            assert!(!said.contains('\n') && !next.contains('\n'), "{said}");
        }
    }

    /// The first block of the language `toml` in the manual.
    fn documented() -> &'static str {
        let manual = include_str!("../../../docs/operations.md");
        let (_, block) = manual.split_once("```toml\n").expect("an example");
        block.split_once("```").expect("it ends").0
    }

    #[test]
    fn the_documented_example_is_right_and_shows_every_key() {
        let settings = Settings::parse(documented()).expect("the example is good");
        assert!(settings.token_socket.is_some() && settings.policies().count() >= 2);
        for key in KEYS {
            assert!(documented().contains(key), "{key} is not documented");
        }
    }

    #[test]
    fn what_is_read_at_start_only_is_told_when_it_differs() {
        let old =
            Settings::parse("askpass = \"/usr/bin/a\"\n[token_socket]\naccounts = [\"a\"]").expect("good");
        let new = "askpass = \"/usr/bin/b\"\n[limits]\nrequests = 5\n[token_socket]\nmode = \"0600\"";
        let new = Settings::parse(new).expect("good");
        assert_eq!(old.differences(&old), [""; 0]);
        assert_eq!(
            old.differences(&new),
            [
                "askpass is another",
                "[limits] is another",
                "[token_socket] path, mode, group or connections is another"
            ]
        );
    }
}
