//! Report, watch, revoke, panic and whoami, against an org that knows which sessions live.

use sfkey_proto::{
    Reason,
    v1::{ExpirySource, GetTokenRequest, PanicRequest, RevokeTokenRequest, WatchTokenRequest, WhoAmIRequest},
};
use sfkey_tests::{
    sim::{Fault, FaultRule, IntrospectionMode, Regrant},
    support::{
        Stage, TestKey, refusal,
        stage::{ACCOUNT, StageSetup},
        stopwatch::{eventually, in_time},
    },
};

/// A stage whose account has a consumer secret.
async fn introspecting() -> Stage {
    let stage = StageSetup::default().empty();
    let mut spec = stage.spec(ACCOUNT);
    spec.consumer_secret = Some(stage.sim.app(0).consumer_secret.expose().to_owned());
    stage.calls().await.add(&spec).await.expect("added");
    stage
}

#[tokio::test]
async fn introspection_tells_the_end_of_the_session() {
    let stage = introspecting().await;
    stage.sim.knobs(|knobs| knobs.session_timeout = 1800);
    let token = stage.calls().await.token(ACCOUNT).await.expect("a token");
    assert_eq!(token.expiry_source(), ExpirySource::Introspection);
    assert_eq!(
        Some(token.expires_at),
        stage.sim.session_expiry(&token.access_token)
    );
}

#[tokio::test]
async fn a_token_is_served_although_introspection_is_refused_switched_off_or_wrong() {
    for mode in [
        IntrospectionMode::WrongSecret,
        IntrospectionMode::Off,
        IntrospectionMode::AlwaysInactive,
    ] {
        let stage = introspecting().await;
        stage.sim.knobs(|knobs| knobs.introspection = mode);
        let calls = stage.calls().await;
        let token = calls.token(ACCOUNT).await.expect("a token");
        assert_eq!(token.expiry_source(), ExpirySource::Assumed, "{mode:?}");
        for _ in 0..10 {
            calls.token(ACCOUNT).await.expect("a token");
        }
        let status = calls.status().await.expect("a status");
        assert_eq!((status.introspections, status.exchanges), (1, 1), "{mode:?}");
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_from_outside_is_replaced_after_the_report() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let dead = calls.token(ACCOUNT).await.expect("a token");
    stage.sim.expire_sessions();
    let next = calls.report(ACCOUNT, &dead).await.expect("a token");
    assert_ne!(next.access_token, dead.access_token);
    assert!(stage.sim.session_expiry(&next.access_token).is_some());
    assert_eq!(
        calls.token(ACCOUNT).await.expect("a token").access_token,
        next.access_token
    );
}

#[tokio::test]
async fn a_report_of_a_living_token_is_answered_with_the_cause_and_never_loops() {
    for secret in [false, true] {
        let stage = if secret {
            introspecting().await
        } else {
            Stage::new().await
        };
        stage.sim.knobs(|knobs| knobs.regrant = Regrant::SameFixed);
        let calls = stage.calls().await;
        let token = calls.token(ACCOUNT).await.expect("a token");
        for _ in 0..100 {
            let refused = refusal(&calls.report(ACCOUNT, &token).await.expect_err("scope or policy"));
            assert_eq!(refused.reason, Reason::SalesforceRefused);
            assert!(refused.message.contains("scope or policy"), "{refused:?}");
        }
        let status = calls.status().await.expect("a status");
        assert_eq!(
            (status.rejections, status.exchanges),
            (1, if secret { 1 } else { 2 })
        );
    }
}

#[tokio::test]
async fn ten_thousand_calls_with_a_wrong_key_cost_one_login_and_each_is_told_why() {
    let stage = StageSetup::default().empty();
    let mut spec = stage.spec(ACCOUNT);
    spec.private_key = TestKey::of_nobody().pkcs1_der().to_vec();
    let calls = stage.calls().await;
    calls.add(&spec).await.expect("added");
    for _ in 0..10_000 {
        let refused = calls.refused_token(ACCOUNT).await;
        assert_eq!(refused.reason, Reason::SalesforceRefused);
        assert!(refused.salesforce.is_some_and(|answer| !answer.error.is_empty()));
    }
    assert!(stage.sim.counters().asked <= 4, "{}", stage.sim.counters().asked);
    let held_off = calls.status().await.expect("a status").hold_offs;
    assert_eq!((held_off.len(), held_off[0].account.as_str()), (1, ACCOUNT));
}

#[tokio::test]
async fn a_clock_ten_minutes_wrong_in_either_direction_still_gets_tokens() {
    for offset in [-600, 600] {
        let stage = Stage::new().await;
        let key = stage.sim.app(0).consumer_key;
        // An app from the future would be too young.
        stage.sim.with_app(&key, |app| app.created_at = Some(0));
        stage.sim.set_clock_offset(offset);
        let calls = stage.calls().await;
        let token = calls.token(ACCOUNT).await.expect("a token");
        assert_eq!(token.warnings, ["CLOCK_SKEW"], "{offset}");
        assert_eq!(
            Some(token.expires_at),
            stage
                .sim
                .session_expiry(&token.access_token)
                .map(|end| end - 7200 + 900),
            "{offset}"
        );
        let skew = calls
            .status()
            .await
            .expect("a status")
            .clock_skew_seconds
            .expect("known");
        assert!((skew + offset).abs() <= 5, "{skew}");
    }
}

#[tokio::test]
async fn whoami_asks_salesforce_and_survives_a_dead_token() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.token(ACCOUNT).await.expect("a token");
    stage.sim.expire_sessions();
    let request = WhoAmIRequest {
        account: ACCOUNT.to_owned(),
    };
    let who = calls
        .agent()
        .who_am_i(request)
        .await
        .expect("an answer")
        .into_inner();
    let (user, org) = (stage.sim.user(0), stage.sim.org(0));
    assert_eq!(
        (who.username, who.user_id, who.org_id),
        (user.username, user.id, org.id)
    );
}

