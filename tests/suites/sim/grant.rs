//! The grant and its answer.

use serde_json::{Value, json};
use sfkey_tests::sim::{AppKey, Config, Outcome, TokenFormat, sign_assertion};

use crate::bench::{Bench, GRANT_TYPE, key};

#[tokio::test]
async fn documented_a_good_assertion_is_granted_a_bearer_token() {
    let bench = Bench::new();
    let answer = bench.ask().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.member("token_type"), "Bearer");
    assert_eq!(answer.member("instance_url"), bench.sim.url());
    assert_eq!(answer.member("scope"), "api web");
    let (org, user) = (bench.sim.org(0).id, bench.sim.user(0).id);
    assert_eq!(
        answer.member("id"),
        format!("{}/id/{org}/{user}", bench.sim.url())
    );
    assert!(answer.header("content-type").starts_with("application/json"));
}

#[tokio::test]
async fn documented_no_refresh_token_and_no_expiry_are_given() {
    let answer = Bench::new().ask().await.json();
    let names: Vec<&String> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(
        names,
        ["access_token", "id", "instance_url", "scope", "token_type"]
    );
}

#[tokio::test]
async fn documented_an_opaque_token_begins_with_the_short_org_id_and_an_exclamation_mark() {
    let bench = Bench::new();
    let token = bench.token().await;
    assert_eq!(token.len(), 112);
    assert_eq!(
        token.split_once('!').map(|(org, _)| org.to_owned()),
        bench.sim.org(0).id.get(..15).map(str::to_owned)
    );
}

#[tokio::test]
async fn documented_an_answer_may_carry_more_members_than_needed() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| {
        knobs.extra_members = true;
        knobs.expires_in = Some(7200);
    });
    let answer = bench.ask().await;
    assert_eq!(answer.json()["expires_in"], 7200);
    assert_eq!(answer.member("token_format"), "opaque");
    assert_eq!(answer.member("api_instance_url"), bench.sim.url());
    let issued_at: i64 = answer
        .member("issued_at")
        .parse()
        .expect("issued_at is milliseconds in a string");
    assert!(
        (bench.sim.now() - 60..=bench.sim.now()).contains(&(issued_at / 1000)),
        "{issued_at}"
    );
    assert_eq!(answer.member("signature").len(), 44);
}

#[tokio::test]
async fn any_member_of_the_answer_can_be_replaced_or_removed() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| {
        knobs
            .answer_overrides
            .insert("instance_url".to_owned(), json!("https://evil.example"));
        knobs.answer_overrides.insert("scope".to_owned(), Value::Null);
    });
    let answer = bench.ask().await;
    assert_eq!(answer.member("instance_url"), "https://evil.example");
    assert_eq!(answer.json().get("scope"), None);
}

#[tokio::test]
async fn documented_jwt_format_tokens_carry_exp_and_die_by_it() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| {
        knobs.token_format = TokenFormat::Jwt;
        knobs.jwt_lifetime = 600;
    });
    let token = bench.token().await;
    assert_eq!(token.split('.').count(), 3);
    let introspected = bench.introspect(&token).await.json();
    assert_eq!(introspected["exp"].as_i64(), bench.sim.session_expiry(&token));
    bench.sim.advance(std::time::Duration::from_secs(570));
    assert_eq!(bench.limits(&token).await, 200);
    bench.sim.advance(std::time::Duration::from_secs(30));
    assert_eq!(bench.limits(&token).await, 401);
}

#[tokio::test]
async fn documented_soap_answers_500_to_a_jwt_format_token() {
    let bench = Bench::new();
    let soap = async |token: &str| {
        let body = format!("<Envelope><sessionId>{token}</sessionId><Body><getUserInfo/></Body></Envelope>");
        let url = format!("{}/services/Soap/u/60.0", bench.sim.url());
        bench
            .client
            .post(url)
            .body(body)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(soap(&bench.token().await).await, 200);
    bench.sim.knobs(|knobs| knobs.token_format = TokenFormat::Jwt);
    assert_eq!(soap(&bench.token().await).await, 500);
}

#[tokio::test]
async fn documented_exp_is_taken_as_a_number_or_a_string() {
    let bench = Bench::new();
    let exp = bench.sim.now() + 100;
    assert_eq!(
        bench.ask_but(&json!({ "exp": exp.to_string() })).await.status,
        200
    );
    assert_eq!(bench.ask_but(&json!({ "exp": exp })).await.status, 200);
}

#[tokio::test]
async fn observed_no_upper_bound_of_exp_is_enforced_so_that_the_milliseconds_of_sf_pass() {
    let bench = Bench::new();
    assert_eq!(
        bench
            .ask_but(&json!({ "exp": bench.sim.now() * 1000 }))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn observed_a_4096_bit_key_works() {
    let large = AppKey::generate_4096();
    let bench = Bench::with(Config::with_key(&large));
    let assertion = sign_assertion(
        &large,
        &json!({ "alg": "RS256" }),
        &bench.claims(&bench.sim.url()),
    );
    let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.as_str())];
    assert_eq!(bench.post(&bench.sim.url(), &form).await.status, 200);
}

#[tokio::test]
async fn a_test_can_see_what_was_asked_and_what_came_of_it() {
    let bench = Bench::new();
    let token = bench.token().await;
    bench.ask_but(&json!({ "sub": "nobody@example.com" })).await;
    let exchanges = bench.sim.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_eq!(exchanges[0].outcome, Outcome::Granted);
    assert_eq!(exchanges[0].access_token.as_deref(), Some(token.as_str()));
    assert_eq!(exchanges[0].header["alg"], "RS256");
    assert_eq!(exchanges[0].claim("aud"), bench.sim.url());
    assert_eq!(
        exchanges[0].request.parameter("grant_type").as_deref(),
        Some(GRANT_TYPE)
    );
    assert_eq!(exchanges[1].claim("sub"), "nobody@example.com");
    assert!(matches!(&exchanges[1].outcome, Outcome::Refused(error, _) if error == "invalid_grant"));
    let counters = bench.sim.wait_for_exchanges(2).await.expect("two exchanges");
    assert_eq!((counters.asked, counters.granted, counters.refused), (2, 1, 1));
    assert_eq!(counters.of(&bench.sim.user(0).username).granted, 1);
}

#[tokio::test]
async fn what_was_asked_shows_no_assertion_and_no_token_in_debug() {
    let bench = Bench::new();
    let token = bench.token().await;
    let exchange = bench.sim.last_exchange().expect("an exchange");
    let shown = format!("{exchange:?} {key:?}", key = key());
    assert!(!shown.contains(exchange.assertion.as_deref().expect("an assertion")));
    assert!(!shown.contains(&token));
    assert!(!shown.contains("PRIVATE"));
}
