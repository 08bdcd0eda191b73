//! Many callers at once, as the agent's one thread runs them, with everything that can come between: reports, locks,
//! a token that is taken away, an account that is added again.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Grants a new token each time, and notes whether it was ever asked twice at the same time.
#[derive(Default)]
struct Counting {
    granted: AtomicU32,
    in_flight: AtomicU32,
    overlaps: AtomicU32,
}

impl TokenEndpoint for Counting {
    fn exchange<'a>(&'a self, _: &'a TokenHost, _: Assertion) -> BoxFuture<'a, Answered<Grant>> {
        Box::pin(async move {
            if self.in_flight.fetch_add(1, Ordering::SeqCst) > 0 {
                self.overlaps.fetch_add(1, Ordering::SeqCst);
            }
            // A lock cancels what is in flight: counted down whatever happens.
            let _leaving = Leaving(self);
            let number = self.granted.fetch_add(1, Ordering::SeqCst);
            for _ in 0..number % 7 {
                tokio::task::yield_now().await;
            }
            Answered::undated(grant(&format!("token{number}"), Some(7200)))
        })
    }

    fn introspect<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Client<'a>,
    ) -> BoxFuture<'a, Answered<Introspection>> {
        unreachable!("there is no consumer secret")
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

struct Leaving<'a>(&'a Counting);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn whatever_happens_at_once_every_caller_is_answered_and_salesforce_is_asked_one_thing_at_a_time() {
    let endpoint = Arc::new(Counting::default());
    let (locked, locks) = watch::channel(false);
    let agent = Arc::new(Agent {
        clock: Arc::new(TestClock::new()),
        endpoint: Arc::clone(&endpoint) as Arc<dyn TokenEndpoint>,
        custody: Custody::new().expect("custody"),
        trusted: TrustedHosts::default(),
        logins: Logins::default(),
        counters: Counters::default(),
        locked: locks,
    });
    let account = Arc::new(Account::start(
        &agent,
        name(),
        Arc::new(identity()),
        Arc::new(TestSigner),
        Terms::default(),
        None,
    ));
    let callers = (0..64_u32).map(|caller| {
        let (account, locked) = (Arc::clone(&account), locked.clone());
        tokio::spawn(async move {
            for turn in 0..200_u32 {
                match (caller * 7 + turn) % 41 {
                    0 => drop(locked.send_replace(true)),
                    1..=3 => drop(locked.send_replace(false)),
                    4 => {
                        if let Some(taken) = account.surrender(false).await {
                            account.revoked(crate::token::hash(&taken.token));
                        }
                    }
                    5 => account.renew(Terms::default(), None),
                    6..=9 => {
                        let hash = crate::token::hash(&format!("token{turn}"));
                        answered(account.rejected(name(), hash).await);
                    }
                    10..=12 => tokio::task::yield_now().await,
                    step => answered(account.token(name(), Need::new(None, step < 15)).await),
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no panic");
    }
    locked.send_replace(false);
    answered(account.token(name(), Need::new(None, false)).await);
    assert_eq!(endpoint.overlaps.load(Ordering::SeqCst), 0);
    let logins = endpoint.granted.load(Ordering::SeqCst);
    assert!(logins <= crate::logins::LOGIN_BURST + 30, "{logins}");
}

/// A token, or one of the few reasons that can be.
fn answered(outcome: Result<Token, Failure>) {
    match outcome {
        Ok(token) => assert!(token.access_token.starts_with("token")),
        Err(Failure::Locked | Failure::LoginBudget { .. } | Failure::NotTheSession(_)) => {}
        Err(failure) => panic!("{failure:?}"),
    }
}
