//! From an account's settings to an account in the agent, for `add` and on demand.

use sfkey::{
    Client, Environment, Error,
    keyfile::{KeyFile, KeyFileError, Passphrase, PrivateKey},
    proto::{
        AccountName, Reason, Refusal,
        v1::{AccountSpec, AddAccountResponse},
    },
};

use super::{
    Invocation,
    turn::{Turn, Waited},
};
use crate::{
    config::{self, AccountEntry, Config},
    exit::{Cause, Failure, escape, words},
    hardening,
    secrets::{self, Prompted, Purpose, Reference, Terminal, keyring::Unlock},
};

/// How often a passphrase may be typed before sfkey gives up.
const ATTEMPTS: u32 = 3;

/// Whether a passphrase may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompting {
    Allowed,
    Never,
    /// Another call has asked, and is not to be followed by nine more.
    Elsewhere,
}

/// One account that is to be loaded.
pub(super) struct Loading<'a> {
    pub(super) name: &'a AccountName,
    pub(super) entry: &'a AccountEntry,
    /// The user asked for it by `add`.
    pub(super) explicit: bool,
    pub(super) make_default: bool,
    pub(super) replace: bool,
    pub(super) prompting: Prompting,
    /// The right to ask, where several calls may want to.
    pub(super) turn: Option<&'a Turn>,
}

impl<'a> Loading<'a> {
    /// As `sfkey add NAME` without flags loads it.
    pub(super) fn explicit(name: &'a AccountName, entry: &'a AccountEntry) -> Self {
        Self {
            name,
            entry,
            explicit: true,
            make_default: false,
            replace: false,
            prompting: Prompting::Allowed,
            turn: None,
        }
    }

    /// Requires everything without which no account can be loaded, and names all that is missing at once.
    pub(super) fn require_complete(&self, environment: &Environment) -> Result<(), Failure> {
        let missing: Vec<&str> = [
            (self.entry.consumer_key.is_none(), "--consumer-key K"),
            (self.entry.username.is_none(), "--username U"),
            (self.entry.key.is_none(), "--key FILE"),
        ]
        .into_iter()
        .filter_map(|(missing, flag)| missing.then_some(flag))
        .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let name = self.name;
        let file = config::path(environment).map_or_else(
            || "the configuration".to_owned(),
            |path| path.display().to_string(),
        );
        Err(Failure::new(
            Cause::Usage,
            format!(
                "too little is known of {name}: {} {} missing",
                missing.join(", "),
                if missing.len() == 1 { "is" } else { "are" }
            ),
            format!(
                "sfkey add {name} {}   (or write them below [accounts.{name}] in {file})",
                missing.join(" ")
            ),
        ))
    }

    /// Reads the secrets and hands the account over. The entry is complete.
    ///
    /// Reading and asking block this thread, for as long as somebody thinks. So `agent` is connected to anew, and that
    /// connection is the one to go on with.
    pub(super) async fn load(
        &self,
        invocation: &Invocation<'_>,
        agent: &Client,
    ) -> Result<(Client, AddAccountResponse), Failure> {
        // The key is wiped before anything waits.
        let spec = self.spec(invocation, &self.private_key(invocation)?)?;
        let agent = agent.again().await?;
        let added = agent.add(spec).await?;
        Ok((agent, added))
    }

    /// The same with a key that was read already, for whoever needs it afterwards.
    pub(super) async fn load_key(
        &self,
        invocation: &Invocation<'_>,
        agent: &Client,
        key: &PrivateKey,
    ) -> Result<AddAccountResponse, Failure> {
        let spec = self.spec(invocation, key)?;
        Ok(agent.again().await?.add(spec).await?)
    }

    fn spec(&self, invocation: &Invocation<'_>, key: &PrivateKey) -> Result<AccountSpec, Failure> {
        let entry = self.entry;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut spec = AccountSpec::default();
        spec.account = self.name.to_string();
        spec.login_url = entry
            .login_url
            .clone()
            .unwrap_or_else(|| config::DEFAULT_LOGIN_URL.to_owned());
        spec.audience = text(&entry.audience);
        spec.consumer_key = text(&entry.consumer_key);
        spec.username = text(&entry.username);
        spec.private_key = key.pkcs1_der().to_vec();
        spec.consumer_secret = self.consumer_secret(invocation)?;
        spec.lifetime_seconds = entry.lifetime;
        spec.idle_seconds = entry.idle;
        spec.session_timeout_seconds = entry.session_timeout;
        spec.make_default = self.make_default;
        spec.replace = self.replace;
        spec.explicit = self.explicit;
        Ok(spec)
    }

    /// A keyring asks where a terminal could.
    pub(super) fn unlock(&self) -> Unlock {
        match self.prompting {
            Prompting::Allowed if Terminal::open().is_some() => Unlock::Ask,
            _ => Unlock::Never,
        }
    }

