//! `sfkey add --store-key keyring`: the key into the keyring, and the offer to remove its file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sfkey::{Client, keyfile::PrivateKey, proto::v1::GetTokenRequest};

use super::{Invocation, load::Loading};
use crate::{
    config::Config,
    exit::{Cause, Failure, escape, words},
    secrets::{Keeper, Keeping, Reference, Terminal},
};

/// Keeps the key of an account that is loaded.
pub(super) fn keep(
    invocation: &Invocation<'_>,
    loading: &Loading<'_>,
    key: &PrivateKey,
) -> Result<Keeper, Failure> {
    let keeping = Keeping {
        account: loading.name,
        replace: loading.replace,
        unlock: loading.unlock(),
        environment: &invocation.environment,
        output: invocation.output,
    };
    let keeper = keeping
        .key(key)
        .map_err(|failure| failure.though_loaded(loading.name))?;
    invocation
        .output
        .note(&format!("the key of {} is in the keyring", loading.name));
    Ok(keeper)
}

/// Offers to remove the file that the key came from. Only to a person, only when the keyring keeps it for good and
/// was asked for it anew, and only when Salesforce issues a token for that key. Nothing here fails the command.
pub(super) async fn offer_removal(
    invocation: &Invocation<'_>,
    agent: &Client,
    loading: &Loading<'_>,
    keeper: &Keeper,
) -> Result<(), Failure> {
    let (Some(Reference::File(file)), true) = (&loading.entry.key, keeper.is_persistent()) else {
        return Ok(());
    };
    if invocation.output.is_json() {
        return Ok(());
    }
    let Some(terminal) = Terminal::open() else {
        return Ok(());
    };
    let shown = escape(&file.display().to_string());
    if let Some(user) = still_used_by(invocation, file)? {
        terminal.tell(&format!(
            "{shown} stays: the configuration names it as the key of {user}. With --save it names the keyring."
        ));
        return Ok(());
    }
    if !is_plain_file(file) {
        return Ok(());
    }
    let request = GetTokenRequest {
        account: loading.name.to_string(),
        fresh: true,
        ..GetTokenRequest::default()
    };
    // The keyring may have asked somebody who thought for long.
    let agent = agent.again().await?;
    let asked = agent.request_token(request);
    if let Err(error) = invocation
        .output
        .patiently("asking Salesforce for a token", asked)
        .await
    {
        let failure = Failure::from(error);
        terminal.tell(&format!(
            "{shown} stays, for Salesforce issued no token with this key: {}",
            escape(&failure.message_with_raw_text())
        ));
        return Ok(());
    }
    terminal.tell(&format!(
        "The key was read back from the keyring, and Salesforce issued a token for it. {shown} still holds it too."
    ));
    let answer = terminal.confirm("Remove that file? [no]: ").unwrap_or(false);
    if !answer {
        terminal.tell("It stays.");
        return Ok(());
    }
    remove(file)?;
    terminal.tell("Removed.");
    Ok(())
}

/// Whether it is the file itself: of a link or a pipe nothing would be gained.
pub(super) fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Removes the file of a key that is kept elsewhere now.
pub(super) fn remove(file: &Path) -> Result<(), Failure> {
    fs::remove_file(file).map_err(|error| {
        Failure::new(
            Cause::Io,
            format!("cannot remove {}: {}", file.display(), words(&error)),
            "the key is in the keyring; remove the file by hand",
        )
    })
}

/// The account that would be without a key if the file were gone.
pub(super) fn still_used_by(invocation: &Invocation<'_>, file: &Path) -> Result<Option<String>, Failure> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let this = real(file);
    let config = Config::read(&invocation.environment)?;
    let names = |reference: &Option<Reference>| match reference {
        Some(Reference::File(path)) => real(path) == this,
        _ => false,
    };
    let user = config.accounts.iter().find(|(_, entry)| names(&entry.key));
    Ok(user.map(|(name, _)| name.to_string()))
}
