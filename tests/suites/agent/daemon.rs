//! `sfkey-agent --daemon`: one agent a path, however many ask for it, and none that a shell holds on to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
};

use rustix::process::{geteuid, getpid, getsid};
use sfkey_tests::support::{
    Agent, Calls, Detached, Home, Launch, Ran, Sfkey, binaries, command,
    detached::status_line,
    home,
    stranger::{self, is_possible, skipped},
};

fn line(socket: &Path) -> String {
    format!("SFKEY_SOCK={0}; export SFKEY_SOCK;\n", socket.display())
}

#[tokio::test]
async fn it_serves_before_its_parent_returns_and_prints_one_line() {
    let home = Home::new();
    let detached = Detached::of(&home);
    let started = Detached::start(&home, &[]).done();
    assert_eq!(started.out(), line(&home.socket()));
    let status = Calls::to(&home.socket()).await.status().await.expect("a status");
    assert_eq!((status.dumpable, status.core_limit), (false, 0));
    let pid = detached.pid().expect("it serves");
    assert_eq!(status.pid, pid);
    let log = fs::read_to_string(home.path("state/sfkey/agent.log")).expect("its log");
    assert!(log.contains(" ready socket="), "{log}");
}

#[test]
fn it_lets_go_of_its_terminal_its_streams_and_its_directory() {
    if !geteuid().is_root() {
        return skipped(
            "it_lets_go_of_its_terminal_its_streams_and_its_directory",
            "the hardened agent shows its descriptors to root only",
        );
    }
    let home = Home::new();
    let detached = Detached::of(&home);
    let _started = Detached::start(&home, &[]).done();
    let pid = detached.pid().expect("it serves");
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("a link");
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(stream), Path::new("/dev/null"), "{stream}");
    }
    assert_eq!(link("cwd"), Path::new("/"));
    let id = rustix::process::Pid::from_raw(i32::try_from(pid).expect("an id"));
    assert_eq!(
        getsid(id),
        Ok(id.expect("an id")),
        "it leads a session of its own"
    );
    assert_ne!(status_line(pid, "PPid"), getpid().to_string());
}

#[test]
fn on_a_live_path_it_prints_the_same_line_and_starts_nothing() {
    let home = Home::new();
    let detached = Detached::of(&home);
    let first = Detached::start(&home, &[]).done();
    let pid = detached.pid().expect("it serves");
    let again = Detached::start(&home, &[]).done();
    assert_eq!(again.out(), first.out());
    // As in a shell that evaluated the line already.
    let nested = Detached::command(&home, &["--shell", "fish"])
        .variable("SFKEY_SOCK", home.socket())
        .variable("XDG_RUNTIME_DIR", "/nonexistent")
        .run()
        .done();
    assert_eq!(
        nested.out(),
        format!("set -gx SFKEY_SOCK {};\n", home.socket().display())
    );
    assert_eq!(detached.pid(), Some(pid));
}

#[test]
fn an_agent_in_the_foreground_counts_as_live_too() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default());
    let started = Detached::start(&home, &[]).done();
    assert_eq!(started.out(), line(&home.socket()));
    assert_eq!(Detached::of(&home).pid(), Some(agent.pid()));
}

#[test]
fn a_start_that_fails_is_told_by_the_parent() {
    let place = Home::new();
    place.make_socket_directory();
    home::set_mode(&place.path("run/sfkey"), 0o755);
    let (error, fix) = Detached::start(&place, &[]).failed(1);
    assert_eq!(
        (place.redact(&error).as_str(), place.redact(&fix).as_str()),
        (
            "the directory HOME/run/sfkey has mode 0755; only its owner may have access",
            "chmod 700 HOME/run/sfkey"
        )
    );
    let (error, _) = Detached::start(&place, &["--log-file", "/dev/full"]).failed(1);
    assert!(error.contains("/dev/full"), "{error}");
}

#[test]
fn a_log_that_cannot_be_kept_is_told_and_prevents_nothing_unless_it_was_asked_for() {
    let place = Home::new();
    place.write("state/sfkey", "in the way");
    let detached = Detached::of(&place);
    let started = Detached::start(&place, &[]);
    assert_eq!((started.code, started.out()), (0, line(&place.socket())));
    assert!(
        started.err().starts_with("warning: the log "),
        "{}",
        started.err()
    );
    assert!(detached.pid().is_some());
}

#[test]
fn many_at_once_start_one_agent() {
    let home = Home::new();
    let detached = Detached::of(&home);
    let started: Vec<Child> = (0..24).map(|_| Detached::command(&home, &[]).start()).collect();
    for child in started {
        assert_eq!(Ran::of(child).done().out(), line(&home.socket()));
    }
    let pid = detached.pid().expect("one serves");
    let log = fs::read_to_string(home.path("state/sfkey/agent.log")).expect("its log");
    assert_eq!(log.matches(" ready socket=").count(), 1, "{log}");
    let stopped = Sfkey::new(&home, ["stop"]).run();
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(detached.pid(), None, "there was no other than {pid}");
}

