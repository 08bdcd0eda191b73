//! The state of the simulated Salesforce, shared by the server, the control interface and the tests.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::rsa::{KeyPair, KeySize};
use tokio::sync::watch;

use super::app::App;
use super::clock::SimClock;
use super::config::Config;
use super::faults::{self, Fault, FaultRule};
use super::knobs::Knobs;
use super::log::{Counters, Exchange, Outcome, Request};
use super::org::{Org, OrgStatus, User};
use super::session::Sessions;

/// A server that runs for days keeps the latest requests only.
const REMEMBERED: usize = 10_000;

/// Everything behind the lock.
pub(super) struct State {
    pub(super) knobs: Knobs,
    pub(super) orgs: Vec<Org>,
    pub(super) apps: Vec<App>,
    pub(super) users: Vec<User>,
    pub(super) faults: Vec<FaultRule>,
    pub(super) sessions: Sessions,
    /// (consumer key, `jti`) of assertions that were good.
    pub(super) replayed: HashSet<(String, String)>,
    /// When each user logged in during the last hour.
    pub(super) logins: HashMap<String, VecDeque<i64>>,
    pub(super) exchanges: VecDeque<Exchange>,
    pub(super) requests: VecDeque<Request>,
    /// Token requests so far.
    begun: u64,
}

/// What a host name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `login.salesforce.com`: all production orgs.
    Login,
    /// `test.salesforce.com`: all sandboxes.
    Test,
    /// An org's own host; the index of the org.
    Org(usize),
}

/// The world: state, clock, counters, and where it can be reached.
pub(super) struct World {
    pub(super) clock: SimClock,
    pub(super) scheme: &'static str,
    pub(super) port: u16,
    pub(super) login_hosts: Vec<String>,
    pub(super) test_hosts: Vec<String>,
    state: Mutex<State>,
    counters: watch::Sender<Counters>,
    /// Counts the releases; a stalled request waits for the next one.
    releases: watch::Sender<u64>,
    jwt_key: OnceLock<KeyPair>,
}

impl World {
    pub(super) fn new(config: Config, port: u16) -> Self {
        let clock = SimClock::default();
        let born = clock.now();
        let mut apps = config.apps;
        for app in &mut apps {
            app.created_at.get_or_insert(born);
        }
        let state = State {
            knobs: config.knobs,
            orgs: config.orgs,
            apps,
            users: config.users,
            faults: config.faults,
            sessions: Sessions::default(),
            replayed: HashSet::new(),
            logins: HashMap::new(),
            exchanges: VecDeque::new(),
            requests: VecDeque::new(),
            begun: 0,
        };
        Self {
            clock,
            scheme: if config.tls { "https" } else { "http" },
            port,
            login_hosts: config.login_hosts,
            test_hosts: config.test_hosts,
            state: Mutex::new(state),
            counters: watch::Sender::new(Counters::default()),
            releases: watch::Sender::new(0),
            jwt_key: OnceLock::new(),
        }
    }

    /// The state. A panic elsewhere (a test's own closure) leaves it usable.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL of `host` on this server, without a path.
    pub(super) fn url_for(&self, host: &str) -> String {
        let brackets = host.contains(':') && !host.starts_with('[');
        let host = if brackets {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    /// What `host` stands for. A name that nobody configured leads to the first org, so that the server works
    /// behind a forwarded port or a container's name.
    pub(super) fn place(&self, state: &State, host: &str) -> Place {
        if let Some(index) = state
            .orgs
            .iter()
            .position(|org| org.hosts.iter().any(|name| name == host))
        {
            return Place::Org(index);
        }
        if self.login_hosts.iter().any(|name| name == host) {
            Place::Login
        } else if self.test_hosts.iter().any(|name| name == host) {
            Place::Test
        } else {
            Place::Org(0)
        }
    }

    /// The key that signs JWT-format access tokens. It is made when the first one is asked for.
    pub(super) fn jwt_key(&self) -> &KeyPair {
        self.jwt_key
            .get_or_init(|| KeyPair::generate(KeySize::Rsa2048).expect("aws-lc-rs makes RSA keys"))
    }

    pub(super) fn counters(&self) -> watch::Receiver<Counters> {
        self.counters.subscribe()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }

    pub(super) fn release_stalled(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// Holds a request until the next release. The count of held requests falls also when the client goes away.
    pub(super) async fn stall(&self) {
        struct Held<'a>(&'a World);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.count(|counters| counters.stalled -= 1);
            }
        }
        let mut releases = self.releases.subscribe();
        releases.mark_unchanged();
        self.count(|counters| counters.stalled += 1);
        let _held = Held(self);
        // An error means that the world ends, which ends the request as well.
        releases.changed().await.ok();
    }

    /// The fault that this request meets, one use of which is spent. An org in maintenance is such a fault.
    pub(super) fn fault(&self, host: &str, path: &str) -> Option<Fault> {
        let mut state = self.state();
        if let Place::Org(index) = self.place(&state, host)
            && state.orgs[index].status == OrgStatus::Maintenance
        {
            return Some(Fault::Maintenance);
        }
        faults::take(&mut state.faults, host, path)
    }

    pub(super) fn remember(&self, request: &Request) {
        let mut state = self.state();
        if state.requests.len() == REMEMBERED {
            state.requests.pop_front();
        }
        state.requests.push_back(request.clone());
        drop(state);
        self.count(|counters| counters.requests += 1);
    }

    /// Notes a token request that has arrived; its number tells it apart from then on. It can be read before it
    /// is counted, so that whoever waits for the count finds it.
    pub(super) fn begin(&self, mut exchange: Exchange) -> u64 {
        let username = exchange.claim("sub").to_owned();
        let mut state = self.state();
        state.begun += 1;
        let number = state.begun;
        exchange.number = number;
        if state.exchanges.len() == REMEMBERED {
            state.exchanges.pop_front();
        }
        state.exchanges.push_back(exchange);
        drop(state);
        self.count(|counters| {
            counters.asked += 1;
            if !username.is_empty() {
                counters.users.entry(username).or_default().asked += 1;
            }
        });
        number
    }

    /// Notes how the token request `number` ended.
    pub(super) fn end(&self, number: u64, outcome: &Outcome, access_token: Option<&str>) {
        let mut username = String::new();
        if let Some(exchange) = self
            .state()
            .exchanges
            .iter_mut()
            .rev()
            .find(|x| x.number == number)
        {
            username = exchange.claim("sub").to_owned();
            exchange.outcome = outcome.clone();
            exchange.access_token = access_token.map(str::to_owned);
        }
        self.count(|counters| match outcome {
            Outcome::Granted => {
                counters.granted += 1;
                counters.users.entry(username).or_default().granted += 1;
            }
            Outcome::Refused(..) => counters.refused += 1,
            Outcome::Pending | Outcome::Faulted => {}
        });
    }
}
