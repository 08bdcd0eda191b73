//! Introspection and revocation.

use std::time::Duration;

use serde_json::json;
use sfkey_tests::sim::{App, IntrospectionMode, Regrant, RevocationMode, Secret};

use crate::bench::{Answered, Bench};

async fn revoke(bench: &Bench, token: &str) -> Answered {
    let url = format!("{}/services/oauth2/revoke", bench.sim.url());
    Answered::of(
        bench
            .client
            .post(url)
            .form(&[("token", token)])
            .send()
            .await
            .expect("an answer"),
    )
    .await
}

#[tokio::test]
async fn documented_introspection_tells_all_about_a_live_token() {
    let bench = Bench::new();
    let token = bench.token().await;
    let answer = bench.introspect(&token).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["active"], true);
    assert_eq!(body["client_id"], bench.sim.app(0).consumer_key);
    assert_eq!(body["username"], bench.sim.user(0).username);
    assert_eq!(body["token_type"], "access_token");
    assert_eq!(body["scope"], "api web");
    assert_eq!(
        body["sub"],
        format!(
            "{}/id/{}/{}",
            bench.sim.url(),
            bench.sim.org(0).id,
            bench.sim.user(0).id
        )
    );
    assert_eq!(body["exp"].as_i64(), bench.sim.session_expiry(&token));
    assert_eq!(
        body["exp"]
            .as_i64()
            .zip(body["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(7200)
    );
    assert_eq!(body["nbf"], body["iat"]);
}

#[tokio::test]
async fn documented_the_client_may_authenticate_in_the_body() {
    let bench = Bench::new();
    let token = bench.token().await;
    let app = bench.sim.app(0);
    let form = [
        ("token", token.as_str()),
        ("client_id", &app.consumer_key),
        ("client_secret", app.consumer_secret.expose()),
    ];
    let url = format!("{}/services/oauth2/introspect", bench.sim.url());
    let answer = Answered::of(
        bench
            .client
            .post(url)
            .form(&form)
            .send()
            .await
            .expect("an answer"),
    )
    .await;
    assert_eq!(answer.json()["active"], true);
}

#[tokio::test]
async fn inferred_exp_moves_with_activity_and_iat_only_if_the_knob_says_so() {
    let bench = Bench::new();
    let token = bench.token().await;
    let before = bench.introspect(&token).await.json();
    bench.sim.advance(Duration::from_secs(4000));
    assert_eq!(bench.introspect(&token).await.json()["exp"], before["exp"]);
    bench.limits(&token).await;
    let after = bench.introspect(&token).await.json();
    assert!(after["exp"].as_i64() >= before["exp"].as_i64().map(|exp| exp + 4000));
    assert_eq!(after["iat"], before["iat"]);
    bench.sim.knobs(|knobs| knobs.introspection_iat_moves = true);
    let moved = bench.introspect(&token).await.json();
    assert_eq!(
        moved["exp"]
            .as_i64()
            .zip(moved["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(7200)
    );
}

#[tokio::test]
async fn documented_unknown_expired_and_revoked_tokens_are_inactive_and_nothing_more() {
    let bench = Bench::new();
    let inactive = json!({ "active": false });
    assert_eq!(bench.introspect("00D!unknown").await.json(), inactive);
    let token = bench.token().await;
    revoke(&bench, &token).await;
    assert_eq!(bench.introspect(&token).await.json(), inactive);
    let token = bench.token().await;
    bench.sim.advance(Duration::from_secs(7201));
    let answer = bench.introspect(&token).await;
    assert_eq!((answer.status, answer.json()), (200, inactive));
}

#[tokio::test]
async fn documented_another_apps_token_is_inactive_unless_it_may_introspect_all() {
    let bench = Bench::new();
    let token = bench.token().await;
    let other = App {
        consumer_secret: Secret::new("hush"),
        ..App::default()
    };
    bench.sim.add_app(other.clone());
    let ask = async || {
        let url = format!("{}/services/oauth2/introspect", bench.sim.url());
        let request = bench
            .client
            .post(url)
            .basic_auth(&other.consumer_key, Some("hush"));
        let response = request
            .form(&[("token", &token)])
            .send()
            .await
            .expect("an answer");
        Answered::of(response).await.json()["active"].clone()
    };
    assert_eq!(ask().await, false);
    bench
        .sim
        .with_app(&other.consumer_key, |app| app.introspect_all = true);
    assert_eq!(ask().await, true);
}

#[tokio::test]
async fn documented_a_wrong_consumer_secret_is_an_invalid_client() {
    let bench = Bench::new();
    let token = bench.token().await;
    bench.sim.with_app(&bench.sim.app(0).consumer_key, |app| {
        app.consumer_secret = Secret::new("new");
    });
    assert_eq!(bench.introspect(&token).await.json()["active"], true);
    bench
        .sim
        .knobs(|knobs| knobs.introspection = IntrospectionMode::WrongSecret);
    let answer = bench.introspect(&token).await;
    assert_eq!(
        (answer.status, answer.member("error").as_str()),
        (401, "invalid_client")
    );
    bench
        .sim
        .knobs(|knobs| knobs.introspection = IntrospectionMode::On);
    let url = format!("{}/services/oauth2/introspect", bench.sim.url());
    let request = bench
        .client
        .post(&url)
        .basic_auth(bench.sim.app(0).consumer_key, Some("old"));
    let answer = request
        .form(&[("token", &token)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 401);
}

#[tokio::test]
async fn observed_a_working_token_may_be_called_inactive() {
    let bench = Bench::new();
    bench
        .sim
        .knobs(|knobs| knobs.introspection = IntrospectionMode::AlwaysInactive);
    let token = bench.token().await;
    assert_eq!(bench.introspect(&token).await.json(), json!({ "active": false }));
    assert_eq!(bench.limits(&token).await, 200);
}

#[tokio::test]
async fn inferred_introspection_can_be_off() {
    let bench = Bench::new();
    bench
        .sim
        .knobs(|knobs| knobs.introspection = IntrospectionMode::Off);
    let token = bench.token().await;
    assert_eq!(bench.introspect(&token).await.status, 403);
}

#[tokio::test]
async fn inferred_introspection_is_no_activity() {
    let bench = Bench::new();
    let token = bench.token().await;
    let end = bench.sim.session_expiry(&token);
    bench.sim.advance(Duration::from_secs(5000));
    bench.introspect(&token).await;
    assert_eq!(bench.sim.session_expiry(&token), end);
}

#[tokio::test]
async fn documented_a_revoked_token_is_dead_and_cannot_be_revoked_again() {
    let bench = Bench::new();
    let token = bench.token().await;
    assert_eq!(revoke(&bench, &token).await.status, 200);
    assert_eq!(bench.limits(&token).await, 401);
    let again = revoke(&bench, &token).await;
    assert_eq!(
        (again.status, again.member("error").as_str()),
        (400, "invalid_token")
    );
    assert_eq!(bench.sim.counters().revocations, 2);
}

#[tokio::test]
async fn documented_revocation_may_say_that_it_does_not_support_the_type() {
    let bench = Bench::new();
    bench
        .sim
        .knobs(|knobs| knobs.revocation = RevocationMode::UnsupportedTokenType);
    let token = bench.token().await;
    let answer = revoke(&bench, &token).await;
    assert_eq!(
        (answer.status, answer.member("error").as_str()),
        (400, "unsupported_token_type")
    );
    assert_eq!(bench.limits(&token).await, 200);
}

#[tokio::test]
async fn inferred_revoking_logs_out_everyone_who_shares_user_and_app() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.regrant = Regrant::SameFixed);
    let (mine, yours) = (bench.token().await, bench.token().await);
    assert_eq!(revoke(&bench, &mine).await.status, 200);
    assert_eq!(bench.limits(&yours).await, 401);
}
