//! What goes wrong on the way.

use std::error::Error as _;

use serde_json::json;
use sfkey_tests::sim::{Config, Fault, FaultRule, Org, OrgStatus, Outcome};

use crate::bench::{Bench, GRANT_TYPE, key};

/// Sends a good token request and leaves the answer unread.
async fn send(bench: &Bench) -> Result<reqwest::Response, reqwest::Error> {
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.as_str())];
    bench
        .client
        .post(format!("{}/services/oauth2/token", bench.sim.url()))
        .form(&form)
        .send()
        .await
}

fn always(bench: &Bench, fault: Fault) {
    bench.sim.fault(FaultRule::always(fault));
}

#[tokio::test]
async fn documented_maintenance_is_503_with_html() {
    let bench = Bench::new();
    always(&bench, Fault::Maintenance);
    let answer = bench.ask().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(answer.text.contains("We are down for maintenance"));
    assert_eq!(
        bench.sim.last_exchange().map(|exchange| exchange.outcome),
        Some(Outcome::Faulted)
    );
    assert_eq!(bench.sim.counters().granted, 0);
}

#[tokio::test]
async fn inferred_an_org_in_maintenance_answers_nothing_else() {
    let bench = Bench::new();
    let token = bench.token().await;
    bench
        .sim
        .with_org("main", |org| org.status = OrgStatus::Maintenance);
    assert_eq!(bench.ask().await.status, 503);
    assert_eq!(bench.limits(&token).await, 503);
}

#[tokio::test]
async fn a_fault_can_be_for_the_next_requests_only() {
    let bench = Bench::new();
    bench.sim.fault(FaultRule::next(2, Fault::BadGateway));
    let statuses = [
        bench.ask().await.status,
        bench.ask().await.status,
        bench.ask().await.status,
    ];
    assert_eq!(statuses, [502, 502, 200]);
}

#[tokio::test]
async fn a_fault_can_be_on_another_path_or_host() {
    let second = Org {
        name: "second".to_owned(),
        hosts: vec!["127.0.0.3".to_owned()],
        ..Org::default()
    };
    let bench = Bench::with(Config {
        orgs: vec![Org::default(), second],
        ..Config::with_key(key())
    });
    bench
        .sim
        .fault(FaultRule::always(Fault::BadGateway).on_path("/limits"));
    bench
        .sim
        .fault(FaultRule::always(Fault::BadGateway).on_host("127.0.0.3"));
    let token = bench.token().await;
    assert_eq!(bench.limits(&token).await, 502);
    let elsewhere = bench.sim.url_for("127.0.0.3");
    assert_eq!(
        bench.ask_at(&elsewhere, &bench.claims(&elsewhere)).await.status,
        502
    );
    bench.sim.clear_faults();
    assert_eq!(bench.limits(&token).await, 200);
}

#[tokio::test]
async fn an_empty_body_and_html_come_with_200() {
    let bench = Bench::new();
    bench.sim.fault(FaultRule::next(1, Fault::EmptyBody));
    let answer = bench.ask().await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    bench.sim.fault(FaultRule::next(1, Fault::HtmlOk));
    let answer = bench.ask().await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.starts_with("<html>"));
}

#[tokio::test]
async fn truncated_json_is_the_first_half_of_a_genuine_grant() {
    let bench = Bench::new();
    always(&bench, Fault::TruncatedJson);
    let answer = bench.ask().await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.starts_with("{\"access_token\""));
    assert!(serde_json::from_str::<serde_json::Value>(&answer.text).is_err());
    assert_eq!(bench.sim.counters().granted, 1);
}

#[tokio::test]
async fn a_wrong_content_type_leaves_the_grant_as_it_is() {
    let bench = Bench::new();
    always(&bench, Fault::WrongContentType);
    let answer = bench.ask().await;
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(answer.member("access_token").len(), 112);
}

#[tokio::test]
async fn a_slow_body_arrives_in_drops() {
    let bench = Bench::new();
    always(
        &bench,
        Fault::SlowBody {
            chunk: 50,
            interval_ms: 1,
        },
    );
    let mut response = send(&bench).await.expect("headers");
    let mut drops = Vec::new();
    while let Some(drop) = response.chunk().await.expect("a drop") {
        drops.push(drop.len());
    }
    assert!(
        drops.len() > 3 && drops.iter().all(|length| *length <= 50),
        "{drops:?}"
    );
}

