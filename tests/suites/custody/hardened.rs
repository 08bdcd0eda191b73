//! What every serving process gave up for good, in whichever way it was started.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use sfkey_tests::support::{Home, Sfkey, binaries, stopwatch::eventually};

use crate::scene::may_search;

/// A caller who left a file open and would have core dumps, and becomes what he was told to.
const CALLER: &str = "exec 7</etc/passwd; ulimit -c unlimited; exec \"$@\"";

/// Starts `sfkey-agent ARGUMENTS` for that caller.
fn start(home: &Home, arguments: &[&str]) -> Child {
    Command::new("/bin/sh")
        .args(["-c", CALLER, "caller"])
        .arg(binaries::built("sfkey-agent"))
        .args(arguments)
        .env_clear()
        .envs(home.environment())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal for all of it is not for this process.
        .process_group(0)
        .spawn()
        .expect("the shell is there")
}

/// The process that serves the socket, by its own account.
async fn serving(home: &Home, socket: &str) -> String {
    let line = ["--socket", socket, "status", "--json"];
    let status = eventually(async || {
        let ran = Sfkey::new(home, line).run();
        (ran.code == 0).then(|| ran.json())
    });
    format!("/proc/{}", status.await["pid"])
}

fn assert_hardened(process: &str) {
    let read = |name: &str| fs::read_to_string(format!("{process}/{name}")).expect("it is running");
    assert!(read("status").contains("NoNewPrivs:\t1\n"), "new privileges");
    let limits = read("limits");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let cores: Vec<&str> = cores.expect("a limit").split_ascii_whitespace().skip(4).collect();
    assert_eq!(cores[..2], ["0", "0"], "soft and hard: {limits}");
    let open = fs::read_dir(format!("{process}/fd"))
        .expect("root may list them")
        .flatten();
    let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    assert!(open.len() > 3, "{open:?}");
    assert!(
        !open.contains(&"/etc/passwd".into()),
        "an inherited descriptor: {open:?}"
    );
}

#[tokio::test]
async fn an_agent_in_the_foreground_has_given_up_what_it_need_not_have() {
    if !may_search() {
        return;
    }
    let home = Home::new();
    let mut agent = start(&home, &[]);
    assert_hardened(&serving(&home, &home.socket().display().to_string()).await);
    agent.kill().expect("it is a child of this process");
    agent.wait().expect("it ends");
}

#[tokio::test]
async fn an_agent_beside_a_command_has_given_up_what_it_need_not_have() {
    if !may_search() {
        return;
    }
    let home = Home::new();
    let socket = home.path("run/beside.sock").display().to_string();
    // The command ends when its standard input does.
    let mut launcher = start(&home, &["--socket", &socket, "--", "cat"]);
    let process = serving(&home, &socket).await;
    assert_ne!(
        process,
        format!("/proc/{}", launcher.id()),
        "the launcher does not serve"
    );
    assert_hardened(&process);
    drop(launcher.stdin.take());
    let ended = launcher.wait().expect("it ends with its command");
    assert!(ended.success(), "{ended:?}");
}
