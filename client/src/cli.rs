//! What can be typed.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use sfkey::proto::AccountName;

use crate::{duration, output::TokenFormat};

const EXIT_CODES: &str = "\
Exit codes:
  0  done                     4  the account is not loaded
  1  failed                   5  the agent is locked
  2  wrong usage              6  refused: policy, untrusted socket, other account of that name
  3  no agent reachable       7  Salesforce refused
                              8  Salesforce or the network is unavailable

Environment:
  SFKEY_ACCOUNT  the account when none is named
  SFKEY_SOCK     the agent's socket";

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

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load an account: its private key goes to the agent, sealed
    Add(Box<AddArgs>),
    /// Print an access token
    Token(TokenArgs),
    /// Run a command with an access token in its environment
    Exec(ExecArgs),
    /// List the loaded accounts
    List(ListArgs),
    /// Show the agent's state and counters
    Status(ListArgs),
    /// Unload an account, its key and its token
    Remove(RemoveArgs),
    /// Lock the agent with a passphrase: no key can be used and no token is served
    Lock(PassphraseArgs),
    /// Unlock the agent; every account is there as before
    Unlock(PassphraseArgs),
    /// Stop the agent; it forgets everything
    Stop,
}

const LOCK_EXAMPLES: &str = "\
While the agent is locked its memory is not enough to use a key. remove, stop and status still
work. Lifetimes run on.

Examples:
  sfkey lock
  sfkey unlock --passphrase-file /run/secrets/sfkey-lock";

#[derive(Args, Debug)]
#[command(after_help = LOCK_EXAMPLES)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from this file instead of asking
    #[arg(long, value_name = "F")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

const ADD_EXAMPLES: &str = "\
What is not given comes from [accounts.NAME] in $XDG_CONFIG_HOME/sfkey/config.toml.

REF says where a secret is kept: keyring, file:PATH, credential:NAME (systemd) or env:NAME.

Examples:
  sfkey add prod --login-url https://acme.my.salesforce.com \\
      --consumer-key 3MVG9… --username ci@acme.com --key server.key --save
  sfkey add prod                         from now on, with what was saved
  sfkey add prod --lifetime 8h --idle 30m
  vault read -field=key secret/sf | sfkey add ci --key - --lifetime 1h
  sfkey add --all --no-prompt            all accounts that need nobody at the keyboard";

#[derive(Args, Debug)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct AddArgs {
    /// Name of the account, as you like to call it
    #[arg(required_unless_present = "all")]
    pub(crate) name: Option<AccountName>,

    /// Token host: https://login.salesforce.com (the default), https://test.salesforce.com, or the My Domain
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) login_url: Option<String>,

    /// The assertion's audience [default: the login URL]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) audience: Option<String>,

    /// Consumer key of the External Client App or Connected App
    #[arg(long, value_name = "K", value_parser = plain)]
    pub(crate) consumer_key: Option<String>,

    /// Salesforce username to log in as
    #[arg(long, value_name = "U", value_parser = plain)]
    pub(crate) username: Option<String>,

    /// Private key: a file, a reference, or - for standard input
    #[arg(long, value_name = "REF|FILE|-")]
    pub(crate) key: Option<String>,

    /// Read the key's passphrase from this file instead of asking
    #[arg(long, value_name = "F")]
    pub(crate) passphrase_file: Option<String>,

    /// Consumer secret of the app, for learning how long tokens live (introspection)
    #[arg(long, value_name = "F")]
    pub(crate) consumer_secret_file: Option<String>,

    /// Unload the account after this time, whatever happens: 8h, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    pub(crate) lifetime: Option<u32>,

    /// Unload the account when it was not used for this long: 30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    pub(crate) idle: Option<u32>,

    /// Session timeout of the app's policy, when Salesforce tells no expiry: 2h
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    pub(crate) session_timeout: Option<u32>,

    /// Make it the account that is meant when none is named
    #[arg(long)]
    pub(crate) default: bool,

    /// Replace a loaded account of this name that has another identity or key
    #[arg(long)]
    pub(crate) replace: bool,

    /// Write the settings into the configuration; of secrets only where they are kept
    #[arg(long)]
    pub(crate) save: bool,

    /// Load every account of the configuration
    #[arg(long, conflicts_with_all = [
        "name", "login_url", "audience", "consumer_key", "username", "key", "passphrase_file",
        "consumer_secret_file", "lifetime", "idle", "session_timeout", "default", "save",
    ])]
    pub(crate) all: bool,

    /// With --all: pass over accounts that need a passphrase to be typed
    #[arg(long, conflicts_with = "name")]
    pub(crate) no_prompt: bool,
}

