//! Clients that misbehave, and a system that is short of descriptors: nobody else notices.

use std::{fs, os::unix::net::UnixStream, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit};
use sfkey_proto::{
    Reason,
    sealing::Sealed,
    v1::{GetStatusRequest, WatchTokenRequest},
};
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{
        Agent, Calls, Home, Launch, Stage, StageSetup, Stopwatch,
        stage::ACCOUNT,
        stopwatch::{eventually, in_time},
        stranger::skipped,
    },
};
use tonic::{Code, Request};

use sfkey_tests::support::wire;

/// What a client may take to send its preface, in seconds, and some time to notice.
const PREFACE_TIME: std::ops::Range<f64> = 4.5..9.0;

/// Both an old and a new connection are served.
async fn assert_others_are_served(stage: &Stage, calls: &Calls) {
    in_time(calls.token(ACCOUNT))
        .await
        .expect("a token over the old connection");
    let new = in_time(stage.calls()).await;
    in_time(new.token(ACCOUNT))
        .await
        .expect("a token over a new connection");
}

async fn read_to_close(stream: UnixStream) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || wire::read_to_close(&stream));
    reading.await.expect("the agent closes the connection")
}

#[tokio::test]
async fn a_client_that_says_nothing_delays_nobody_and_is_closed_in_time() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let stopwatch = Stopwatch::start();
    let silent: Vec<_> = (0..50).map(|_| wire::connect(&stage.home.socket())).collect();
    let slow = wire::connect(&stage.home.socket());
    wire::send(&slow, &wire::PREFACE[..23]);
    assert_others_are_served(&stage, &calls).await;
    for stream in silent.into_iter().chain([slow]) {
        read_to_close(stream).await;
    }
    let seconds = stopwatch.elapsed().as_secs_f64();
    assert!(PREFACE_TIME.contains(&seconds), "{seconds}");
    assert_others_are_served(&stage, &calls).await;
}

#[tokio::test]
async fn garbage_is_closed_at_once_and_delays_nobody() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0; 65_536],
        &[0xff; 100],
        &[wire::PREFACE, &[0xff; 1024]].concat(),
    ];
    let stopwatch = Stopwatch::start();
    for bytes in garbage {
        let stream = wire::connect(&stage.home.socket());
        wire::send(&stream, bytes);
        read_to_close(stream).await;
    }
    let elapsed = stopwatch.elapsed();
    assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
    assert_others_are_served(&stage, &calls).await;
}

#[tokio::test]
async fn half_a_request_delays_nobody() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let halves: Vec<_> = (0..20).map(|_| wire::connect(&stage.home.socket())).collect();
    for stream in &halves {
        let requests: Vec<u8> = (0..50)
            .flat_map(|number| wire::request_without_body(2 * number + 1))
            .collect();
        assert!(wire::send(stream, &[wire::opening(), requests].concat()));
        assert!(
            !wire::read_some(stream).is_empty(),
            "the agent has begun to speak HTTP/2"
        );
    }
    assert_others_are_served(&stage, &calls).await;
    drop(halves);
    assert_others_are_served(&stage, &calls).await;
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let stream = wire::connect(&stage.home.socket());
    wire::send(&stream, &[wire::opening(), wire::endless_headers(1)].concat());
    // 16 MiB in frames of the largest size that needs no agreement.
    let more = wire::continuation(1, 16_000);
    let taken = (0..1_000).take_while(|_| wire::send(&stream, &more)).count();
    assert!(taken < 1_000, "the agent reads headers without end");
    assert_others_are_served(&stage, &calls).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let sealed = Sealed {
        enc: vec![0; 32],
        ciphertext: vec![0; 100 * 1024],
    };
    let status = calls.add_sealed(sealed).await.expect_err("too large");
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status:?}"
    );
    calls
        .token(ACCOUNT)
        .await
        .expect("a token over the same connection");
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let rude = stage.calls().await;
    let mut request = Request::new(GetStatusRequest {});
    let value = "x".repeat(16 * 1024).parse().expect("a header value");
    request.metadata_mut().insert("x-large", value);
    in_time(rude.agent().get_status(request))
        .await
        .expect_err("too large");
    assert_others_are_served(&stage, &calls).await;
}

/// Sets the soft limit of the agent's descriptors; the hard one stays.
fn limit_descriptors(agent: &Agent, soft: u64) {
    let pid = i32::try_from(agent.pid()).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(soft),
        maximum,
    };
    prlimit(pid, Resource::Nofile, limit).expect("a limit may be lowered, and raised to the hard one");
}

