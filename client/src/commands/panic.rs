//! `sfkey panic`: wipe everything at once, then revoke what was handed out. No passphrase and no question: whoever
//! needs it has no time for either.

use super::Invocation;
use crate::exit::Failure;

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let agent = invocation.connect().await?;
    invocation
        .output
        .warn("whoever shares a revoked token's user and app is logged out too");
    let outcome = agent.panic().await?;
    invocation.output.revocations(&outcome.revocations)?;
    if outcome.revocations.iter().all(|revocation| revocation.revoked) {
        return Ok(());
    }
    Err(Failure::printed())
}
