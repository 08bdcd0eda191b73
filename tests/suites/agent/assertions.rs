//! What is sent to Salesforce, by what arrives there. The simulator checked each signature before it granted.

use std::collections::BTreeSet;

use serde_json::Value;
use sfkey_tests::{
    sim::{Exchange, Outcome},
    support::{Stage, stage::ACCOUNT, stopwatch::unix_now},
};

/// Longest life of an assertion, in seconds.
const LIFE: i64 = 180;

async fn granted(stage: &Stage, account: &str) -> Exchange {
    stage.calls().await.token(account).await.expect("a token");
    let exchange = stage.sim.last_exchange().expect("an exchange");
    assert_eq!(exchange.outcome, Outcome::Granted);
    exchange
}

#[tokio::test]
async fn an_assertion_has_the_claims_of_the_flow_and_no_others() {
    let stage = Stage::new().await;
    let before = unix_now();
    let exchange = granted(&stage, ACCOUNT).await;
    let after = unix_now();
    assert_eq!(exchange.header["alg"], "RS256");
    let header = exchange.header.as_object().expect("an object");
    assert!(
        header.keys().all(|name| name == "alg" || name == "typ"),
        "{header:?}"
    );
    let claims = exchange.claims.as_object().expect("an object");
    let names: BTreeSet<&str> = claims.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["aud", "exp", "iss", "jti", "sub"]));
    assert_eq!(exchange.claim("iss"), stage.sim.app(0).consumer_key);
    assert_eq!(exchange.claim("sub"), stage.sim.user(0).username);
    assert_eq!(exchange.claim("aud"), stage.sim.url());
    let expiry = exchange.claims["exp"].as_i64().expect("whole seconds");
    assert!(
        (before..=after + LIFE).contains(&expiry),
        "{before} {expiry} {after}"
    );
    assert!(expiry > after + LIFE / 2, "there is time for the exchange");
}

#[tokio::test]
async fn every_assertion_has_an_identifier_of_its_own() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut identifiers = BTreeSet::new();
    for number in 0..20 {
        let name = format!("account-{number}");
        calls.add(&stage.spec_of_new_user(&name)).await.expect("added");
        identifiers.insert(granted(&stage, &name).await.claim("jti").to_owned());
    }
    assert_eq!(identifiers.len(), 20);
    assert!(
        identifiers.iter().all(|identifier| identifier.len() >= 16),
        "{identifiers:?}"
    );
}

#[tokio::test]
async fn the_request_has_the_form_of_the_flow_and_nothing_besides() {
    let stage = Stage::new().await;
    let exchange = granted(&stage, ACCOUNT).await;
    let request = &exchange.request;
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/services/oauth2/token")
    );
    assert_eq!(request.query, "", "an assertion does not belong into a URL");
    let form = request.form();
    let parameters: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let assertion = exchange.assertion.as_deref().expect("an assertion");
    assert_eq!(
        parameters,
        [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion)
        ]
    );
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    for header in ["authorization", "cookie", "referer"] {
        assert_eq!(request.header(header), None, "{header}");
    }
}

#[tokio::test]
async fn the_audience_is_the_login_url_without_a_slash_or_what_was_asked_for() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let cases = [
        (format!("{}/", stage.sim.url()), String::new(), stage.sim.url()),
        (stage.sim.login_url(), String::new(), stage.sim.login_url()),
        (stage.sim.url(), stage.sim.login_url(), stage.sim.login_url()),
        (
            stage.sim.url(),
            "https://login.salesforce.com".to_owned(),
            "https://login.salesforce.com".to_owned(),
        ),
        (
            stage.sim.url(),
            "https://login.salesforce.com/".to_owned(),
            "https://login.salesforce.com".to_owned(),
        ),
    ];
    for (number, (login_url, audience, expected)) in cases.into_iter().enumerate() {
        let name = format!("account-{number}");
        let mut spec = stage.spec_of_new_user(&name);
        (spec.login_url, spec.audience) = (login_url, audience);
        let added = calls.add(&spec).await.expect("added");
        assert_eq!(added.account.expect("an account").audience, expected);
        assert_eq!(granted(&stage, &name).await.claims["aud"], Value::from(expected));
    }
}

#[tokio::test]
async fn a_site_of_a_community_is_asked_at_its_own_path() {
    let stage = sfkey_tests::support::StageSetup::default()
        .config(|config| config.orgs[0].sites = vec!["/customers".to_owned()])
        .empty();
    let mut spec = stage.spec("site");
    spec.login_url = format!("{}/customers", stage.sim.url());
    stage.calls().await.add(&spec).await.expect("added");
    let exchange = granted(&stage, "site").await;
    assert_eq!(exchange.request.path, "/customers/services/oauth2/token");
    assert_eq!(exchange.claim("aud"), spec.login_url);
}
