//! Several orgs, login hosts and My Domains.

use sfkey_tests::sim::{App, AudienceMode, Config, Org, User};

use crate::bench::{Bench, key};

/// A production org on localhost and a sandbox on 127.0.0.3, each with an app and a user of its own.
fn two_orgs() -> Config {
    let named = |name: &str, host: &str, sandbox| Org {
        name: name.to_owned(),
        hosts: vec![host.to_owned()],
        sandbox,
        ..Org::default()
    };
    let certificate = Some(key().certificate_pem.clone());
    let app = |org: &str| App {
        orgs: vec![org.to_owned()],
        certificate: certificate.clone(),
        ..App::default()
    };
    let user = |org: &str| User {
        org: Some(org.to_owned()),
        username: format!("me@{org}.example"),
        ..User::default()
    };
    Config {
        orgs: vec![named("prod", "localhost", false), named("uat", "127.0.0.3", true)],
        apps: vec![app("prod"), app("uat")],
        users: vec![user("prod"), user("uat")],
        ..Config::default()
    }
}

#[tokio::test]
async fn documented_an_app_is_known_on_its_own_orgs_host_only() {
    let bench = Bench::with(two_orgs());
    let (prod, uat) = (bench.sim.url(), bench.sim.url_for("127.0.0.3"));
    assert_eq!(bench.ask_at(&prod, &bench.claims(&prod)).await.status, 200);
    let answer = bench.ask_at(&uat, &bench.claims(&uat)).await;
    assert_eq!(answer.member("error"), "invalid_client_id");
}

#[tokio::test]
async fn inferred_a_user_of_another_org_is_unknown() {
    let bench = Bench::with(two_orgs());
    let answer = bench
        .ask_but(&serde_json::json!({ "sub": "me@uat.example" }))
        .await;
    assert_eq!(
        answer.member("error_description"),
        "user hasn't approved this consumer"
    );
}

#[tokio::test]
async fn documented_the_login_host_serves_production_orgs_and_names_their_my_domain() {
    let bench = Bench::with(two_orgs());
    let login = bench.sim.login_url();
    let answer = bench
        .ask_at(&login, &bench.claims("https://login.salesforce.com"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.member("instance_url"), bench.sim.url());
    assert_ne!(login, bench.sim.url());
}

#[tokio::test]
async fn documented_the_test_host_serves_sandboxes_only() {
    let bench = Bench::with(two_orgs());
    let test = bench.sim.test_url();
    let mut claims = bench.claims("https://test.salesforce.com");
    assert_eq!(
        bench.ask_at(&test, &claims).await.member("error"),
        "invalid_client_id"
    );
    claims["iss"] = bench.sim.app(1).consumer_key.into();
    claims["sub"] = "me@uat.example".into();
    let answer = bench.ask_at(&test, &claims).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.member("instance_url"), bench.sim.url_for("127.0.0.3"));
}

#[tokio::test]
async fn documented_a_token_is_good_on_its_own_org_only() {
    let bench = Bench::with(two_orgs());
    let token = bench.token().await;
    let limits = async |base: String| {
        let url = format!("{base}/services/data/v60.0/limits");
        bench
            .client
            .get(url)
            .bearer_auth(&token)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(limits(bench.sim.url()).await, 200);
    assert_eq!(limits(bench.sim.url_for("127.0.0.3")).await, 401);
}

#[tokio::test]
async fn salesforces_own_names_work_for_those_who_resolve_them_here() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.audience = AudienceMode::Classic);
    let base = bench.sim.url_for("login.salesforce.com");
    let answer = bench
        .ask_at(&base, &bench.claims("https://login.salesforce.com"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a_configured_host_name_stands_in_the_certificate_and_others_do_not() {
    let org = Org {
        hosts: vec!["acme.my.salesforce.com".to_owned()],
        ..Org::default()
    };
    let bench = Bench::with(Config {
        orgs: vec![org],
        ..Config::with_key(key())
    });
    assert_eq!(bench.token().await.len(), 112);
    assert!(bench.sim.url().starts_with("https://acme.my.salesforce.com:"));
    let elsewhere = bench.sim.url_for("nowhere.example");
    assert!(bench.client.get(elsewhere).send().await.is_err());
}
