//! A day with one caller a second, and an hour without Salesforce, against a model of an org.

use std::collections::HashMap;

use tokio::time::Instant;

use super::*;

/// What an org answers to a grant that is repeated while its session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regrant {
    New,
    SameExtends,
    SameFixed,
}

/// An org whose sessions last a quarter of an hour, and which takes 300 ms for an answer.
struct Org {
    regrant: Regrant,
    begin: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    down: bool,
    requests: Vec<u64>,
    logins: u32,
    /// By token: when its session began and ends.
    sessions: HashMap<String, (i64, i64)>,
    /// By audience, which a test gives each account for its own.
    current: HashMap<String, String>,
}

const TIMEOUT: i64 = 900;

impl Org {
    fn new(regrant: Regrant) -> Arc<Self> {
        Arc::new(Self {
            regrant,
            begin: Instant::now(),
            state: Mutex::default(),
        })
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.begin.elapsed().as_secs()).expect("a test's time")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn is_live(&self, token: &str) -> bool {
        let now = self.seconds();
        self.state()
            .sessions
            .get(token)
            .is_some_and(|(_, ends)| now < *ends)
    }

    fn grant(&self, user: &str) -> Result<Grant, ExchangeError> {
        let now = self.seconds();
        let mut state = self.state();
        if state.down {
            return unreachable_host();
        }
        state.logins += 1;
        let live = state.current.get(user).cloned();
        let live = live.filter(|token| state.sessions.get(token).is_some_and(|(_, ends)| now < *ends));
        let token = match (self.regrant, live) {
            (Regrant::New, _) | (_, None) => {
                let token = format!("{user}!{}", state.logins);
                state.sessions.insert(token.clone(), (now, now + TIMEOUT));
                state.current.insert(user.to_owned(), token.clone());
                token
            }
            (Regrant::SameFixed, Some(token)) => token,
            (Regrant::SameExtends, Some(token)) => {
                if let Some((_, ends)) = state.sessions.get_mut(&token) {
                    *ends = now + TIMEOUT;
                }
                token
            }
        };
        grant(&token, None)
    }
}

impl TokenEndpoint for Org {
    fn exchange<'a>(&'a self, host: &'a TokenHost, _: Assertion) -> BoxFuture<'a, Answered<Grant>> {
        let second = self.begin.elapsed().as_secs();
        self.state().requests.push(second);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Answered::undated(self.grant(&host.to_string()))
        })
    }

    fn introspect<'a>(
        &'a self,
        _: &'a str,
        token: &'a str,
        _: Client<'a>,
    ) -> BoxFuture<'a, Answered<Introspection>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let session = self.state().sessions.get(token).copied();
            let (began, ends) = session.expect("only its own tokens are asked about");
            Answered::undated(if self.is_live(token) {
                active(began, ends)
            } else {
                Ok(Introspection {
                    active: false,
                    issued_at: None,
                    expires_at: None,
                })
            })
        })
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

/// Accounts at this org; all of them have its timeout as their session timeout.
fn accounts(org: &Arc<Org>, count: usize, secret: bool) -> (Vec<Account>, watch::Sender<bool>) {
    let (locked, locks) = watch::channel(false);
    let agent = Arc::new(Agent {
        clock: Arc::new(TestClock::new()),
        endpoint: Arc::clone(org) as Arc<dyn TokenEndpoint>,
        custody: Custody::new().expect("custody"),
        trusted: TrustedHosts::default(),
        logins: Logins::default(),
        counters: Counters::default(),
        locked: locks,
    });
    let terms = Terms {
        session_timeout: Some(900),
        ..Terms::default()
    };
    let start = |number: usize| {
        let mut identity = identity();
        identity.username = format!("user{number}@acme.example");
        let secret = secret.then(|| Arc::new(agent.custody.seal(b"consumer-secret").expect("sealed")));
        let name = format!("account{number}").parse().expect("a name");
        Account::start(
            &agent,
            name,
            Arc::new(identity),
            Arc::new(TestSigner),
            terms,
            secret,
        )
    };
    ((0..count).map(start).collect(), locked)
}

