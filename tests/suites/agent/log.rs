//! The log may fill its disk, vanish or lose its reader: the agent goes on.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use sfkey_tests::support::{
    Agent, Calls, Home, Launch, Sfkey, binaries,
    stage::ACCOUNT,
    stopwatch::{eventually, in_time},
};

/// An agent whose standard error is wherever a test wants it, killed when dropped.
struct WithErrorsTo(Child);

impl WithErrorsTo {
    async fn start(home: &Home, stderr: impl Into<Stdio>) -> Self {
        let child = Command::new(binaries::built("sfkey-agent"))
            .args(["--log-level", "debug"])
            .env_clear()
            .envs(home.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("it can be executed");
        eventually(async || Calls::try_to(&home.socket()).await.ok()).await;
        Self(child)
    }

    /// It logs at every connection and every refusal; and goes on.
    async fn assert_goes_on(mut self, home: &Home) {
        for _ in 0..20 {
            let calls = in_time(Calls::to(&home.socket())).await;
            in_time(calls.token(ACCOUNT))
                .await
                .expect_err("no account is loaded");
            assert_eq!(calls.status().await.expect("a status").pid, self.0.id());
        }
        Calls::to(&home.socket())
            .await
            .shut_down()
            .await
            .expect("an answer");
        let mut child = std::mem::replace(&mut self.0, Command::new("true").spawn().expect("it runs"));
        let ended = tokio::task::spawn_blocking(move || child.wait()).await;
        assert_eq!(ended.expect("no panic").expect("it is a child").code(), Some(0));
    }
}

impl Drop for WithErrorsTo {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn a_full_disk_behind_standard_error_is_survived() {
    let home = Home::new();
    let full = File::options().write(true).open("/dev/full").expect("opened");
    WithErrorsTo::start(&home, full).await.assert_goes_on(&home).await;
}

#[tokio::test]
async fn a_reader_that_went_away_is_survived() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let agent = WithErrorsTo::start(&home, writer).await;
    drop(reader);
    agent.assert_goes_on(&home).await;
}

#[tokio::test]
async fn a_log_file_that_vanished_is_made_anew_and_sighup_turns_to_a_new_one() {
    let home = Home::new();
    let path = home.path("log/agent.log");
    let arguments = [
        "--log-file".to_owned(),
        path.display().to_string(),
        "--log-level".to_owned(),
        "debug".to_owned(),
    ];
    // Ready is in the file, so that the process is known by its socket.
    let mut child = Command::new(binaries::built("sfkey-agent"));
    child
        .args(arguments)
        .env_clear()
        .envs(home.environment())
        .stdin(Stdio::null());
    let agent = WithErrorsTo(child.spawn().expect("it can be executed"));
    eventually(async || Calls::try_to(&home.socket()).await.ok()).await;
    let text = || fs::read_to_string(&path).unwrap_or_default();
    eventually(async || text().contains(" ready socket=").then_some(())).await;
    fs::remove_file(&path).expect("removed");
    Calls::to(&home.socket()).await.status().await.expect("a status");
    assert!(text().contains("connection accepted"), "{}", text());
    let old = home.path("log/agent.log.1");
    fs::rename(&path, &old).expect("moved");
    let pid = rustix::process::Pid::from_raw(i32::try_from(agent.0.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(pid, Signal::HUP).expect("it runs");
    eventually(async || text().contains("SIGHUP: the log was reopened").then_some(())).await;
    agent.assert_goes_on(&home).await;
}

#[tokio::test]
async fn an_agent_whose_socket_is_removed_or_replaced_says_so() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default());
    let calls = Calls::to(&home.socket()).await;
    let lost = async || calls.status().await.expect("a status").socket_lost;
    assert!(!lost().await);
    let aside = home.path("run/sfkey/aside");
    fs::rename(home.socket(), &aside).expect("moved");
    agent.log().has("the socket was removed from its path").await;
    assert!(lost().await);
    fs::write(home.socket(), "").expect("written");
    agent
        .log()
        .has("something else stands at the socket's path")
        .await;
    assert!(lost().await);
    fs::rename(&aside, home.socket()).expect("moved back");
    agent.log().has("the socket is back at its path").await;
    assert!(!lost().await);
    fs::remove_file(home.socket()).expect("removed");
    fs::write(home.socket(), "precious").expect("written");
    agent.signal(Signal::TERM);
    let ended = agent.has_ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(fs::read_to_string(home.socket()).expect("left alone"), "precious");
}

#[tokio::test]
async fn an_agent_whose_restricted_socket_is_removed_or_replaced_says_so_and_the_status_too() {
    let (home, heard) = (Home::new(), tempfile::tempdir().expect("a directory"));
    home.settings("[token_socket]\naccounts = [\"prod\"]\n");
    let manager = UnixDatagram::bind(heard.path().join("notify")).expect("bound");
    let launch = Launch::default().variable("NOTIFY_SOCKET", heard.path().join("notify"));
    let agent = Agent::start(&home, &launch);
    let shown = || {
        let text = Sfkey::new(&home, ["status"]).run().done().out();
        let json = Sfkey::new(&home, ["status", "--json"]).run().done().json();
        assert_eq!(json["socket_lost"], false);
        let lost = json["token_socket_lost"].as_bool().expect("a fact");
        assert_eq!(text.contains("REMOVED OR REPLACED"), lost, "{text}");
        lost
    };
    assert!(!shown());
    let aside = home.path("run/sfkey-token/aside");
    fs::rename(home.token_socket(), &aside).expect("moved");
    agent
        .log()
        .has("the restricted socket was removed from its path")
        .await;
    assert!(shown());
    fs::write(home.token_socket(), "").expect("written");
    agent
        .log()
        .has("something else stands at the restricted socket's path")
        .await;
    assert!(shown());
    fs::rename(&aside, home.token_socket()).expect("moved back");
    agent.log().has("the restricted socket is back at its path").await;
    assert!(!shown());
    agent.signal(Signal::TERM);
    assert_eq!(agent.has_ended().await.code, Some(0));
    manager.set_nonblocking(true).expect("set");
    let mut message = [0; 1024];
    let mut told = String::new();
    while let Ok(length) = manager.recv(&mut message) {
        told.push_str(&String::from_utf8_lossy(&message[..length]));
        told.push('\n');
    }
    let lost = told.find("its restricted socket was removed or replaced");
    let last = told.rfind("STATUS=Serves; accounts: 0; memory protection: ");
    assert!(lost.is_some() && lost < last, "{told}");
}

#[tokio::test]
async fn a_pipe_that_is_full_and_that_nobody_reads_holds_nobody_up() {
    /// What a pipe holds (pipe(7)).
    const FULL: usize = 65_536;
    let home = Home::new();
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer
        .write_all(&[b'.'; FULL])
        .expect("there is room for just that");
    let agent = WithErrorsTo::start(&home, writer).await;
    let calls = in_time(Calls::to(&home.socket())).await;
    in_time(calls.status()).await.expect("a status");
    let mut filler = [0; FULL];
    reader.read_exact(&mut filler).expect("what was there before");
    agent.assert_goes_on(&home).await;
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("to its end");
    let (lost, _) = said
        .split_once(" log lines could not be written)\n")
        .expect("it says so");
    assert!(
        lost.strip_prefix('(')
            .is_some_and(|lost| lost.parse::<u32>().is_ok_and(|lost| lost > 1)),
        "{said}"
    );
}
