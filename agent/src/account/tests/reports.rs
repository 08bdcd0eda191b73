//! Refusals that are remembered, and reports of refused tokens.

use super::*;

fn reason(outcome: Result<Token, Failure>) -> Reason {
    Refusal::from(outcome.expect_err("a failure")).reason
}

impl Stage {
    async fn report(&self, token: &str) -> Result<Token, Failure> {
        self.account.rejected(name(), crate::token::hash(token)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_over_a_refused_account_costs_a_handful_of_logins_and_is_told_the_reason_every_time() {
    let stage = Stage::new(Terms::default());
    for _ in 0..20 {
        stage.script.then(refused("invalid assertion"));
    }
    for call in 0..10_000 {
        let refusal = Refusal::from(stage.ask(60, false).await.expect_err("refused"));
        assert_eq!(refusal.reason, Reason::SalesforceRefused);
        assert_eq!(
            refusal.salesforce.expect("an answer").error_description,
            "invalid assertion"
        );
        assert_eq!(refusal.retry_after_seconds.is_some(), call > 0);
    }
    assert_eq!(stage.script.asked(), 1);
    // In ten minutes of the same: after 5, 10, 20, 40, 80, 160 and 320 seconds and a little more each.
    for _ in 0..600 {
        pass(1).await;
        assert_eq!(reason(stage.ask(60, false).await), Reason::SalesforceRefused);
    }
    assert!(
        (7..=8).contains(&stage.script.asked()),
        "{}",
        stage.script.asked()
    );
}

#[tokio::test(start_paused = true)]
async fn fresh_looks_again_at_a_bounded_rate_although_the_refusal_is_remembered() {
    let stage = Stage::new(Terms::default());
    for _ in 0..10 {
        stage.script.then(refused("inactive user"));
    }
    for _ in 0..91 {
        assert_eq!(reason(stage.ask(60, true).await), Reason::SalesforceRefused);
        pass(1).await;
    }
    // After the first short pauses, once in thirty seconds.
    assert!(
        (4..=6).contains(&stage.script.asked()),
        "{}",
        stage.script.asked()
    );
}

#[tokio::test(start_paused = true)]
async fn adding_the_account_again_forgets_the_refusal() {
    let stage = Stage::new(Terms::default());
    stage.script.then(refused("inactive user"));
    assert_eq!(reason(stage.ask(60, false).await), Reason::SalesforceRefused);
    assert!(stage.account.view().held_off.is_some());
    stage.account.renew(Terms::default(), None);
    stage.script.then(grant("one", None));
    assert_eq!(stage.get(60, false).await.0, "one");
    assert!(stage.account.view().held_off.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_fault_of_the_network_may_be_followed_by_a_second_try_and_further_ones_wait() {
    let stage = Stage::new(Terms::default());
    for _ in 0..100 {
        stage.script.then(unreachable_host());
    }
    for _ in 0..3600 {
        assert_eq!(reason(stage.ask(60, false).await), Reason::Network);
        pass(1).await;
    }
    assert!(
        (25..=40).contains(&stage.script.asked()),
        "{}",
        stage.script.asked()
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_who_logged_in_too_often_is_left_alone_for_a_quarter_of_an_hour() {
    let stage = Stage::new(Terms::default());
    let rate = Err(ExchangeError::Refused(SalesforceAnswer {
        error: "rate_limit_exceeded".to_owned(),
        error_description: "login rate exceeded".to_owned(),
        http_status: 400,
    }));
    stage.script.then(rate);
    assert_eq!(reason(stage.ask(60, false).await), Reason::SalesforceRefused);
    pass(890).await;
    assert_eq!(reason(stage.ask(60, true).await), Reason::LoginBudget);
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reported_token_is_exchanged_once_and_the_next_one_is_the_answer() {
    let stage = Stage::new(Terms::default());
    for token in ["one", "two"] {
        stage.script.then(grant(token, Some(7200)));
    }
    stage.get(60, false).await;
    // At once: a report need not wait for the pause between exchanges.
    let next = stage.report("one").await.expect("a token");
    assert_eq!(next.access_token, "two");
    assert_eq!(stage.report("one").await.expect("the same").access_token, "two");
    assert_eq!(stage.get(60, false).await.0, "two");
    assert_eq!(stage.script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn when_the_same_token_comes_back_the_cause_is_scope_or_policy_and_a_loop_costs_nothing() {
    let stage = Stage::new(Terms::default());
    for _ in 0..9 {
        stage.script.then(grant("same", Some(7200)));
    }
    stage.get(60, false).await;
    for _ in 0..1000 {
        let refusal = Refusal::from(stage.report("same").await.expect_err("scope or policy"));
        assert_eq!(refusal.reason, Reason::SalesforceRefused);
        assert!(refusal.message.contains("scope or policy"), "{}", refusal.message);
    }
    assert_eq!(stage.script.asked(), 2);
    assert_eq!(stage.get(60, false).await.0, "same", "others may still need it");
    pass(30).await;
    assert!(stage.report("same").await.is_err());
    assert_eq!(
        stage.script.asked(),
        3,
        "once in thirty seconds it is looked at again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_reports_every_new_token_is_stopped_too() {
    let stage = Stage::new(Terms::default());
    for number in 0..50 {
        stage.script.then(grant(&format!("token{number}"), Some(7200)));
    }
    let mut token = stage.get(60, false).await.0;
    for _ in 0..60 {
        match stage.report(&token).await {
            Ok(mut next) => token = std::mem::take(&mut next.access_token),
            Err(failure) => assert!(matches!(failure, Failure::NotTheSession(_)), "{failure:?}"),
        }
        pass(1).await;
    }
    assert_eq!(stage.script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn introspection_settles_a_report_without_a_login() {
    let stage = Stage::introspecting();
    stage.script.then(grant("one", None));
    stage.script.tell(active(0, 7200));
    stage.get(60, false).await;
    stage.script.tell(active(0, 7200));
    assert!(matches!(
        stage.report("one").await,
        Err(Failure::NotTheSession(_))
    ));
    assert_eq!((stage.script.asked(), stage.script.introspected().len()), (1, 2));
    pass(30).await;
    // Revoked from outside.
    let dead = Introspection {
        active: false,
        issued_at: None,
        expires_at: None,
    };
    stage.script.tell(Ok(dead));
    stage.script.then(grant("two", None));
    stage.script.tell(active(30, 7230));
    assert_eq!(stage.report("one").await.expect("a token").access_token, "two");
}

#[tokio::test(start_paused = true)]
async fn a_reported_token_is_not_served_again_when_salesforce_cannot_be_asked() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    stage.script.then(unreachable_host());
    assert_eq!(reason(stage.report("one").await), Reason::Network);
    stage.script.then(grant("two", Some(7200)));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn a_report_about_another_token_changes_nothing() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    assert_eq!(stage.report("older").await.expect("a token").access_token, "one");
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_token_while_a_report_about_it_is_looked_into() {
    let stage = Arc::new(Stage::new(Terms::default()));
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    stage.script.arrived.notified().await;
    let reporter = Arc::clone(&stage);
    let report = tokio::spawn(async move { reporter.report("one").await.map(drop) });
    stage.script.arrived.notified().await;
    let caller = Arc::clone(&stage);
    let call = tokio::spawn(async move { caller.get(60, false).await.0 });
    tokio::task::yield_now().await;
    stage.script.then(grant("two", Some(7200)));
    assert_eq!(call.await.expect("no panic"), "two");
    assert!(report.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_surrendered_token_is_gone_from_the_account() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    let surrendered = stage.account.surrender(false).await.expect("a token");
    assert_eq!(surrendered.token.as_str(), "one");
    assert!(stage.account.surrender(false).await.is_none());
    stage.script.then(grant("two", Some(7200)));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_granted_once_more_while_it_was_revoked_is_served_to_nobody_afterwards() {
    let stage = Arc::new(Stage::new(Terms::default()));
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    pass(30).await;
    let caller = Arc::clone(&stage);
    let waiting = tokio::spawn(async move { caller.get(60, true).await.0 });
    stage.script.arrived.notified().await;
    stage.script.arrived.notified().await;
    let taken = stage.account.surrender(false).await.expect("a token");
    stage.script.arrived.notified().await;
    assert_eq!(stage.script.asked(), 3, "for the caller that waits, anew");
    // Salesforce has not revoked it yet, and this org grants the same again.
    stage.script.then(grant("one", Some(7200)));
    assert_eq!(waiting.await.expect("no panic"), "one");
    stage.account.revoked(crate::token::hash(&taken.token));
    stage.script.then(grant("two", Some(7200)));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_while_the_token_is_taken_away_is_answered_with_the_next_one() {
    let stage = Arc::new(Stage::new(Terms::default()));
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    stage.script.arrived.notified().await;
    let reporter = Arc::clone(&stage);
    let report = tokio::spawn(async move { reporter.report("one").await });
    stage.script.arrived.notified().await;
    stage.account.surrender(false).await.expect("a token");
    stage.script.then(grant("two", Some(7200)));
    let next = report.await.expect("no panic").expect("a token");
    assert_eq!(next.access_token, "two");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_account_that_ends_with_its_token_is_told_so_and_salesforce_is_asked_no_more() {
    let stage = Arc::new(Stage::new(Terms::default()));
    let caller = Arc::clone(&stage);
    let waiting = tokio::spawn(async move { caller.ask(60, false).await });
    stage.script.arrived.notified().await;
    assert!(stage.account.surrender(true).await.is_none());
    assert_eq!(reason(waiting.await.expect("no panic")), Reason::AccountNotLoaded);
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reported_token_that_cannot_be_looked_at_is_served_to_nobody() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(7200)));
    stage.get(60, false).await;
    for _ in 0..2 {
        pass(30).await;
        stage.script.then(unreachable_host());
        assert_eq!(stage.get(60, true).await.1, ["STALE"]);
    }
    assert_eq!(reason(stage.report("one").await), Reason::Network, "held off");
    assert_eq!(reason(stage.ask(60, false).await), Reason::Network);
    pass(30).await;
    stage.script.then(grant("two", Some(7200)));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_of_the_network_before_his_request_is_given_up() {
    let stage = Stage::new(Terms::default());
    let begun = tokio::time::Instant::now();
    assert_eq!(reason(stage.ask(60, false).await), Reason::Network);
    assert!(begun.elapsed() < crate::limits::REQUEST_TIME);
    stage.script.then(grant("one", Some(7200)));
    assert_eq!(stage.get(60, false).await.0, "one");
}
