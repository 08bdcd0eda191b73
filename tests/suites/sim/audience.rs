//! Which audiences are accepted where.

use serde_json::json;
use sfkey_tests::sim::{AppKind, AudienceMode, Config, Org};

use crate::bench::{Bench, key};

const INVALID: &str = "audience is invalid";

/// Asks My Domain with this audience; true if it was granted, else it must be the audience that was refused.
async fn accepted(bench: &Bench, aud: &str) -> bool {
    let answer = bench.ask_but(&json!({ "aud": aud })).await;
    if answer.status != 200 {
        assert_eq!(
            answer.refusal(),
            (400, "invalid_grant".to_owned(), INVALID.to_owned())
        );
    }
    answer.status == 200
}

#[tokio::test]
async fn observed_my_domain_takes_the_audience_of_login_for_a_connected_app() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.audience = AudienceMode::Classic);
    assert!(accepted(&bench, "https://login.salesforce.com").await);
    assert!(accepted(&bench, &bench.sim.login_url()).await);
    assert!(!accepted(&bench, &bench.sim.url()).await);
    assert!(!accepted(&bench, "https://test.salesforce.com").await);
}

#[tokio::test]
async fn documented_a_sandbox_takes_the_audience_of_test() {
    let org = Org {
        sandbox: true,
        ..Org::default()
    };
    let bench = Bench::with(Config {
        orgs: vec![org],
        ..Config::with_key(key())
    });
    bench.sim.knobs(|knobs| knobs.audience = AudienceMode::Classic);
    assert!(accepted(&bench, "https://test.salesforce.com").await);
    assert!(!accepted(&bench, "https://login.salesforce.com").await);
}

#[tokio::test]
async fn observed_my_domain_only_refuses_the_audience_of_login() {
    let bench = Bench::new();
    bench
        .sim
        .knobs(|knobs| knobs.audience = AudienceMode::MyDomainOnly);
    assert!(accepted(&bench, &bench.sim.url()).await);
    assert!(!accepted(&bench, "https://login.salesforce.com").await);
}

#[tokio::test]
async fn inferred_an_audience_with_a_trailing_slash_is_not_the_same() {
    let bench = Bench::new();
    assert!(accepted(&bench, &bench.sim.url()).await);
    assert!(!accepted(&bench, &format!("{}/", bench.sim.url())).await);
}

#[tokio::test]
async fn inferred_a_missing_audience_is_an_invalid_one() {
    let bench = Bench::new();
    assert_eq!(
        bench
            .ask_but(&json!({ "aud": null }))
            .await
            .member("error_description"),
        INVALID
    );
}

#[tokio::test]
async fn observed_the_audience_of_an_external_client_app_is_my_domain_whatever_the_knob_says() {
    let bench = Bench::new();
    let key = bench.sim.app(0).consumer_key;
    bench
        .sim
        .with_app(&key, |app| app.kind = AppKind::ExternalClientApp);
    bench.sim.knobs(|knobs| knobs.audience = AudienceMode::Classic);
    assert!(accepted(&bench, &bench.sim.url()).await);
    assert!(!accepted(&bench, "https://login.salesforce.com").await);
}

#[tokio::test]
async fn observed_the_audience_is_checked_before_the_approval() {
    let bench = Bench::new();
    bench.sim.with_user(&bench.sim.user(0).username, |user| {
        user.profile = "Guest".to_owned();
    });
    let answer = bench
        .ask_but(&json!({ "aud": "https://elsewhere.example" }))
        .await;
    assert_eq!(answer.member("error_description"), INVALID);
    assert_eq!(bench.ask().await.member("error"), "invalid_app_access");
}

#[tokio::test]
async fn documented_a_site_takes_its_own_url_with_the_path() {
    let org = Org {
        sites: vec!["/customers".to_owned()],
        ..Org::default()
    };
    let bench = Bench::with(Config {
        orgs: vec![org],
        ..Config::with_key(key())
    });
    let site = format!("{}/customers", bench.sim.url());
    let answer = bench.ask_at(&site, &bench.claims(&site)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.member("sfdc_community_url"), site);
    let answer = bench.ask_at(&site, &bench.claims(&bench.sim.url())).await;
    assert_eq!(answer.member("error_description"), INVALID);
}

#[tokio::test]
async fn observed_the_audience_error_has_a_second_wording() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.alternate_texts = true);
    let answer = bench
        .ask_but(&json!({ "aud": "https://elsewhere.example" }))
        .await;
    assert_eq!(answer.member("error_description"), "Audience validation failed");
}
