//! The program that asks, run by the conventions of SSH_ASKPASS: the question is its argument,
//! `SSH_ASKPASS_PROMPT=confirm` in its environment, and exit code 0 means yes.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use sfkey_proto::place::{is_own_or_roots, judge_ancestors};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use crate::{custody::child, policy::Unconfirmed, settings::Settings};

/// What it gets of the agent's own environment: what finds the display, the session and the language.
const PASSED_ON: [&str; 14] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_MESSAGES",
    "LOGNAME",
    "PATH",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CURRENT_DESKTOP",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
];

/// The answer that may stand on its output besides an empty one: programs that do not know how to confirm ask for a
/// text, and OpenSSH takes these.
const MAX_OUTPUT_BYTES: u64 = 64;

/// Writable by the group or by everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// How to ask.
#[derive(Debug)]
pub struct Askpass {
    program: PathBuf,
    environment: BTreeMap<String, OsString>,
    time: Duration,
    owner: u32,
    /// The limit of descriptors that the agent was started with.
    descriptors: u64,
}

impl Askpass {
    /// The program that the settings name, if they do.
    #[must_use]
    pub fn of(settings: &Settings, owner: u32, descriptors: u64) -> Option<Self> {
        let program = settings.askpass.clone()?;
        let mut environment: BTreeMap<String, OsString> = PASSED_ON
            .iter()
            .filter_map(|name| env::var_os(name).map(|value| ((*name).to_owned(), value)))
            .collect();
        let named = settings.askpass_environment.iter();
        environment.extend(named.map(|(name, value)| (name.clone(), value.into())));
        Some(Self {
            program,
            environment,
            time: settings.askpass_timeout.0,
            owner,
            descriptors,
        })
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What speaks against running it, if anything does: it must be there, and nobody else may be able to change it.
    #[must_use]
    pub fn objection(&self) -> Option<String> {
        let real = match self.program.canonicalize() {
            Ok(real) => real,
            Err(error) => return Some(format!("it cannot be found: {error}")),
        };
        for path in [&self.program, &real] {
            if let Err(distrust) = judge_ancestors(path, self.owner) {
                return Some(distrust.to_string());
            }
        }
        let found = match fs::metadata(&real) {
            Ok(found) => found,
            Err(error) => return Some(format!("it cannot be looked at: {error}")),
        };
        if !is_own_or_roots(found.uid(), self.owner) {
            return Some(format!("it belongs to another user (uid {})", found.uid()));
        }
        (found.mode() & WRITABLE_BY_OTHERS != 0).then(|| "others may write to it".to_owned())
    }

    /// Puts the question. Dropping the future ends the program and whatever it started.
    ///
    /// # Errors
    /// Anything but yes.
    pub async fn ask(&self, text: &str) -> Result<(), Unconfirmed> {
        if let Some(objection) = self.objection() {
            tracing::error!(askpass = %self.program.display(), objection, "the user cannot be asked");
            return Err(Unconfirmed::NoAskpass);
        }
        let mut asking = match self.start(text) {
            Ok(asking) => asking,
            Err(error) => {
                tracing::error!(askpass = %self.program.display(), %error, "the user cannot be asked");
                return Err(Unconfirmed::NoAskpass);
            }
        };
        timeout(self.time, asking.answer())
            .await
            .unwrap_or(Err(Unconfirmed::TimedOut))
    }

    fn start(&self, text: &str) -> std::io::Result<Asking> {
        let mut command = std::process::Command::new(&self.program);
        command
            .arg(text)
            .env_clear()
            .envs(&self.environment)
            .env("SSH_ASKPASS_PROMPT", "confirm")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        child::restore_descriptor_limit(&mut command, self.descriptors);
        let child = Command::from(command).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Asking { group, child })
    }
}

/// The program while it asks.
struct Asking {
    /// Its process group, while it surely is its own.
    group: Option<Pid>,
    child: Child,
}

impl Asking {
    async fn answer(&mut self) -> Result<(), Unconfirmed> {
        let mut output = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            // What is not text is not a yes either.
            let read = stdout.take(MAX_OUTPUT_BYTES).read_to_string(&mut output).await;
            read.map_err(|_| Unconfirmed::Failed)?;
        }
        let status = self.child.wait().await;
        // Its number is free for others now.
        self.group = None;
        match status {
            Ok(status) if status.success() && says_yes(&output) => Ok(()),
            Ok(status) if status.code().is_some() => Err(Unconfirmed::Refused),
            _ => Err(Unconfirmed::Failed),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // A dialog that the program started must not stay on the screen. It may have ended in this moment.
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}

fn says_yes(output: &str) -> bool {
    let said = output.trim();
    said.is_empty() || said.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_yes_are_a_yes_and_nothing_else_is() {
        for (output, yes) in [
            ("", true),
            ("\n", true),
            ("yes\n", true),
            ("Yes", true),
            ("no\n", false),
            ("y", false),
        ] {
            assert_eq!(says_yes(output), yes, "{output:?}");
        }
    }
}
