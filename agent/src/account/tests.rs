//! The account's task against a scripted Salesforce, in paused time.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use sfkey_proto::{Reason, Refusal, SalesforceAnswer, v1::ExpirySource};
use tokio::sync::Notify;

use super::*;
use crate::{
    agent::Counters,
    assertion::Assertion,
    custody::Custody,
    identity::tests::identity,
    logins::Logins,
    salesforce::{
        Answered, Client, ExchangeError, Grant, Introspection, TokenEndpoint, TrustedHosts, UserInfo,
        endpoint::BoxFuture,
    },
    testing::{START, TestClock, TestSigner},
};

mod day;
mod model;
mod reports;
mod sessions;
mod storm;
mod watching;

/// Answers in the order given; an exchange beyond the script waits until the test lets it go. Introspection is
/// answered from a script of its own, and refused beyond it.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Grant, ExchangeError>>>,
    told: Mutex<VecDeque<Result<Introspection, ExchangeError>>>,
    asked: Mutex<u32>,
    introspected: Mutex<Vec<String>>,
    date: Mutex<Option<i64>>,
    more: Notify,
    arrived: Notify,
}

impl Script {
    fn then(&self, answer: Result<Grant, ExchangeError>) {
        self.answers.lock().expect("not poisoned").push_back(answer);
        self.more.notify_one();
    }

    fn tell(&self, told: Result<Introspection, ExchangeError>) {
        self.told.lock().expect("not poisoned").push_back(told);
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().expect("not poisoned")
    }

    /// The tokens that introspection was asked about so far.
    fn introspected(&self) -> Vec<String> {
        self.introspected.lock().expect("not poisoned").clone()
    }
}

impl TokenEndpoint for Script {
    fn exchange<'a>(&'a self, _: &'a TokenHost, _: Assertion) -> BoxFuture<'a, Answered<Grant>> {
        *self.asked.lock().expect("not poisoned") += 1;
        self.arrived.notify_one();
        Box::pin(async move {
            loop {
                let answer = self.answers.lock().expect("not poisoned").pop_front();
                match answer {
                    Some(outcome) => {
                        let date = *self.date.lock().expect("not poisoned");
                        return Answered { outcome, date };
                    }
                    None => self.more.notified().await,
                }
            }
        })
    }

    fn introspect<'a>(
        &'a self,
        _: &'a str,
        token: &'a str,
        client: Client<'a>,
    ) -> BoxFuture<'a, Answered<Introspection>> {
        assert_eq!(client.consumer_secret, "consumer-secret");
        self.introspected
            .lock()
            .expect("not poisoned")
            .push(token.to_owned());
        let told = self.told.lock().expect("not poisoned").pop_front();
        Box::pin(async move { Answered::undated(told.unwrap_or(refused_by("invalid_client"))) })
    }

    fn revoke<'a>(&'a self, _: &'a TokenHost, _: &'a str) -> BoxFuture<'a, Answered<()>> {
        unreachable!("an account revokes nothing")
    }

    fn userinfo<'a>(&'a self, _: &'a TokenHost, _: &'a str) -> BoxFuture<'a, Answered<UserInfo>> {
        unreachable!("an account asks for no userinfo")
    }

    fn versions<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Answered<String>> {
        unreachable!("an account does not call the API")
    }

    fn limits<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str) -> BoxFuture<'a, Answered<()>> {
        unreachable!("an account does not call the API")
    }
}

struct Stage {
    account: Account,
    script: Arc<Script>,
    agent: Arc<Agent>,
    locked: watch::Sender<bool>,
}

impl Stage {
    fn new(terms: Terms) -> Self {
        Self::begin(terms, false)
    }

    /// With a consumer secret, so that introspection can be asked.
    fn introspecting() -> Self {
        Self::begin(Terms::default(), true)
    }

    fn begin(terms: Terms, introspecting: bool) -> Self {
        let script = Arc::new(Script::default());
        let (locked, locks) = watch::channel(false);
        let agent = Arc::new(Agent {
            clock: Arc::new(TestClock::new()),
            endpoint: Arc::clone(&script) as Arc<dyn TokenEndpoint>,
            custody: Custody::new().expect("custody"),
            trusted: TrustedHosts::default(),
            logins: Logins::default(),
            counters: Counters::default(),
            locked: locks,
        });
        let secret = introspecting.then(|| Arc::new(agent.custody.seal(b"consumer-secret").expect("sealed")));
        let account = Account::start(
            &agent,
            name(),
            Arc::new(identity()),
            Arc::new(TestSigner),
            terms,
            secret,
        );
        Self {
            account,
            script,
            agent,
            locked,
        }
    }

