//! Learned expiry, sliding sessions, wrong clocks.

use super::*;

const MINUTE: u64 = 60;

#[tokio::test(start_paused = true)]
async fn introspection_tells_the_end_and_teaches_the_timeout_for_when_it_fails() {
    let stage = Stage::introspecting();
    stage.script.then(grant("one", None));
    stage.script.tell(active(0, 7200));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.expiry_source()),
        (START + 7200, ExpirySource::Introspection)
    );
    pass(7200).await;
    stage.script.then(grant("two", None));
    stage.script.tell(unreachable_host());
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.expiry_source()),
        (START + 14_400, ExpirySource::SessionTimeout)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_called_inactive_at_birth_is_served_all_the_same_and_not_asked_about_again() {
    let stage = Stage::introspecting();
    let inactive = || {
        Ok(Introspection {
            active: false,
            issued_at: None,
            expires_at: None,
        })
    };
    stage.script.then(grant("one", None));
    stage.script.tell(inactive());
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.expiry_source()),
        (START + 900, ExpirySource::Assumed)
    );
    for _ in 0..100 {
        assert_eq!(stage.get(60, false).await.0, "one");
        pass(1).await;
    }
    assert_eq!((stage.script.asked(), stage.script.introspected().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_consumer_secret_is_not_tried_at_every_token() {
    let stage = Stage::introspecting();
    for number in 0..4 {
        stage.script.then(grant(&format!("token{number}"), Some(7200)));
    }
    stage.script.answers.lock().expect("not poisoned").clear();
    for number in 0..3 {
        stage.script.then(grant(&format!("token{number}"), None));
        stage.get(60, false).await;
        pass(15 * MINUTE).await;
    }
    assert_eq!(stage.script.introspected().len(), 1);
    let secret = stage.agent.custody.seal(b"consumer-secret").expect("sealed");
    stage.account.renew(Terms::default(), Some(Arc::new(secret)));
    stage.script.then(grant("last", None));
    stage.script.tell(active(2700, 9900));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(token.expiry_source(), ExpirySource::Introspection);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_slid_on_needs_no_login_near_its_end() {
    let stage = Stage::introspecting();
    stage.script.then(grant("one", None));
    stage.script.tell(active(0, 900));
    stage.get(60, false).await;
    pass(870).await;
    stage.script.tell(active(0, 1500));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.access_token.as_str(), token.expires_at),
        ("one", START + 1500)
    );
    assert_eq!(stage.script.asked(), 1);
    pass(600).await;
    // Used no more, it did not slide.
    stage.script.tell(active(0, 1500));
    stage.script.then(grant("two", None));
    stage.script.tell(active(1470, 2370));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn a_jwt_is_never_introspected() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    let stage = Stage::introspecting();
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", START + 600));
    stage.script.then(grant(&format!("e30.{claims}.c2ln"), None));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.expiry_source()),
        (START + 600, ExpirySource::Jwt)
    );
    assert!(stage.script.introspected().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_clock_is_found_out_by_the_refusal_and_the_login_succeeds_at_the_second_try() {
    let stage = Stage::new(Terms::default());
    *stage.script.date.lock().expect("not poisoned") = Some(START + 600);
    stage.script.then(refused("expired authorization code"));
    stage.script.then(grant("one", None));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.warnings.as_slice()),
        (START + 600 + 900, &["CLOCK_SKEW".to_owned()][..])
    );
    assert_eq!(stage.agent.counters.skew(), Some(-600));
    assert_eq!(stage.script.asked(), 2);
    pass(839).await;
    assert_eq!(stage.get(60, false).await.0, "one");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_right_is_not_blamed_twice() {
    let stage = Stage::new(Terms::default());
    *stage.script.date.lock().expect("not poisoned") = Some(START + 2);
    stage.script.then(refused("expired authorization code"));
    assert!(stage.ask(60, false).await.is_err());
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fast_clock_gets_tokens_and_a_warning() {
    let stage = Stage::new(Terms::default());
    *stage.script.date.lock().expect("not poisoned") = Some(START - 600);
    stage.script.then(grant("one", Some(900)));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.warnings.as_slice()),
        (START + 300, &["CLOCK_SKEW".to_owned()][..])
    );
}
