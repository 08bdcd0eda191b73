//! `sfkey watch`.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use sfkey::proto::AccountName;

use crate::output::TokenFormat;

const EXAMPLES: &str = "\
Prints the token that is held now, and each new one as the agent renews it, until Ctrl-C. The
agent renews the token in time as long as somebody watches. When the agent is started anew or
locked, or Salesforce cannot be reached, sfkey goes on trying and says so on standard error.

COMMAND is run by /bin/sh with the variables of `sfkey exec`; with --file it gets no token, but
SFKEY_TOKEN_FILE. A run is never cut short: a token that comes meanwhile waits for its end, and
only the newest one is waited with. So it is for a command that ends, such as a reload.

Examples:
  sfkey watch prod --json | while read -r line; do …; done
  sfkey watch prod --file /run/user/1000/app/token --exec 'systemctl --user reload app'
  sfkey watch prod -o header --file ~/.config/app/header";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// What to print, or write to the file: the token alone, json (one object a line), env, header, curl,
    /// dotenv, or sf
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "token",
        hide_possible_values = true
    )]
    pub(crate) output: TokenFormat,

    /// Write each token to this file instead of printing it: readable by you alone, replaced in one step
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// Run this command on each new token instead of printing it
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<OsString>,

    /// Print tokens even if standard output is a terminal
    #[arg(long)]
    pub(crate) show: bool,

    /// Do not load the account from the configuration when the agent does not have it
    #[arg(long)]
    pub(crate) no_load: bool,
}
