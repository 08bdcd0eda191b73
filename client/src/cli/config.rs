//! The arguments of `sfkey config`.

use clap::{Args, Subcommand};
use sfkey::proto::AccountName;

const CONFIG_EXAMPLES: &str = "\
The configuration says which accounts there are, and where their secrets are kept; it holds no
secret itself. Agent and Salesforce are not asked.

Examples:
  sfkey config check                     before a job that loads accounts
  sfkey config show prod
  $EDITOR \"$(sfkey config path)\"";

#[derive(Args, Debug)]
#[command(after_help = CONFIG_EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

const PATH_EXAMPLES: &str = "\
Examples:
  $EDITOR \"$(sfkey config path)\"";

const SHOW_EXAMPLES: &str = "\
Secrets are not in the configuration; shown is where they are kept.

Examples:
  sfkey config show
  sfkey config show prod --json | jq -r '.settings[] | select(.source == \"default\").setting'";

const CHECK_EXAMPLES: &str = "\
Keys are read, and opened where their passphrase is kept somewhere. Exit code 1 when a check failed.

Examples:
  sfkey config check
  sfkey config check prod --json | jq -r '.checks[] | select(.status != \"ok\").fix'";

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the path of the configuration, whether or not it exists
    #[command(after_help = PATH_EXAMPLES)]
    Path,
    /// Show every setting, and where its value comes from
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Only this account
        name: Option<AccountName>,
    },
    /// Find what is wrong, offline: settings, references, keys, certificates
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Only this account
        name: Option<AccountName>,
    },
}
