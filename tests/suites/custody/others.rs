//! Long work delays nobody: what is asked during it is answered during it.

use std::future::Future;

use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Calls, Stage, StageSetup, stage::ACCOUNT, stopwatch::in_time},
};
use tonic::Status;

use crate::locked::{PASSPHRASE, lock, unlock};

/// Requests, one after another, that are answered while something long runs. An agent that does it on the thread
/// that answers manages the few that were ahead of it.
const ANSWERED: usize = 10;

/// How many status requests are answered, one after another, until `work` has ended.
async fn answered_during<T>(calls: &Calls, work: impl Future<Output = Result<T, Status>>) -> usize {
    let mut work = std::pin::pin!(work);
    let mut answered = 0;
    loop {
        tokio::select! {
            ended = &mut work => {
                assert!(ended.is_ok(), "{:?}", ended.err());
                return answered;
            }
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
    let (calls, other) = (stage.calls().await, stage.calls().await);
    lock(&calls, PASSPHRASE).await.expect("locked");
    other.status().await.expect_err("closed by the lock");
    let other = stage.calls().await;
    let answered = in_time(answered_during(&other, unlock(&calls, PASSPHRASE))).await;
    assert!(answered >= ANSWERED, "{answered}");
}

#[tokio::test]
async fn lock_does_not_wait_for_salesforce() {
    let setup = StageSetup::default().arguments(["--exchange-timeout", "50"]);
    let stage = setup.ready().await;
    stage.sim.fault(FaultRule::always(Fault::Stall));
    let (calls, other) = (stage.calls().await, stage.calls().await);
    let waiting = [calls.clone(), other].map(|calls| tokio::spawn(async move { calls.token(ACCOUNT).await }));
    stage.sim.wait_for_stalled(1).await.expect("Salesforce holds the request");
    // Nobody releases the stall, and the exchange may take longer than this test waits.
    in_time(lock(&calls, PASSPHRASE)).await.expect("locked");
    let [same, other] = waiting.map(in_time);
    let same = sfkey_tests::support::refusal(&same.await.expect("no panic").expect_err("no token"));
    assert_eq!(same.reason, sfkey_proto::Reason::Locked);
    other.await.expect("no panic").expect_err("its connection is closed");
    stage.sim.clear_faults();
    stage.sim.release_stalled();
    unlock(&calls, PASSPHRASE).await.expect("unlocked");
    calls.token(ACCOUNT).await.expect("a token");
}