/// How many callers waited, and how many logins there were.
async fn hours(hours: u32, regrant: Regrant, secret: bool) -> (u32, u32) {
    let org = Org::new(regrant);
    let (accounts, _locked) = accounts(&org, 1, secret);
    let mut waited = 0;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut usual = 0;
    for second in 0..hours * 3600 {
        if second == 2 * 3600 {
            usual = tasks();
        }
        let asked = Instant::now();
        let token = accounts[0]
            .token(name(), Need::new(None, false))
            .await
            .expect("a token");
        waited += u32::from(asked.elapsed() >= Duration::from_millis(50));
        assert!(
            org.is_live(&token.access_token),
            "{regrant:?} served a dead token"
        );
        tokio::time::sleep_until(asked + Duration::from_secs(1)).await;
    }
    assert!(
        tasks() <= usual,
        "{usual} tasks after two hours, and {} at the end",
        tasks()
    );
    let logins = org.state().logins;
    (waited, logins)
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
async fn a_day_with_a_caller_a_second_makes_hardly_more_logins_than_must_be_and_nobody_waits() {
    // One login for each quarter of an hour.
    let least = 24 * 4;
    for (regrant, secret) in [(Regrant::New, false), (Regrant::SameExtends, true)] {
        let (waited, logins) = hours(24, regrant, secret).await;
        println!("{regrant:?}, introspection {secret}: {waited} waited, {logins} logins, {least} at least");
        assert_eq!(waited, 1, "the first");
        assert!(logins * 10 <= least * 11, "{logins}");
    }
    let least = 4 * 4;
    for (regrant, secret) in [
        (Regrant::SameFixed, false),
        (Regrant::SameFixed, true),
        (Regrant::SameExtends, false),
    ] {
        let (waited, logins) = hours(4, regrant, secret).await;
        println!("{regrant:?}, introspection {secret}: {waited} waited, {logins} logins, {least} at least");
        assert!(waited <= least, "one a session, {waited}");
        assert!(logins <= least + 5, "{logins}");
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
async fn an_hour_without_salesforce_is_no_storm_and_neither_is_its_return() {
    const ACCOUNTS: usize = 100;
    let org = Org::new(Regrant::New);
    let (accounts, _locked) = accounts(&org, ACCOUNTS, false);
    let ask = |number: usize| accounts[number % ACCOUNTS].token(name(), Need::new(None, false));
    for number in 0..ACCOUNTS {
        ask(number).await.expect("a token");
    }
    org.state().requests.clear();
    let (mut served, mut refused) = (0, 0);
    for second in 0..4000_u64 {
        org.state().down = (100..3700).contains(&second);
        let begin = Instant::now();
        // A thousand callers, each every ten seconds; each account's own are spread over them.
        let callers = (0..100).map(|caller| ask(usize::try_from(second).expect("small") * 7 + caller));
        for (caller, outcome) in futures_util::future::join_all(callers)
            .await
            .into_iter()
            .enumerate()
        {
            match outcome {
                Ok(token) => {
                    served += 1;
                    assert!(
                        org.is_live(&token.access_token),
                        "second {second}, caller {caller}"
                    );
                }
                Err(failure) => {
                    refused += 1;
                    assert!(second > 100, "{failure:?}");
                    assert!(second < 3700 + 150, "{failure:?} long after the return");
                }
            }
        }
        tokio::time::sleep_until(begin + Duration::from_secs(1)).await;
        // Whoever has a live token is served: for the first ten minutes and more that is everybody.
        assert!(second > 800 || refused == 0, "second {second}");
    }
    let state = org.state();
    let during = state
        .requests
        .iter()
        .filter(|second| (100..3700).contains(*second))
        .count();
    let mut by_second = HashMap::<u64, usize>::new();
    state
        .requests
        .iter()
        .filter(|second| **second >= 3700)
        .for_each(|second| {
            *by_second.entry(*second).or_default() += 1;
        });
    let peak = by_second.values().max().copied().unwrap_or(0);
    println!(
        "{served} served, {refused} refused; {during} requests in an hour without Salesforce for {ACCOUNTS} accounts; at most {peak} a second after its return"
    );
    assert!(during < ACCOUNTS * 60, "{during}");
    assert!(peak <= 15, "{peak}");
}
