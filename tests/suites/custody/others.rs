//! Long work delays nobody: what is asked during it is answered during it.

use std::{future::Future, time::Duration};

use sfkey_proto::{
    Reason,
    sealing::Sealed,
    v1::{LockRequest, LockSpec},
};
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{
        Agent, Calls, Stage, StageSetup, Stopwatch,
        stage::ACCOUNT,
        stopwatch::{eventually, in_time},
    },
};

use crate::locked::PASSPHRASE;

/// Requests, one after another, that are answered while something long runs. An agent that does it on the thread
/// that answers manages the few that were ahead of it.
const ANSWERED: usize = 10;

/// A key as large as the agent takes, of the primes that RFC 3526 (group 16) and RFC 7919 (ffdhe4096) publish: it
/// keeps a processor busy for a while, and is no secret.
const LARGE_KEY: &[u8] = include_bytes!("fixtures/rsa-8192-of-published-primes.der");

/// How many status requests are answered, one after another, until `work` has ended.
async fn answered_during<T>(calls: &Calls, work: impl Future<Output = T>) -> (usize, T) {
    let mut work = std::pin::pin!(work);
    let mut answered = 0;
    loop {
        tokio::select! {
            ended = &mut work => return (answered, ended),
            status = calls.status() => {
                status.expect("a status");
                answered += 1;
            }
        }
    }
}

#[tokio::test]
async fn requests_are_answered_while_a_passphrase_is_stretched() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.lock(PASSPHRASE).await.expect("locked");
    let other = stage.calls().await;
    let (answered, unlocked) = in_time(answered_during(&other, calls.unlock(PASSPHRASE))).await;
    unlocked.expect("the right passphrase");
    assert!(answered >= ANSWERED, "{answered}");
}

#[tokio::test]
async fn requests_are_answered_while_a_large_key_signs() {
    let stage = Stage::empty();
    let (calls, other) = (stage.calls().await, stage.calls().await);
    let mut spec = stage.spec(ACCOUNT);
    spec.private_key = LARGE_KEY.to_vec();
    // Nobody listens on the discard port: what takes time is the signature.
    spec.login_url = "http://127.0.0.1:9".to_owned();
    calls.add(&spec).await.expect("added");
    let (answered, refused) = in_time(answered_during(&other, calls.refused_token(ACCOUNT))).await;
    assert_eq!(refused.reason, Reason::Network);
    assert!(answered >= ANSWERED, "{answered}");
}

#[tokio::test]
async fn lock_does_not_wait_for_salesforce() {
    let setup = StageSetup::default().arguments(["--exchange-timeout", "50"]);
    let stage = setup.ready().await;
    stage.sim.fault(FaultRule::always(Fault::Stall));
    let (calls, other) = (stage.calls().await, stage.calls().await);
    let waiting = [calls.clone(), other].map(|calls| tokio::spawn(async move { calls.token(ACCOUNT).await }));
    stage
        .sim
        .wait_for_stalled(1)
        .await
        .expect("Salesforce holds the request");
    // Nobody releases the stall, and the exchange may take longer than this test waits.
    in_time(calls.lock(PASSPHRASE)).await.expect("locked");
    let [same, other] = waiting.map(in_time);
    let same = sfkey_tests::support::refusal(&same.await.expect("no panic").expect_err("no token"));
    assert_eq!(same.reason, Reason::Locked);
    other
        .await
        .expect("no panic")
        .expect_err("its connection is closed");
    stage.sim.clear_faults();
    stage.sim.release_stalled();
    calls.unlock(PASSPHRASE).await.expect("unlocked");
    calls.token(ACCOUNT).await.expect("a token");
}

/// What a lock may take beyond stretching the passphrase.
const BEYOND_STRETCHING: Duration = Duration::from_millis(50);

/// Tries of which one must be in time. What delays the agent of itself delays every one; a busy machine does not.
const TRIES: usize = 10;

/// How long the agent stretched the last passphrase, as its log tells.
async fn stretched(agent: &Agent, locks: usize) -> Duration {
    const FIELD: &str = "turn=Lock derivation_us=";
    eventually(async || {
        let log = agent.log().text();
        let tail = log.split(FIELD).nth(locks)?;
        let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
        // The rest of the line may still be on its way.
        tail.contains('\n')
            .then(|| Duration::from_micros(digits.parse().expect("a number")))
    })
    .await
}

#[tokio::test]
async fn lock_takes_no_longer_than_its_derivation_while_an_exchange_is_stalled() {
    let setup = StageSetup::default().arguments(["--exchange-timeout", "50", "--log-level", "debug"]);
    let stage = setup.ready().await;
    stage.sim.fault(FaultRule::always(Fault::Stall));
    let calls = stage.calls().await;
    let mut beyond = Vec::new();
    for round in 1..=TRIES {
        let waiting = tokio::spawn({
            let calls = calls.clone();
            async move { calls.token(ACCOUNT).await }
        });
        let held = stage.sim.wait_for_stalled(1).await;
        held.expect("Salesforce holds the request");
        let passphrase = PASSPHRASE.as_bytes().to_vec();
        let Sealed { enc, ciphertext } = calls.sealed(&LockSpec { passphrase }).await.expect("sealed");
        let stopwatch = Stopwatch::start();
        calls
            .agent()
            .lock(LockRequest { enc, ciphertext })
            .await
            .expect("locked");
        let whole = stopwatch.elapsed();
        beyond.push(whole.saturating_sub(stretched(&stage.agent, round).await));
        in_time(waiting)
            .await
            .expect("no panic")
            .expect_err("no token is given out by a locked agent");
        if beyond.iter().any(|time| *time < BEYOND_STRETCHING) {
            return;
        }
        stage.sim.release_stalled();
        calls.unlock(PASSPHRASE).await.expect("unlocked");
    }
    panic!("beyond the derivation: {beyond:?}");
}
