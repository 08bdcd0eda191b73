//! `systemctl --user`, and what to do where there is none.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::exit::{Cause, Failure, words};

/// What does without systemd.
const WITHOUT: &str = "without systemd, write eval \"$(sfkey-agent --daemon)\" into the shell's start-up file (csh, fish: sfkey-agent --help)";

/// The user's systemd, which answers.
pub(super) struct Systemctl {
    runtime_directory: PathBuf,
}

impl Systemctl {
    /// Requires that there is one.
    ///
    /// # Errors
    /// With what to do instead.
    pub(super) fn reach() -> Result<Self, Failure> {
        let shown = call(&["show-environment"])?;
        if !shown.status.success() {
            return Err(unreachable(&complaint(&shown)));
        }
        let text = String::from_utf8_lossy(&shown.stdout);
        // The manager's own, for that is what %t is in its units.
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("XDG_RUNTIME_DIR="));
        let runtime_directory = line.map(PathBuf::from);
        let runtime_directory =
            runtime_directory.or_else(|| std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
        Ok(Self {
            runtime_directory: runtime_directory.unwrap_or_default(),
        })
    }

    pub(super) fn runtime_directory(&self) -> &Path {
        &self.runtime_directory
    }

    pub(super) fn reload(&self) -> Result<(), Failure> {
        self.run(&["daemon-reload"])
    }

    pub(super) fn enable(&self, unit: &str) -> Result<(), Failure> {
        self.run(&["enable", "--now", "--quiet", unit])
    }

    pub(super) fn disable(&self, units: &[&str]) -> Result<(), Failure> {
        self.run(&[&["disable", "--now", "--quiet"], units].concat())
    }

    pub(super) fn is_active(&self, unit: &str) -> bool {
        self.active_state(unit) == "active"
    }

    /// `active`, `inactive`, `failed` or another of systemd's words; `unknown` when it does not say.
    pub(super) fn active_state(&self, unit: &str) -> String {
        let _reached = self;
        let shown = call(&["show", "--property=ActiveState", "--value", unit]).ok();
        let word = shown.map(|shown| String::from_utf8_lossy(&shown.stdout).trim().to_owned());
        word.filter(|word| !word.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    }

    fn run(&self, words: &[&str]) -> Result<(), Failure> {
        let _reached = self;
        let output = call(words)?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(
            Cause::Io,
            format!(
                "systemctl --user {} failed: {}",
                words.join(" "),
                complaint(&output)
            ),
            "see what systemd says: journalctl --user -e -u 'sfkey-agent*'",
        ))
    }
}

fn call(words_of_call: &[&str]) -> Result<Output, Failure> {
    let output = Command::new("systemctl")
        .arg("--user")
        .args(words_of_call)
        .stdin(Stdio::null())
        .output();
    output.map_err(|error| unreachable(&words(&error)))
}

/// The first line of what it complained.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("it does not say why").trim().to_owned()
}

fn unreachable(why: &str) -> Failure {
    Failure::new(
        Cause::Io,
        format!("the systemd of this user cannot be reached: {why}"),
        WITHOUT,
    )
}
