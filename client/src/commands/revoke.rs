//! `sfkey revoke`: end the token of an account at Salesforce.

use serde::Serialize;
use sfkey::{
    Client,
    proto::{Reason, v1::Account},
};

use super::Invocation;
use crate::{
    cli::RevokeArgs,
    exit::{Cause, Failure, escape, words},
    secrets::Terminal,
};

/// What `sfkey revoke --json` prints.
#[derive(Serialize)]
struct Revoked<'a> {
    account: &'a str,
    revoked: bool,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: RevokeArgs) -> Result<(), Failure> {
    let named = invocation.account(args.name.as_ref())?;
    let agent = invocation.connect().await?;
    let account = meant(&agent, &named).await?;
    let name = &account.account;
    let consequence = format!(
        "everyone who shares {} and the app {} is logged out, not only this agent",
        account.username, account.consumer_key
    );
    if args.yes {
        invocation.output.warn(&consequence);
    } else {
        confirm(name, &consequence)?;
    }
    let revoked = agent.again().await?.revoke(name).await?;
    let text = if revoked {
        format!("Revoked the token of {name}. The next one is got when it is asked for.")
    } else {
        format!("There was no token of {name} to revoke.")
    };
    let account = name;
    invocation.output.done(&text, &Revoked { account, revoked })
}

/// The account that is revoked, known before anybody is asked about it.
async fn meant(agent: &Client, named: &str) -> Result<Account, Failure> {
    let accounts = agent.accounts().await?;
    let mut fitting = accounts.into_iter().filter(|account| match named {
        "" => account.is_default,
        named => account.account == named,
    });
    fitting.next().ok_or_else(|| {
        let (reason, message) = match named {
            "" => (
                Reason::NoDefaultAccount,
                "no account was named, and none is the default".to_owned(),
            ),
            named => (Reason::AccountNotLoaded, format!("account {named} is not loaded")),
        };
        Failure::refused(
            reason,
            message,
            "sfkey list   (shows the accounts that are loaded)",
        )
    })
}

fn confirm(name: &str, consequence: &str) -> Result<(), Failure> {
    let Some(terminal) = Terminal::open() else {
        return Err(Failure::new(
            Cause::Usage,
            format!("{consequence}; and there is no terminal to ask on whether that is wanted"),
            format!("sfkey revoke {name} --yes"),
        ));
    };
    let question = format!(
        "If {} is revoked, {}.\nRevoke it? [y/N] ",
        escape(name),
        escape(consequence)
    );
    let answer = terminal.confirm(&question).map_err(|error| {
        Failure::new(
            Cause::Io,
            format!("the terminal cannot be read: {}", words(&error)),
            format!("sfkey revoke {name} --yes"),
        )
    })?;
    if answer {
        return Ok(());
    }
    Err(Failure::new(
        Cause::Declined,
        "nothing was revoked",
        format!("sfkey revoke {name}, and answer y"),
    ))
}
