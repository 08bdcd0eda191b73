//! `sfkey remove`: unload an account, or all of them.

use serde::Serialize;

use super::Invocation;
use crate::{cli::RemoveArgs, exit::Failure};

/// What `sfkey remove --json` prints.
#[derive(Serialize)]
struct Removed {
    removed: u32,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: RemoveArgs) -> Result<(), Failure> {
    let agent = invocation.connect().await?;
    match args.name {
        Some(name) => {
            agent.remove(&invocation.account(Some(&name))?).await?;
            let removed = Removed { removed: 1 };
            invocation.output.done(&format!("Removed {name}."), &removed)
        }
        None => {
            let removed = agent.remove_all().await?;
            let text = match removed {
                0 => "There was no account to remove.".to_owned(),
                1 => "Removed 1 account.".to_owned(),
                many => format!("Removed {many} accounts."),
            };
            invocation.output.done(&text, &Removed { removed })
        }
    }
}
