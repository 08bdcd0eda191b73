//! `sfkey stop`: end the agent.

use serde::Serialize;

use super::Invocation;
use crate::exit::Failure;

/// What `sfkey stop --json` prints.
#[derive(Serialize)]
struct Stopped {
    stopped: bool,
}

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let agent = invocation.connect().await?;
    agent.shutdown().await?;
    let text = format!("The agent at {} stops.", agent.socket().display());
    invocation.output.done(&text, &Stopped { stopped: true })
}