    async fn ask(&self, min_valid: u32, fresh: bool) -> Result<Token, Failure> {
        self.account
            .token(name(), Need::new(Some(min_valid), fresh))
            .await
    }

    /// The token's text and warnings.
    async fn get(&self, min_valid: u32, fresh: bool) -> (String, Vec<String>) {
        let mut token = self.ask(min_valid, fresh).await.expect("a token");
        (
            std::mem::take(&mut token.access_token),
            std::mem::take(&mut token.warnings),
        )
    }
}

fn name() -> AccountName {
    "prod".parse().expect("a name")
}

fn grant(token: &str, expires_in: Option<u32>) -> Result<Grant, ExchangeError> {
    Ok(Grant {
        access_token: Zeroizing::new(token.to_owned()),
        instance_url: "https://acme.my.salesforce.com".to_owned(),
        id: None,
        scope: Some("api".to_owned()),
        expires_in,
    })
}

fn refused_by<T>(error: &str) -> Result<T, ExchangeError> {
    Err(ExchangeError::Refused(SalesforceAnswer {
        error: error.to_owned(),
        error_description: String::new(),
        http_status: 401,
    }))
}

/// An active session that began now and ends after `lasts` seconds.
fn active(began: i64, ends: i64) -> Result<Introspection, ExchangeError> {
    Ok(Introspection {
        active: true,
        issued_at: Some(START + began),
        expires_at: Some(START + ends),
    })
}

fn unreachable_host<T>() -> Result<T, ExchangeError> {
    Err(ExchangeError::Network("no route".to_owned()))
}

fn refused(description: &str) -> Result<Grant, ExchangeError> {
    Err(ExchangeError::Refused(SalesforceAnswer {
        error: "invalid_grant".to_owned(),
        error_description: description.to_owned(),
        http_status: 400,
    }))
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

fn no_warning() -> Vec<String> {
    Vec::new()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_served_from_memory_until_the_need_is_no_longer_met() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(900)));
    assert_eq!(stage.get(60, false).await, ("one".to_owned(), no_warning()));
    pass(400).await;
    assert_eq!(stage.get(60, false).await, ("one".to_owned(), no_warning()));
    assert_eq!(stage.script.asked(), 1);
    pass(441).await;
    stage.script.then(grant("two", Some(900)));
    assert_eq!(stage.get(60, false).await.0, "two");
    assert_eq!(stage.script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_a_cold_account_share_one_exchange() {
    let stage = Arc::new(Stage::new(Terms::default()));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.get(60, false).await })
        })
        .collect();
    stage.script.arrived.notified().await;
    stage.script.then(grant("one", None));
    for caller in callers {
        assert_eq!(caller.await.expect("no panic"), ("one".to_owned(), no_warning()));
    }
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_need_beyond_three_quarters_of_the_life_is_capped_and_says_so() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(1000)));
    assert_eq!(
        stage.get(5000, false).await,
        ("one".to_owned(), vec!["MIN_VALID_CAPPED".to_owned()])
    );
    pass(250).await;
    assert_eq!(stage.get(5000, false).await.1, ["MIN_VALID_CAPPED"]);
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn fresh_is_granted_once_in_thirty_seconds_and_limited_between() {
    let stage = Stage::new(Terms::default());
    for token in ["one", "two"] {
        stage.script.then(grant(token, Some(7200)));
    }
    assert_eq!(stage.get(60, false).await.0, "one");
    assert_eq!(
        stage.get(60, true).await,
        ("one".to_owned(), vec!["FRESH_LIMITED".to_owned()])
    );
    pass(30).await;
    assert_eq!(stage.get(60, true).await, ("two".to_owned(), no_warning()));
    assert_eq!(stage.script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_exchanged_at_once_whatever_was_asked_before() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(10)));
    assert_eq!(
        stage.get(60, false).await,
        ("one".to_owned(), vec!["MIN_VALID_CAPPED".to_owned()])
    );
    pass(10).await;
    stage.script.then(grant("two", Some(10)));
    assert_eq!(stage.get(60, false).await.0, "two");
}

