//! `sfkey revoke`.

use clap::Args;
use sfkey::proto::AccountName;

const EXAMPLES: &str = "\
Salesforce may give everyone who logs in with one user and app the same token: all of them are
logged out. The account stays loaded; the next `sfkey token` gets a new token.

Examples:
  sfkey revoke prod
  sfkey revoke prod --yes                without a question, for scripts";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RevokeArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
