//! `sfkey doctor`.

use clap::Args;
use sfkey::proto::AccountName;

const EXAMPLES: &str = "\
Checks, in the order in which they matter: the agent and its socket, the configuration, the key
and its certificate; then the agent asks Salesforce: host, TLS, proxy, clock, audience, token,
introspection, scopes and API. Each line is ok, warning or FAILED, with one thing to do.

With --probe it also tries the other audiences that make sense, and offers to save the one that
works. Each try counts as a failed login at Salesforce, so this is never done unasked.

With --askpass the agent really asks, through the program that agent.toml names. Your answer
allows nothing.

The exit code is 1 when anything failed.

Examples:
  sfkey doctor
  sfkey doctor prod --probe
  sfkey doctor --askpass
  sfkey doctor prod --json | jq '.checks[] | select(.status == \"failed\")'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Account [default: SFKEY_ACCOUNT, else the agent's default account, else the only one loaded]
    pub(crate) name: Option<AccountName>,

    /// Try other audiences too; they count as failed logins
    #[arg(long)]
    pub(crate) probe: bool,

    /// Check no account: have the agent ask you something, as it does where agent.toml says confirm
    #[arg(long, conflicts_with_all = ["probe", "name"])]
    pub(crate) askpass: bool,
}
