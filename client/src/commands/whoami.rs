//! `sfkey whoami`: ask Salesforce who a token belongs to.

use super::Invocation;
use crate::{cli::WhoamiArgs, exit::Failure};

pub(super) async fn run(invocation: &Invocation<'_>, args: WhoamiArgs) -> Result<(), Failure> {
    let account = invocation.account(args.name.as_ref())?;
    let owner = invocation.connect().await?.who_am_i(&account).await?;
    invocation.output.owner(&owner)
}
