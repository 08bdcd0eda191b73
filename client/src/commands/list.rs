//! `sfkey list`: the loaded accounts.

use super::{Invocation, certificates};
use crate::exit::Failure;

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let accounts = invocation.connect().await?.accounts().await?;
    certificates::warn(invocation);
    invocation.output.accounts(&accounts, invocation.now)
}