#[tokio::test]
async fn a_revoked_token_is_dead_at_salesforce_and_gone_from_the_agent() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let request = || RevokeTokenRequest {
        account: ACCOUNT.to_owned(),
    };
    let none = calls.agent().revoke_token(request()).await.expect("an answer");
    assert!(!none.into_inner().revoked, "there was none");
    let token = calls.token(ACCOUNT).await.expect("a token");
    let revoked = calls.agent().revoke_token(request()).await.expect("an answer");
    assert!(revoked.into_inner().revoked);
    assert_eq!(stage.sim.session_expiry(&token.access_token), None);
    assert_ne!(
        calls.token(ACCOUNT).await.expect("a new one").access_token,
        token.access_token
    );
}

#[tokio::test]
async fn a_panic_forgets_everything_first_and_tells_what_became_of_each_token() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.add(&stage.spec_of_new_user("other")).await.expect("added");
    let tokens = [
        calls.token(ACCOUNT).await.expect("a token"),
        calls.token("other").await.expect("a token"),
    ];
    let request = WatchTokenRequest {
        account: ACCOUNT.to_owned(),
    };
    let bystander = stage.calls().await;
    let stream = bystander.tokens().watch_token(request).await;
    let mut stream = stream.expect("a stream").into_inner();
    in_time(stream.message()).await.expect("alive");
    let panicked = calls
        .agent()
        .panic(PanicRequest {})
        .await
        .expect("an answer")
        .into_inner();
    let told: Vec<_> = panicked
        .revocations
        .iter()
        .map(|told| (told.account.as_str(), told.revoked))
        .collect();
    assert_eq!(told, [("other", true), (ACCOUNT, true)]);
    for token in &tokens {
        assert_eq!(stage.sim.session_expiry(&token.access_token), None);
    }
    in_time(stream.message())
        .await
        .expect_err("other connections are closed");
    let status = calls.status().await.expect("a status");
    assert_eq!((status.account_count, status.locked), (0, false));
    // The agent is as new.
    calls.add(&stage.spec(ACCOUNT)).await.expect("added");
    calls.token(ACCOUNT).await.expect("a token");
}

