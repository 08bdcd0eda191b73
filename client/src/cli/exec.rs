//! The arguments of `sfkey exec`.

use std::ffi::OsString;

use clap::Args;
use sfkey::proto::AccountName;

use crate::duration;

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
