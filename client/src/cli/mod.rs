//! What can be typed: here what all commands share, and one file a command for its arguments.

pub(crate) mod add;
mod audit;
mod completions;
mod config;
mod doctor;
mod exec;
mod import;
mod keygen;
mod list;
mod lock;
mod panic;
mod remove;
mod revoke;
mod service;
mod setup;
mod token;
mod watch;
mod whoami;

use std::{ffi::OsString, path::PathBuf};

use clap::{ColorChoice, CommandFactory, Parser, Subcommand};

pub(crate) use self::{
    add::AddArgs,
    audit::AuditArgs,
    completions::{Completed, CompletionsArgs, WordsArgs},
    config::{ConfigArgs, ConfigCommand},
    doctor::DoctorArgs,
    exec::ExecArgs,
    import::ImportArgs,
    keygen::KeygenArgs,
    list::{ListArgs, Structured},
    lock::PassphraseArgs,
    panic::PanicArgs,
    remove::RemoveArgs,
    revoke::RevokeArgs,
    service::{ServiceAction, ServiceArgs, ServiceInstallArgs, ServiceUninstallArgs},
    setup::SetupArgs,
    token::TokenArgs,
    watch::WatchArgs,
    whoami::WhoamiArgs,
};
use crate::output::{TokenFormat, Volume};

const EXIT_CODES: &str = "\
Examples:
  sfkey add prod --login-url https://acme.my.salesforce.com --consumer-key 3MVG9… \\
      --username ci@acme.com --key server.key --default --save
  sfkey exec prod -- sf data query -q 'SELECT Id FROM Account'
  sfkey token -o header | curl -H @- https://acme.my.salesforce.com/services/data/

Exit codes:
  0  done                     4  the account is not loaded
  1  failed                   5  the agent is locked
  2  wrong usage              6  refused: policy, untrusted socket, other account of that name
  3  no agent reachable       7  Salesforce refused
                              8  Salesforce or the network is unavailable

Environment:
  SFKEY_ACCOUNT  the account when none is named
  SFKEY_SOCK     the agent's socket
  NO_COLOR       no colour on terminals, either; CLICOLOR_FORCE=1: colour everywhere";

/// Heading of the options that every command has.
const COMMON: &str = "Common options";

/// Salesforce access tokens from sfkey-agent, which holds the private keys
#[derive(Debug, Parser)]
#[command(name = "sfkey", version, color = ColorChoice::Never, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Socket of the agent [default: SFKEY_SOCK, else $XDG_RUNTIME_DIR/sfkey/agent.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = COMMON)]
    pub(crate) socket: Option<PathBuf>,

    /// Print JSON, errors included
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,

    /// Say nothing but what was asked for, and what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = COMMON)]
    pub(crate) quiet: bool,

    /// Tell on standard error what is done, and with what
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Link an account step by step, from the key to a token that Salesforce issued
    Setup(SetupArgs),
    /// Make a private key, and the certificate that Salesforce wants
    Keygen(Box<KeygenArgs>),
    /// Take over the JWT logins of the sf CLI, and keep their keys encrypted
    Import(ImportArgs),
    /// Load an account: its private key goes to the agent, sealed
    Add(Box<AddArgs>),
    /// Print an access token
    Token(TokenArgs),
    /// Run a command with an access token in its environment
    Exec(ExecArgs),
    /// Follow an account: each token as it is renewed, to print, into a file, or for a command
    Watch(WatchArgs),
    /// List the loaded accounts
    List(ListArgs),
    /// Show the agent's state and counters
    Status(ListArgs),
    /// Show who got which token and who was denied, from the agent's audit log
    Audit(AuditArgs),
    /// Ask Salesforce who an account's token belongs to
    Whoami(WhoamiArgs),
    /// Find out what is wrong, and what to do about it
    Doctor(DoctorArgs),
    /// Unload an account, its key and its token
    Remove(RemoveArgs),
    /// Lock the agent with a passphrase: no key can be used and no token is served
    Lock(PassphraseArgs),
    /// Unlock the agent; every account is there as before
    Unlock(PassphraseArgs),
    /// End an account's token at Salesforce, for everyone who shares its user and app
    Revoke(RevokeArgs),
    /// Wipe every key and token at once, then revoke the tokens
    Panic(PanicArgs),
    /// Stop the agent; it forgets everything
    #[command(after_help = STOP_EXAMPLES)]
    Stop,
    /// Find, show or check the configuration
    Config(ConfigArgs),
    /// Print a script that completes commands, options and account names
    Completions(CompletionsArgs),
    /// What the last of some words can become
    #[command(hide = true)]
    CompleteWords(WordsArgs),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory
        directory: PathBuf,
    },
    /// Set up the agent as a service of your systemd, started by the first call
    Service(ServiceArgs),
}

