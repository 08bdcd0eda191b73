//! The binary: what it prints, what it writes, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

struct Running {
    child: Option<Child>,
    ready: Value,
}

/// Starts the binary with `--json` and these arguments, and waits for its ready line.
fn start(arguments: &[&str]) -> Running {
    let mut child = command()
        .arg("--json")
        .args(arguments)
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    Running {
        ready: serde_json::from_str(&line).expect("a line of JSON"),
        child: Some(child),
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_salesforce-sim"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the end of `child`, but not for ever: after half a minute it is killed, and the test has failed.
fn ended(mut child: Child) -> ExitStatus {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    let status = receiver.recv_timeout(Duration::from_secs(30));
    if status.is_err() {
        kill_process(pid, Signal::KILL).expect("it runs still");
    }
    status
        .expect("it ends in time")
        .expect("it was not waited for before")
}

impl Running {
    fn text(&self, name: &str) -> String {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} in {}", self.ready))
            .to_owned()
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        let child = self.child.take().expect("it has not been ended before");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        ended(child)
    }
}

#[test]
fn it_prints_one_line_of_json_once_it_listens_and_ends_cleanly_on_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let running = start(&[]);
        let ca = running.text("ca_file");
        let key = running.text("key_file");
        assert!(
            std::fs::read_to_string(&ca)
                .expect("a CA")
                .contains("BEGIN CERTIFICATE")
        );
        assert!(
            std::fs::read_to_string(&key)
                .expect("a key")
                .contains("BEGIN PRIVATE KEY")
        );
        assert_eq!(
            std::fs::metadata(&key).expect("a key").permissions().mode() & 0o777,
            0o600
        );
        let folder = Path::new(&key).parent().expect("a folder");
        let mode = std::fs::metadata(folder).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let port = u16::try_from(running.ready["port"].as_u64().expect("a port")).expect("a port");
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        assert!(running.end(signal).success());
        assert!(
            !Path::new(&ca).exists() && !Path::new(&key).exists(),
            "temporary files are gone"
        );
    }
}

#[test]
fn it_ends_when_its_standard_input_does() {
    let mut child = start(&["--exit-on-stdin-close"]).child.take().expect("it runs");
    drop(child.stdin.take());
    assert!(ended(child).success());
}

#[test]
fn the_files_that_were_asked_for_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, key, certificate) = (path("ca.pem"), path("my.key"), path("my.crt"));
    let arguments = [
        "--ca-out",
        &ca,
        "--key-out",
        &key,
        "--certificate-out",
        &certificate,
    ];
    let running = start(&arguments);
    assert_eq!(running.text("key_file"), key);
    assert!(running.end(Signal::TERM).success());
    for file in [&ca, &key, &certificate] {
        assert!(Path::new(file).exists(), "{file}");
    }
    let refused = command().args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && text.starts_with("error: cannot make the key file"),
        "{text}"
    );
    let running = start(&["--certificate", &certificate, "--ca-out", &ca]);
    assert_eq!(running.ready["key_file"], Value::Null);
}

#[test]
fn a_configuration_file_is_read_with_the_certificates_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("server.crt", &crate::bench::key().certificate_pem);
    write(
        "sim.toml",
        "tls = false\n[knobs]\nsession_timeout = 900\n[[apps]]\nconsumer_key = '3MVG9mine'\n\
         certificate_file = 'server.crt'\n[[users]]\nusername = 'me@example.com'\n",
    );
    let file = folder.path().join("sim.toml").display().to_string();
    let running = start(&["--config", &file, "--set", "regrant=same-fixed"]);
    assert_eq!(running.text("consumer_key"), "3MVG9mine");
    assert_eq!(running.text("username"), "me@example.com");
    assert!(running.text("url").starts_with("http://localhost:"));
    assert_eq!(
        (&running.ready["key_file"], &running.ready["ca_file"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn without_json_it_tells_a_person_all_that_a_client_needs() {
    let mut child = command().arg("--exit-on-stdin-close").spawn().expect("it starts");
    drop(child.stdin.take());
    let mut stdout = child.stdout.take().expect("a pipe");
    assert!(ended(child).success());
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("text");
    for word in [
        "My Domain",
        "consumer key",
        "consumer secret",
        "username",
        "private key",
        "CA to trust",
        "control",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_mistake_is_told_with_a_way_on() {
    for arguments in [
        ["--set", "nonsense=1"],
        ["--set", "leeway"],
        ["--config", "/nonexistent.toml"],
    ] {
        let output = command().args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("error: ") && text.contains("\ntry: "), "{text}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
