//! `sfkey-agent -- COMMAND`: runs COMMAND with an agent of its own, and ends with it.
//!
//! The process splits before anything is hardened. This one stays the launcher, with the caller's limits and
//! signals, so that COMMAND inherits nothing of the agent's; the agent is a child that ends when its standard
//! input does, which also holds when the launcher is killed.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::Context;
use rustix::{
    process::{Pid, Signal, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::signal::unix::{SignalKind, signal};

/// Option by which the launcher tells the agent that it was launched.
pub const LAUNCHED: &str = "--launched";

/// What the agent says on standard output once it serves.
pub const READY: &str = "ready";

/// Exit codes of env(1) for a command that cannot be run, and one that is not found.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs COMMAND and returns its exit code, 128 and the signal's number if one ended it.
///
/// # Errors
/// When the agent does not come up or COMMAND's end cannot be awaited.
pub fn run(socket: Option<&Path>, default: &Path, command: &[OsString]) -> anyhow::Result<u8> {
    let private = default.with_file_name(format!("command-{}", std::process::id()));
    let socket = socket.map_or_else(|| private.join("agent.sock"), Path::to_path_buf);
    // COMMAND may go elsewhere before it asks.
    let socket = std::path::absolute(socket).context("the socket's path cannot be resolved")?;
    let Some(agent) = LaunchedAgent::start(&socket)? else {
        return Ok(1);
    };
    let code = run_command(&socket, command);
    agent.stop()?;
    // Only there if no path was given; what cannot be removed is an empty directory of the user's own.
    drop(fs::remove_file(private.join("agent.sock.lock")).and_then(|()| fs::remove_dir(&private)));
    code
}

/// The agent as a child.
struct LaunchedAgent(Child);

impl LaunchedAgent {
    /// Starts it and waits until it serves; `None` when it ended instead, having said why.
    fn start(socket: &Path) -> anyhow::Result<Option<Self>> {
        let program = env::current_exe().context("the agent's own program cannot be found")?;
        let options = env::args_os().skip(1).take_while(|argument| argument != "--");
        let mut child = Command::new(program)
            .args(options)
            .arg(LAUNCHED)
            .env("SFKEY_SOCK", socket)
            // A group of its own: the terminal's Ctrl-C is for COMMAND.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the agent cannot be started")?;
        let mut said = String::new();
        let stdout = child.stdout.take().context("the agent has no standard output")?;
        BufReader::new(stdout).read_line(&mut said)?;
        if said.trim_end() == READY {
            return Ok(Some(Self(child)));
        }
        child.wait()?;
        Ok(None)
    }

    /// Closes its standard input and waits for its end.
    fn stop(mut self) -> io::Result<ExitStatus> {
        drop(self.0.stdin.take());
        self.0.wait()
    }
}

fn run_command(socket: &Path, command: &[OsString]) -> anyhow::Result<u8> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut command = tokio::process::Command::new(program);
        let spawned = command.args(arguments).env("SFKEY_SOCK", socket).spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => return Ok(cannot_run(program, &error)),
        };
        let status = await_passing_signals(child).await?;
        Ok(exit_code(status))
    })
}

/// Waits for COMMAND and passes on what is sent to the launcher. What its terminal sends, it sends to COMMAND as
/// well.
async fn await_passing_signals(mut child: tokio::process::Child) -> anyhow::Result<ExitStatus> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => Some(Signal::TERM),
            _ = hang_up.recv() => Some(Signal::HUP),
            _ = interrupt.recv() => (!has_terminal()).then_some(Signal::INT),
            _ = quit.recv() => (!has_terminal()).then_some(Signal::QUIT),
        };
        if let (Some(pid), Some(signal)) = (pid, signal) {
            // It may have ended in this very moment; then there is nobody to tell.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Whether this process is in the foreground of a terminal, whose Ctrl-C then goes to the whole group.
fn has_terminal() -> bool {
    let foreground = File::open("/dev/tty")
        .ok()
        .and_then(|terminal| tcgetpgrp(terminal).ok());
    foreground == Some(getpgrp())
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[expect(clippy::print_stderr, reason = "the launcher has no log")]
fn cannot_run(program: &OsStr, error: &io::Error) -> u8 {
    eprintln!("error: cannot run {}: {error}", PathBuf::from(program).display());
    eprintln!("try: check the name and PATH of the command after --");
    if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        CANNOT_RUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands_own_or_tells_its_signal() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(42 << 8)), 42);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