#[test]
fn after_stop_a_new_start_succeeds_at_once() {
    let home = Home::new();
    let detached = Detached::of(&home);
    let mut before = None;
    for _ in 0..10 {
        let _started = Detached::start(&home, &[]).done();
        let pid = detached.pid();
        assert!(pid.is_some() && pid != before, "{before:?} {pid:?}");
        before = pid;
        let stopped = Sfkey::new(&home, ["stop"]).run().done();
        assert!(stopped.out().ends_with(" has stopped.\n"), "{}", stopped.out());
        assert!(!home.socket().exists());
    }
    let agent = Agent::start(&home, &Launch::default());
    assert_eq!(detached.pid(), Some(agent.pid()));
}

#[test]
fn a_start_that_was_killed_does_no_harm_to_the_next() {
    let home = Home::new();
    let detached = Detached::of(&home);
    for _ in 0..8 {
        let mut interrupted = Detached::command(&home, &[]).start();
        interrupted.kill().expect("it can be killed");
        interrupted.wait().expect("it is a child");
        // Whether the first one came up or not, there is one now.
        assert_eq!(Detached::start(&home, &[]).done().out(), line(&home.socket()));
        assert!(detached.pid().is_some());
        let _stopped = Sfkey::new(&home, ["stop"]).run().done();
    }
}

/// What cron gives to a job, and `su -` to a login that no session was made for.
fn of_stranger(home: &Home, program: &str, arguments: &[&str]) -> Sfkey {
    let command = command::Sfkey::program(
        stranger::copy_of(program, &home.path("bin")),
        home,
        arguments.iter().copied(),
    );
    command
        .as_user(stranger::UID)
        .variable("XDG_RUNTIME_DIR", "")
        .variable("XDG_STATE_HOME", "")
}

#[test]
fn without_a_runtime_directory_both_programs_meet_in_the_state_directory() {
    if !is_possible("without_a_runtime_directory_both_programs_meet_in_the_state_directory") {
        return;
    }
    let home = Home::of_user(stranger::UID);
    fs::create_dir(home.path("bin")).expect("created");
    let socket = home.path(".local/state/sfkey/agent.sock");
    let _detached = Detached::at(socket.clone());
    let started = of_stranger(&home, "sfkey-agent", &["--daemon"]).run().done();
    assert_eq!(started.out().replace("/./", "/"), line(&socket));
    let status = of_stranger(&home, "sfkey", &["status", "--json"])
        .run()
        .done()
        .json();
    assert_eq!(status["account_count"], 0);
    let _stopped = of_stranger(&home, "sfkey", &["stop"]).run().done();
}

/// What is in a home beyond what it came with, sorted.
fn left_behind(home: &Home) -> Vec<String> {
    let names = |path: PathBuf| {
        let entries = fs::read_dir(path).expect("a directory");
        entries.map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"))
    };
    let below = ["run", "config", "state"].map(|name| names(home.path(name)));
    let own = names(home.path(".")).filter(|name| !["run", "config", "state"].contains(&name.as_str()));
    let mut all: Vec<String> = own.chain(below.into_iter().flatten()).collect();
    all.sort();
    all
}

#[test]
fn root_with_another_users_home_leaves_nothing_behind_there() {
    if !is_possible("root_with_another_users_home_leaves_nothing_behind_there") {
        return;
    }
    let (home, own) = (Home::of_user(stranger::UID), Home::new());
    let log = home.path("logs/agent.log").display().to_string();
    let token = home.path("far/off/token.sock").display().to_string();
    let good = own.socket().display().to_string();
    let settings = own
        .settings("[token_socket]\naccounts = [\"prod\"]\n")
        .display()
        .to_string();
    for (state, arguments) in [
        (home.path("state"), vec!["--daemon"]),
        // As under sudo: the state directory is below HOME.
        (PathBuf::new(), vec!["--daemon"]),
        (PathBuf::new(), vec!["--daemon", "--log-file", &log]),
        (PathBuf::new(), vec!["--log-file", &log]),
        (
            PathBuf::new(),
            vec!["--socket", &good, "--config", &settings, "--token-socket", &token],
        ),
    ] {
        let as_sudo = Sfkey::program(binaries::built("sfkey-agent"), &home, arguments);
        let ran = as_sudo.variable("XDG_STATE_HOME", state).run();
        assert_eq!((ran.code, ran.out().as_str()), (1, ""), "{}", ran.err());
        assert!(
            ran.err().contains("belongs to another user (uid 61923)"),
            "{}",
            ran.err()
        );
        assert_eq!(left_behind(&home), Vec::<String>::new());
    }
}

#[test]
fn root_with_another_users_home_and_a_place_of_its_own_serves_without_a_log() {
    if !is_possible("root_with_another_users_home_and_a_place_of_its_own_serves_without_a_log") {
        return;
    }
    let (home, own) = (Home::of_user(stranger::UID), Home::new());
    let detached = Detached::of(&own);
    let started = Detached::command(&home, &[])
        .variable("XDG_RUNTIME_DIR", own.path("run"))
        .variable("XDG_STATE_HOME", "")
        .run();
    assert_eq!((started.code, started.out()), (0, line(&own.socket())));
    assert!(
        started.err().contains("; this agent keeps no log\n"),
        "{}",
        started.err()
    );
    assert!(detached.pid().is_some());
    assert_eq!(left_behind(&home), Vec::<String>::new());
}
