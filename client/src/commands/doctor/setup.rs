//! Which account is meant, what the configuration says of it, and whether the agent has it so.

use sfkey::{
    Client,
    proto::{AccountName, Refusal, v1::Account},
};

use super::{Found, Report};
use crate::{
    commands::{
        Invocation,
        load::{self, Loading, Prompting},
    },
    config::{self, AccountEntry, Config},
    exit::Failure,
    output::Finding,
};

/// The account that is looked at, as far as it is known.
pub(super) struct Setup {
    pub(super) name: Option<AccountName>,
    /// What the configuration says of it.
    pub(super) entry: Option<AccountEntry>,
    /// How the agent has it.
    pub(super) loaded: Option<Account>,
}

pub(super) async fn check(
    invocation: &Invocation<'_>,
    named: &str,
    agent: Option<&Found>,
    report: &mut Report<'_>,
) -> Result<Setup, Failure> {
    let config = match Config::read(&invocation.environment) {
        Ok(config) => {
            report.add(readable(invocation, &config))?;
            config
        }
        Err(failure) => {
            report.fail("config", &failure)?;
            Config::default()
        }
    };
    let accounts = agent.map_or(&[][..], |agent| &agent.accounts);
    let Some(name) = meant(named, accounts, &config) else {
        if !report.has_failed("config") {
            report.add(nobody(accounts, &config))?;
        }
        return Ok(Setup {
            name: None,
            entry: None,
            loaded: None,
        });
    };
    let setup = Setup {
        entry: config.accounts.get(&name).cloned(),
        loaded: accounts
            .iter()
            .find(|account| account.account == name.as_str())
            .cloned(),
        name: Some(name),
    };
    describe(invocation, &setup, report)?;
    Ok(setup)
}

fn readable(invocation: &Invocation<'_>, config: &Config) -> Finding {
    let Some(path) = config::path(&invocation.environment) else {
        return Finding::warning(
            "config",
            "where the configuration belongs cannot be told: XDG_CONFIG_HOME and HOME are not set",
            "set HOME",
        );
    };
    let place = path.display();
    match config.accounts.len() {
        0 if !path.exists() => Finding::ok("config", format!("there is none at {place}, and none is needed")),
        1 => Finding::ok("config", format!("{place}, with 1 account")),
        many => Finding::ok("config", format!("{place}, with {many} accounts")),
    }
}

/// The account that is meant, as the agent and then the client would decide.
fn meant(named: &str, loaded: &[Account], config: &Config) -> Option<AccountName> {
    if !named.is_empty() {
        return named.parse().ok();
    }
    let default = loaded.iter().find(|account| account.is_default);
    match default {
        Some(account) => account.account.parse().ok(),
        None => load::wanted("", config, u32::try_from(loaded.len()).unwrap_or(u32::MAX)),
    }
}

fn nobody(loaded: &[Account], config: &Config) -> Finding {
    if loaded.is_empty() && config.accounts.is_empty() {
        Finding::warning(
            "account",
            "no account is loaded, and the configuration has none",
            "sfkey add NAME --login-url URL --consumer-key K --username U --key FILE --save",
        )
    } else {
        Finding::warning(
            "account",
            "no account was named, and none is the default; only the agent was checked",
            "sfkey doctor NAME",
        )
    }
}

/// Tells what the configuration lacks, or in what the loaded account differs from it.
fn describe(invocation: &Invocation<'_>, setup: &Setup, report: &mut Report<'_>) -> Result<(), Failure> {
    let (Some(name), Some(entry)) = (&setup.name, &setup.entry) else {
        return Ok(());
    };
    if let Err(failure) = Loading::explicit(name, entry).require_complete(&invocation.environment) {
        return report.fail("config", &failure);
    }
    let Some(loaded) = &setup.loaded else {
        return Ok(());
    };
    let differing = differences(entry, loaded);
    if differing.is_empty() {
        return Ok(());
    }
    report.add(Finding::warning(
        "config",
        format!(
            "{name} is loaded with another {} than the configuration has",
            differing.join(", ")
        ),
        format!("sfkey add {name} --replace"),
    ))
}

fn differences(entry: &AccountEntry, loaded: &Account) -> Vec<&'static str> {
    let login_url = entry.login_url.as_deref().unwrap_or(config::DEFAULT_LOGIN_URL);
    let audience = entry.audience.as_deref().unwrap_or(login_url);
    let other = |said: &str, has: &str| said.trim_end_matches('/') != has;
    [
        ("login URL", other(login_url, &loaded.login_url)),
        ("audience", other(audience, &loaded.audience)),
        (
            "consumer key",
            entry
                .consumer_key
                .as_deref()
                .is_some_and(|key| key != loaded.consumer_key),
        ),
        (
            "username",
            entry
                .username
                .as_deref()
                .is_some_and(|user| user != loaded.username),
        ),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}

/// Sees to it that the agent has the account, as `sfkey token` would. Returns the connection to go on with, where it
/// has.
pub(super) async fn load(
    invocation: &Invocation<'_>,
    agent: &Found,
    setup: &Setup,
    name: &AccountName,
    report: &mut Report<'_>,
) -> Result<Option<Client>, Failure> {
    if setup.loaded.is_some() {
        report.add(Finding::ok("account", format!("{name} is loaded")))?;
        return Ok(Some(agent.client.clone()));
    }
    // What keeps it from being loaded is told already.
    if ["config", "key", "socket"]
        .into_iter()
        .any(|id| report.has_failed(id))
    {
        return Ok(None);
    }
    let missing = Refusal::new(
        sfkey::proto::Reason::AccountNotLoaded,
        format!("account {name} is not loaded"),
        format!("sfkey add {name}"),
    );
    let prompting = match invocation.output.is_json() {
        true => Prompting::Never,
        false => Prompting::Allowed,
    };
    let loaded = load::on_demand(invocation, &agent.client, name.as_str(), missing, prompting).await;
    match loaded {
        Ok((client, _)) => {
            report.add(Finding::ok(
                "account",
                format!("{name} was loaded from the configuration"),
            ))?;
            Ok(Some(client))
        }
        Err(failure) => {
            report.fail("account", &failure)?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_account_is_compared_with_what_the_configuration_says_or_leaves_out() {
        let loaded = Account {
            login_url: "https://login.salesforce.com".to_owned(),
            audience: "https://login.salesforce.com".to_owned(),
            username: "u".to_owned(),
            consumer_key: "k".to_owned(),
            ..Account::default()
        };
        assert!(differences(&AccountEntry::default(), &loaded).is_empty());
        let entry = AccountEntry {
            login_url: Some("https://acme.my.salesforce.com/".to_owned()),
            username: Some("other".to_owned()),
            ..AccountEntry::default()
        };
        assert_eq!(
            differences(&entry, &loaded),
            ["login URL", "audience", "username"]
        );
    }
}
