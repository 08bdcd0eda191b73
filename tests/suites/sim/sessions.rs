//! How long a token lives, and what a repeated grant gives.

use std::time::Duration;

use sfkey_tests::sim::Regrant;

use crate::bench::Bench;

#[tokio::test]
async fn documented_an_idle_session_ends_after_two_hours() {
    let bench = Bench::new();
    let token = bench.token().await;
    bench.sim.advance(Duration::from_secs(7140));
    assert!(bench.sim.session_expiry(&token).is_some());
    bench.sim.advance(Duration::from_secs(60));
    assert_eq!(bench.sim.session_expiry(&token), None);
    let answer = bench.get("/services/data/v60.0/limits", &token).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()[0]["errorCode"], "INVALID_SESSION_ID");
    assert_eq!(answer.json()[0]["message"], "Session expired or invalid");
}

#[tokio::test]
async fn documented_activity_extends_a_session_in_its_second_half_only() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.session_timeout = 1000);
    let token = bench.token().await;
    let born = bench.sim.session_expiry(&token).expect("alive");
    bench.sim.advance(Duration::from_secs(450));
    assert_eq!(bench.limits(&token).await, 200);
    assert_eq!(bench.sim.session_expiry(&token), Some(born));
    bench.sim.advance(Duration::from_secs(70));
    assert_eq!(bench.limits(&token).await, 200);
    let extended = bench.sim.session_expiry(&token).expect("alive");
    assert!(
        (born + 520..=born + 560).contains(&extended),
        "{born} became {extended}"
    );
}

#[tokio::test]
async fn documented_the_apps_policy_sets_the_timeout_of_its_sessions() {
    let bench = Bench::new();
    bench.sim.with_app(&bench.sim.app(0).consumer_key, |app| {
        app.session_timeout = Some(900);
    });
    let token = bench.token().await;
    let left = bench.sim.session_expiry(&token).expect("alive") - bench.sim.now();
    assert!((840..=900).contains(&left), "{left}");
}

#[tokio::test]
async fn observed_a_repeated_grant_may_give_the_identical_token_with_its_end_unmoved() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.regrant = Regrant::SameFixed);
    let token = bench.token().await;
    let end = bench.sim.session_expiry(&token);
    bench.sim.advance(Duration::from_secs(5000));
    assert_eq!(bench.token().await, token);
    assert_eq!(bench.sim.session_expiry(&token), end);
}

#[tokio::test]
async fn inferred_a_repeated_grant_may_give_the_identical_token_with_its_end_moved() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.regrant = Regrant::SameExtends);
    let token = bench.token().await;
    let end = bench.sim.session_expiry(&token).expect("alive");
    bench.sim.advance(Duration::from_secs(5000));
    assert_eq!(bench.token().await, token);
    assert!(bench.sim.session_expiry(&token).expect("alive") >= end + 5000);
}

#[tokio::test]
async fn inferred_a_repeated_grant_may_give_a_new_token_beside_the_old_one() {
    let bench = Bench::new();
    let (first, second) = (bench.token().await, bench.token().await);
    assert_ne!(first, second);
    assert_eq!(bench.limits(&first).await, 200);
    assert_eq!(bench.limits(&second).await, 200);
}

#[tokio::test]
async fn inferred_a_dead_session_is_not_given_again() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.regrant = Regrant::SameFixed);
    let token = bench.token().await;
    bench.sim.expire_sessions();
    assert_eq!(bench.limits(&token).await, 401);
    assert_ne!(bench.token().await, token);
}
