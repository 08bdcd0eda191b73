//! Another user is refused before a byte of his is read.

use std::{os::unix::net::UnixStream, path::PathBuf, time::Duration};

use sfkey_tests::support::{
    Agent, Calls, Home, Launch, Stage, Stopwatch,
    stranger::{self, act, copy_of, is_possible},
};

use sfkey_tests::support::wire;

/// Longest time that a refusal may take; a silent client of the own user has five seconds.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Connects, sends `bytes`, and returns what came back until the agent closed the connection.
fn knock(path: PathBuf, bytes: Vec<u8>) -> (Vec<u8>, Duration) {
    act(move || {
        let stopwatch = Stopwatch::start();
        let stream = UnixStream::connect(path).expect("the modes let everybody in");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout can be set");
        wire::send(&stream, &bytes);
        (wire::read_to_close(&stream), stopwatch.elapsed())
    })
}

#[tokio::test]
async fn another_user_is_refused_even_when_the_sockets_mode_was_loosened_by_hand() {
    if !is_possible("another_user_is_refused_even_when_the_sockets_mode_was_loosened_by_hand") {
        return;
    }
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let before = calls.status().await.expect("a status").connections_refused;
    stage.home.let_everybody_in();
    let request = [wire::opening(), wire::request_without_body(1)].concat();
    for bytes in [Vec::new(), request] {
        let (came, elapsed) = knock(stage.home.socket(), bytes);
        assert_eq!(came, b"", "not even the settings of HTTP/2 are sent");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    }
    let status = calls.status().await.expect("the owner is served");
    assert_eq!(status.connections_refused, before + 2);
    // The log is read by another thread than the answers.
    stage.agent.log().wait_for(&stranger::UID.to_string());
}

#[tokio::test]
async fn a_strangers_call_over_grpc_gets_no_status_of_the_agent() {
    if !is_possible("a_strangers_call_over_grpc_gets_no_status_of_the_agent") {
        return;
    }
    let stage = Stage::new().await;
    stage.home.let_everybody_in();
    let path = stage.home.socket();
    let refused = act(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            match Calls::try_to(&path).await {
                Ok(calls) => calls.token("prod").await.map(drop).is_err(),
                Err(_) => true,
            }
        })
    });
    assert!(refused);
    assert_eq!(stage.sim.counters().asked, 0);
}

#[tokio::test]
async fn an_ordinary_users_agent_serves_that_user_and_refuses_root() {
    if !is_possible("an_ordinary_users_agent_serves_that_user_and_refuses_root") {
        return;
    }
    let programs = tempfile::tempdir().expect("a directory");
    let program = copy_of("sfkey-agent", programs.path());
    let home = Home::of_user(stranger::UID);
    let agent = Agent::start(&home, &Launch::default().as_user(stranger::UID, program));
    let stream = wire::connect(&home.socket());
    assert_eq!(wire::read_to_close(&stream), b"", "root is a stranger here");
    let path = home.socket();
    let (pid, refused) = act(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let status = Calls::to(&path)
                .await
                .status()
                .await
                .expect("the owner is served");
            (status.pid, status.connections_refused)
        })
    });
    assert_eq!((pid, refused), (agent.pid(), 1));
}
