//! The arguments of `sfkey import`.

use std::path::PathBuf;

use clap::Args;

use super::add::StoreKey;

const EXAMPLES: &str = "\
Finds what `sf org login jwt` has left in ~/.sfdx, key in the clear. Without --apply it only shows it.

With --apply, for each login: the agent asks Salesforce for a token (with a second audience if the
first is refused); the key is kept in ~/.config/sfkey/keys, encrypted under a passphrase of yours,
or in the keyring, and read back; the account is written into the configuration. Then it asks
whether to remove the key file in the clear. Without that file sf works through `sfkey exec` only,
and nothing is lost.

Examples:
  sfkey import
  sfkey import --apply
  sfkey import --apply --store-key keyring
  sfkey import prod --apply --passphrase-file /run/secrets/keys
  sfkey exec prod -- sf org display      from then on";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// Aliases or usernames of the sf CLI [default: all]
    #[arg(value_name = "ALIAS|USERNAME")]
    pub(crate) logins: Vec<String>,

    /// Import them; without this, only show them
    #[arg(long)]
    pub(crate) apply: bool,

    /// Where the sf CLI keeps its logins [default: ~/.sfdx]
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,

    /// Keep the keys in the keyring instead of in encrypted files
    #[arg(
        long,
        value_name = "WHERE",
        requires = "apply",
        conflicts_with = "passphrase_file"
    )]
    pub(crate) store_key: Option<StoreKey>,

    /// Read the passphrase that the keys are kept under from this file instead of asking
    #[arg(long, value_name = "F", requires = "apply")]
    pub(crate) passphrase_file: Option<String>,
}
