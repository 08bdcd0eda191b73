//! `sfkey import`: the JWT logins of the sf CLI as accounts, their keys no longer in the clear.
//!
//! ```text
//! logins   what the sf CLI keeps
//! adopt    one login: prove it, keep its key, write it into the configuration
//! ```

mod adopt;
mod logins;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sfkey::{
    keyfile::{KeyFile, Passphrase, PrivateKey},
    proto::AccountName,
};

use self::{
    adopt::{Adoption, KeyFiles, Place},
    logins::{Kind, Login},
};
use super::{Invocation, here, keygen};
use crate::{
    cli::ImportArgs,
    config,
    exit::{Cause, Failure, escape, words},
    hardening,
    output::table,
    quote,
    secrets::{self, Purpose, Reference, Terminal, keyring::Unlock},
};

/// A login, and what can be done with it.
struct Candidate {
    login: Login,
    account: Option<AccountName>,
    found: Found,
}

/// What was found of a login.
enum Found {
    /// All that is needed.
    Key(Box<PrivateKey>),
    /// Why it is passed over.
    Nothing(String),
}

/// One login in what `--json` prints.
#[derive(Serialize)]
struct Report {
    account: Option<String>,
    username: String,
    alias: Option<String>,
    login_url: Option<String>,
    consumer_key: Option<String>,
    key_file: Option<PathBuf>,
    outcome: &'static str,
    detail: Option<String>,
}

#[derive(Serialize)]
struct Reports {
    accounts: Vec<Report>,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: ImportArgs) -> Result<(), Failure> {
    hardening::harden();
    let directory = logins_of_sf(invocation, &args)?;
    let candidates = candidates(invocation, &args, &directory)?;
    if !args.apply {
        return show(invocation, &directory, &candidates);
    }
    let agent = invocation.connect_trusted().await?;
    let place = place(invocation, &args)?;
    let mut adoption = Adoption::new(invocation, agent.again().await?, place);
    let mut reports = Vec::new();
    let mut failed = None;
    // Keys whose files stay, for what they were put into forgets them.
    let mut passing = BTreeSet::new();
    for candidate in &candidates {
        let (outcome, detail) = match (&candidate.account, &candidate.found) {
            (Some(account), Found::Key(key)) => match adoption.adopt(account, &candidate.login, key).await {
                Ok((told, is_persistent)) => {
                    if let (Kind::Jwt { key, .. }, false) = (&candidate.login.kind, is_persistent) {
                        passing.insert(key.clone());
                    }
                    ("imported", told)
                }
                Err(failure) => {
                    let told = failure.message_with_raw_text();
                    failed = Some(among_others(invocation, failed, failure.about(account)));
                    ("failed", told)
                }
            },
            (_, Found::Nothing(why)) => ("skipped", why.clone()),
            (None, Found::Key(_)) => (
                "skipped",
                "neither alias nor username can name an account".to_owned(),
            ),
        };
        if outcome == "imported" && !invocation.output.is_json() {
            invocation.output.done(&detail, &())?;
        }
        reports.push(report(candidate, outcome, Some(detail)));
    }
    if !invocation.output.is_json() {
        offer_removal(invocation, &candidates, &reports, &passing)?;
    }
    match failed {
        Some(failure) => Err(failure),
        None if invocation.output.is_json() => invocation.output.lines(&[], &Reports { accounts: reports }),
        None => Ok(()),
    }
}

/// The failure that stands for all so far. For people each is told at once.
fn among_others(invocation: &Invocation<'_>, earlier: Option<Failure>, failure: Failure) -> Failure {
    if invocation.output.is_json() {
        return match earlier {
            Some(earlier) => earlier.and(&failure),
            None => failure,
        };
    }
    invocation.output.fail(&failure);
    earlier.unwrap_or_else(|| failure.told())
}

fn logins_of_sf(invocation: &Invocation<'_>, args: &ImportArgs) -> Result<PathBuf, Failure> {
    match (&args.from, &invocation.environment.home) {
        (Some(directory), _) => Ok(directory.clone()),
        (None, Some(home)) => Ok(home.join(".sfdx")),
        (None, None) => Err(Failure::new(
            Cause::Usage,
            "where the sf CLI keeps its logins cannot be told: HOME is not set",
            "sfkey import --from DIR",
        )),
    }
}

fn candidates(
    invocation: &Invocation<'_>,
    args: &ImportArgs,
    directory: &Path,
) -> Result<Vec<Candidate>, Failure> {
    let (logins, unreadable) = logins::read(directory)?;
    for name in unreadable {
        invocation
            .output
            .warn(&format!("{name} is no login that can be read; it is passed over"));
    }
    let wanted = |login: &Login| {
        args.logins.is_empty()
            || args
                .logins
                .iter()
                .any(|wanted| *wanted == login.username || Some(wanted) == login.alias.as_ref())
    };
    let chosen: Vec<Login> = logins.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Failure::new(
            Cause::Usage,
            format!("there is no such login of the sf CLI in {}", directory.display()),
            "sf org list auth   shows what sf knows; name another folder with --from DIR",
        ));
    }
    Ok(chosen.into_iter().map(candidate).collect())
}

