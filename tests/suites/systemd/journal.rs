//! The agent's log in the journal of a real systemd-journald, whose `/run` and `/var/log` are its own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::geteuid;
use serde_json::Value;
use sfkey_tests::support::{Home, binaries, stranger::skipped};

use crate::ready::{Readiness, is_installed};

const DAEMON: &str = "/lib/systemd/systemd-journald";

/// Ends with this value.
struct Journal(Child);

impl Journal {
    /// Starts one; `None`, having said that `test` did not run, where that is not possible.
    fn start(test: &str, home: &Home) -> Option<Self> {
        if !geteuid().is_root() {
            skipped(test, "only root can give a journal a /run of its own");
            return None;
        }
        if !is_installed(test, DAEMON) {
            return None;
        }
        let mounts =
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log && mkdir -p /run/log/journal";
        let ready = Readiness::at(&home.path("notify"), home.path("journald.log"));
        let mut daemon = Command::new("unshare");
        daemon
            .args(["--mount", "--fork", "--kill-child", "--propagation", "private"])
            .args(["sh", "-c", &format!("{mounts} && exec {DAEMON}")])
            .env("NOTIFY_SOCKET", home.path("notify"))
            .env("SYSTEMD_LOG_TARGET", "null")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match ready.of(&mut daemon) {
            Ok(child) => Some(Self(child)),
            Err(why) => {
                skipped(test, &format!("no journal here: {why}"));
                None
            }
        }
    }

    /// Runs a program where this journal is.
    fn run(&self, home: &Home, program: &Path, arguments: &[&str]) -> String {
        let ran = Command::new("nsenter")
            .args(["--target", &self.0.id().to_string(), "--mount", "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(home.environment())
            .env("PATH", "/usr/bin:/bin")
            .output()
            .expect("util-linux is installed");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // What it started ends with it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_journal_has_each_event_with_a_field_for_each_of_its_fields() {
    let home = Home::new();
    let test = "the_journal_has_each_event_with_a_field_for_each_of_its_fields";
    let Some(journal) = Journal::start(test, &home) else {
        return;
    };
    let agent = binaries::built("sfkey-agent");
    journal.run(&home, &agent, &["--daemon", "--log-format", "journal"]);
    journal.run(&home, &binaries::built("sfkey"), &["stop"]);
    journal.run(&home, Path::new("/usr/bin/journalctl"), &["--sync"]);
    let line = [
        "--directory=/run/log/journal",
        "--output=json",
        "--no-pager",
        "SYSLOG_IDENTIFIER=sfkey-agent",
    ];
    let entries = journal.run(&home, Path::new("/usr/bin/journalctl"), &line);
    let entries = entries
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let entries: Vec<Value> = entries.collect();
    let ready = entries.iter().find(|entry| entry["MESSAGE"] == "ready");
    let ready = ready.unwrap_or_else(|| panic!("{entries:#?}"));
    assert_eq!(
        (&ready["PRIORITY"], &ready["_TRANSPORT"]),
        (&"6".into(), &"journal".into())
    );
    assert_eq!(ready["SFKEY_SOCKET"], home.socket().display().to_string());
    let protection = ready["SFKEY_MEMORY_PROTECTION"].as_str();
    assert!(
        protection.is_some_and(|level| ["memfd_secret", "mlock"].contains(&level)),
        "{ready}"
    );
}
