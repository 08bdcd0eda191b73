//! `sfkey-agent -- COMMAND` and `sfkey-agent --daemon`: the agent as a child of a launcher.
//!
//! The process splits before anything is hardened and before custody exists. This one stays the launcher, with
//! the caller's limits and signals, so that nothing of the agent's is inherited by what the launcher runs or
//! returns to; the agent is a program started anew.
//!
//! ```text
//! command   runs COMMAND beside the agent, which ends with it
//! detach    leaves the agent behind and prints where it is
//! shell     the line that a shell evaluates
//! ```

pub mod command;
pub mod detach;
pub mod shell;

use std::{
    env,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// What the agent says on standard output once it serves.
pub const READY: &str = "ready";

/// What it says instead when another one serves the path already.
pub const RUNNING: &str = "running";

/// How long a start may take: it asks no network, but a path may be waited for ([`crate::limits::HANDOVER_TIME`]).
const START_TIME: Duration = Duration::from_secs(30);

/// Who started this agent, by a hidden option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Launched {
    /// `-- COMMAND`: it serves until standard input ends, also when the launcher is killed.
    Command,
    /// The same, and the socket's directory was made for this agent and goes with it.
    CommandPrivate,
    /// `--daemon`: it leaves the terminal and its streams behind once it serves.
    Daemon,
}

/// What came of a start.
enum Start {
    /// It serves.
    Ready(Agent),
    /// Another agent serves the path.
    Running,
    /// It ended, has said why, and with this code.
    Ended(u8),
}

/// The agent as a child.
struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Agent {
    /// Starts one with the options of this process and waits until it tells how that went.
    fn start(launched: Launched, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Start> {
        let program = env::current_exe().context("the agent's own program cannot be found")?;
        let options = env::args_os().skip(1).take_while(|argument| argument != "--");
        let name = launched
            .to_possible_value()
            .context("every launcher has a name")?;
        let mut command = Command::new(program);
        command
            .args(options)
            .arg(format!("--launched={}", name.get_name()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().context("the agent cannot be started")?;
        let stdout = child.stdout.take().context("the agent has no standard output")?;
        let mut said = String::new();
        if !speaks(&stdout, START_TIME)? {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("the agent was not ready within {} s", START_TIME.as_secs());
        }
        BufReader::new(stdout).read_line(&mut said)?;
        let stdin = child.stdin.take();
        match said.trim_end() {
            READY => Ok(Start::Ready(Self { child, stdin })),
            RUNNING => Ok(Start::Running),
            _ => Ok(Start::Ended(code_of_failure(ended(&mut child)?)?)),
        }
    }

    /// Closes its standard input and waits for its end.
    fn stop(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        ended(&mut self.child).map(drop)
    }
}

/// Waits for what is to be read, its end included.
fn speaks(stream: &impl std::os::fd::AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut streams = [PollFd::new(stream, PollFlags::IN)];
    loop {
        match poll(&mut streams, Some(&patience)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How the child ended; `None` when the caller ignores SIGCHLD, for then the kernel keeps no record of it.
fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    match child.wait() {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The exit code after a start that failed. A child that was killed could not say why itself.
fn code_of_failure(status: Option<ExitStatus>) -> anyhow::Result<u8> {
    use std::os::unix::process::ExitStatusExt;

    let Some(status) = status else { return Ok(1) };
    if let Some(signal) = status.signal() {
        anyhow::bail!("the agent was killed by signal {signal} before it was ready");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.filter(|code| *code != 0).unwrap_or(1))
}

/// An absolute form of the socket's path: whoever reads it may be elsewhere.
fn absolute(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).context("the socket's path cannot be resolved")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_start_that_failed_never_counts_as_done() {
        let code = |raw| code_of_failure(Some(ExitStatus::from_raw(raw)));
        assert_eq!(code(2 << 8).expect("a code"), 2);
        assert_eq!(code(0).expect("a code"), 1);
        assert_eq!(code_of_failure(None).expect("a code"), 1);
        assert!(code(9).expect_err("killed").to_string().contains("signal 9"));
    }
}
