//! The arguments of `sfkey token`.

use clap::Args;
use sfkey::proto::AccountName;

use crate::{
    duration,
    output::{Shell, TokenFormat},
    secrets::Rejected,
};

const TOKEN_EXAMPLES: &str = "\
Examples:
  sfkey token prod -o header | curl -H @- https://acme.my.salesforce.com/services/data/v62.0/limits
  eval \"$(sfkey token prod -o env)\"
  sfkey token prod -o curl | curl --config - https://acme.my.salesforce.com/services/data/
  sfkey token prod -o env --shell fish | source
  sfkey token prod -o dotenv > .env      for one container, say; it holds the token
  sfkey token prod --json | jq -r .instance_url
  sfkey token prod --min-valid 30m       before a long job
  printf %s \"$TOKEN\" | sfkey token prod --rejected -
                                         after a 401: report the token, get the next one
  sfkey token prod --show                on a terminal, where it stays to be seen";

#[derive(Args, Debug)]
#[command(after_help = TOKEN_EXAMPLES)]
pub(crate) struct TokenArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// What to print: token (the token alone), json, env (lines for a shell's eval), header (Authorization:
    /// Bearer …), curl (a configuration for curl), dotenv (a .env file), or sf (as sf org auth
    /// show-access-token --json does)
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "token",
        hide_possible_values = true
    )]
    pub(crate) output: TokenFormat,

    /// With -o env: the shell that reads it, which is sh, csh, fish or powershell [default: sh]
    #[arg(long, value_enum, value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: Option<Shell>,

    /// The token must stay valid at least this long: 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "1m")]
    pub(crate) min_valid: u32,

    /// Get a new token from Salesforce even if the one held would do
    #[arg(long)]
    pub(crate) fresh: bool,

    /// Report the token on standard input as refused by Salesforce with 401, and print the next one
    #[arg(long, value_name = "-", conflicts_with_all = ["fresh", "min_valid"])]
    pub(crate) rejected: Option<Rejected>,

    /// Print the token even if standard output is a terminal
    #[arg(long)]
    pub(crate) show: bool,

    /// Do not load the account from the configuration when the agent does not have it
    #[arg(long)]
    pub(crate) no_load: bool,
}
