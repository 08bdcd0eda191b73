//! The arguments of `sfkey add`.

use clap::{Args, ValueEnum};
use sfkey::proto::AccountName;

use crate::duration;
use crate::value::{plain, url};

const ADD_EXAMPLES: &str = "\
What is not given comes from [accounts.NAME] in $XDG_CONFIG_HOME/sfkey/config.toml.

REF says where a secret is kept: keyring, file:PATH, credential:NAME (systemd) or env:NAME.

Examples:
  sfkey add prod --login-url https://acme.my.salesforce.com \\
      --consumer-key 3MVG9… --username ci@acme.com --key server.key --save
  sfkey add prod                         from now on, with what was saved
  sfkey add prod --store-key keyring --save     the key into the keyring, once and for all
  sfkey add prod --lifetime 8h --idle 30m
  vault read -field=key secret/sf | sfkey add ci --key - --lifetime 1h
  sfkey add --all --no-prompt            all accounts that need nobody at the keyboard";

/// Where `--store-key` keeps a key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StoreKey {
    // A description of its own would turn the whole help into its long form.
    Keyring,
}

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

    /// Keep the key in the keyring as well, where later loads find it; offers to remove the file
    #[arg(long, value_name = "WHERE")]
    pub(crate) store_key: Option<StoreKey>,

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
        "name", "login_url", "audience", "consumer_key", "username", "key", "store_key", "passphrase_file",
        "consumer_secret_file", "lifetime", "idle", "session_timeout", "default", "save",
    ])]
    pub(crate) all: bool,

    /// With --all: pass over accounts that need a passphrase to be typed
    #[arg(long, conflicts_with = "name")]
    pub(crate) no_prompt: bool,
}