    fn consumer_secret(&self, invocation: &Invocation<'_>) -> Result<Option<String>, Failure> {
        let Some(reference) = &self.entry.consumer_secret else {
            return Ok(None);
        };
        let secret = secrets::read(
            reference,
            Purpose::ConsumerSecret(self.name),
            self.unlock(),
            &invocation.environment,
            invocation.output,
        )?;
        match str::from_utf8(&secret) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Failure::new(
                Cause::Secret,
                format!("the consumer secret is no text: {reference}"),
                "copy it again from the app's settings in Salesforce",
            )),
        }
    }

    /// Reads the key and opens it, asking for its passphrase where need be.
    pub(super) fn private_key(&self, invocation: &Invocation<'_>) -> Result<PrivateKey, Failure> {
        let reference = self.entry.key.as_ref().expect("the entry is complete");
        let key = secrets::read_key(
            reference,
            Some(self.name),
            self.unlock(),
            &invocation.environment,
            invocation.output,
        )?;
        if !key.needs_passphrase() {
            return key
                .decode(None)
                .map_err(|error| secrets::key_failure(reference, &error));
        }
        match &self.entry.passphrase {
            None => self.ask_and_decode(reference, &key),
            Some(passphrase) => {
                let purpose = Purpose::Passphrase(self.name);
                let read = secrets::read(
                    passphrase,
                    purpose,
                    self.unlock(),
                    &invocation.environment,
                    invocation.output,
                )?;
                key.decode(Some(&Passphrase::new(read)))
                    .map_err(|error| secrets::key_failure(reference, &error))
            }
        }
    }

    fn ask_and_decode(&self, reference: &Reference, key: &KeyFile) -> Result<PrivateKey, Failure> {
        let terminal = match self.prompting {
            Prompting::Allowed => Terminal::open(),
            Prompting::Never | Prompting::Elsewhere => None,
        };
        let terminal = terminal.ok_or_else(|| self.nobody_to_ask())?;
        if let Some(turn) = self.turn {
            turn.asks();
        }
        ask_and_decode(&terminal, reference, key, Some(self.name))
    }

    /// There is no terminal, or it may not be used.
    fn nobody_to_ask(&self) -> Failure {
        let name = self.name;
        let why = match self.prompting {
            Prompting::Never => "and its passphrase would have to be typed",
            Prompting::Elsewhere => "and another call has just asked for its passphrase and did not get it",
            Prompting::Allowed => "and there is no terminal to ask for its passphrase",
        };
        if self.explicit {
            Failure::new(
                Cause::Passphrase,
                format!("the key of {name} is encrypted, {why}"),
                format!("sfkey add {name} --passphrase-file FILE"),
            )
        } else {
            Failure::refused(
                Reason::AccountNotLoaded,
                format!("{name} is not loaded, its key is encrypted, {why}"),
                format!("sfkey add {name}   (on a terminal, or with --passphrase-file FILE)"),
            )
        }
    }
}

/// Asks for the passphrase of a key until one opens it or the patience ends. `account` is what the key is for.
pub(super) fn ask_and_decode(
    terminal: &Terminal,
    reference: &Reference,
    key: &KeyFile,
    account: Option<&AccountName>,
) -> Result<PrivateKey, Failure> {
    let place = escape(&match reference {
        Reference::File(path) => path.display().to_string(),
        other => other.to_string(),
    });
    let purpose = account.map_or_else(String::new, |name| format!(" for {name}"));
    for attempt in 1..=ATTEMPTS {
        let asked = terminal.ask(&format!("Passphrase of {place}{purpose}: "));
        let passphrase = match asked.map_err(|error| unanswered(&words(&error)))? {
            Prompted::Passphrase(typed) => Passphrase::new(typed),
            Prompted::Nothing => return Err(unanswered("nothing was typed")),
        };
        match key.decode(Some(&passphrase)) {
            Err(KeyFileError::WrongPassphrase) if attempt < ATTEMPTS => {
                terminal.tell("That is not its passphrase.");
            }
            decoded => return decoded.map_err(|error| secrets::key_failure(reference, &error)),
        }
    }
    unreachable!("the last attempt returns")
}

fn unanswered(detail: &str) -> Failure {
    Failure::new(
        Cause::Secret,
        format!("no passphrase was given: {detail}"),
        "run it again and type the passphrase, or give --passphrase-file FILE",
    )
}

