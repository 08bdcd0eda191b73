//! One login: prove that it works, keep its key where it is safe, write it into the configuration.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use sfkey::{
    Client, Environment,
    keyfile::{KeyFile, KeyFileError, Passphrase, PrivateKey},
    proto::{
        AccountName,
        v1::{AccountSpec, GetTokenRequest},
    },
};

use super::logins::{Kind, Login};
use crate::{
    commands::Invocation,
    config::{AccountEntry, Config},
    exit::{Cause, Failure, words},
    keypair::{self, NewFile},
    quote,
    secrets::{Keeper, Keeping, Reference, Terminal, keyring::Unlock},
};

/// The login hosts, which are audiences of the same name.
const LOGIN_HOSTS: [&str; 2] = ["https://login.salesforce.com", "https://test.salesforce.com"];

/// Where imported keys go.
pub(super) enum Place {
    Files(KeyFiles),
    Keyring,
}

/// Files below [`key_directory`], encrypted.
pub(super) struct KeyFiles {
    passphrase: Passphrase,
    /// Where the passphrase can be read again; nothing when it is to be asked for.
    passphrase_place: Option<Reference>,
    /// Keys that are kept already, by their fingerprint: several logins may share one.
    kept: BTreeMap<String, PathBuf>,
}

/// What all logins of one import share.
pub(super) struct Adoption<'a> {
    invocation: &'a Invocation<'a>,
    agent: Client,
    place: Place,
}

/// Where imported keys are kept.
pub(super) fn key_directory(environment: &Environment) -> Result<PathBuf, Failure> {
    let home = environment.config_home.as_ref().ok_or_else(|| {
        Failure::new(
            Cause::Config,
            "where the configuration belongs cannot be told: XDG_CONFIG_HOME and HOME are not set",
            "set HOME",
        )
    })?;
    Ok(home.join("sfkey/keys"))
}

impl<'a> Adoption<'a> {
    pub(super) fn new(invocation: &'a Invocation<'a>, agent: Client, place: Place) -> Self {
        Self {
            invocation,
            agent,
            place,
        }
    }

    /// Imports one login; what was done, in a line, and whether the key is kept for good.
    pub(super) async fn adopt(
        &mut self,
        account: &AccountName,
        login: &Login,
        key: &PrivateKey,
    ) -> Result<(String, bool), Failure> {
        let Kind::Jwt {
            login_url,
            consumer_key,
            ..
        } = &login.kind
        else {
            unreachable!("only logins with a key come here")
        };
        let mut entry = AccountEntry {
            login_url: Some(login_url.clone()),
            consumer_key: Some(consumer_key.clone()),
            username: Some(login.username.clone()),
            ..AccountEntry::default()
        };
        let configured = self.configured(account, &entry)?;
        entry.audience = self
            .prove(account, &entry, configured.as_deref(), key)
            .await?
            .filter(|audience| audience != login_url || configured.is_some_and(|there| there != *audience));
        let (kept, is_persistent) = match &mut self.place {
            Place::Keyring => {
                let keeper = self.keep_in_keyring(account, key)?;
                entry.key = Some(Reference::Keyring);
                ("in the keyring".to_owned(), keeper.is_persistent())
            }
            Place::Files(files) => {
                entry.passphrase = files.passphrase_place.clone();
                let path = files.keep(&self.invocation.environment, account, key)?;
                let kept = format!("encrypted in {}", path.display());
                entry.key = Some(Reference::File(path));
                (kept, true)
            }
        };
        let config = Config::save(&self.invocation.environment, account, &entry, false)?;
        let told = format!(
            "Imported {account}: Salesforce issued a token for {}; the key is {kept}, the account in {}",
            login.username,
            config.display()
        );
        Ok((told, is_persistent))
    }

    fn keep_in_keyring(&self, account: &AccountName, key: &PrivateKey) -> Result<Keeper, Failure> {
        let keeping = Keeping {
            account,
            replace: false,
            unlock: match Terminal::open() {
                Some(_) => Unlock::Ask,
                None => Unlock::Never,
            },
            environment: &self.invocation.environment,
            output: self.invocation.output,
        };
        keeping.key(key)
    }

    /// The audience that the account is configured with, if it is. One of this name with another identity stays as
    /// it is.
    fn configured(&self, account: &AccountName, entry: &AccountEntry) -> Result<Option<String>, Failure> {
        let config = Config::read(&self.invocation.environment)?;
        match config.accounts.get(account) {
            Some(there)
                if (&there.username, &there.consumer_key) != (&entry.username, &entry.consumer_key) =>
            {
                Err(Failure::new(
                    Cause::Config,
                    format!("the configuration has another account of the name {account}"),
                    "give the login another alias: sf alias set NEW=USERNAME, or rename the account",
                ))
            }
            Some(there) => Ok(there.audience.clone().or_else(|| there.login_url.clone())),
            None => Ok(None),
        }
    }

