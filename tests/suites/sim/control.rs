//! The control interface.

use serde_json::{Value, json};
use sfkey_tests::sim::Config;

use crate::bench::{Answered, Bench, key, other_key};

fn bench() -> Bench {
    Bench::with(Config {
        control: Some(([127, 0, 0, 1], 0).into()),
        ..Config::with_key(key())
    })
}

async fn control(bench: &Bench, method: &str, path: &str, body: Value) -> Answered {
    let method = method.parse().expect("a method");
    let url = format!("{}{path}", bench.sim.control_url().expect("a control interface"));
    let request = bench.client.request(method, url);
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    Answered::of(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn knobs_can_be_read_and_turned() {
    let bench = bench();
    let answer = control(&bench, "PATCH", "/knobs", json!({ "session_timeout": 900 })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(bench.sim.knobs(|knobs| knobs.session_timeout), 900);
    assert_eq!(
        control(&bench, "GET", "/knobs", Value::Null).await.json()["session_timeout"],
        900
    );
}

#[tokio::test]
async fn an_unknown_knob_is_an_error_and_turns_nothing() {
    let bench = bench();
    let before = bench.sim.knobs(|knobs| knobs.clone());
    let answer = control(
        &bench,
        "PATCH",
        "/knobs",
        json!({ "session_timeout": 1, "tmeout": 1 }),
    )
    .await;
    assert_eq!(answer.status, 400);
    assert!(answer.member("error").contains("tmeout"));
    assert_eq!(bench.sim.knobs(|knobs| knobs.clone()), before);
}

#[tokio::test]
async fn faults_are_added_and_cleared() {
    let bench = bench();
    control(&bench, "POST", "/faults", json!({ "kind": "bad-gateway" })).await;
    assert_eq!(bench.ask().await.status, 502);
    assert_eq!(
        control(&bench, "GET", "/faults", Value::Null).await.json()[0]["kind"],
        "bad-gateway"
    );
    control(&bench, "DELETE", "/faults", Value::Null).await;
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn stalled_requests_are_released() {
    let bench = bench();
    control(&bench, "POST", "/faults", json!({ "kind": "stall", "times": 1 })).await;
    let releasing = async {
        bench.sim.wait_for_stalled(1).await.expect("it stalls");
        control(&bench, "POST", "/release", Value::Null).await;
    };
    let (answer, ()) = tokio::join!(bench.ask(), releasing);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn time_is_moved_and_sessions_are_ended() {
    let bench = bench();
    let token = bench.token().await;
    control(&bench, "POST", "/clock", json!({ "advance": 7000 })).await;
    assert_eq!(
        control(&bench, "GET", "/", Value::Null).await.json()["sessions"],
        1
    );
    control(&bench, "DELETE", "/sessions", Value::Null).await;
    assert_eq!(bench.limits(&token).await, 401);
    control(&bench, "POST", "/clock", json!({ "offset": 0 })).await;
    assert_eq!(
        control(&bench, "GET", "/", Value::Null).await.json()["clock_offset"],
        0
    );
    assert_eq!(control(&bench, "POST", "/clock", json!({})).await.status, 400);
}

#[tokio::test]
async fn apps_users_and_orgs_are_changed_by_name() {
    let bench = bench();
    let consumer_key = bench.sim.app(0).consumer_key;
    let new = json!({ "certificate": other_key().certificate_pem });
    let path = format!("/apps/{consumer_key}");
    assert_eq!(control(&bench, "PATCH", &path, new).await.status, 200);
    assert_eq!(bench.ask().await.member("error_description"), "invalid assertion");
    let bad = control(&bench, "PATCH", &path, json!({ "certificate": "junk" })).await;
    assert_eq!(bad.status, 400, "{}", bad.text);
    control(
        &bench,
        "PATCH",
        &path,
        json!({ "certificate": key().certificate_pem }),
    )
    .await;
    control(
        &bench,
        "PATCH",
        "/users/integration%40acme.example",
        json!({ "frozen": true }),
    )
    .await;
    assert_eq!(bench.ask().await.member("error_description"), "inactive user");
    control(
        &bench,
        "PATCH",
        "/users/integration@acme.example",
        json!({ "frozen": false }),
    )
    .await;
    control(&bench, "PATCH", "/orgs/main", json!({ "status": "locked" })).await;
    assert_eq!(bench.ask().await.member("error"), "inactive_org");
    assert_eq!(
        control(&bench, "PATCH", "/orgs/other", json!({})).await.status,
        404
    );
}

#[tokio::test]
async fn apps_and_users_are_added() {
    let bench = bench();
    let app = json!({ "consumer_key": "3MVG9new", "certificate": key().certificate_pem });
    assert_eq!(control(&bench, "POST", "/apps", app).await.status, 200);
    assert_eq!(
        control(
            &bench,
            "POST",
            "/users",
            json!({ "username": "new+1@example.com" })
        )
        .await
        .status,
        200
    );
    let changes = json!({ "iss": "3MVG9new", "sub": "new+1@example.com" });
    assert_eq!(bench.ask_but(&changes).await.status, 200);
    control(
        &bench,
        "PATCH",
        "/users/new+1@example.com",
        json!({ "active": false }),
    )
    .await;
    assert_eq!(bench.ask_but(&changes).await.status, 400);
}

#[tokio::test]
async fn what_it_shows_holds_no_secret() {
    let bench = bench();
    let token = bench.token().await;
    let assertion = bench
        .sim
        .last_exchange()
        .and_then(|exchange| exchange.assertion)
        .expect("an assertion");
    let secret = bench.sim.app(0).consumer_secret;
    for path in [
        "/",
        "/counters",
        "/exchanges",
        "/knobs",
        "/faults",
        "/apps",
        "/users",
        "/orgs",
    ] {
        let answer = control(&bench, "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        for hidden in [&token, &assertion, secret.expose()] {
            assert!(!answer.text.contains(hidden), "{path}");
        }
    }
    let exchanges = control(&bench, "GET", "/exchanges", Value::Null).await.json();
    assert_eq!(exchanges[0]["claims"]["sub"], bench.sim.user(0).username);
    assert_eq!(exchanges[0]["outcome"], "granted");
}

#[tokio::test]
async fn a_browser_and_a_rebound_name_are_turned_away() {
    let bench = bench();
    let url = bench.sim.control_url().expect("a control interface");
    for (header, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let answer = bench
            .client
            .delete(format!("{url}/sessions"))
            .header(header, value)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status().as_u16(), 403, "{header}");
    }
}
