//! A token is fetched once and then shared.

use std::collections::BTreeSet;

use sfkey_proto::{
    Reason,
    v1::{ExpirySource, GetTokenRequest, Token},
};
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{
        Calls, Stage, refusal,
        stage::ACCOUNT,
        stopwatch::{eventually, in_time},
    },
};
use tokio::task::{JoinHandle, JoinSet};
use tonic::Status;

#[tokio::test]
async fn a_token_that_is_asked_for_twice_costs_one_exchange() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let first = calls.token(ACCOUNT).await.expect("a token");
    let second = calls.token(ACCOUNT).await.expect("a token");
    assert_eq!(first.access_token, second.access_token);
    assert_eq!(stage.sim.counters().asked, 1);
    let status = calls.status().await.expect("a status");
    assert_eq!(
        (
            status.token_requests,
            status.cache_hits,
            status.exchanges,
            status.exchange_failures
        ),
        (2, 1, 1, 0)
    );
}

#[tokio::test]
async fn a_token_comes_with_everything_that_salesforce_told_of_it() {
    let stage = Stage::new().await;
    let token = stage.calls().await.token(ACCOUNT).await.expect("a token");
    let exchange = stage.sim.last_exchange().expect("one exchange");
    assert_eq!(Some(&token.access_token), exchange.access_token.as_ref());
    assert!(
        stage.sim.session_expiry(&token.access_token).is_some(),
        "Salesforce knows it"
    );
    let (user, org) = (stage.sim.user(0), stage.sim.org(0));
    assert_eq!(token.account, ACCOUNT);
    assert_eq!(token.token_type, "Bearer");
    assert_eq!(token.instance_url, stage.sim.url());
    assert_eq!(token.username, user.username);
    assert_eq!(
        (token.org_id.as_ref(), token.user_id.as_ref()),
        (Some(&org.id), Some(&user.id))
    );
    assert!(token.scope.as_deref().is_some_and(|scope| scope.contains("api")));
    assert_eq!(token.expiry_source(), ExpirySource::Assumed);
    assert_eq!(token.expires_at - token.issued_at, 900);
    assert_eq!(token.warnings, [""; 0]);
}

/// Lets `each` callers ask over each of so many connections while Salesforce is slow to answer.
async fn ask_all_at_once(connections: usize, each: usize) {
    let stage = Stage::new().await;
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let calls = stage.calls().await;
        for _ in 0..each {
            let calls = calls.clone();
            callers.spawn(async move { calls.token(ACCOUNT).await });
        }
    }
    let total = connections * each;
    let watching = stage.calls().await;
    eventually(async || {
        let status = watching.status().await.expect("a status");
        (status.token_requests >= total as u64).then_some(())
    })
    .await;
    stage.sim.release_stalled();
    let answers = in_time(callers.join_all()).await;
    let tokens: BTreeSet<String> = answers
        .into_iter()
        .map(|answer| answer.expect("a token").access_token.clone())
        .collect();
    assert_eq!(tokens.len(), 1, "every caller has the same token");
    assert_eq!(stage.sim.counters().asked, 1, "of one exchange");
    assert_eq!(watching.status().await.expect("a status").exchanges, 1);
}

#[tokio::test]
async fn a_thousand_concurrent_callers_of_a_cold_account_share_one_exchange() {
    ask_all_at_once(20, 50).await;
}

#[tokio::test]
async fn two_hundred_connections_to_a_cold_account_share_one_exchange() {
    ask_all_at_once(200, 1).await;
}

/// A request for a token that waits for Salesforce, which holds it.
async fn token_in_work(stage: &Stage, calls: &Calls) -> JoinHandle<Result<Token, Status>> {
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let calls = calls.clone();
    let waiting = tokio::spawn(async move { calls.token(ACCOUNT).await });
    let held = stage.sim.wait_for_stalled(1).await;
    held.expect("Salesforce holds the request");
    waiting
}

#[tokio::test]
async fn a_hung_org_delays_only_its_own_account() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.add(&stage.spec_of_new_user("other")).await.expect("added");
    let hung = token_in_work(&stage, &calls).await;
    let other = in_time(calls.token("other")).await.expect("a token meanwhile");
    assert_eq!(other.username, "other@acme.example");
    assert_eq!(calls.list().await.expect("a list meanwhile").len(), 2);
    assert!(!hung.is_finished(), "the hung one still waits");
    stage.sim.release_stalled();
    in_time(hung)
        .await
        .expect("no panic")
        .expect("a token in the end");
}

#[tokio::test]
async fn removing_an_account_ends_its_waiting_callers_at_once() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let waiting = token_in_work(&stage, &calls).await;
    calls.remove(ACCOUNT).await.expect("removed");
    let status = in_time(waiting).await.expect("no panic").expect_err("no token");
    let reason = refusal(&status).reason;
    assert!(
        matches!(reason, Reason::AccountNotLoaded | Reason::Removed),
        "{reason:?}"
    );
}

#[tokio::test]
async fn whoever_waits_while_the_account_is_replaced_gets_a_token_of_the_new_one() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let waiting = token_in_work(&stage, &calls).await;
    let mut other = stage.spec_of_new_user("other");
    (other.account, other.replace) = (ACCOUNT.to_owned(), true);
    calls.add(&other).await.expect("replaced");
    let token = in_time(waiting).await.expect("no panic").expect("a token");
    assert_eq!(token.username, "other@acme.example");
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_exchange_from_nobody() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let ask = || {
        let calls = calls.clone();
        tokio::spawn(async move { calls.token(ACCOUNT).await })
    };
    let (first, second) = (ask(), ask());
    stage
        .sim
        .wait_for_stalled(1)
        .await
        .expect("Salesforce holds the request");
    first.abort();
    assert!(in_time(first).await.expect_err("it went away").is_cancelled());
    stage.sim.release_stalled();
    in_time(second).await.expect("no panic").expect("a token");
    assert_eq!(stage.sim.counters().asked, 1);
}

#[tokio::test]
async fn callers_who_insist_on_a_fresh_token_do_not_cause_a_storm() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let held = calls.token(ACCOUNT).await.expect("a token").access_token.clone();
    for _ in 0..10 {
        let request = GetTokenRequest {
            account: ACCOUNT.to_owned(),
            fresh: true,
            ..GetTokenRequest::default()
        };
        let token = calls.request_token(request).await.expect("a token");
        assert_eq!(token.access_token, held);
        assert_eq!(token.warnings, ["FRESH_LIMITED"]);
    }
    assert_eq!(stage.sim.counters().asked, 1);
}

#[tokio::test]
async fn a_need_that_no_token_could_meet_is_capped_and_costs_no_exchange_each_time() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    for _ in 0..3 {
        let request = GetTokenRequest {
            account: ACCOUNT.to_owned(),
            min_valid_seconds: Some(u32::MAX),
            ..GetTokenRequest::default()
        };
        let token = calls.request_token(request).await.expect("a token");
        assert_eq!(token.warnings, ["MIN_VALID_CAPPED"]);
    }
    assert_eq!(stage.sim.counters().asked, 1);
}
