//! The command of `--exec`: one run at a time, each with the newest token.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sfkey::proto::v1::Token;
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use crate::{
    exit::{Cause, Failure, words},
    output::{Output, variables},
};

/// How long a command may go on after the watch was asked to end.
const LAST_RUN: Duration = Duration::from_secs(5);

/// The variable that names the file of `--file`.
const FILE_VARIABLE: &str = "SFKEY_TOKEN_FILE";

/// The newest token that the command is to be run on. One that waits is replaced by a newer one.
pub(super) type Newest = watch::Sender<Option<Token>>;

/// Runs the command.
pub(super) struct Hook<'a> {
    command: Option<OsString>,
    file: Option<PathBuf>,
    newest: watch::Receiver<Option<Token>>,
    running: Option<Child>,
    output: &'a Output,
}

impl<'a> Hook<'a> {
    /// A hook, and the way to tell it a token. Without a command it never runs anything.
    pub(super) fn new(command: Option<OsString>, file: Option<&Path>, output: &'a Output) -> (Newest, Self) {
        let (tokens, newest) = watch::channel(None);
        let hook = Self {
            command,
            file: file.map(Path::to_path_buf),
            newest,
            running: None,
            output,
        };
        (tokens, hook)
    }

    /// Runs the command on each token, for ever. A run is never cut short for a newer token: half a restart is
    /// worse than one with a token that still lives. Returns when no run can be started.
    pub(super) async fn run(&mut self) -> Failure {
        loop {
            if self.command.is_none() || self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
            let token = self.newest.borrow_and_update().clone();
            let Some(token) = token else { continue };
            match self.start(&token) {
                Ok(child) => self.running = Some(child),
                Err(error) => return cannot_start(&error),
            }
            drop(token);
            self.wait().await;
        }
    }

    /// Waits for the run to end, and tells when a newer token waits for that.
    async fn wait(&mut self) {
        let Some(child) = &mut self.running else { return };
        let id = child.id();
        let status = tokio::select! {
            status = child.wait() => status,
            Ok(()) = self.newest.changed() => {
                // Still marked as news for the next run.
                self.newest.mark_changed();
                let id = id.map_or_else(String::new, |id| format!(" (pid {id})"));
                self.output.warn(&format!(
                    "the command still runs{id}, and a newer token is there; it is run again when it has ended"
                ));
                child.wait().await
            }
        };
        self.running = None;
        self.tell(status);
    }

    fn tell(&self, status: io::Result<ExitStatus>) {
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => self.output.warn(&format!("the command failed: {status}")),
            Err(error) => self.output.warn(&format!(
                "how the command ended cannot be told: {}",
                words(&error)
            )),
        }
    }

    /// The token goes into the environment, or, when it stands in a file, the file's name does.
    fn start(&self, token: &Token) -> io::Result<Child> {
        let script = self.command.as_ref().expect("run asked for it");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).stdin(Stdio::null());
        for (name, value) in variables(token) {
            let secret = value == Some(token.access_token.as_str());
            match value {
                Some(value) if !(secret && self.file.is_some()) => command.env(name, value),
                _ => command.env_remove(name),
            };
        }
        match &self.file {
            Some(path) => command.env(FILE_VARIABLE, path),
            None => command.env_remove(FILE_VARIABLE),
        };
        command.spawn()
    }

    /// Lets a run that goes on end, for a while. A terminal sends Ctrl-C to both by itself.
    pub(super) async fn finish(&mut self, signal: Option<Signal>) {
        let Some(child) = &mut self.running else { return };
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let (Some(id), Some(Signal::TERM)) = (id, signal) {
            // It may have ended this moment.
            let _told = kill_process(id, Signal::TERM);
        }
        if tokio::time::timeout(LAST_RUN, child.wait()).await.is_err() {
            self.output.warn("the command still runs, and is left to itself");
        }
    }
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::new(
        Cause::CommandNotExecutable,
        format!("/bin/sh cannot be run: {}", words(error)),
        "check ulimit -u, and that /bin/sh is there",
    )
}
