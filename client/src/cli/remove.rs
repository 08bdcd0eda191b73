//! The arguments of `sfkey remove`.

use clap::Args;
use sfkey::proto::AccountName;

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