#[tokio::test]
async fn without_descriptors_the_agent_waits_without_spinning_and_then_goes_on() {
    if !geteuid().is_root() {
        let name = "without_descriptors_the_agent_waits_without_spinning_and_then_goes_on";
        return skipped(name, "the hardened agent shows its descriptors to root only");
    }
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.token(ACCOUNT).await.expect("a token");
    let open = stage.agent.descriptors();
    limit_descriptors(&stage.agent, open as u64);
    let waiting: Vec<_> = (0..20).map(|_| wire::connect(&stage.home.socket())).collect();
    stage
        .agent
        .log()
        .has("connections cannot be accepted at the moment")
        .await;
    let before = stage.agent.processor_ticks();
    // The kernel's queue takes the connection; an answer needs the agent.
    let late = async {
        let calls = stage.calls().await;
        calls.status().await
    };
    tokio::pin!(late);
    tokio::time::timeout(Duration::from_secs(2), &mut late)
        .await
        .expect_err("there is no place for it");
    let spent = stage.agent.processor_ticks() - before;
    assert!(spent < 20, "{spent} ticks of 10 ms within two seconds");
    calls
        .token(ACCOUNT)
        .await
        .expect("a token over the open connection");
    limit_descriptors(&stage.agent, 1024);
    let status = in_time(late).await.expect("an answer for the one that waited");
    assert_eq!(status.pid, stage.agent.pid());
    drop(waiting);
}

#[tokio::test]
async fn more_connections_than_a_small_agent_can_hold_are_served_in_place_of_idle_ones() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default().descriptors(96));
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line");
    assert_eq!(line.split_whitespace().nth(4), Some("96"), "{line}");
    let mut served = Vec::new();
    // Ninety-six descriptors hold no hundred connections.
    for _ in 0..100 {
        let calls = in_time(Calls::to(&home.socket())).await;
        let status = in_time(calls.status()).await.expect("a status");
        assert!(status.connections < 48, "{status:?}");
        served.push(calls);
    }
    let queued: Vec<_> = (0..200).map(|_| wire::connect(&home.socket())).collect();
    let last = served.last().expect("a hundred");
    let status = eventually(async || last.status().await.ok()).await;
    assert_eq!(status.pid, agent.pid());
    drop(served);
    drop(queued);
    let calls = in_time(Calls::to(&home.socket())).await;
    let alone = eventually(async || {
        let status = calls.status().await.expect("a status");
        (status.connections == 1).then_some(status)
    })
    .await;
    assert_eq!(alone.pid, agent.pid());
}

#[tokio::test]
async fn a_full_table_closes_what_is_of_no_use_and_never_what_is_at_work() {
    let stage = StageSetup::default()
        .arguments(["--max-connections", "2"])
        .ready()
        .await;
    let watching = stage.calls().await;
    let mut watch = watching
        .tokens()
        .watch_token(WatchTokenRequest {
            account: ACCOUNT.to_owned(),
        })
        .await
        .expect("a stream")
        .into_inner();
    let _first = watch.message().await.expect("no failure").expect("a token");
    for _ in 0..5 {
        let new = in_time(stage.calls()).await;
        let status = in_time(new.status()).await.expect("a status");
        assert_eq!(status.connections, 2);
    }
    let calls = in_time(stage.calls()).await;
    calls.remove(ACCOUNT).await.expect("removed");
    in_time(watch.message())
        .await
        .expect_err("the stream stood until now");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let stage = StageSetup::default().arguments(["--idle-timeout", "1"]).empty();
    let idle = wire::connect(&stage.home.socket());
    let whole = [wire::opening(), wire::request(wire::GET_STATUS, 1)].concat();
    assert!(wire::send(&idle, &whole));
    assert!(!read_to_close(idle).await.is_empty(), "it was served before");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let stage = StageSetup::default()
        .arguments(["--request-timeout", "1"])
        .ready()
        .await;
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let calls = stage.calls().await;
    let refusal = in_time(calls.refused_token(ACCOUNT)).await;
    assert_eq!(refusal.reason, Reason::Limit, "{refusal:?}");
    assert!(refusal.message.contains("within 1 s"), "{refusal:?}");
    stage.sim.release_stalled();
}

#[tokio::test]
async fn more_requests_than_are_allowed_at_once_are_refused() {
    let stage = StageSetup::default()
        .arguments(["--max-requests", "1"])
        .ready()
        .await;
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let calls = stage.calls().await;
    let waiting = {
        let calls = calls.clone();
        tokio::spawn(async move { calls.token(ACCOUNT).await })
    };
    stage.sim.wait_for_stalled(1).await.expect("it is in work");
    assert_eq!(calls.refused_token(ACCOUNT).await.reason, Reason::Limit);
    stage.sim.release_stalled();
    in_time(waiting).await.expect("no panic").expect("a token");
}
