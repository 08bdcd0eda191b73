//! Every refusal of the token endpoint, brought about by what really causes it.

use serde_json::{Value, json};
use sfkey_tests::sim::{
    App, AppKind, Fault, FaultRule, IpPolicy, OrgStatus, PermittedUsers, Refusal, User, sign_assertion,
};

use crate::bench::{Answered, Bench, GRANT_TYPE, key, other_key};

fn is(answer: &Answered, error: &str, description: &str) {
    assert_eq!(
        answer.refusal(),
        (400, error.to_owned(), description.to_owned()),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

fn app(bench: &Bench, change: impl FnOnce(&mut App)) {
    bench.sim.with_app(&bench.sim.app(0).consumer_key, change);
}

fn user(bench: &Bench, change: impl FnOnce(&mut User)) {
    bench.sim.with_user(&bench.sim.user(0).username, change);
}

#[tokio::test]
async fn documented_another_grant_type_is_not_supported() {
    let bench = Bench::new();
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    for form in [
        vec![("grant_type", "password"), ("assertion", &assertion)],
        vec![("assertion", &assertion)],
    ] {
        let answer = bench.post(&bench.sim.url(), &form).await;
        is(&answer, "unsupported_grant_type", "grant type not supported");
    }
}

#[tokio::test]
async fn documented_an_app_without_the_flow_supports_no_such_grant_type() {
    let bench = Bench::new();
    app(&bench, |app| app.jwt_bearer = false);
    is(
        &bench.ask().await,
        "unsupported_grant_type",
        "grant type not supported",
    );
}

#[tokio::test]
async fn documented_a_scope_parameter_is_refused() {
    let bench = Bench::new();
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    let form = [
        ("grant_type", GRANT_TYPE),
        ("assertion", assertion.as_str()),
        ("scope", "api"),
    ];
    assert_eq!(
        bench.post(&bench.sim.url(), &form).await.member("error"),
        "invalid_request"
    );
    bench.sim.knobs(|knobs| knobs.strict_parameters = false);
    assert_eq!(
        bench.post(&bench.sim.url(), &form).await.member("error"),
        "invalid_request"
    );
}

#[tokio::test]
async fn inferred_any_other_parameter_is_refused_unless_a_knob_allows_it() {
    let bench = Bench::new();
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    let form = [
        ("grant_type", GRANT_TYPE),
        ("assertion", assertion.as_str()),
        ("client_id", "x"),
    ];
    assert_eq!(
        bench.post(&bench.sim.url(), &form).await.member("error"),
        "invalid_request"
    );
    bench.sim.knobs(|knobs| knobs.strict_parameters = false);
    assert_eq!(bench.post(&bench.sim.url(), &form).await.status, 200);
}

#[tokio::test]
async fn inferred_an_assertion_in_the_query_string_is_not_looked_at() {
    let bench = Bench::new();
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    let url = format!(
        "{}/services/oauth2/token?grant_type={GRANT_TYPE}&assertion={assertion}",
        bench.sim.url()
    );
    let answer = Answered::of(bench.client.post(&url).send().await.expect("an answer")).await;
    is(&answer, "unsupported_grant_type", "grant type not supported");
    let answer = Answered::of(bench.client.get(&url).send().await.expect("an answer")).await;
    is(&answer, "invalid_request", "must use HTTP POST");
}

#[tokio::test]
async fn inferred_what_is_no_jws_is_an_invalid_assertion() {
    let bench = Bench::new();
    let good = bench.assertion(&bench.claims(&bench.sim.url()));
    let headless = good.split_once('.').map_or("", |(_, rest)| rest).to_owned();
    for bad in ["", "a.b.c", "x", headless.as_str(), "e30.e30."] {
        let answer = bench
            .post(
                &bench.sim.url(),
                &[("grant_type", GRANT_TYPE), ("assertion", bad)],
            )
            .await;
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.refusal().1, "invalid_grant", "{bad}");
    }
    let answer = bench.post(&bench.sim.url(), &[("grant_type", GRANT_TYPE)]).await;
    is(&answer, "invalid_grant", "invalid assertion");
}

#[tokio::test]
async fn documented_only_rs256_is_taken() {
    let bench = Bench::new();
    for alg in ["HS256", "none", "RS512", "ES256"] {
        let assertion = sign_assertion(key(), &json!({ "alg": alg }), &bench.claims(&bench.sim.url()));
        let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.as_str())];
        is(
            &bench.post(&bench.sim.url(), &form).await,
            "invalid_grant",
            "invalid assertion",
        );
    }
}

