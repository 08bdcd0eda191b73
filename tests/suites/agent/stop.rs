//! The end: what is in work is finished, what hangs is cut off, and nothing is left behind.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use sfkey_proto::v1::Token;
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Calls, Stage, Stopwatch, stage::ACCOUNT, stopwatch::in_time},
};
use tokio::task::JoinHandle;
use tonic::Status;

use sfkey_tests::support::wire;

/// What requests in work may take after the signal, in seconds, and some time to end.
const DRAIN_TIME: std::ops::Range<f64> = 4.5..9.0;

/// Longest time of an end that waits for nothing.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A stage with a request for a token that Salesforce does not answer yet.
async fn stage_with_request_in_work() -> (Stage, JoinHandle<Result<Token, Status>>) {
    let stage = Stage::new().await;
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let calls = stage.calls().await;
    let request = tokio::spawn(async move { calls.token(ACCOUNT).await });
    stage
        .sim
        .wait_for_stalled(1)
        .await
        .expect("Salesforce holds the request");
    (stage, request)
}

/// The request in work is answered after the agent was told to stop, and the agent ends well.
async fn assert_drains(stage: Stage, request: JoinHandle<Result<Token, Status>>) {
    let Stage { agent, sim, home } = stage;
    agent.log().has("stop requested").await;
    assert!(!request.is_finished());
    sim.release_stalled();
    in_time(request)
        .await
        .expect("no panic")
        .expect("the token that was in work");
    let ended = agent.has_ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!home.socket().exists(), "the socket is gone");
    Calls::try_to(&home.socket())
        .await
        .expect_err("and nobody listens");
}

#[tokio::test]
async fn sigterm_lets_a_request_in_work_be_answered() {
    let (stage, request) = stage_with_request_in_work().await;
    stage.agent.signal(Signal::TERM);
    assert_drains(stage, request).await;
}

#[tokio::test]
async fn sigint_lets_a_request_in_work_be_answered() {
    let (stage, request) = stage_with_request_in_work().await;
    stage.agent.signal(Signal::INT);
    assert_drains(stage, request).await;
}

#[tokio::test]
async fn a_request_to_shut_down_is_answered_and_lets_a_request_in_work_be_answered() {
    let (stage, request) = stage_with_request_in_work().await;
    let calls = stage.calls().await;
    in_time(calls.shut_down()).await.expect("an answer");
    assert_drains(stage, request).await;
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_off_at_the_deadline() {
    let (stage, request) = stage_with_request_in_work().await;
    let Stage {
        agent,
        sim: _sim,
        home,
    } = stage;
    let stopwatch = Stopwatch::start();
    agent.signal(Signal::TERM);
    let ended = agent.has_ended().await;
    let seconds = stopwatch.elapsed().as_secs_f64();
    assert!(DRAIN_TIME.contains(&seconds), "{seconds}");
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    in_time(request).await.expect("no panic").expect_err("no token");
    assert!(!home.socket().exists(), "the socket is gone");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (stage, request) = stage_with_request_in_work().await;
        let Stage {
            agent,
            sim: _sim,
            home,
        } = stage;
        let stopwatch = Stopwatch::start();
        agent.signal(Signal::TERM);
        agent.log().has("stop requested").await;
        agent.signal(second);
        let ended = agent.has_ended().await;
        assert!(stopwatch.elapsed() < AT_ONCE, "{:?}", stopwatch.elapsed());
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        in_time(request).await.expect("no panic").expect_err("no token");
        assert!(!home.socket().exists(), "the socket is gone");
    }
}

/// With connections open on which nothing is in work, the agent ends at once.
async fn assert_ends_at_once_beside<C>(open: impl AsyncFnOnce(&Path) -> C) {
    let Stage {
        agent,
        sim: _sim,
        home,
    } = Stage::new().await;
    let opened = open(&home.socket()).await;
    let stopwatch = Stopwatch::start();
    agent.signal(Signal::TERM);
    let ended = agent.has_ended().await;
    assert!(stopwatch.elapsed() < AT_ONCE, "{:?}", stopwatch.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    drop(opened);
}

#[tokio::test]
async fn a_connection_without_a_request_does_not_delay_the_end() {
    assert_ends_at_once_beside(async |socket| {
        let calls = Calls::to(socket).await;
        calls.token(ACCOUNT).await.expect("a token");
        calls
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_delay_the_end() {
    assert_ends_at_once_beside(async |socket| {
        let silent = wire::connect(socket);
        // A call on a later connection is answered after the silent one was accepted.
        Calls::to(socket).await.status().await.expect("a status");
        silent
    })
    .await;
}
