//! The agent's log in the journal of a real systemd-journald, whose `/run` and `/var/log` are its own.

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::geteuid;
use serde_json::Value;
use sfkey_tests::support::{Home, binaries, stranger::skipped};

/// Longest wait for something that it surely does.
const PATIENCE: Duration = Duration::from_secs(60);

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
        if !Path::new(DAEMON).exists() {
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "{DAEMON} is missing");
            skipped(test, &format!("{DAEMON} is not installed"));
            return None;
        }
        let ready = UnixDatagram::bind(home.path("notify")).expect("a short enough path");
        ready.set_read_timeout(Some(PATIENCE)).expect("set");
        let log = home.path("journald.log");
        let mounts =
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log && mkdir -p /run/log/journal";
        let mut child = Command::new("unshare")
            .args(["--mount", "--fork", "--kill-child", "--propagation", "private"])
            .args(["sh", "-c", &format!("{mounts} && exec {DAEMON}")])
            .env("NOTIFY_SOCKET", home.path("notify"))
            .env("SYSTEMD_LOG_TARGET", "null")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("created"))
            .spawn()
            .expect("util-linux is installed");
        let mut message = [0; 4096];
        loop {
            if let Some(status) = child.try_wait().expect("a child of this process") {
                let why = fs::read_to_string(&log).unwrap_or_default();
                skipped(test, &format!("no journal here: {status}: {}", why.trim()));
                return None;
            }
            let length = ready.recv(&mut message).expect("journald is ready in time");
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|line| line == "READY=1") {
                return Some(Self(child));
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