fn candidate(login: Login) -> Candidate {
    let alias = login.alias.as_deref().and_then(|alias| alias.parse().ok());
    let account = alias.or_else(|| login.username.parse().ok());
    let found = match &login.kind {
        Kind::Other(why) => Found::Nothing((*why).to_owned()),
        Kind::Jwt { key, .. } => match KeyFile::read(key).and_then(|file| file.decode(None)) {
            Ok(private) => Found::Key(Box::new(private)),
            Err(error) => Found::Nothing(format!("{}: {error}", key.display())),
        },
    };
    Candidate {
        login,
        account,
        found,
    }
}

fn report(candidate: &Candidate, outcome: &'static str, detail: Option<String>) -> Report {
    let (login_url, consumer_key, key_file) = match &candidate.login.kind {
        Kind::Jwt {
            login_url,
            consumer_key,
            key,
        } => (
            Some(login_url.clone()),
            Some(consumer_key.clone()),
            Some(key.clone()),
        ),
        Kind::Other(_) => (None, None, None),
    };
    Report {
        account: candidate.account.as_ref().map(ToString::to_string),
        username: candidate.login.username.clone(),
        alias: candidate.login.alias.clone(),
        login_url,
        consumer_key,
        key_file,
        outcome,
        detail,
    }
}

/// The dry run.
fn show(invocation: &Invocation<'_>, directory: &Path, candidates: &[Candidate]) -> Result<(), Failure> {
    let reports: Vec<Report> = candidates
        .iter()
        .map(|candidate| match &candidate.found {
            Found::Key(_) => report(candidate, "found", None),
            Found::Nothing(why) => report(candidate, "skipped", Some(why.clone())),
        })
        .collect();
    let mut rows = vec![["ACCOUNT", "USERNAME", "LOGIN URL", "KEY"].map(str::to_owned)];
    for (candidate, report) in candidates.iter().zip(&reports) {
        let key = match (&candidate.found, &report.key_file) {
            (Found::Key(key), Some(file)) => format!("{}, RSA {}, not encrypted", file.display(), key.bits()),
            (Found::Nothing(why), _) => format!("passed over: {why}"),
            (Found::Key(_), None) => "-".to_owned(),
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(
            [
                text(&report.account),
                report.username.clone(),
                text(&report.login_url),
                key,
            ]
            .map(|cell| escape(&cell)),
        );
    }
    let mut lines = vec![
        format!("Logins of the sf CLI in {}:", directory.display()),
        String::new(),
    ];
    lines.extend(table(&rows).lines().map(str::to_owned));
    lines.extend([
        String::new(),
        "Nothing was changed. sfkey import --apply asks Salesforce for a token for each, keeps its key encrypted in"
            .to_owned(),
        format!(
            "{}, and writes it into {}.",
            adopt::key_directory(&invocation.environment)?.display(),
            config::path(&invocation.environment).unwrap_or_default().display()
        ),
    ]);
    invocation.output.lines(&lines, &Reports { accounts: reports })
}

/// Where the keys go, and what they are encrypted under there.
fn place(invocation: &Invocation<'_>, args: &ImportArgs) -> Result<Place, Failure> {
    if args.store_key.is_some() {
        return Ok(Place::Keyring);
    }
    let Some(file) = &args.passphrase_file else {
        let passphrase = keygen::choose_passphrase("the keys that are imported")?;
        return Ok(Place::Files(KeyFiles::new(passphrase, None)));
    };
    let reference = Reference::file(file, &here()?, &invocation.environment);
    let read = secrets::read(
        &reference,
        Purpose::NewKey,
        Unlock::Never,
        &invocation.environment,
        invocation.output,
    )?;
    Ok(Place::Files(KeyFiles::new(
        Passphrase::new(read),
        Some(reference),
    )))
}

/// Offers to remove each key file in the clear of which every login was imported. It takes a person who says yes.
fn offer_removal(
    invocation: &Invocation<'_>,
    candidates: &[Candidate],
    reports: &[Report],
    passing: &BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let outcome_of = |key: &Path, imported: bool| {
        reports.iter().any(|report| {
            report.key_file.as_deref() == Some(key) && (report.outcome == "imported") == imported
        })
    };
    let keys: BTreeSet<PathBuf> = candidates
        .iter()
        .filter_map(|candidate| match &candidate.login.kind {
            Kind::Jwt { key, .. } => Some(key.clone()),
            Kind::Other(_) => None,
        })
        .filter(|key| outcome_of(key, true) && !outcome_of(key, false) && !passing.contains(key))
        .collect();
    let terminal = Terminal::open();
    for key in keys {
        let shown = escape(&key.display().to_string());
        let Some(terminal) = &terminal else {
            invocation.output.warn(&format!(
                "{shown} still holds the key in the clear; once nothing needs it: rm {}",
                quote::word(&key.to_string_lossy())
            ));
            continue;
        };
        terminal.tell(&format!(
            "\n{shown} still holds the key in the clear. Without it sf no longer logs in by itself: its commands then \
             work through\nsfkey exec NAME -- sf …, with tokens from the agent."
        ));
        let answer = terminal.ask_openly("Remove that file? [no]: ").ok().flatten();
        if !matches!(
            answer.as_deref().map(str::to_lowercase).as_deref(),
            Some("y" | "yes")
        ) {
            terminal.tell("It stays.");
            continue;
        }
        std::fs::remove_file(&key).map_err(|error| {
            Failure::new(
                Cause::Io,
                format!("cannot remove {shown}: {}", words(&error)),
                "everything is imported; remove it by hand",
            )
        })?;
        terminal.tell("Removed.");
    }
    Ok(())
}