#[tokio::test]
async fn documented_an_unknown_consumer_key_is_an_invalid_client_identifier() {
    let bench = Bench::new();
    let wrong = bench.ask_but(&json!({ "iss": "3MVG9nobody" })).await;
    is(&wrong, "invalid_client_id", "client identifier invalid");
    let missing = bench.ask_but(&json!({ "iss": null })).await;
    is(&missing, "invalid_client_id", "client identifier invalid");
}

#[tokio::test]
async fn documented_a_signature_of_another_key_is_an_invalid_assertion() {
    let bench = Bench::new();
    let assertion = sign_assertion(
        other_key(),
        &json!({ "alg": "RS256" }),
        &bench.claims(&bench.sim.url()),
    );
    let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.as_str())];
    is(
        &bench.post(&bench.sim.url(), &form).await,
        "invalid_grant",
        "invalid assertion",
    );
}

#[tokio::test]
async fn observed_some_orgs_call_the_same_mismatch_invalid_client_credentials() {
    let bench = Bench::new();
    bench
        .sim
        .knobs(|knobs| knobs.signature_answer = Refusal::InvalidClientCredentials);
    app(&bench, |app| {
        app.certificate = Some(other_key().certificate_pem.clone());
    });
    is(&bench.ask().await, "invalid_client", "invalid client credentials");
}

#[tokio::test]
async fn documented_a_certificate_that_a_deploy_cleared_makes_every_assertion_invalid() {
    let bench = Bench::new();
    assert_eq!(bench.ask().await.status, 200);
    app(&bench, |app| app.certificate = None);
    is(&bench.ask().await, "invalid_grant", "invalid assertion");
}

