//! `sfkey stop`: end the agent, and wait until it has ended.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::Serialize;
use sfkey::proto::v1::GetStatusResponse;

use super::Invocation;
use crate::exit::{Cause, Failure, words};

/// How long the agent may take: it lets requests in work end within 5 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// What `sfkey stop --json` prints.
#[derive(Serialize)]
struct Stopped {
    stopped: bool,
}

pub(super) async fn run(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let agent = invocation.connect().await?;
    let status = agent.status().await?;
    // Taken while it surely runs, so that its process id is not somebody else's by now.
    let process = process_of(&status);
    agent.shutdown().await?;
    let socket = agent.socket().display().to_string();
    drop(agent);
    let is_socket_activated = status.socket_activated;
    if let Some(process) = process {
        // Beside the runtime, which takes leave of the agent meanwhile: that one waits for it.
        let waiting = tokio::task::spawn_blocking(move || wait_for_end(&process, &status));
        waiting.await.expect("it does not panic, and nobody cancels it")?;
    }
    let next = if is_socket_activated {
        " systemd starts a new one at the next call; to end that: systemctl --user stop sfkey-agent.socket"
    } else {
        ""
    };
    let text = format!("The agent at {socket} has stopped.{next}");
    invocation.output.done(&text, &Stopped { stopped: true })
}

/// A handle of the agent's process; `None` where its id means nothing, as from inside a container.
fn process_of(status: &GetStatusResponse) -> Option<OwnedFd> {
    let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whoever starts an agent after this finds the path free.
fn wait_for_end(process: &OwnedFd, status: &GetStatusResponse) -> Result<(), Failure> {
    let pid = status.pid;
    let failed = |what: String| {
        Failure::new(
            Cause::Io,
            what,
            format!("see what it does: ps -p {pid} -o pid,stat,etime,args"),
        )
    };
    let patience = Timespec::try_from(PATIENCE).expect("seconds fit");
    let mut ends = [PollFd::new(process, PollFlags::IN)];
    loop {
        match poll(&mut ends, Some(&patience)) {
            Ok(0) => {
                let seconds = PATIENCE.as_secs();
                return Err(failed(format!(
                    "the agent (pid {pid}) was told to stop and still runs after {seconds} s"
                )));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => {
                return Err(failed(format!(
                    "cannot wait for the agent's end: {}",
                    words(&error.into())
                )));
            }
        }
    }
}