#[tokio::test]
async fn a_cut_body_ends_in_the_middle() {
    let bench = Bench::new();
    always(&bench, Fault::CutBody);
    let response = send(&bench).await.expect("headers");
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_stalled_exchange_waits_until_it_is_released() {
    let bench = Bench::new();
    always(&bench, Fault::Stall);
    let asking = bench.ask();
    let releasing = async {
        bench.sim.wait_for_stalled(1).await.expect("it stalls");
        let pending = bench.sim.last_exchange().expect("an exchange");
        assert_eq!(pending.outcome, Outcome::Pending);
        assert_eq!(bench.sim.counters().granted, 0);
        bench.sim.release_stalled();
    };
    let (answer, ()) = tokio::join!(asking, releasing);
    assert_eq!(answer.status, 200);
    let counters = bench
        .sim
        .wait_until(|counters| counters.stalled == 0)
        .await
        .expect("nothing is held");
    assert_eq!(counters.granted, 1);
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_no_stall_behind() {
    let bench = Bench::new();
    always(&bench, Fault::Stall);
    tokio::select! {
        _ = bench.ask() => panic!("nobody released it"),
        held = bench.sim.wait_for_stalled(1) => drop(held.expect("it stalls")),
    }
    bench
        .sim
        .wait_until(|counters| counters.stalled == 0)
        .await
        .expect("the stall ends with its client");
}

#[tokio::test]
async fn a_reset_is_a_reset_of_the_connection() {
    let bench = Bench::new();
    always(&bench, Fault::Reset);
    let error = send(&bench).await.expect_err("no answer");
    let mut cause = error.source();
    let mut texts = Vec::new();
    while let Some(inner) = cause {
        texts.push(inner.to_string());
        cause = inner.source();
    }
    assert!(texts.iter().any(|text| text.contains("reset")), "{texts:?}");
    bench.sim.clear_faults();
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn a_redirect_leads_where_it_is_told_and_nobody_who_is_careful_goes_there() {
    let bench = Bench::new();
    let location = bench.sim.url_for("127.0.0.3");
    always(
        &bench,
        Fault::Redirect {
            location: location.clone(),
            status: 307,
        },
    );
    let answer = bench.ask().await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, location.as_str())
    );
    assert_eq!(bench.sim.requests().len(), 1);
}

#[tokio::test]
async fn a_huge_body_has_the_length_it_is_told() {
    let bench = Bench::new();
    always(&bench, Fault::HugeBody { bytes: 3 << 20 });
    assert_eq!(
        send(&bench)
            .await
            .expect("headers")
            .bytes()
            .await
            .expect("a body")
            .len(),
        3 << 20
    );
}

#[tokio::test]
async fn huge_headers_are_huge() {
    let bench = Bench::new();
    always(&bench, Fault::HugeHeaders { bytes: 8 << 10 });
    assert_eq!(bench.ask().await.header("x-padding").len(), 8 << 10);
}

#[tokio::test]
async fn a_canned_answer_can_echo_the_assertion_back() {
    let bench = Bench::new();
    let body = "{\"error\":\"invalid_grant\",\"error_description\":\"bad\\u001b[31m {assertion}\"}";
    always(
        &bench,
        Fault::Canned {
            status: 418,
            headers: vec![("X-Echo".to_owned(), "{assertion}".to_owned())],
            body: body.to_owned(),
        },
    );
    let answer = bench.ask().await;
    let assertion = bench
        .sim
        .last_exchange()
        .and_then(|exchange| exchange.assertion)
        .expect("an assertion");
    assert_eq!(answer.status, 418);
    assert_eq!(
        answer.member("error_description"),
        format!("bad\u{1b}[31m {assertion}")
    );
    assert_eq!(answer.header("x-echo"), assertion);
}

#[tokio::test]
async fn faults_can_stand_in_the_configuration() {
    let text =
        "[[faults]]\nkind = 'canned'\nstatus = 429\nheaders = [['retry-after', '60']]\npath = '/limits'\n";
    let config = Config::from_toml(text, std::path::Path::new("")).expect("a configuration");
    let config = Config {
        apps: Config::with_key(key()).apps,
        users: Config::with_key(key()).users,
        ..config
    };
    let bench = Bench::with(config);
    let token = bench.token().await;
    let answer = bench.get("/services/data/v60.0/limits", &token).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "60"));
    assert_eq!(bench.ask_but(&json!({})).await.status, 200);
}
