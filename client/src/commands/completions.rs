//! `sfkey completions SHELL`, and the hidden command that the scripts it prints ask.

use std::{ffi::OsString, time::Duration};

use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};
use sfkey::{Client, proto::v1::Account};

use super::Invocation;
use crate::{
    cli::{self, Completed, CompletionsArgs, WordsArgs},
    config::Config,
    exit::Failure,
    output::Output,
};

/// How long the agent may take to name its accounts: whoever presses a key waits for it.
const PATIENCE: Duration = Duration::from_millis(300);

pub(super) fn script(args: &CompletionsArgs) -> Result<(), Failure> {
    Output::help(match args.shell {
        Completed::Bash => include_str!("../../completions/sfkey.bash"),
        Completed::Zsh => include_str!("../../completions/_sfkey"),
        Completed::Fish => include_str!("../../completions/sfkey.fish"),
    })
}

/// What the last of the words can become, one a line, with a tab and its help behind it. Says nothing when
/// nothing can be said: a message would land in the middle of a command line.
pub(super) async fn words(invocation: &Invocation<'_>, args: WordsArgs) -> Result<(), Failure> {
    let names = names(invocation).await;
    let mut known = with_names(cli::command(), &names);
    let last = args.words.len().saturating_sub(1);
    let nothing_typed = args.words.last().is_some_and(|word| word.is_empty());
    let here = std::env::current_dir().ok();
    let mut candidates = complete(&mut known, args.words, last, here.as_deref()).unwrap_or_default();
    // Options are for whoever types a dash, or for when there is nothing else.
    if nothing_typed && !candidates.iter().all(is_option) {
        candidates.retain(|candidate| !is_option(candidate));
    }
    Output::help(&candidates.iter().map(line).collect::<String>())
}

fn is_option(candidate: &CompletionCandidate) -> bool {
    candidate.get_value().as_encoded_bytes().starts_with(b"-")
}

fn line(candidate: &CompletionCandidate) -> String {
    let value = candidate.get_value().to_string_lossy();
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    match help.lines().next() {
        Some(help) if !help.is_empty() => format!("{value}\t{help}\n"),
        _ => format!("{value}\n"),
    }
}

/// The accounts that a command can mean: those of the agent, and those that can be loaded.
async fn names(invocation: &Invocation<'_>) -> Vec<(String, String)> {
    let asked = async {
        let agent: Client = invocation.connect().await.ok()?;
        agent.accounts().await.ok()
    };
    let loaded = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
    let mut names: Vec<_> = loaded
        .unwrap_or_default()
        .into_iter()
        .map(
            |Account {
                 account, username, ..
             }| (account, username),
        )
        .collect();
    let config = Config::read(&invocation.environment).unwrap_or_default();
    for (name, entry) in config.accounts {
        if names.iter().all(|(known, _)| *known != *name.as_str()) {
            let username = entry
                .username
                .map_or_else(String::new, |username| username + ", ");
            names.push((name.to_string(), format!("{username}not loaded")));
        }
    }
    names
}

/// The command line with the names wherever an account is meant, and files wherever one is.
fn with_names(command: Command, names: &[(String, String)]) -> Command {
    let is_file = |argument: &Arg| {
        let named = argument.get_value_names().unwrap_or_default();
        named
            .iter()
            .any(|name| name.split('|').any(|name| name == "F" || name == "FILE"))
    };
    let known = |argument: Arg| {
        if is_file(&argument) {
            return argument.value_hint(ValueHint::AnyPath);
        }
        if argument.get_id() != "name" || !argument.is_positional() {
            return argument;
        }
        let names = names.to_vec();
        argument.add(ArgValueCandidates::new(move || {
            let candidate = |(name, help): &(String, String)| {
                CompletionCandidate::new(OsString::from(name)).help(Some(help.clone().into()))
            };
            names.iter().map(candidate).collect()
        }))
    };
    command
        .mut_args(known)
        .mut_subcommands(|subcommand| with_names(subcommand, names))
}
