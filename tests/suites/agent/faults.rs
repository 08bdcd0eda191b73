//! Whatever goes wrong on the way to Salesforce is told as such, and the agent goes on.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::json;
use sfkey_proto::{Reason, Refusal};
use sfkey_tests::{
    sim::{Fault, FaultRule, ServerCertificate},
    support::{Calls, Stage, StageSetup, stopwatch::in_time},
};

/// Asks for a token of an account of its own while every exchange meets this fault.
async fn failed_by(stage: &Stage, calls: &Calls, name: &str, fault: Fault) -> Refusal {
    calls.add(&stage.spec_of_new_user(name)).await.expect("added");
    stage.sim.clear_faults();
    stage.sim.fault(FaultRule::always(fault));
    let refused = in_time(calls.refused_token(name)).await;
    assert_eq!(refused.reason.exit_code(), 8, "{name}: {refused:?}");
    assert!(!refused.fix.is_empty(), "{name}: {refused:?}");
    refused
}

/// Without the fault the same agent, by process id, serves tokens.
async fn assert_recovers(stage: &Stage, calls: &Calls) {
    stage.sim.clear_faults();
    calls
        .add(&stage.spec_of_new_user("afterwards"))
        .await
        .expect("added");
    calls.token("afterwards").await.expect("a token");
    let status = calls.status().await.expect("a status");
    assert_eq!(status.pid, stage.agent.pid());
}

fn http_status(refused: &Refusal) -> u16 {
    refused.salesforce.as_ref().map_or(0, |answer| answer.http_status)
}

fn html(status: u16) -> Fault {
    Fault::Canned {
        status,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: "<html><body>Something went wrong</body></html>".to_owned(),
    }
}

#[tokio::test]
async fn a_salesforce_that_cannot_serve_now_is_told_with_its_page() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let cases = [
        ("maintenance", Fault::Maintenance, 503, "down for maintenance"),
        ("gateway", Fault::BadGateway, 502, "<"),
        ("error-500", html(500), 500, "Something went wrong"),
        ("too-many", html(429), 429, "Something went wrong"),
    ];
    for (name, fault, status, text) in cases {
        let refused = failed_by(&stage, &calls, name, fault).await;
        assert_eq!(
            (refused.reason, http_status(&refused)),
            (Reason::SalesforceUnavailable, status),
            "{name}"
        );
        let shown = refused.salesforce.expect("an answer").error_description;
        assert!(shown.contains(text), "{name}: {shown}");
    }
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn an_answer_that_salesforce_does_not_give_is_malformed() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let cases = [
        ("portal", Fault::HtmlOk, 200),
        ("empty", Fault::EmptyBody, 200),
        ("truncated", Fault::TruncatedJson, 200),
        ("cut", Fault::CutBody, 200),
        ("huge", Fault::HugeBody { bytes: 16 << 20 }, 200),
        ("not-found", html(404), 404),
        ("forbidden", html(403), 403),
    ];
    for (name, fault, status) in cases {
        let refused = failed_by(&stage, &calls, name, fault).await;
        assert_eq!(
            (refused.reason, http_status(&refused)),
            (Reason::MalformedAnswer, status),
            "{name}"
        );
    }
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn a_grant_that_is_not_called_json_is_malformed() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let refused = failed_by(&stage, &calls, "plain", Fault::WrongContentType).await;
    assert_eq!(refused.reason, Reason::MalformedAnswer);
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn headers_without_measure_do_not_harm_the_agent() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    failed_by(&stage, &calls, "headers", Fault::HugeHeaders { bytes: 4 << 20 }).await;
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn a_reset_connection_is_a_network_failure() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let refused = failed_by(&stage, &calls, "reset", Fault::Reset).await;
    assert_eq!((refused.reason, refused.salesforce), (Reason::Network, None));
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn a_host_that_nobody_serves_is_a_network_failure() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    drop(taken);
    let mut spec = stage.spec("closed");
    spec.login_url = format!("https://127.0.0.1:{port}");
    calls.add(&spec).await.expect("added");
    let refused = calls.refused_token("closed").await;
    assert_eq!((refused.reason, refused.reason.exit_code()), (Reason::Network, 8));
    assert!(
        refused.message.contains("closed") && refused.message.contains("127.0.0.1"),
        "{refused:?}"
    );
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn a_salesforce_that_stalls_is_given_up_in_time() {
    let stage = StageSetup::default()
        .arguments(["--exchange-timeout", "2"])
        .empty();
    let calls = stage.calls().await;
    let refused = failed_by(&stage, &calls, "stalled", Fault::Stall).await;
    assert_eq!(refused.reason, Reason::Network);
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_in_time() {
    let stage = StageSetup::default()
        .arguments(["--exchange-timeout", "2"])
        .empty();
    let calls = stage.calls().await;
    let drip = Fault::SlowBody {
        chunk: 1,
        interval_ms: 100,
    };
    let refused = failed_by(&stage, &calls, "drip", drip).await;
    assert_eq!(refused.reason, Reason::Network);
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn no_redirect_is_followed_with_an_assertion_in_hand() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/elsewhere", stage.sim.login_url());
        let fault = Fault::Redirect { location, status };
        let refused = failed_by(&stage, &calls, &format!("to-{status}"), fault).await;
        assert_eq!(
            (refused.reason, http_status(&refused)),
            (Reason::MalformedAnswer, status)
        );
    }
    let elsewhere = |path: &str| path.contains("elsewhere");
    assert!(
        !stage
            .sim
            .requests()
            .iter()
            .any(|request| elsewhere(&request.path))
    );
    assert_eq!(
        stage.sim.counters().requests,
        5,
        "one request for each exchange and no other"
    );
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn an_instance_url_elsewhere_is_a_malformed_answer() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let urls = [
        json!("https://evil.example"),
        json!("https://salesforce.com.evil.example"),
        json!("http://acme.my.salesforce.com"),
        json!("https://acme.my.salesforce.com@evil.example"),
        json!(""),
        json!(null),
        json!(17),
    ];
    for (index, url) in urls.into_iter().enumerate() {
        let name = format!("url-{index}");
        calls.add(&stage.spec_of_new_user(&name)).await.expect("added");
        let shown = url.to_string();
        stage
            .sim
            .knobs(|knobs| knobs.answer_overrides.insert("instance_url".to_owned(), url));
        let refused = calls.refused_token(&name).await;
        assert_eq!(
            (refused.reason, refused.reason.exit_code()),
            (Reason::MalformedAnswer, 8),
            "{shown}"
        );
    }
    stage.sim.knobs(|knobs| knobs.answer_overrides.clear());
    assert_recovers(&stage, &calls).await;
}

#[tokio::test]
async fn a_server_without_a_good_certificate_is_sent_nothing() {
    for wrong in [
        ServerCertificate::Expired,
        ServerCertificate::WrongHost,
        ServerCertificate::UnknownIssuer,
    ] {
        let stage = StageSetup::default()
            .config(|config| config.server_certificate = wrong)
            .ready()
            .await;
        let refused = stage.calls().await.refused_token("prod").await;
        assert_eq!(
            (refused.reason, refused.reason.exit_code()),
            (Reason::Network, 8),
            "{wrong:?}"
        );
        assert_eq!(stage.sim.counters().requests, 0, "{wrong:?}");
    }
}
