//! What can be typed behind `sfkey setup`.

use std::path::PathBuf;

use clap::Args;
use sfkey::proto::AccountName;

use crate::duration;

const EXAMPLES: &str = "\
Setup asks one thing after the other and explains it: the org, the key, the user, the app in Salesforce,
its consumer key. It ends with a token that Salesforce issued, and writes the account into the
configuration. What Salesforce does not like is explained, and mended in place. Stop at any time:
what was answered is kept (no secret is), and the next run goes on there.

For an External Client App it writes the metadata that `sf project deploy start` deploys, or
prints the clicks.

The file of --answers is TOML. Its keys: account, org, app, login_url, audience, key, new_key, passphrase,
no_passphrase, certificate, create, app_name, app_label, contact_email, permission_set, metadata_folder, consumer_key,
consumer_secret, username, store_key, session_timeout, default. docs/salesforce-setup.md describes them.

Examples:
  sfkey setup
  sfkey setup prod
  sfkey setup ci --answers ci.toml
  sfkey setup ci --answers ci.toml --non-interactive --wait 10m";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetupArgs {
    /// Name of the account; asked for when it is left out
    pub(crate) name: Option<AccountName>,

    /// Take answers from this file, and ask for the rest
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,

    /// Ask nothing: fail if the answers are not enough
    #[arg(long, requires = "answers")]
    pub(crate) non_interactive: bool,

    /// With --non-interactive: how long to wait until Salesforce knows a new app: 10m
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "non_interactive")]
    pub(crate) wait: Option<u32>,

    /// Replace a loaded account of this name that has another identity or key
    #[arg(long)]
    pub(crate) replace: bool,
}
