//! `sfkey whoami`.

use clap::Args;
use sfkey::proto::AccountName;

const EXAMPLES: &str = "\
Asks Salesforce, with the account's token: what it says is what the token is good for.

Examples:
  sfkey whoami prod
  sfkey whoami prod --json | jq -r .org_id";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WhoamiArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,
}
