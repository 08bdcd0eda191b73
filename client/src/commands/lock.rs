//! `sfkey lock` and `sfkey unlock`.

use std::path::PathBuf;

use serde::Serialize;
use sfkey::Client;
use zeroize::Zeroizing;

use super::Invocation;
use crate::{
    cli::PassphraseArgs,
    exit::{Cause, Failure, words},
    hardening,
    secrets::{self, Prompted, Purpose, Reference, Terminal, keyring::Unlock},
};

/// What `sfkey lock --json` and `sfkey unlock --json` print.
#[derive(Serialize)]
struct Turned {
    locked: bool,
}

pub(super) async fn lock(invocation: &Invocation<'_>, args: PassphraseArgs) -> Result<(), Failure> {
    let agent = trusted_agent(invocation).await?;
    let passphrase = match args.passphrase_file {
        Some(path) => read(invocation, path)?,
        None => choose()?,
    };
    agent.again().await?.lock(passphrase).await?;
    let text = "Locked: keys and tokens are out of reach until `sfkey unlock`.";
    invocation.output.done(text, &Turned { locked: true })
}

pub(super) async fn unlock(invocation: &Invocation<'_>, args: PassphraseArgs) -> Result<(), Failure> {
    let agent = trusted_agent(invocation).await?;
    let passphrase = match args.passphrase_file {
        Some(path) => read(invocation, path)?,
        None => ask(&terminal()?, "Passphrase of the lock: ")?,
    };
    agent.again().await?.unlock(passphrase).await?;
    invocation.output.done("Unlocked.", &Turned { locked: false })
}

/// An agent that may be sent a passphrase; asked before the user is.
async fn trusted_agent(invocation: &Invocation<'_>) -> Result<Client, Failure> {
    hardening::harden();
    invocation.connect_trusted().await
}

fn read(invocation: &Invocation<'_>, path: PathBuf) -> Result<Zeroizing<Vec<u8>>, Failure> {
    secrets::read(
        &Reference::File(path),
        Purpose::Lock,
        Unlock::Never,
        &invocation.environment,
        invocation.output,
    )
}

/// A new passphrase, typed twice: a slip in it could not be undone.
fn choose() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let terminal = terminal()?;
    let first = ask(&terminal, "New passphrase for the lock: ")?;
    let second = ask(&terminal, "The same again: ")?;
    if *first == *second {
        return Ok(first);
    }
    Err(Failure::new(
        Cause::Passphrase,
        "the two passphrases differ; the agent is not locked",
        "sfkey lock",
    ))
}

fn terminal() -> Result<Terminal, Failure> {
    Terminal::open().ok_or_else(|| {
        Failure::new(
            Cause::Passphrase,
            "a passphrase is needed, and there is no terminal to ask on",
            "name a file that holds it: --passphrase-file FILE",
        )
    })
}

fn ask(terminal: &Terminal, question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match terminal.ask(question) {
        Ok(Prompted::Passphrase(passphrase)) => Ok(passphrase),
        Ok(Prompted::Nothing) => Err(Failure::new(
            Cause::Passphrase,
            "no passphrase was given, and an empty one locks nothing",
            "",
        )),
        Err(error) => Err(Failure::new(
            Cause::Io,
            format!("the terminal cannot be read: {}", words(&error)),
            "name a file that holds the passphrase: --passphrase-file FILE",
        )),
    }
}