const STOP_EXAMPLES: &str = "\
Examples:
  sfkey stop";

impl Cli {
    /// How much is told besides the answer.
    pub(crate) fn volume(&self) -> Volume {
        match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        }
    }

    /// Whether output is JSON, by `--json` or `-o json`.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
            || match &self.command {
                Command::Token(args) => args.output == TokenFormat::Json,
                Command::Watch(args) => args.output == TokenFormat::Json,
                Command::List(args) | Command::Status(args) => args.output == Structured::Json,
                Command::Audit(args) => args.output == Structured::Json,
                Command::Setup(_)
                | Command::Import(_)
                | Command::Keygen(_)
                | Command::Add(_)
                | Command::Exec(_)
                | Command::Remove(_)
                | Command::Lock(_)
                | Command::Unlock(_)
                | Command::Whoami(_)
                | Command::Doctor(_)
                | Command::Revoke(_)
                | Command::Panic(_)
                | Command::Service(_)
                | Command::Stop
                | Command::Config(_)
                | Command::Completions(_)
                | Command::CompleteWords(_)
                | Command::Manual { .. } => false,
            }
    }
}

/// The command line as it is defined, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Whether a command line that cannot be understood at least asks for JSON.
pub(crate) fn seems_to_want_json(typed: &[OsString]) -> bool {
    let own = typed.iter().take_while(|word| *word != "--");
    let mut previous = None;
    own.into_iter().any(|word| {
        let value_of_output =
            matches!(previous.replace(word), Some(flag) if flag == "-o" || flag == "--output");
        word == "--json" || word == "-ojson" || word == "--output=json" || (value_of_output && word == "json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples_in_its_help() {
        fn examine(command: &clap::Command) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            visible(command).for_each(examine);
        }
        fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
            command.get_subcommands().filter(|command| !command.is_hide_set())
        }
        visible(&Cli::command()).for_each(examine);
    }

    #[test]
    fn exec_takes_everything_behind_the_dashes_as_it_is() {
        let cli = parse("sfkey exec prod --min-valid 15m -- cmd --json -- x").expect("parsed");
        let Command::Exec(args) = cli.command else {
            panic!("not exec")
        };
        assert_eq!(args.command, ["cmd", "--json", "--", "x"]);
        assert_eq!(args.min_valid, 900);
        assert!(!cli.json);
        assert!(parse("sfkey exec -- cmd").is_ok());
        assert!(parse("sfkey exec prod cmd").is_err());
        assert!(parse("sfkey exec prod --").is_err());
    }

    #[test]
    fn json_can_be_asked_for_in_every_way() {
        for line in [
            "sfkey --json list",
            "sfkey list --json",
            "sfkey status -o json",
            "sfkey token -ojson",
        ] {
            assert!(parse(line).expect(line).wants_json(), "{line}");
        }
        assert!(!parse("sfkey token -o env").expect("parsed").wants_json());
    }

    #[test]
    fn json_is_noticed_in_a_command_line_that_is_wrong() {
        let seems = |line: &str| {
            let typed: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            seems_to_want_json(&typed)
        };
        assert!(seems("sfkey token --bad --json") && seems("sfkey token --bad -o json"));
        assert!(seems("sfkey list --output=json x") && seems("sfkey list -ojson x"));
        assert!(!seems("sfkey exec -- cmd --json") && !seems("sfkey token json"));
    }

    #[test]
    fn an_account_or_all_of_them_but_not_both() {
        for line in [
            "sfkey remove",
            "sfkey remove a --all",
            "sfkey add",
            "sfkey add a --all",
            "sfkey add --all --save",
            "sfkey add a --no-prompt",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("sfkey remove --all").is_ok() && parse("sfkey add --all --no-prompt").is_ok());
    }
}
