//! A running simulator: the handle that tests and the binary hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::config::{Config, StartError};
use super::control;
use super::faults::FaultRule;
use super::knobs::Knobs;
use super::log::{Counters, Exchange, Request};
use super::org::{Org, User};
use super::server;
use super::tls::Authority;
use super::world::World;

/// Waiting for an event ends after so long, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// The event that was waited for did not come within 30 seconds; these are the counts at that time.
#[derive(Debug, thiserror::Error)]
#[error("the simulator did not see it within {PATIENCE:?}: {0:?}")]
pub struct WaitedTooLong(pub Counters);

/// A running simulator. It serves on a thread of its own, so that tests may block, or pause their clock. Dropping
/// it closes its listeners and connections.
pub struct Simulator {
    world: Arc<World>,
    ca_pem: String,
    control: Option<SocketAddr>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a simulator. When this returns it is listening.
    ///
    /// # Errors
    /// [`StartError`] when the configuration is not valid or an address is taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_blocking(config)
    }

    /// The same for callers without a runtime.
    ///
    /// # Errors
    /// [`StartError`] when the configuration is not valid or an address is taken.
    pub fn start_blocking(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let hosts = config.host_names();
        let authority = Authority::new()?;
        let tls = if config.tls {
            Some(authority.acceptor(&hosts, config.server_certificate)?)
        } else {
            None
        };
        let listeners = server::bind(config.listen, &hosts)?;
        let port = listeners[0].local_addr().map_err(StartError::Server)?.port();
        let control = config.control.map(control::bind).transpose()?;
        let control_address = control
            .as_ref()
            .map(std::net::TcpListener::local_addr)
            .transpose()
            .map_err(StartError::Server)?;
        let world = Arc::new(World::new(config, port));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Server)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let served = Served {
            world: Arc::clone(&world),
            listeners,
            control,
            tls,
        };
        let thread = std::thread::Builder::new()
            .name("salesforce-sim".to_owned())
            .spawn(move || runtime.block_on(served.until(stopped)))
            .map_err(StartError::Server)?;
        Ok(Self {
            world,
            ca_pem: authority.pem(),
            control: control_address,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The URL of the first org's My Domain, e.g. `https://localhost:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        let host = self.world.state().orgs[0].host().to_owned();
        self.world.url_for(&host)
    }

    /// The URL of the first login host, which plays `login.salesforce.com`.
    #[must_use]
    pub fn login_url(&self) -> String {
        self.world
            .url_for(self.world.login_hosts.first().map_or("localhost", String::as_str))
    }

    /// The URL of the first test host, which plays `test.salesforce.com`.
    #[must_use]
    pub fn test_url(&self) -> String {
        self.world
            .url_for(self.world.test_hosts.first().map_or("localhost", String::as_str))
    }

    /// The URL of `host` on this simulator.
    #[must_use]
    pub fn url_for(&self, host: &str) -> String {
        self.world.url_for(host)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.world.port
    }

    /// The certificate of its CA, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The URL of the control interface, if the configuration asked for one.
    #[must_use]
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// Seconds since 1970 on the simulated clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.world.clock.now()
    }

    /// Moves the simulated clock forward.
    pub fn advance(&self, by: Duration) {
        self.world
            .clock
            .advance_ms(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Sets how many seconds the simulated clock is ahead of the machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.world.clock.set_offset(seconds);
    }

    /// Reads or turns the knobs.
    pub fn knobs<R>(&self, change: impl FnOnce(&mut Knobs) -> R) -> R {
        change(&mut self.world.state().knobs)
    }

    /// Reads or changes the app with this consumer key.
    ///
    /// # Panics
    /// When there is none.
    pub fn with_app<R>(&self, consumer_key: &str, change: impl FnOnce(&mut App) -> R) -> R {
        let mut state = self.world.state();
        let app = state.apps.iter_mut().find(|app| app.consumer_key == consumer_key);
        change(app.expect("the app has been registered"))
    }

    /// Reads or changes the user of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn with_user<R>(&self, username: &str, change: impl FnOnce(&mut User) -> R) -> R {
        let mut state = self.world.state();
        let user = state.users.iter_mut().find(|user| user.username == username);
        change(user.expect("the user has been registered"))
    }

    /// Reads or changes the org of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn with_org<R>(&self, name: &str, change: impl FnOnce(&mut Org) -> R) -> R {
        let mut state = self.world.state();
        let org = state.orgs.iter_mut().find(|org| org.name == name);
        change(org.expect("the org has been registered"))
    }

    /// The app at `index`, in the order of registration.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn app(&self, index: usize) -> App {
        self.world.state().apps[index].clone()
    }

    /// The user at `index`, in the order of registration.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn user(&self, index: usize) -> User {
        self.world.state().users[index].clone()
    }

    /// The org at `index`, in the order of the configuration.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn org(&self, index: usize) -> Org {
        self.world.state().orgs[index].clone()
    }

    /// Registers an app, created now.
    pub fn add_app(&self, mut app: App) {
        app.created_at.get_or_insert(self.now());
        self.world.state().apps.push(app);
    }

    /// Registers a user.
    pub fn add_user(&self, user: User) {
        self.world.state().users.push(user);
    }

    /// Adds a fault behind those that are waiting already.
    pub fn fault(&self, rule: FaultRule) {
        self.world.state().faults.push(rule);
    }

    /// Takes all faults away. Requests that are held stay held until they are released.
    pub fn clear_faults(&self) {
        self.world.state().faults.clear();
    }

    /// Lets every request go on that a stall holds.
    pub fn release_stalled(&self) {
        self.world.release_stalled();
    }

    /// Ends all sessions: every token is dead from now on.
    pub fn expire_sessions(&self) {
        self.world.state().sessions.clear();
    }

    /// When the session of `token` ends if nothing happens, in seconds since 1970 on the simulated clock.
    #[must_use]
    pub fn session_expiry(&self, token: &str) -> Option<i64> {
        let now = self.now();
        self.world
            .state()
            .sessions
            .live(token, now)
            .map(super::session::Session::ends_at)
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.world.counters().borrow().clone()
    }

    /// The latest requests to the token endpoint, oldest first; at most 10,000.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.world.state().exchanges.iter().cloned().collect()
    }

    /// The latest request to the token endpoint.
    #[must_use]
    pub fn last_exchange(&self) -> Option<Exchange> {
        self.world.state().exchanges.back().cloned()
    }

    /// The latest requests of every kind, oldest first; at most 10,000.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.world.state().requests.iter().cloned().collect()
    }

    /// Waits until `reached` holds of the counts. It looks each time they change.
    ///
    /// # Errors
    /// [`WaitedTooLong`] after 30 seconds.
    pub async fn wait_until<F>(&self, reached: F) -> Result<Counters, WaitedTooLong>
    where
        F: Fn(&Counters) -> bool + Send + Sync + 'static,
    {
        let waiting = self.runtime.spawn(patient(Arc::clone(&self.world), reached));
        waiting
            .await
            .unwrap_or_else(|_| Err(WaitedTooLong(self.counters())))
    }

    /// The same for callers without a runtime.
    ///
    /// # Errors
    /// [`WaitedTooLong`] after 30 seconds.
    pub fn wait_until_blocking<F>(&self, reached: F) -> Result<Counters, WaitedTooLong>
    where
        F: Fn(&Counters) -> bool + Send + Sync + 'static,
    {
        self.runtime.block_on(patient(Arc::clone(&self.world), reached))
    }

    /// Waits until `count` token requests have arrived.
    ///
    /// # Errors
    /// [`WaitedTooLong`] after 30 seconds.
    pub async fn wait_for_exchanges(&self, count: u64) -> Result<Counters, WaitedTooLong> {
        self.wait_until(move |counters| counters.asked >= count).await
    }

    /// Waits until `count` tokens have been granted.
    ///
    /// # Errors
    /// [`WaitedTooLong`] after 30 seconds.
    pub async fn wait_for_grants(&self, count: u64) -> Result<Counters, WaitedTooLong> {
        self.wait_until(move |counters| counters.granted >= count).await
    }

    /// Waits until a stall holds `count` requests at the same time.
    ///
    /// # Errors
    /// [`WaitedTooLong`] after 30 seconds.
    pub async fn wait_for_stalled(&self, count: u64) -> Result<Counters, WaitedTooLong> {
        self.wait_until(move |counters| counters.stalled >= count).await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the thread has ended already.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn patient(world: Arc<World>, reached: impl Fn(&Counters) -> bool) -> Result<Counters, WaitedTooLong> {
    let mut counters = world.counters();
    let waiting = async { counters.wait_for(|now| reached(now)).await.map(|now| now.clone()) };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(Ok(now)) => Ok(now),
        Ok(Err(_)) | Err(_) => Err(WaitedTooLong(world.counters().borrow().clone())),
    }
}

/// What the thread needs to serve.
struct Served {
    world: Arc<World>,
    listeners: Vec<std::net::TcpListener>,
    control: Option<std::net::TcpListener>,
    tls: Option<TlsAcceptor>,
}

impl Served {
    /// Serves until told to stop; the connections end with the runtime.
    async fn until(self, stopped: oneshot::Receiver<()>) {
        for listener in self
            .listeners
            .into_iter()
            .filter_map(|one| TcpListener::from_std(one).ok())
        {
            tokio::spawn(server::serve(Arc::clone(&self.world), listener, self.tls.clone()));
        }
        if let Some(listener) = self.control.and_then(|one| TcpListener::from_std(one).ok()) {
            tokio::spawn(control::serve(self.world, listener));
        }
        // Both a message and a sender that is gone mean the same.
        stopped.await.ok();
    }
}
