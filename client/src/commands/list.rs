//! `sfkey list`: the loaded accounts.

use super::Invocation;
use crate::exit::Failure;

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let accounts = invocation.connect().await?.accounts().await?;
    invocation.output.accounts(&accounts, invocation.now)
}