#[tokio::test]
async fn a_panic_is_over_at_once_for_the_keys_and_in_ten_seconds_for_a_hung_salesforce() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.token(ACCOUNT).await.expect("a token");
    stage
        .sim
        .fault(FaultRule::always(Fault::Stall).on_path("/services/oauth2/revoke"));
    let panicking = calls.clone();
    let panic = tokio::spawn(async move { panicking.agent().panic(PanicRequest {}).await });
    let watching = calls.clone();
    eventually(async || {
        let status = watching.status().await.expect("a status");
        (status.account_count == 0).then_some(())
    })
    .await;
    let told = in_time(panic)
        .await
        .expect("no panic of the test")
        .expect("an answer")
        .into_inner();
    assert!(
        !told.revocations[0].revoked && !told.revocations[0].detail.is_empty(),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_watcher_gets_the_token_at_once_and_the_next_after_a_report() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let request = WatchTokenRequest {
        account: ACCOUNT.to_owned(),
    };
    let mut stream = calls
        .tokens()
        .watch_token(request)
        .await
        .expect("a stream")
        .into_inner();
    let first = in_time(stream.message())
        .await
        .expect("alive")
        .expect("one")
        .token
        .expect("a token");
    stage.sim.expire_sessions();
    let next = calls.report(ACCOUNT, &first).await.expect("a token");
    let second = in_time(stream.message())
        .await
        .expect("alive")
        .expect("one")
        .token
        .expect("a token");
    assert_eq!(second.access_token, next.access_token);
    calls.remove(ACCOUNT).await.expect("removed");
    let ended = in_time(stream.message()).await.expect_err("the account has gone");
    assert_eq!(refusal(&ended).reason, Reason::AccountNotLoaded);
}

#[tokio::test]
async fn a_watcher_of_an_account_that_gets_no_token_is_told_why() {
    let stage = Stage::new().await;
    stage.sim.fault(FaultRule::always(Fault::Maintenance));
    let request = WatchTokenRequest {
        account: ACCOUNT.to_owned(),
    };
    let refused = stage
        .calls()
        .await
        .tokens()
        .watch_token(request)
        .await
        .expect_err("no token");
    assert_eq!(refusal(&refused).reason, Reason::SalesforceUnavailable);
}

#[tokio::test]
async fn a_watcher_does_not_hold_up_the_end_of_the_agent() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let request = WatchTokenRequest {
        account: ACCOUNT.to_owned(),
    };
    let mut stream = calls
        .tokens()
        .watch_token(request)
        .await
        .expect("a stream")
        .into_inner();
    in_time(stream.message()).await.expect("alive");
    calls.shut_down().await.expect("asked");
    assert!(
        in_time(stream.message()).await.is_ok_and(|end| end.is_none()),
        "the stream ends, it does not break"
    );
    assert_eq!(stage.agent.ended().code, Some(0));
}

#[tokio::test]
async fn an_app_that_is_propagating_is_asked_again_by_fresh_at_a_bounded_rate() {
    let stage = Stage::new().await;
    stage.sim.knobs(|knobs| knobs.propagation_delay = 86_400);
    let calls = stage.calls().await;
    let fresh = || GetTokenRequest {
        account: ACCOUNT.to_owned(),
        fresh: true,
        ..GetTokenRequest::default()
    };
    for _ in 0..50 {
        let refused = refusal(&calls.request_token(fresh()).await.expect_err("too young"));
        assert_eq!(refused.reason, Reason::SalesforceRefused);
    }
    assert_eq!(stage.sim.counters().asked, 1);
}
