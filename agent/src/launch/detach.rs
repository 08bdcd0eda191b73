//! `sfkey-agent --daemon`: leaves an agent behind that no terminal, shell or pipe holds on to.
//!
//! For start-up files: however many shells begin at once, one agent serves the path, and each of them gets the
//! same line.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use rustix::{
    fs::OFlags,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use super::{Agent, Launched, Start, absolute, shell::Shell};
use crate::socket::{Listener, who_listens};

/// Starts an agent at `path` unless one is there, and prints the line that names it. Returns the exit code.
///
/// # Errors
/// When the agent does not come up without having said why.
pub fn run(path: &Path, owner: u32, shell: Shell) -> anyhow::Result<u8> {
    let path = absolute(path)?;
    let shown = path.to_str().context("the socket's path is not UTF-8")?;
    let line = shell
        .line(shown)
        .context("the socket's path has a line end, which csh cannot quote")?;
    // The quick way: most shells of a session find an agent.
    if !matches!(who_listens(&path, owner), Ok(Listener::Own)) {
        match Agent::start(Launched::Daemon, |_| {})? {
            Start::Ready(_) | Start::Running => {}
            Start::Ended(code) => return Ok(code),
        }
    }
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .context("the line that names the socket cannot be printed")?;
    Ok(0)
}

/// The first thing that a detached agent does: a session of its own, so that no terminal's signal reaches it.
///
/// # Errors
/// When this process leads a group already, which a child that was just started never does.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// The last thing before it serves alone: tells the launcher, and lets go of its streams and directory.
///
/// # Errors
/// When `/dev/null` cannot be had.
pub fn let_go(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    // Whoever started the agent may be gone. The next shell will find it.
    drop(writeln!(stdout, "{word}").and_then(|()| stdout.flush()));
    let null = File::from(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?);
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    // The directory that it was started in may have to be unmounted.
    std::env::set_current_dir("/")
}
