//! One agent a path, and nothing foreign displaced.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
    },
    path::Path,
};

use rustix::process::Signal;
use sfkey_tests::support::{
    Agent, Calls, Home, Launch, Stage, home,
    stranger::{self, is_possible},
};

/// Starts an agent that must refuse, and returns its words.
fn refused(home: &Home) -> String {
    let ended = Agent::start_in_vain(home, &Launch::default());
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    home.redact(&ended.output)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

#[tokio::test]
async fn the_socket_and_its_directory_are_made_for_the_owner_alone() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default());
    let socket = home.socket();
    assert_eq!(
        (mode(&socket), mode(socket.parent().expect("a directory"))),
        (0o600, 0o700)
    );
    let status = Calls::to(&socket).await.status().await.expect("a status");
    assert_eq!(status.pid, agent.pid());
    assert_eq!(status.socket, socket.display().to_string());
    assert_eq!(
        (status.dumpable, status.core_limit, status.account_count),
        (false, 0, 0)
    );
    assert_eq!(status.instance_id.len(), 16);
}

#[tokio::test]
async fn after_kill_9_a_new_agent_takes_the_path_over_and_knows_nothing() {
    let Stage {
        agent,
        sim: _sim,
        home,
    } = Stage::new().await;
    let first = Calls::to(&home.socket()).await.status().await.expect("a status");
    agent.signal(Signal::KILL);
    assert_eq!(agent.has_ended().await.signal, Some(9));
    assert!(home.socket().exists(), "what kill -9 leaves behind");
    let agent = Agent::start(&home, &Launch::default());
    let status = Calls::to(&home.socket()).await.status().await.expect("a status");
    assert_eq!((status.pid, status.account_count), (agent.pid(), 0));
    assert_ne!(status.instance_id, first.instance_id);
}

#[tokio::test]
async fn a_second_agent_on_a_live_path_refuses_and_leaves_the_first_alone() {
    let stage = Stage::new().await;
    assert_eq!(
        refused(&stage.home),
        "error: an agent is running at HOME/run/sfkey/agent.sock\n\
         try: sfkey status shows it; sfkey stop ends it; --socket PATH chooses another path\n"
    );
    let calls = stage.calls().await;
    let status = calls.status().await.expect("the first one answers");
    assert_eq!((status.pid, status.account_count), (stage.agent.pid(), 1));
}

#[test]
fn a_living_socket_of_another_program_is_left_alone() {
    let home = Home::new();
    home.make_socket_directory();
    let _other = UnixListener::bind(home.socket()).expect("bound");
    let words = refused(&home);
    assert!(
        words.starts_with("error: an agent is running at HOME/run/sfkey/agent.sock\ntry: "),
        "{words}"
    );
    assert!(home.socket().exists());
}

#[test]
fn a_file_at_the_path_is_refused_and_left_alone() {
    let home = Home::new();
    home.make_socket_directory();
    fs::write(home.socket(), "precious").expect("written");
    assert_eq!(
        refused(&home),
        "error: HOME/run/sfkey/agent.sock is a file, not a socket of this user\n\
         try: move it away, or choose another path with --socket\n"
    );
    assert_eq!(
        fs::read_to_string(home.socket()).expect("still there"),
        "precious"
    );
}

#[test]
fn a_symbolic_link_at_the_path_is_refused_and_not_followed() {
    let home = Home::new();
    home.make_socket_directory();
    symlink(home.path("run/elsewhere.sock"), home.socket()).expect("linked");
    assert_eq!(
        refused(&home),
        "error: HOME/run/sfkey/agent.sock is a symbolic link, not a socket of this user\n\
         try: move it away, or choose another path with --socket\n"
    );
    assert!(!home.path("run/elsewhere.sock").exists());
    assert!(fs::symlink_metadata(home.socket()).is_ok(), "still there");
}

#[test]
fn a_directory_at_the_path_is_refused() {
    let home = Home::new();
    home.make_socket_directory();
    fs::create_dir(home.socket()).expect("created");
    assert_eq!(
        refused(&home),
        "error: HOME/run/sfkey/agent.sock is a directory, not a socket of this user\n\
         try: move it away, or choose another path with --socket\n"
    );
}

#[test]
fn a_directory_that_lets_others_in_is_refused() {
    let home = Home::new();
    home.make_socket_directory();
    home::set_mode(&home.path("run/sfkey"), 0o755);
    assert_eq!(
        refused(&home),
        "error: the directory HOME/run/sfkey has mode 0755; only its owner may have access\n\
         try: chmod 700 HOME/run/sfkey\n"
    );
}

#[test]
fn a_way_that_others_can_change_is_refused() {
    let home = Home::new();
    home.make_socket_directory();
    home::set_mode(&home.path("run"), 0o777);
    assert_eq!(
        refused(&home),
        "error: others may write to HOME/run (mode 0777)\n\
         try: choose a path below a directory that only you and root can write to\n"
    );
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !is_possible("a_directory_of_another_user_is_refused") {
        return;
    }
    let home = Home::new();
    home.make_socket_directory();
    let directory = home.path("run/sfkey");
    chown(&directory, Some(stranger::UID), None).expect("root may give files away");
    assert_eq!(
        refused(&home),
        "error: HOME/run/sfkey belongs to another user (uid 61923)\n\
         try: choose a path below a directory that only you and root can write to\n"
    );
    assert_eq!(
        fs::metadata(&directory).expect("still there").uid(),
        stranger::UID
    );
}

#[test]
fn a_path_that_the_kernel_would_cut_off_is_refused() {
    let home = Home::new();
    let path = home.path("x".repeat(120));
    let ended = Agent::start_in_vain(
        &home,
        &Launch::default().arguments([Path::new("--socket"), &path]),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("longer than 107 bytes"), "{}", ended.output);
    assert_eq!(ended.output.lines().count(), 2, "{}", ended.output);
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let ended = Agent::start_in_vain(
        &Home::new(),
        &Launch::default().arguments(["--listen", "0.0.0.0:1"]),
    );
    assert_eq!(ended.code, Some(2), "{}", ended.output);
}
