//! `sfkey-agent -- COMMAND`: an agent that begins and ends with a command.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use sfkey_tests::support::{Detached, Home, Ran, Sfkey, binaries};

fn agent() -> String {
    binaries::built("sfkey-agent").display().to_string()
}

/// `sfkey-agent -- WORDS`.
fn launch(home: &Home, words: &[&str]) -> Sfkey {
    let line = ["--"].iter().chain(words).copied();
    Sfkey::program(binaries::built("sfkey-agent"), home, line).variable("CLIENT", binaries::built("sfkey"))
}

fn shell(home: &Home, script: &str) -> Sfkey {
    launch(home, &["/bin/sh", "-c", script])
}

/// What is left of the sockets' directories.
fn left_behind(home: &Home) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(home.path("run/sfkey")) else {
        return Vec::new();
    };
    found.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_command_finds_its_own_agent_and_nothing_is_left_when_it_ends() {
    let home = Home::new();
    let ran = shell(&home, "\"$CLIENT\" status --json").run().done();
    let socket = ran.json()["socket"].as_str().expect("a path").to_owned();
    assert!(socket.contains("/run/sfkey/command-"), "{socket}");
    assert!(!Path::new(&socket).exists());
    assert_eq!(left_behind(&home), Vec::<PathBuf>::new());
}

#[test]
fn it_ends_with_the_commands_code() {
    let home = Home::new();
    for code in [0, 1, 7, 255] {
        assert_eq!(shell(&home, &format!("exit {code}")).run().code, code);
    }
    assert_eq!(shell(&home, "kill -KILL $$").run().code, 128 + 9);
    let (error, _) = launch(&home, &["/nonexistent/command"]).run().failed(127);
    assert!(error.starts_with("cannot run /nonexistent/command"), "{error}");
    let _words = launch(&home, &["/"]).run().failed(126);
    assert_eq!(left_behind(&home), Vec::<PathBuf>::new());
}

#[test]
fn the_code_comes_through_when_the_caller_ignores_sigchld() {
    let home = Home::new();
    let script = format!("trap '' CHLD; exec '{}' -- /bin/sh -c 'exit 9'", agent());
    let ran = Sfkey::program("/bin/sh".into(), &home, ["-c", &script]).run();
    assert_eq!((ran.code, ran.err()), (9, String::new()));
}

/// Starts a command that says its process id and its socket, and then waits.
fn started(home: &Home) -> (Child, i32, PathBuf) {
    let mut child = shell(home, "echo $$; echo \"$SFKEY_SOCK\"; exec sleep 600").start();
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    let (pid, socket) = (line().parse().expect("a process id"), PathBuf::from(line()));
    (child, pid, socket)
}

fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("an id"), signal).expect("it runs");
}

#[test]
fn what_is_sent_to_the_launcher_reaches_the_command() {
    for (signal, number) in [
        (Signal::TERM, 15),
        (Signal::HUP, 1),
        (Signal::INT, 2),
        (Signal::QUIT, 3),
        (Signal::USR1, 10),
        (Signal::USR2, 12),
    ] {
        let home = Home::new();
        let (child, _, socket) = started(&home);
        send(i32::try_from(child.id()).expect("an id"), signal);
        let ran = Ran::of(child);
        assert_eq!((ran.code, ran.err()), (128 + number, String::new()), "{signal:?}");
        assert!(!socket.exists());
    }
}

#[test]
fn the_agent_ends_when_its_launcher_is_killed() {
    let home = Home::new();
    let (mut child, command, socket) = started(&home);
    let detached = Detached::at(socket.clone());
    let agent = detached.pid().expect("it serves");
    child.kill().expect("it can be killed");
    child.wait().expect("it is a child");
    Detached::wait_for_end(agent);
    assert_eq!(left_behind(&home), Vec::<PathBuf>::new(), "{}", socket.display());
    // The command is somebody else's by now, and goes on until it is ended.
    send(command, Signal::KILL);
}

#[test]
fn one_inside_another_has_an_agent_of_its_own() {
    let home = Home::new();
    let inner = format!(
        "'{}' -- /bin/sh -c 'echo \"$SFKEY_SOCK\"; \"$CLIENT\" status --json >/dev/null || exit 5'",
        agent()
    );
    let script = format!("echo \"$SFKEY_SOCK\"; {inner}; \"$CLIENT\" status --json >/dev/null || exit 6");
    let ran = shell(&home, &script).run().done();
    let out = ran.out();
    let sockets: Vec<&str> = out.lines().collect();
    assert_eq!(sockets.len(), 2, "{out}");
    assert_ne!(sockets[0], sockets[1]);
    let directories = sockets
        .iter()
        .map(|socket| Path::new(socket).parent().and_then(Path::parent));
    // Side by side: a path that grows with every level is soon too long for a socket.
    assert!(
        directories
            .clone()
            .all(|directory| directory == Some(&home.path("run/sfkey"))),
        "{out}"
    );
    assert_eq!(left_behind(&home), Vec::<PathBuf>::new());
}

#[test]
fn many_at_once_do_not_meet() {
    let home = Home::new();
    let started: Vec<Child> = (0..8)
        .map(|_| shell(&home, "\"$CLIENT\" status --json").start())
        .collect();
    let mut sockets: Vec<String> = started
        .into_iter()
        .map(|child| Ran::of(child).done().json()["socket"].to_string())
        .collect();
    sockets.sort();
    sockets.dedup();
    assert_eq!(sockets.len(), 8);
}

#[test]
fn a_socket_that_is_served_already_is_refused_before_the_command_runs() {
    let home = Home::new();
    let _detached = Detached::of(&home);
    let _started = Detached::start(&home, &[]).done();
    let socket = home.socket().display().to_string();
    let line = ["--socket", &socket, "--", "/bin/sh", "-c", "echo ran"];
    let (error, _) = Sfkey::program(binaries::built("sfkey-agent"), &home, line)
        .run()
        .failed(1);
    assert_eq!(
        home.redact(&error),
        "an agent is running at HOME/run/sfkey/agent.sock"
    );
}

#[test]
fn the_command_inherits_none_of_the_agents_descriptors() {
    let home = Home::new();
    let count = |line: &[&str]| {
        let output = Command::new(line[0])
            .args(&line[1..])
            .env_clear()
            .envs(home.environment())
            .stdin(Stdio::null())
            .output();
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    };
    let list = ["/bin/ls", "/proc/self/fd"];
    let program = agent();
    let launched = [&[program.as_str(), "--"][..], &list].concat();
    assert_eq!(count(&launched), count(&list));
}
