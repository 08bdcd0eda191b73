//! `sfkey panic`.

use clap::Args;

const EXAMPLES: &str = "\
For the moment when a machine or a token may be in wrong hands. At once, without a question and
without a passphrase, even while the agent is locked, it wipes every key and token. Then the
agent tries for 10 s to revoke the tokens, and what became of each is printed. Whoever shares
a token's user and app is logged out too. Accounts are loaded again by `sfkey add`.

The exit code is 1 when a token was not revoked: end its session in Setup, Session Management.

Examples:
  sfkey panic
  sfkey panic --json | jq '.revocations[] | select(.revoked | not)'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PanicArgs {}
