//! The arguments of `sfkey lock` and `sfkey unlock`.

use std::path::PathBuf;

use clap::Args;

const LOCK_EXAMPLES: &str = "\
While the agent is locked its memory is not enough to use a key. remove, stop and status still
work. Lifetimes run on.

Examples:
  sfkey lock
  sfkey unlock --passphrase-file /run/secrets/sfkey-lock";

#[derive(Args, Debug)]
#[command(after_help = LOCK_EXAMPLES)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from this file instead of asking
    #[arg(long, value_name = "F")]
    pub(crate) passphrase_file: Option<PathBuf>,
}