#[tokio::test]
async fn inferred_replacing_the_certificate_is_a_cut_over() {
    let bench = Bench::new();
    app(&bench, |app| {
        app.certificate = Some(other_key().certificate_pem.clone());
    });
    is(&bench.ask().await, "invalid_grant", "invalid assertion");
    let new = sign_assertion(
        other_key(),
        &json!({ "alg": "RS256" }),
        &bench.claims(&bench.sim.url()),
    );
    let answer = bench
        .post(
            &bench.sim.url(),
            &[("grant_type", GRANT_TYPE), ("assertion", &new)],
        )
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn documented_exp_may_be_past_by_three_minutes_and_no_more() {
    let bench = Bench::new();
    bench.sim.set_clock_offset(0);
    let past = |seconds: i64| json!({ "exp": bench.sim.now() - seconds });
    assert_eq!(bench.ask_but(&past(120)).await.status, 200);
    is(
        &bench.ask_but(&past(182)).await,
        "invalid_grant",
        "expired authorization code",
    );
}

#[tokio::test]
async fn documented_a_slow_local_clock_shows_in_the_date_header() {
    let bench = Bench::new();
    let exp = bench.sim.now() + 180;
    bench.sim.set_clock_offset(600);
    let answer = bench.ask_but(&json!({ "exp": exp })).await;
    is(&answer, "invalid_grant", "expired authorization code");
    let date = httpdate::parse_http_date(answer.header("date")).expect("a date");
    let date = date
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let now = u64::try_from(bench.sim.now()).expect("after 1970");
    assert!(now - date <= 60, "{date} is not {now}");
}

#[tokio::test]
async fn inferred_an_assertion_without_exp_is_invalid() {
    let bench = Bench::new();
    for exp in [Value::Null, json!("soon"), json!([1]), json!("inf")] {
        is(
            &bench.ask_but(&json!({ "exp": exp })).await,
            "invalid_grant",
            "invalid assertion",
        );
    }
}

#[tokio::test]
async fn documented_a_repeated_jti_is_refused_as_a_replay() {
    let bench = Bench::new();
    assert_eq!(bench.ask_but(&json!({ "jti": "once" })).await.status, 200);
    is(
        &bench.ask_but(&json!({ "jti": "once" })).await,
        "invalid_grant",
        "invalid assertion",
    );
    assert_eq!(bench.ask_but(&json!({ "jti": "twice" })).await.status, 200);
}

#[tokio::test]
async fn documented_without_jti_the_same_assertion_serves_again() {
    let bench = Bench::new();
    let claims = bench.claims(&bench.sim.url());
    assert_eq!(bench.ask_at(&bench.sim.url(), &claims).await.status, 200);
    assert_eq!(bench.ask_at(&bench.sim.url(), &claims).await.status, 200);
}

#[tokio::test]
async fn documented_an_unknown_user_is_one_who_approved_nothing() {
    let bench = Bench::new();
    let answer = bench.ask_but(&json!({ "sub": "nobody@example.com" })).await;
    is(&answer, "invalid_grant", "user hasn't approved this consumer");
}

#[tokio::test]
async fn documented_sub_is_required_and_prn_is_not_taken_for_it() {
    let bench = Bench::new();
    let answer = bench
        .ask_but(&json!({ "sub": null, "prn": bench.sim.user(0).username }))
        .await;
    is(&answer, "invalid_grant", "invalid assertion");
}

#[tokio::test]
async fn documented_a_self_authorized_app_wants_the_users_approval() {
    let bench = Bench::new();
    app(&bench, |app| app.permitted_users = PermittedUsers::SelfAuthorize);
    is(
        &bench.ask().await,
        "invalid_grant",
        "user hasn't approved this consumer",
    );
    let key = bench.sim.app(0).consumer_key;
    user(&bench, |user| user.approved_apps.push(key));
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn documented_a_user_without_the_apps_profile_or_permission_set_is_not_admin_approved() {
    let bench = Bench::new();
    user(&bench, |user| user.profile = "Standard User".to_owned());
    is(
        &bench.ask().await,
        "invalid_app_access",
        "user is not admin approved to access this app",
    );
    app(&bench, |app| app.permission_sets.push("Integration".to_owned()));
    user(&bench, |user| user.permission_sets.push("Integration".to_owned()));
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn observed_the_refresh_token_scope_is_needed_though_none_is_issued() {
    let bench = Bench::new();
    app(&bench, |app| app.scopes = vec!["api".to_owned()]);
    let text = "refresh_token scope is required and the connected app should be installed and preauthorized";
    is(&bench.ask().await, "invalid_request", text);
    app(&bench, |app| app.scopes.push("offline_access".to_owned()));
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn documented_deactivated_and_frozen_users_are_inactive() {
    let bench = Bench::new();
    user(&bench, |user| user.frozen = true);
    is(&bench.ask().await, "invalid_grant", "inactive user");
    user(&bench, |user| (user.frozen, user.active) = (false, false));
    is(&bench.ask().await, "invalid_grant", "inactive user");
}

#[tokio::test]
async fn documented_a_locked_suspended_or_closed_org_is_inactive() {
    let bench = Bench::new();
    for status in [OrgStatus::Locked, OrgStatus::Suspended, OrgStatus::Closed] {
        bench.sim.with_org("main", |org| org.status = status);
        is(
            &bench.ask().await,
            "inactive_org",
            "organization is locked, closed, or suspended",
        );
    }
}

#[tokio::test]
async fn documented_enforced_ip_ranges_refuse_callers_from_elsewhere() {
    let bench = Bench::new();
    app(&bench, |app| {
        app.ip_policy = IpPolicy::Enforce(vec!["10.0.0.0/8".to_owned()]);
    });
    is(&bench.ask().await, "invalid_grant", "ip restricted");
    bench.sim.knobs(|knobs| knobs.alternate_texts = true);
    is(
        &bench.ask().await,
        "invalid_grant",
        "IP restricted or invalid login hours",
    );
    app(&bench, |app| {
        app.ip_policy = IpPolicy::Enforce(vec!["127.0.0.0/8".to_owned(), "::1".to_owned()]);
    });
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn documented_login_hours_refuse_as_ip_ranges_do() {
    let bench = Bench::new();
    user(&bench, |user| user.outside_login_hours = true);
    is(&bench.ask().await, "invalid_grant", "ip restricted");
}

#[tokio::test]
async fn observed_a_user_without_api_enabled_fails_authentication() {
    let bench = Bench::new();
    user(&bench, |user| user.api_enabled = false);
    is(&bench.ask().await, "invalid_grant", "authentication failure");
}

#[tokio::test]
async fn documented_logins_per_user_and_hour_are_limited() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.logins_per_hour = 2);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.ask().await.status, 200);
    is(&bench.ask().await, "rate_limit_exceeded", "login rate exceeded");
    bench.sim.knobs(|knobs| knobs.alternate_texts = true);
    is(
        &bench.ask().await,
        "rate_limit_exceeded",
        "number of logins exceeded",
    );
    bench.sim.advance(std::time::Duration::from_secs(3601));
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn observed_a_blocked_app_says_so_in_capitals() {
    let bench = Bench::new();
    app(&bench, |app| app.blocked = true);
    is(
        &bench.ask().await,
        "OAUTH_APP_BLOCKED",
        "this app is blocked by admin",
    );
}

#[tokio::test]
async fn observed_an_external_client_app_is_not_found_through_a_login_host() {
    let bench = Bench::new();
    app(&bench, |app| app.kind = AppKind::ExternalClientApp);
    let login = bench.sim.login_url();
    let answer = bench.ask_at(&login, &bench.claims(&login)).await;
    is(
        &answer,
        "app_not_found",
        "External client app is not installed in this org",
    );
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn observed_a_refreshed_sandbox_loses_its_external_client_app() {
    let bench = Bench::new();
    app(&bench, |app| {
        (app.kind, app.installed) = (AppKind::ExternalClientApp, false);
    });
    is(
        &bench.ask().await,
        "app_not_found",
        "External client app is not installed in this org",
    );
}

#[tokio::test]
async fn observed_a_new_app_answers_wrongly_for_some_minutes() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.propagation_delay = 600);
    is(
        &bench.ask().await,
        "invalid_client_id",
        "client identifier invalid",
    );
    bench
        .sim
        .knobs(|knobs| knobs.propagation_answer = Refusal::UserNotApproved);
    is(
        &bench.ask().await,
        "invalid_grant",
        "user hasn't approved this consumer",
    );
    bench.sim.advance(std::time::Duration::from_secs(600));
    assert_eq!(bench.ask().await.status, 200);
}

#[tokio::test]
async fn observed_the_description_may_be_missing() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.omit_description = true);
    let answer = bench.ask_but(&json!({ "iss": "nobody" })).await;
    assert_eq!(answer.json(), json!({ "error": "invalid_client_id" }));
}

