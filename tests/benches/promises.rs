//! `make bench`: what sfkey costs, as ratios against a reference that is measured in the same run, turn by turn.
//!
//! Absolute times are this machine's, of this minute. Only the ratios are worth being quoted.

#![expect(clippy::print_stdout, reason = "figures are all that it is for")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sfkey_tests::support::{Calls, Home, Stage, agent::memory_of, binaries, stage::ACCOUNT};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// Starts of each program.
const STARTS: usize = 200;

/// Requests over one open connection.
const REQUESTS: usize = 5000;

/// Logins, each a network exchange of its own.
const LOGINS: usize = 50;

/// Accounts that are loaded when memory is looked at.
const ACCOUNTS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` asks whether it runs at all.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let client = env::var_os("SFKEY_CLIENT").map_or_else(|| binaries::built("sfkey"), PathBuf::from);
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.token(ACCOUNT).await.expect("a token");
    println!("what | median | 99th percentile | reference, median | ratio of medians");
    println!("---|---|---|---|---");
    start_up(&stage, &client);
    cached(&stage, &calls).await;
    login(&stage, &calls).await;
    sizes(&stage, &calls, &client).await;
}

/// A program from its start to its end: what a shell prompt or a script pays for each token.
fn start_up(stage: &Stage, client: &Path) {
    let environment = stage.home.environment();
    let run = |program: &Path, arguments: &[&str], variables: &[(&str, PathBuf)]| {
        let begun = now();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.clone());
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let ended = command.status().expect("it starts");
        (begun.elapsed(), ended)
    };
    let ssh = SshAgent::start(&stage.home);
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..STARTS {
        let (taken, ended) = run(client, &["token", ACCOUNT], &[]);
        assert!(ended.success(), "a token from the cache");
        times[0].push(taken);
        times[1].push(run(Path::new("/bin/true"), &[], &[]).0);
        if let Some(ssh) = &ssh {
            times[2].push(
                run(
                    Path::new("/usr/bin/ssh-add"),
                    &["-l"],
                    &[("SSH_AUTH_SOCK", ssh.socket.clone())],
                )
                .0,
            );
        }
    }
    let [own, nothing, ssh_add] = times;
    tell("`sfkey token`, cached, against `true`", own.clone(), nothing);
    tell("`sfkey token`, cached, against `ssh-add -l`", own, ssh_add);
}

/// A token that the agent has, over an open connection; against one byte there and back over such a socket.
async fn cached(stage: &Stage, calls: &Calls) {
    let path = stage.home.path("echo.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the bench connects");
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
    });
    let mut echo = UnixStream::connect(&path).await.expect("it listens");
    let (mut own, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let begun = now();
        calls.token(ACCOUNT).await.expect("a token");
        own.push(begun.elapsed());
        let begun = now();
        echo.write_all(b"x").await.expect("sent");
        echo.read_exact(&mut [0]).await.expect("back");
        reference.push(begun.elapsed());
    }
    tell("GetToken, cached, against an echo", own, reference);
}

/// A fresh token: assertion, TLS, exchange; against a bare HTTPS request to the same host, each on a new connection.
async fn login(stage: &Stage, calls: &Calls) {
    let ca = fs::read(stage.home.path("ca.pem")).expect("the simulator's");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    let url = format!("{}/services/data/", stage.sim.url());
    let (mut own, mut reference) = (Vec::new(), Vec::new());
    for number in 0..LOGINS {
        let name = format!("login-{number}");
        calls.add(&stage.spec_of_new_user(&name)).await.expect("added");
        let begun = now();
        calls.token(&name).await.expect("a token");
        own.push(begun.elapsed());
        let client = reqwest::Client::builder()
            .tls_certs_only([ca.clone()])
            .no_proxy()
            .build()
            .expect("a client");
        let begun = now();
        client.get(&url).send().await.expect("answered");
        reference.push(begun.elapsed());
    }
    tell(
        "GetToken, with a login, against a bare HTTPS request",
        own,
        reference,
    );
}

/// What lies on disk and in memory.
async fn sizes(stage: &Stage, calls: &Calls, client: &Path) {
    let agent = binaries::built("sfkey-agent");
    for (what, path) in [("sfkey-agent", agent.as_path()), ("sfkey", client)] {
        let bytes = fs::metadata(path).expect("it was built").len();
        println!("{what}, on disk | {:.1} MB | | |", bytes as f64 / 1e6);
    }
    for number in LOGINS..ACCOUNTS {
        let name = format!("login-{number}");
        calls.add(&stage.spec_of_new_user(&name)).await.expect("added");
    }
    let resident = |pid| memory_of(pid).0 as f64 / 1e3;
    let own = resident(stage.agent.pid());
    match SshAgent::start(&stage.home) {
        Some(ssh) => {
            let reference = resident(ssh.child.id());
            let ratio = own / reference;
            println!(
                "sfkey-agent, resident, {ACCOUNTS} accounts | {own:.1} MB | | ssh-agent, empty: {reference:.1} MB | {ratio:.1}"
            );
        }
        None => println!("sfkey-agent, resident, {ACCOUNTS} accounts | {own:.1} MB | | |"),
    }
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

/// One line: how long the own took, and how often as long as the reference.
fn tell(what: &str, mut own: Vec<Duration>, mut reference: Vec<Duration>) {
    if reference.is_empty() {
        println!("{what} | skipped: the reference is not installed | | |");
        return;
    }
    own.sort_unstable();
    reference.sort_unstable();
    let (median, tail) = (own[own.len() / 2], own[own.len() * 99 / 100]);
    let other = reference[reference.len() / 2];
    let ratio = median.as_secs_f64() / other.as_secs_f64();
    println!("{what} | {median:.1?} | {tail:.1?} | {other:.1?} | {ratio:.2}");
}

/// An ssh-agent without keys, ended with the value.
struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl SshAgent {
    fn start(home: &Home) -> Option<Self> {
        let socket = home.path("ssh.sock");
        fs::remove_file(&socket).ok();
        let mut command = Command::new("/usr/bin/ssh-agent");
        command
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().ok()?;
        while !socket.exists() {
            std::thread::yield_now();
        }
        Some(Self { child, socket })
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
