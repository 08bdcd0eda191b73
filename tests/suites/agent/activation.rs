//! Sockets passed by a service manager, played by a shell that execs the agent as sd_listen_fds(3) says.

use std::{
    fs,
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use sfkey_tests::support::{Calls, Home, Ran, binaries, home};

/// Starts an agent with `listener` as its descriptor 3 and these variables.
fn start(home: &Home, listener: &UnixListener, names: &str, arguments: &[&str]) -> Child {
    // The shell's own process id becomes the agent's.
    let script = format!(
        "exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={names}; exec \"$0\" \"$@\"",
        listener.as_raw_fd()
    );
    rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).expect("inherited");
    Command::new("/bin/bash")
        .args(["-c", &script])
        .arg(binaries::built("sfkey-agent"))
        .args(arguments)
        .env_clear()
        .envs(home.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell is there")
}

/// What a socket unit makes: a socket for its owner, in a directory that others may enter.
fn socket(home: &Home, mode: u32) -> UnixListener {
    fs::create_dir(home.path("run/sfkey")).expect("created");
    home::set_mode(&home.path("run/sfkey"), 0o755);
    let listener = UnixListener::bind(home.socket()).expect("bound");
    home::set_mode(&home.socket(), mode);
    listener
}

fn refused(home: &Home, listener: &UnixListener, names: &str, arguments: &[&str]) -> (String, String) {
    let (error, fix) = Ran::of(start(home, listener, names, arguments)).failed(1);
    (home.redact(&error), home.redact(&fix))
}

#[tokio::test]
async fn the_socket_of_a_service_manager_is_served_and_left_to_it() {
    let home = Home::new();
    let listener = socket(&home, 0o600);
    // Whoever calls first waits in the queue.
    let child = start(&home, &listener, "agent", &[]);
    let calls = Calls::to(&home.socket()).await;
    let status = calls.status().await.expect("a status");
    assert_eq!((status.pid, status.socket_activated), (child.id(), true));
    assert_eq!(status.socket, home.socket().display().to_string());
    calls.shut_down().await.expect("an answer");
    let ran = Ran::of(child);
    assert_eq!(ran.code, 0, "{}", ran.err());
    assert!(home.socket().exists(), "it belongs to the service manager");
    assert!(!home.path("run/sfkey/agent.sock.lock").exists());
    // The next agent serves the same socket.
    let second = start(&home, &listener, "agent", &[]);
    let calls = Calls::to(&home.socket()).await;
    assert_eq!(calls.status().await.expect("a status").pid, second.id());
    calls.shut_down().await.expect("an answer");
    assert_eq!(Ran::of(second).code, 0);
}

#[test]
fn a_socket_with_an_unknown_name_is_not_taken_for_another() {
    let home = Home::new();
    let listener = socket(&home, 0o600);
    let (error, fix) = refused(&home, &listener, "sfkey-agent.socket", &[]);
    assert_eq!(
        error,
        "the service manager passed a socket named \"sfkey-agent.socket\""
    );
    assert!(fix.contains("FileDescriptorName=agent"), "{fix}");
}

#[test]
fn a_socket_that_lets_others_in_is_refused() {
    let home = Home::new();
    let listener = socket(&home, 0o666);
    assert_eq!(
        refused(&home, &listener, "agent", &[]),
        (
            "the socket HOME/run/sfkey/agent.sock has mode 0666; only its owner may have access".to_owned(),
            "SocketMode=0600 in the socket unit".to_owned()
        )
    );
}

#[test]
fn a_socket_that_can_be_replaced_by_others_is_refused() {
    let home = Home::new();
    let listener = socket(&home, 0o600);
    home::set_mode(&home.path("run/sfkey"), 0o777);
    let (error, _) = refused(&home, &listener, "agent", &[]);
    assert_eq!(error, "others may write to HOME/run/sfkey (mode 0777)");
}

#[test]
fn a_socket_elsewhere_than_the_command_line_says_is_refused() {
    let home = Home::new();
    let listener = socket(&home, 0o600);
    let (error, fix) = refused(&home, &listener, "agent", &["--socket", "/run/other.sock"]);
    assert_eq!(
        error,
        "the service manager passed a socket at HOME/run/sfkey/agent.sock, and --socket says /run/other.sock"
    );
    assert!(fix.contains("ListenStream="), "{fix}");
}

#[test]
fn sockets_that_were_passed_to_another_process_do_not_count() {
    let home = Home::new();
    home.make_socket_directory();
    let child = Command::new(binaries::built("sfkey-agent"))
        .arg("--daemon")
        .env_clear()
        .envs(home.environment())
        .envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "x")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let _detached = sfkey_tests::support::Detached::of(&home);
    let ran = Ran::of(child.expect("it can be executed")).done();
    assert!(
        ran.out()
            .contains(&Path::new("run/sfkey/agent.sock").display().to_string())
    );
}