#[tokio::test(start_paused = true)]
async fn the_same_token_granted_again_keeps_its_end_and_is_not_asked_for_at_every_call() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("same", None));
    let end = stage.ask(60, false).await.expect("a token").expires_at;
    pass(700).await;
    stage.script.then(grant("same", None));
    assert_eq!(stage.ask(600, false).await.expect("a token").expires_at, end);
    assert_eq!(stage.script.asked(), 2);
    for _ in 0..3 {
        pass(30).await;
        assert_eq!(stage.get(600, false).await.1, ["FRESH_LIMITED"]);
    }
    assert_eq!(stage.script.asked(), 2);
    pass(15).await;
    stage.script.then(grant("same", Some(900)));
    assert_eq!(
        stage.ask(600, false).await.expect("a token").expires_at,
        START + 805 + 900,
        "told, so moved"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_token_granted_after_its_assumed_end_lives_on() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("same", None));
    stage.ask(60, false).await.expect("a token");
    pass(900).await;
    stage.script.then(grant("same", None));
    assert_eq!(
        stage.ask(60, false).await.expect("a token").expires_at,
        START + 1800
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_still_alive_is_served_when_its_renewal_fails() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(900)));
    stage.get(60, false).await;
    pass(870).await;
    stage.script.then(unreachable_host());
    assert_eq!(
        stage.get(60, false).await,
        ("one".to_owned(), vec!["STALE".to_owned()])
    );
    pass(30).await;
    stage.script.then(unreachable_host());
    let failure = stage.ask(60, false).await.expect_err("expired by now");
    assert_eq!(Refusal::from(failure).reason, Reason::Network);
}

#[tokio::test(start_paused = true)]
async fn every_waiting_caller_gets_the_refusal_and_the_next_success_clears_it() {
    let stage = Stage::new(Terms::default());
    let (one, two) = (stage.ask(60, false), stage.ask(60, false));
    stage.script.then(refused("inactive user"));
    for outcome in <[_; 2]>::from(tokio::join!(one, two)) {
        let refusal = Refusal::from(outcome.expect_err("refused"));
        assert_eq!(refusal.reason, Reason::SalesforceRefused);
        assert_eq!(
            refusal.salesforce.expect("an answer").error_description,
            "inactive user"
        );
    }
    assert_eq!(stage.script.asked(), 1);
    let shown = stage.account.view().last_error.expect("an error");
    assert!(shown.contains("invalid_grant: inactive user"), "{shown}");
    pass(30).await;
    stage.script.then(grant("one", None));
    stage.get(60, false).await;
    assert_eq!(stage.account.view().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_removed_answers_its_waiting_callers_and_cancels_the_exchange() {
    let Stage {
        account,
        script,
        agent,
        locked: _locked,
    } = Stage::new(Terms::default());
    drop(agent);
    let waiting = tokio::spawn(account.token(name(), Need::new(None, false)));
    script.arrived.notified().await;
    drop(account);
    let failure = waiting.await.expect("no panic").expect_err("removed");
    assert!(matches!(failure, Failure::NotLoaded(_)));
    // The exchange in flight held the script; it is gone as soon as the runtime has dropped it.
    while Arc::strong_count(&script) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_had_ended_when_it_arrived_is_no_token() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    let stage = Stage::new(Terms::default());
    let ended = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{START}}}"));
    stage.script.then(grant(&format!("e30.{ended}.c2ln"), None));
    let refusal = Refusal::from(stage.ask(60, false).await.expect_err("ended"));
    assert_eq!(refusal.reason, Reason::MalformedAnswer);
}

#[tokio::test(start_paused = true)]
async fn a_session_timeout_changed_later_counts_for_the_next_token() {
    let stage = Stage::new(Terms {
        session_timeout: Some(3600),
        ..Terms::default()
    });
    stage.script.then(grant("one", None));
    let token = stage.ask(60, false).await.expect("a token");
    assert_eq!(
        (token.expires_at, token.expiry_source()),
        (START + 3600, ExpirySource::SessionTimeout)
    );
    let terms = Terms {
        session_timeout: Some(7200),
        ..Terms::default()
    };
    stage.account.renew(terms, None);
    pass(3600).await;
    stage.script.then(grant("two", None));
    assert_eq!(
        stage.ask(60, false).await.expect("a token").expires_at,
        START + 3600 + 7200
    );
}

#[tokio::test(start_paused = true)]
async fn a_lock_cancels_the_exchange_drops_the_token_and_answers_whoever_waits() {
    let stage = Arc::new(Stage::new(Terms::default()));
    stage.script.then(grant("one", Some(900)));
    stage.get(60, false).await;
    pass(30).await;
    let waiting = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { stage.ask(60, true).await }
    });
    stage.script.arrived.notified().await;
    stage.script.arrived.notified().await;
    stage.locked.send_replace(true);
    assert!(matches!(waiting.await.expect("no panic"), Err(Failure::Locked)));
    assert!(matches!(stage.ask(60, false).await, Err(Failure::Locked)));
    assert_eq!(stage.account.view().validity, None);
    stage.locked.send_replace(false);
    stage.script.then(grant("two", Some(900)));
    assert_eq!(stage.get(60, false).await, ("two".to_owned(), no_warning()));
}