const TOKEN_EXAMPLES: &str = "\
Examples:
  sfkey token prod -o header | curl -H @- https://acme.my.salesforce.com/services/data/v62.0/limits
  eval \"$(sfkey token prod -o env)\"
  sfkey token prod --json | jq -r .instance_url
  sfkey token prod --min-valid 30m       before a long job
  sfkey token prod --show                on a terminal, where it stays to be seen";

#[derive(Args, Debug)]
#[command(after_help = TOKEN_EXAMPLES)]
pub(crate) struct TokenArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// What to print: the token alone, json, env (export lines for eval), or header (Authorization: Bearer …)
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "token",
        hide_possible_values = true
    )]
    pub(crate) output: TokenFormat,

    /// The token must stay valid at least this long: 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "1m")]
    pub(crate) min_valid: u32,

    /// Get a new token from Salesforce even if the one held would do
    #[arg(long)]
    pub(crate) fresh: bool,

    /// Print the token even if standard output is a terminal
    #[arg(long)]
    pub(crate) show: bool,

    /// Do not load the account from the configuration when the agent does not have it
    #[arg(long)]
    pub(crate) no_load: bool,
}

const EXEC_EXAMPLES: &str = "\
The command gets SF_ACCESS_TOKEN, SF_ORG_INSTANCE_URL, SF_TARGET_ORG (opaque tokens only),
SALESFORCE_ACCESS_TOKEN, SALESFORCE_INSTANCE_URL and SFKEY_ACCOUNT. It takes the place of sfkey:
its signals and its exit code are its own. 127: no such command, 126: it cannot be run.

Examples:
  sfkey exec prod -- sf data query -q 'SELECT Id FROM Account LIMIT 1'
  sfkey exec prod --min-valid 1h -- ./nightly-load.py
  sfkey exec prod -- sh -c 'echo \"$SF_ORG_INSTANCE_URL\"'";

#[derive(Args, Debug)]
#[command(after_help = EXEC_EXAMPLES)]
pub(crate) struct ExecArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// The token must stay valid at least this long: 15m
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "1m")]
    pub(crate) min_valid: u32,

    /// Do not load the account from the configuration when the agent does not have it
    #[arg(long)]
    pub(crate) no_load: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

const LIST_EXAMPLES: &str = "\
Examples:
  sfkey list
  sfkey status --json | jq .clock_skew_seconds";

#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// What to print: text for people, or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) output: Structured,
}

/// The forms of what is a table for people and an object for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Structured {
    /// For people
    Text,
    /// One JSON object
    Json,
}

const REMOVE_EXAMPLES: &str = "\
A removed account is loaded again by `sfkey add` only, never on demand.

Examples:
  sfkey remove prod
  sfkey remove --all";

#[derive(Args, Debug)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(crate) struct RemoveArgs {
    /// Name of the account
    #[arg(required_unless_present = "all")]
    pub(crate) name: Option<AccountName>,

    /// Unload every account
    #[arg(long, conflicts_with = "name")]
    pub(crate) all: bool,
}

impl Cli {
    /// Whether output is JSON, by `--json` or `-o json`.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
            || match &self.command {
                Command::Token(args) => args.output == TokenFormat::Json,
                Command::List(args) | Command::Status(args) => args.output == Structured::Json,
                Command::Add(_)
                | Command::Exec(_)
                | Command::Remove(_)
                | Command::Lock(_)
                | Command::Unlock(_)
                | Command::Stop => false,
            }
    }
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

/// A URL as far as its form goes; which hosts are good is the agent's to say.
fn url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        None => Err(format!(
            "a URL is needed, such as https://{}",
            text.trim_start_matches('/')
        )),
        Some("") => Err("the URL names no host".to_owned()),
        Some(rest) if rest.contains(['?', '#', '@']) || rest.contains(char::is_whitespace) => {
            Err("only https://HOST or https://HOST/PATH is good here".to_owned())
        }
        Some(_) => plain(text.trim_end_matches('/')),
    }
}

/// A text that has something in it, and no control characters.
fn plain(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else if text.contains(char::is_control) {
        Err("it holds control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| command.get_name() != "stop")
        {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
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

    #[test]
    fn a_url_is_checked_by_its_form_only() {
        assert_eq!(
            url("https://login.salesforce.com/"),
            Ok("https://login.salesforce.com".to_owned())
        );
        assert!(url("http://localhost:8443").is_ok());
        assert!(url("https://site.force.com/customers").is_ok());
        assert!(
            url("login.salesforce.com")
                .expect_err("no scheme")
                .contains("https://login.salesforce.com")
        );
        for bad in [
            "https://",
            "https://a b",
            "https://u:p@h",
            "https://h?x",
            "https://h#x",
            "ftp://h",
            "",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