/// Loads the account that a request named and the agent does not have, and returns the name to ask for again, and
/// the connection to ask over.
/// `refusal` is what the agent said; it stands wherever loading is not for the client to do.
pub(super) async fn on_demand(
    invocation: &Invocation<'_>,
    agent: &Client,
    named: &str,
    refusal: Refusal,
    prompting: Prompting,
) -> Result<(Client, AccountName), Failure> {
    let status = match agent.status().await {
        // A restricted socket serves tokens only; whoever is behind it loads accounts elsewhere.
        Err(Error::NotServed { .. }) => return Err(refusal.into()),
        status => status?,
    };
    let config = Config::read(&invocation.environment)?;
    let Some(name) = wanted(named, &config, status.account_count) else {
        return Err(refusal.into());
    };
    // The configuration's default account may be loaded already, only not as the agent's default.
    if named.is_empty() && is_loaded(agent, &name).await? {
        return Ok((agent.clone(), name));
    }
    let Some(entry) = config.accounts.get(&name) else {
        return Err(not_configured(&name, &refusal, &invocation.environment));
    };
    let mut loading = Loading {
        explicit: false,
        make_default: named.is_empty(),
        prompting,
        ..Loading::explicit(&name, entry)
    };
    loading.require_complete(&invocation.environment)?;
    agent.require_trust()?;
    let turn = match Turn::wait(agent.socket(), &name, invocation.now).await {
        Waited::InVain => return Err(still_asked(&name)),
        Waited::Not => None,
        Waited::For(turn) => Some(turn),
    };
    // Whoever had the turn before may have loaded it.
    if turn.is_some() && is_loaded(agent, &name).await? {
        return Ok((agent.clone(), name));
    }
    if turn.as_ref().is_some_and(|turn| !turn.may_ask()) && prompting == Prompting::Allowed {
        loading.prompting = Prompting::Elsewhere;
    }
    loading.turn = turn.as_ref();
    hardening::harden();
    let (agent, _) = loading.load(invocation, agent).await?;
    Ok((agent, name))
}

fn still_asked(name: &AccountName) -> Failure {
    Failure::refused(
        Reason::AccountNotLoaded,
        format!("{name} is not loaded, and another call has been asking for its passphrase all the time"),
        format!("answer where that call asks, or: sfkey add {name}"),
    )
}

/// Whether the agent says of a request that the account is missing which the client may load.
pub(super) fn is_missing(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason,
        Reason::AccountNotLoaded | Reason::NoDefaultAccount
    )
}

async fn is_loaded(agent: &Client, name: &AccountName) -> Result<bool, Failure> {
    let accounts = agent.accounts().await?;
    Ok(accounts.iter().any(|account| account.account == name.as_str()))
}

/// The account that is meant: the one named, else the configuration's default one, else its only one while
/// the agent holds none at all.
pub(super) fn wanted(named: &str, config: &Config, loaded: u32) -> Option<AccountName> {
    if !named.is_empty() {
        return named.parse().ok();
    }
    let only = || match config.accounts.keys().collect::<Vec<_>>()[..] {
        [only] if loaded == 0 => Some(only.clone()),
        _ => None,
    };
    config.default_account.clone().or_else(only)
}

fn not_configured(name: &AccountName, refusal: &Refusal, environment: &Environment) -> Failure {
    let file = config::path(environment).map_or_else(String::new, |path| {
        format!(", and {} does not have it either", path.display())
    });
    Failure::refused(
        refusal.reason,
        format!("{name} is not loaded{file}"),
        format!("sfkey add {name} --login-url URL --consumer-key K --username U --key FILE --save"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str], default: Option<&str>) -> Config {
        let name = |text: &str| text.parse::<AccountName>().expect("a name");
        Config {
            default_account: default.map(name),
            accounts: names
                .iter()
                .map(|text| (name(text), AccountEntry::default()))
                .collect(),
        }
    }

    #[test]
    fn an_account_that_nobody_named_is_chosen_only_without_doubt() {
        let wanted =
            |named, config: &Config, loaded| wanted(named, config, loaded).map(|name| name.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(wanted("x", &config(&["a"], Some("a")), 0), some("x"));
        assert_eq!(wanted("", &config(&["a", "b"], Some("b")), 2), some("b"));
        assert_eq!(wanted("", &config(&["a"], None), 0), some("a"));
        assert_eq!(wanted("", &config(&["a"], None), 2), None);
        assert_eq!(wanted("", &config(&["a", "b"], None), 0), None);
        assert_eq!(wanted("", &config(&[], None), 0), None);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let name = "prod".parse().expect("a name");
        let entry = AccountEntry {
            username: Some("u".to_owned()),
            ..AccountEntry::default()
        };
        let failure = Loading::explicit(&name, &entry)
            .require_complete(&Environment::default())
            .expect_err("incomplete");
        assert_eq!(
            failure.message,
            "too little is known of prod: --consumer-key K, --key FILE are missing"
        );
        assert!(
            failure
                .fix
                .starts_with("sfkey add prod --consumer-key K --key FILE "),
            "{}",
            failure.fix
        );
    }
}