#[tokio::test]
async fn every_refusal_can_be_asked_for_by_its_name() {
    let bench = Bench::new();
    for refusal in Refusal::ALL {
        bench.sim.fault(FaultRule::next(1, Fault::Refuse { refusal }));
        is(&bench.ask().await, refusal.error(), refusal.description(false));
    }
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.sim.counters().granted, 1);
    assert_eq!(bench.sim.counters().refused, 21);
}

#[tokio::test]
async fn inferred_the_checks_come_in_their_order() {
    let bench = Bench::new();
    bench.sim.knobs(|knobs| knobs.logins_per_hour = 0);
    app(&bench, |app| {
        app.certificate = Some(other_key().certificate_pem.clone());
        app.scopes.clear();
        app.ip_policy = IpPolicy::Enforce(Vec::new());
    });
    user(&bench, |user| {
        (user.active, user.profile) = (false, String::new());
    });
    let worst = json!({ "iss": "nobody", "aud": "nowhere", "exp": 1 });
    is(
        &bench.ask_but(&worst).await,
        "invalid_client_id",
        "client identifier invalid",
    );
    let worst = json!({ "aud": "nowhere", "exp": 1 });
    is(&bench.ask_but(&worst).await, "invalid_grant", "invalid assertion");
    app(&bench, |app| {
        app.certificate = Some(key().certificate_pem.clone());
    });
    is(
        &bench.ask_but(&worst).await,
        "invalid_grant",
        "audience is invalid",
    );
    is(
        &bench.ask_but(&json!({ "exp": 1 })).await,
        "invalid_grant",
        "expired authorization code",
    );
    is(&bench.ask().await, "invalid_grant", "inactive user");
    user(&bench, |user| user.active = true);
    is(
        &bench.ask().await,
        "invalid_app_access",
        "user is not admin approved to access this app",
    );
    user(&bench, |user| user.profile = "System Administrator".to_owned());
    assert_eq!(bench.ask().await.member("error"), "invalid_request");
    app(&bench, |app| app.scopes.push("refresh_token".to_owned()));
    is(&bench.ask().await, "invalid_grant", "ip restricted");
    app(&bench, |app| app.ip_policy = IpPolicy::Relax);
    is(&bench.ask().await, "rate_limit_exceeded", "login rate exceeded");
}
