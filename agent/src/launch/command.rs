//! `sfkey-agent -- COMMAND`: runs COMMAND with an agent of its own, and ends with it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use rustix::{
    process::{Pid, Signal, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::{Agent, Launched, Start, absolute};

/// Exit codes of env(1) for a command that cannot be run, and one that is not found.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs COMMAND and returns its exit code, 128 and the signal's number if one ended it. Without a `socket` the
/// agent gets a directory of its own beside `default`, so that any number of them run at once.
///
/// # Errors
/// When the agent does not come up or COMMAND's end cannot be awaited.
pub fn run(socket: Option<&Path>, default: &Path, command: &[OsString]) -> anyhow::Result<u8> {
    let (launched, socket) = match socket {
        Some(socket) => (Launched::Command, absolute(socket)?),
        None => (Launched::CommandPrivate, absolute(&private(default))?),
    };
    let started = Agent::start(launched, |agent| {
        // A group of its own: the terminal's Ctrl-C is for COMMAND.
        agent
            .env("SFKEY_SOCK", &socket)
            .process_group(0)
            .stdin(Stdio::piped());
    });
    match started? {
        Start::Ready(agent) => {
            let code = run_command(&socket, command);
            agent.stop()?;
            code
        }
        Start::Running => anyhow::bail!("an agent is running at {}", socket.display()),
        Start::Ended(code) => Ok(code),
    }
}

fn private(default: &Path) -> PathBuf {
    let directory = format!("command-{}", std::process::id());
    default.with_file_name(directory).join("agent.sock")
}

fn run_command(socket: &Path, command: &[OsString]) -> anyhow::Result<u8> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // A caller may ignore SIGCHLD; then the kernel would keep no exit code.
        let _ends = signal(SignalKind::child())?;
        let signals = PassedOn::take()?;
        let mut command = tokio::process::Command::new(program);
        let spawned = command.args(arguments).env("SFKEY_SOCK", socket).spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => return Ok(cannot_run(program, &error)),
        };
        let status = await_passing_signals(child, signals).await?;
        Ok(exit_code(status))
    })
}

/// The signals that are passed on. Taken over before COMMAND begins, so that none is lost; what the caller ignores
/// is left alone, for COMMAND is to ignore it as well.
struct PassedOn {
    terminate: Option<SignalStream>,
    hang_up: Option<SignalStream>,
    first: Option<SignalStream>,
    second: Option<SignalStream>,
    interrupt: Option<SignalStream>,
    quit: Option<SignalStream>,
}

impl PassedOn {
    fn take() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let ignored = ignored.unwrap_or(0);
        let take = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            hang_up: take(SignalKind::hangup())?,
            first: take(SignalKind::user_defined1())?,
            second: take(SignalKind::user_defined2())?,
            interrupt: take(SignalKind::interrupt())?,
            quit: take(SignalKind::quit())?,
        })
    }
}

/// Waits for a signal; for ever for one that is ignored.
async fn next(signal: &mut Option<SignalStream>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Waits for COMMAND and passes on what is sent to the launcher. What its terminal sends, it sends to COMMAND as
/// well.
async fn await_passing_signals(
    mut child: tokio::process::Child,
    mut signals: PassedOn,
) -> anyhow::Result<ExitStatus> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            () = next(&mut signals.terminate) => Some(Signal::TERM),
            () = next(&mut signals.hang_up) => Some(Signal::HUP),
            () = next(&mut signals.first) => Some(Signal::USR1),
            () = next(&mut signals.second) => Some(Signal::USR2),
            () = next(&mut signals.interrupt) => (!has_terminal()).then_some(Signal::INT),
            () = next(&mut signals.quit) => (!has_terminal()).then_some(Signal::QUIT),
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

    #[test]
    fn every_launcher_has_a_place_of_its_own_for_the_socket() {
        let own = format!("/run/user/1/sfkey/command-{}/agent.sock", std::process::id());
        assert_eq!(
            private(Path::new("/run/user/1/sfkey/agent.sock")),
            Path::new(&own)
        );
    }
}
