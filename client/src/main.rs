//! `sfkey`: parse, run, exit code.
//!
//! ```text
//! cli         what can be typed
//! commands    one file a command
//! certificate when the certificate at an app ends
//! config      the configuration file: accounts, and where their secrets are kept
//! certificate X.509: whose it is, when it ends
//! metadata    an External Client App as source that can be deployed
//! keypair     making an RSA key, its certificate, and the files of both
//! value       URLs and names by their form
//! secrets     reading what a reference names; asking on the terminal
//! hardening   no core dumps and no debuggers while a key is held
//! output      the one place that writes: text, JSON, tokens
//! exit        how a command fails: two lines or one object, and the exit code
//! ```

mod certificate;
mod cli;
mod commands;
mod config;
mod exit;
mod hardening;
mod keypair;
mod metadata;
mod output;
mod quote;
mod secrets;
mod value;

use std::{alloc::System, env, ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};
use jiff::Timestamp;
use sfkey::Environment;
use sfkey_proto::duration;
use zeroizing_alloc::ZeroAlloc;

use crate::{
    cli::Cli,
    commands::Invocation,
    exit::{Cause, Failure},
    output::{Output, style::Colour},
};

/// Wipes every block when it is freed: the copies of keys, passphrases and tokens that parsers and HTTP/2
/// leave behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let typed: Vec<OsString> = env::args_os().collect();
    let (output, done) = match Cli::try_parse_from(&typed) {
        Ok(cli) => {
            let output = Output::new(cli.wants_json()).at(cli.volume());
            let done = run(cli, &output);
            (output, done)
        }
        Err(error) => (
            Output::new(cli::seems_to_want_json(&typed)),
            not_understood(&error, &typed),
        ),
    };
    match done {
        Ok(()) => {
            output.release_warnings();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            output.fail(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| {
            Failure::new(
                Cause::Io,
                format!("cannot start: {}", exit::words(&error)),
                "check ulimit -n",
            )
        })?;
    let environment = Environment::of_process();
    let invocation = Invocation::new(environment, cli.socket, output, Timestamp::now());
    let done = runtime.block_on(commands::run(&invocation, cli.command));
    // The answer is written; whatever the connection still wants to do can be left undone.
    runtime.shutdown_background();
    done
}

/// Help and version are answers; everything else that clap says is a wrong usage.
fn not_understood(error: &clap::Error, typed: &[OsString]) -> Result<(), Failure> {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if Colour::of_output().is_on() => {
            Output::help(&error.render().ansi().to_string())
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Output::help(&text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::new(Cause::Usage, "no command was given", help_of(typed)))
        }
        _ => Err(usage_failure(&text, typed)),
    }
}

/// Clap's message in the two lines of every failure: its first paragraph, and its tip or the help to read.
fn usage_failure(text: &str, typed: &[OsString]) -> Failure {
    let first = text.split("\n\n").next().unwrap_or_default();
    let message: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    Failure::new(
        Cause::Usage,
        message.join(" "),
        tip.map_or_else(|| help_of(typed), str::to_owned),
    )
}

/// Where to read how the command that was typed is used.
fn help_of(typed: &[OsString]) -> String {
    let known = Cli::command();
    let command = typed.iter().skip(1).find_map(|word| known.find_subcommand(word));
    match command {
        Some(command) if command.get_name() == "exec" => "sfkey exec NAME -- COMMAND …".to_owned(),
        Some(command) => format!("sfkey {} --help", command.get_name()),
        None => "sfkey --help".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> Failure {
        let typed: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Cli::try_parse_from(&typed).expect_err(line);
        not_understood(&error, &typed).expect_err("a failure")
    }

    #[test]
    fn a_wrong_usage_has_two_lines_and_says_what_would_be_right() {
        for (line, message, fix) in [
            ("sfkey", "no command was given", "sfkey --help"),
            ("sfkey config", "no command was given", "sfkey config --help"),
            (
                "sfkey tokn",
                "unrecognized subcommand 'tokn'",
                "a similar subcommand exists: 'token'",
            ),
            (
                "sfkey token --fresch",
                "unexpected argument '--fresch' found",
                "a similar argument exists: '--fresh'",
            ),
            (
                "sfkey exec prod ls",
                "unexpected argument 'ls' found",
                "sfkey exec NAME -- COMMAND …",
            ),
            (
                "sfkey remove",
                "the following required arguments were not provided: <NAME>",
                "sfkey remove --help",
            ),
            (
                "sfkey token --min-valid 300",
                "invalid value '300' for '--min-valid <TIME>': a duration needs a unit: 90s, 30m, 8h or 1h30m",
                "sfkey token --help",
            ),
        ] {
            let failure = failure(line);
            assert_eq!((failure.message.as_str(), failure.fix.as_str()), (message, fix));
        }
    }

    #[test]
    fn help_and_version_are_no_failures() {
        for line in [
            "sfkey --help",
            "sfkey token --help",
            "sfkey --version",
            "sfkey help exec",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert!(
                matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
                "{line}"
            );
        }
    }
}
