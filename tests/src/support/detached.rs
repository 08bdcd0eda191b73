//! `sfkey-agent --daemon`: an agent that is no child of the test.

use std::{fs, os::fd::OwnedFd, path::PathBuf};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    binaries,
    command::{Ran, Sfkey},
    home::Home,
};

/// Longest wait for the end of a process that was killed.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// Whoever serves a socket in the end is killed when this is dropped, so that a test that fails leaves nothing.
#[derive(Debug)]
pub struct Detached {
    socket: PathBuf,
    client: PathBuf,
}

impl Detached {
    /// Of the socket where both programs look for it.
    #[must_use]
    pub fn of(home: &Home) -> Self {
        Self::at(home.socket())
    }

    /// Of the socket at this path.
    #[must_use]
    pub fn at(socket: PathBuf) -> Self {
        let client = binaries::built("sfkey");
        Self { socket, client }
    }

    /// `sfkey-agent --daemon ARGUMENTS` as a command.
    #[must_use]
    pub fn command(home: &Home, arguments: &[&str]) -> Sfkey {
        let all = ["--daemon"].iter().chain(arguments);
        Sfkey::program(binaries::built("sfkey-agent"), home, all.copied())
    }

    /// Runs it to the end of the process that the caller sees.
    #[must_use]
    pub fn start(home: &Home, arguments: &[&str]) -> Ran {
        Self::command(home, arguments).run()
    }

    /// The process that serves, by what it says itself; `None` when nobody does.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let (socket, home) = (self.socket.display().to_string(), Home::new());
        let status = Sfkey::program(
            self.client.clone(),
            &home,
            ["--socket", &socket, "status", "--json"],
        );
        let ran = status.run();
        let pid = (ran.code == 0).then(|| ran.json()["pid"].as_u64())?;
        pid.and_then(|pid| u32::try_from(pid).ok())
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub fn wait_for_end(pid: u32) {
        if let Some(process) = handle(pid) {
            wait_for_end(&process);
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(process) = self.pid().and_then(handle) {
            // An error means that it has ended already.
            pidfd_send_signal(&process, Signal::KILL).ok();
            wait_for_end(&process);
        }
    }
}

/// A handle of a process; `None` when it has ended and its parent knows.
fn handle(pid: u32) -> Option<OwnedFd> {
    let id = Pid::from_raw(i32::try_from(pid).expect("a process id"))?;
    pidfd_open(id, PidfdFlags::empty()).ok()
}

fn wait_for_end(process: &OwnedFd) {
    let mut ends = [PollFd::new(process, PollFlags::IN)];
    let ready = poll(&mut ends, Some(&PATIENCE)).expect("a process can be waited for");
    assert!(ready > 0, "the process does not end");
}

/// A line of `/proc/PID/status`.
///
/// # Panics
/// When the process has ended.
#[must_use]
pub fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("every process has it").trim().to_owned()
}