    /// Loads the account and lets Salesforce issue a token. The sf CLI keeps no audience, and tries several at every
    /// login; here it is found once, and one that is configured already comes first. Returns the one that is right.
    ///
    /// An account that was loaded before stays loaded, whatever comes of this.
    async fn prove(
        &self,
        account: &AccountName,
        entry: &AccountEntry,
        configured: Option<&str>,
        key: &PrivateKey,
    ) -> Result<Option<String>, Failure> {
        let login_url = entry.login_url.as_deref().unwrap_or_default();
        let loaded = self.agent.accounts().await?;
        let loaded = loaded.iter().any(|there| there.account == account.as_str());
        let usual = audiences(login_url).into_iter();
        let usual = usual.filter(|audience| Some(*audience) != configured);
        let mut last = None;
        for audience in configured.into_iter().chain(usual) {
            self.load(account, entry, audience, key).await?;
            match self.ask(account).await {
                Ok(()) => return Ok(Some(audience.to_owned())),
                Err(failure) => {
                    if loaded {
                        return Err(failure);
                    }
                    // Gone already is gone.
                    drop(self.agent.remove(account.as_str()).await);
                    let of_audience = failure
                        .salesforce_error()
                        .is_some_and(|(_, description)| description.to_lowercase().contains("audience"));
                    if !of_audience {
                        return Err(failure);
                    }
                    last = Some(failure);
                }
            }
        }
        Err(last.expect("there is always an audience to try"))
    }

    async fn load(
        &self,
        account: &AccountName,
        entry: &AccountEntry,
        audience: &str,
        key: &PrivateKey,
    ) -> Result<(), Failure> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut spec = AccountSpec::default();
        spec.account = account.to_string();
        spec.login_url = text(&entry.login_url);
        spec.audience = audience.to_owned();
        spec.consumer_key = text(&entry.consumer_key);
        spec.username = text(&entry.username);
        spec.private_key = key.pkcs1_der().to_vec();
        spec.explicit = true;
        self.agent.add(spec).await?;
        Ok(())
    }

    async fn ask(&self, account: &AccountName) -> Result<(), Failure> {
        let request = GetTokenRequest {
            account: account.to_string(),
            ..GetTokenRequest::default()
        };
        self.agent.request_token(request).await?;
        Ok(())
    }
}

impl KeyFiles {
    pub(super) fn new(passphrase: Passphrase, passphrase_place: Option<Reference>) -> Self {
        Self {
            passphrase,
            passphrase_place,
            kept: BTreeMap::new(),
        }
    }

    /// Keeps the key encrypted, and reads it back before anybody thinks of removing the other file.
    fn keep(
        &mut self,
        environment: &Environment,
        account: &AccountName,
        key: &PrivateKey,
    ) -> Result<PathBuf, Failure> {
        let fingerprint = key.spki_fingerprint();
        if let Some(path) = self.kept.get(&fingerprint) {
            return Ok(path.clone());
        }
        let directory = key_directory(environment)?;
        let path = directory.join(format!("{account}.key"));
        let unwritten = |detail: String| {
            Failure::new(
                Cause::Io,
                format!("the key cannot be kept in {}: {detail}", path.display()),
                "see that the directory is yours and can be written to",
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| unwritten(words(&error)))?;
        if !is_there(&path, &self.passphrase, key)? {
            let pem = key
                .to_encrypted_pem(&self.passphrase)
                .map_err(|error| unwritten(words(&error)))?;
            keypair::create(&[NewFile {
                path: &path,
                content: pem.as_bytes(),
                mode: 0o600,
            }])?;
            if !is_there(&path, &self.passphrase, key)? {
                return Err(unwritten("what was written is not the key".to_owned()));
            }
        }
        self.kept.insert(fingerprint, path.clone());
        Ok(path)
    }
}

/// Whether the file holds this key, under this passphrase; `false` when there is no file. Nothing else is written
/// over: it may be the only copy of a key.
fn is_there(path: &Path, passphrase: &Passphrase, key: &PrivateKey) -> Result<bool, Failure> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(false);
    }
    let read = KeyFile::read(path).and_then(|file| file.decode(Some(passphrase)));
    let what = match read {
        Ok(there) if *there.pkcs1_der() == *key.pkcs1_der() => return Ok(true),
        Ok(_) => "it holds another key".to_owned(),
        Err(KeyFileError::WrongPassphrase) => "it is kept under another passphrase".to_owned(),
        Err(error) => error.to_string(),
    };
    let shown = quote::word(&path.to_string_lossy());
    Err(Failure::new(
        Cause::Passphrase,
        format!("{} is there from before, and {what}", path.display()),
        format!("give the passphrase of the key that is kept, or move that one away: mv {shown} {shown}.old"),
    ))
}

/// The audiences that an app may want behind this host, the one that the sf CLI uses first.
fn audiences(login_url: &str) -> Vec<&str> {
    let sandbox = login_url.contains("--") || login_url.contains(".sandbox.");
    match login_url {
        host if LOGIN_HOSTS.contains(&host) => vec![host],
        host if host.ends_with(".my.salesforce.com") => vec![LOGIN_HOSTS[usize::from(sandbox)], host],
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_of_the_sf_cli_is_tried_first_and_no_host_gets_anothers() {
        assert_eq!(
            audiences("https://login.salesforce.com"),
            ["https://login.salesforce.com"]
        );
        assert_eq!(
            audiences("https://test.salesforce.com"),
            ["https://test.salesforce.com"]
        );
        assert_eq!(
            audiences("https://acme.my.salesforce.com"),
            ["https://login.salesforce.com", "https://acme.my.salesforce.com"]
        );
        assert_eq!(
            audiences("https://acme--dev.sandbox.my.salesforce.com"),
            [
                "https://test.salesforce.com",
                "https://acme--dev.sandbox.my.salesforce.com"
            ]
        );
        assert_eq!(audiences("https://localhost:8443"), ["https://localhost:8443"]);
    }
}
