//! The logins that the sf CLI keeps: one JSON file a username in `~/.sfdx`, and the aliases beside them.
//!
//! Files of somebody else's making: bounded before they are read, and nothing in them is followed but the path of the
//! key, which is shown before it is used.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};

use crate::exit::{Cause, Failure, words};

/// Largest file that is read, in bytes. Those of the sf CLI have some kilobytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The token host where the sf CLI names none.
const DEFAULT_LOGIN_URL: &str = "https://login.salesforce.com";

/// A login of the sf CLI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    /// The first of its aliases, by name.
    pub(super) alias: Option<String>,
    pub(super) kind: Kind,
}

/// How it logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By JWT: all that an account needs.
    Jwt {
        login_url: String,
        consumer_key: String,
        /// The unencrypted private key.
        key: PathBuf,
    },
    /// In another way, which holds no key.
    Other(&'static str),
}

/// What is read of a login's file. The access token in it is not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    username: String,
    client_id: Option<String>,
    login_url: Option<String>,
    private_key: Option<PathBuf>,
    refresh_token: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Aliases {
    #[serde(default)]
    orgs: BTreeMap<String, String>,
}

/// Reads every login in `directory`, sorted by username, and the names of files that are none though they look so.
pub(super) fn read(directory: &Path) -> Result<(Vec<Login>, Vec<String>), Failure> {
    let failure = |error: &io::Error| {
        Failure::new(
            Cause::Io,
            format!(
                "cannot read the sf CLI's logins in {}: {}",
                directory.display(),
                words(error)
            ),
            "name the folder: sfkey import --from DIR",
        )
    };
    let aliases = aliases(directory);
    let (mut logins, mut unreadable) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(|error| failure(&error))? {
        let path = entry.map_err(|error| failure(&error))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // A username has an @ in it; what else lies there is settings, and keys of other kinds.
        if !name.contains('@') || !name.ends_with(".json") {
            continue;
        }
        match bounded(&path).and_then(|text| Ok(serde_json::from_slice::<AuthFile>(&text)?)) {
            Ok(file) => logins.push(login(file, &aliases)),
            Err(_) => unreadable.push(name),
        }
    }
    logins.sort_by(|a, b| a.username.cmp(&b.username));
    unreadable.sort();
    Ok((logins, unreadable))
}

fn login(file: AuthFile, aliases: &BTreeMap<String, String>) -> Login {
    let alias = aliases.iter().find(|(_, username)| **username == file.username);
    let kind = match (file.private_key, file.client_id) {
        _ if file.refresh_token.is_some() => Kind::Other("it logs in with a refresh token"),
        (None, _) => Kind::Other("it holds an access token only"),
        (Some(_), None) => Kind::Other("it has a key, but no consumer key"),
        (Some(key), Some(consumer_key)) => Kind::Jwt {
            login_url: file.login_url.unwrap_or_else(|| DEFAULT_LOGIN_URL.to_owned()),
            consumer_key,
            key,
        },
    };
    Login {
        alias: alias.map(|(alias, _)| alias.clone()),
        username: file.username,
        kind,
    }
}

/// Aliases and what they stand for; none where the file is missing or something else.
fn aliases(directory: &Path) -> BTreeMap<String, String> {
    let read = bounded(&directory.join("alias.json")).ok();
    let parsed = read.and_then(|text| serde_json::from_slice::<Aliases>(&text).ok());
    parsed.map(|aliases| aliases.orgs).unwrap_or_default()
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_told_apart_and_named_by_their_aliases() {
        let place = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("written");
        write(
            "ci@acme.com.json",
            r#"{"username":"ci@acme.com","orgId":"00D","accessToken":"x","loginUrl":"https://test.salesforce.com",
                "privateKey":"/k/server.key","clientId":"3MVG9"}"#,
        );
        write(
            "b@acme.com.json",
            r#"{"username":"b@acme.com","privateKey":"/k/b.key","clientId":"3MVG8"}"#,
        );
        write(
            "web@acme.com.json",
            r#"{"username":"web@acme.com","refreshToken":"x","privateKey":"/k","clientId":"PlatformCLI"}"#,
        );
        write(
            "token@acme.com.json",
            r#"{"username":"token@acme.com","accessToken":"x"}"#,
        );
        write("broken@acme.com.json", "{");
        write("key.json", r#"{"service":"sfdx","key":"x"}"#);
        write(
            "alias.json",
            r#"{"orgs":{"z":"ci@acme.com","prod":"ci@acme.com"}}"#,
        );
        let (logins, unreadable) = read(place.path()).expect("read");
        let jwt = |login_url: &str, consumer_key: &str, key: &str| Kind::Jwt {
            login_url: login_url.to_owned(),
            consumer_key: consumer_key.to_owned(),
            key: key.into(),
        };
        let of = |username: &str| {
            let login = logins.iter().find(|login| login.username == username);
            login.expect(username).clone()
        };
        assert_eq!(
            of("ci@acme.com").kind,
            jwt("https://test.salesforce.com", "3MVG9", "/k/server.key")
        );
        assert_eq!(of("ci@acme.com").alias.as_deref(), Some("prod"));
        assert_eq!(
            of("b@acme.com").kind,
            jwt("https://login.salesforce.com", "3MVG8", "/k/b.key")
        );
        assert_eq!(of("b@acme.com").alias, None);
        assert_eq!(
            of("web@acme.com").kind,
            Kind::Other("it logs in with a refresh token")
        );
        assert_eq!(
            of("token@acme.com").kind,
            Kind::Other("it holds an access token only")
        );
        assert_eq!(
            (logins.len(), unreadable),
            (4, vec!["broken@acme.com.json".to_owned()])
        );
        assert!(read(&place.path().join("nowhere")).is_err());
    }
}
