//! `sfkey status`: the agent's state.

use super::{Invocation, certificates};
use crate::exit::Failure;

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let status = invocation.connect().await?.status().await?;
    certificates::warn(invocation);
    invocation.output.status(&status, invocation.now)
}
