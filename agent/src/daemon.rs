//! The serving process between `bind` and the end: build, wait, drain.

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use anyhow::Context;
use aws_lc_rs::rand;
use sfkey_proto::{sealing::INSTANCE_ID_BYTES, v1::MemoryProtection};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, unix::pipe::Receiver},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, Access},
    accounts::Accounts,
    agent::{Agent, Counters},
    audit::Audit,
    clock::SystemClock,
    config::{Options, Protection},
    connection::{Connection, Connections},
    custody::{Custody, protection_name as name},
    hardening::Hardening,
    launch::{self, Launched, detach},
    limits::{DRAIN_TIME, HANDED_OVER_AT_ONCE},
    lock::Lock,
    logging::Log,
    logins::Logins,
    notify::Notifier,
    peer::Socket,
    salesforce::{HttpEndpoint, TrustedHosts},
    service::{self, Parts, Places, Service},
    shutdown::{Asked, Signals, Stop},
    socket::{self, Bound, Entrance, Presence, Standing, Table},
};

/// The system does not protect the master secret as much as was required.
#[derive(Debug, thiserror::Error)]
#[error("memory protection {} was required, and {} is what the system grants", required.name(), name(*reached))]
pub struct TooLittleProtection {
    required: Protection,
    reached: MemoryProtection,
}

impl TooLittleProtection {
    /// The next step.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self.reached {
            MemoryProtection::Mlock => {
                "use Linux 6.5 or newer, or require less: --require-memory-protection=mlock"
            }
            _ => "raise the limit of locked memory to 64 KiB or more (ulimit -l, LimitMEMLOCK=)",
        }
    }
}

/// The servers of all sockets, until the last of them ends.
type Serving = Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>>>>;

/// Accepted connections of one socket.
type Incoming = ReceiverStream<io::Result<Connection>>;

/// A daemon that serves.
pub struct Daemon {
    service: Service,
    access: Access,
    signals: Signals,
    stop: Stop,
    drain: CancellationToken,
    /// Ends when the launcher does; `None` without one.
    launcher: Option<Receiver>,
    log: Log,
    notifier: Notifier,
    presence: Presence,
    /// Of the restricted socket, if there is one.
    token_presence: Option<Presence>,
    standing: watch::Sender<Standing>,
    token_standing: watch::Sender<Standing>,
    settings_file: watch::Sender<Option<String>>,
    accepting: Vec<JoinHandle<()>>,
    serving: Serving,
}

impl Daemon {
    /// Builds every part and begins to accept.
    ///
    /// # Errors
    /// When the system does not give what is needed, or less protection than was required.
    pub fn build(
        options: &Options,
        hardening: Hardening,
        log: Log,
        bound: &Bound,
        restricted: Option<&Bound>,
        access: Access,
    ) -> anyhow::Result<Self> {
        let signals = Signals::new().context("signals cannot be taken over")?;
        let (locked, locks) = watch::channel(false);
        let agent = agent(options, locks)?;
        let table = table(hardening.descriptors, &access);
        let stop = Stop::default();
        let audit = access.start_audit(options, &agent)?;
        let (standing, stands) = watch::channel(Standing::Own);
        let (token_standing, token_stands) = watch::channel(Standing::Own);
        let (settings_file, settings_path) = watch::channel(path_of(&access));
        let service = Service::new(Parts {
            accounts: Accounts::new(Arc::clone(&agent)),
            policy: Arc::clone(&access.policy),
            lock: Lock::start(
                Arc::clone(&agent.custody),
                Arc::clone(&agent.clock),
                locked.clone(),
                table.connections().clone(),
            ),
            table: table.clone(),
            locked,
            stop: stop.clone(),
            ending: CancellationToken::new(),
            hardening,
            socket: bound.path().display().to_string(),
            socket_activated: bound.is_adopted(),
            standing: stands,
            token_standing: token_stands,
            instance_id: instance_id()?,
            started_at: agent.clock.now().unix,
            pid: std::process::id(),
            confirmer: access.start_confirmer(hardening.descriptors_before, &agent),
            audit: audit.clone(),
            audit_log: options.audit_log.as_ref().map(|path| path.display().to_string()),
            settings_file: settings_path,
            token_socket: restricted.map(|bound| bound.path().display().to_string()),
            requests: Places::new(access.limits.requests.0),
            request_time: access.limits.request_time.0,
            agent: Arc::clone(&agent),
        });
        let drain = CancellationToken::new();
        let (accepting, main) = open(bound, Socket::Main, table.clone(), &access, &agent, &audit)?;
        let main = service::serve(service.clone(), main, drain.clone().cancelled_owned());
        let mut accepting = vec![accepting];
        let serving: Serving = match restricted {
            None => Box::pin(main),
            Some(bound) => {
                let table = token_table(&table, &access);
                let (more, tokens) = open(bound, Socket::Token, table, &access, &agent, &audit)?;
                accepting.push(more);
                let tokens = service::serve_tokens(service.clone(), tokens, drain.clone().cancelled_owned());
                Box::pin(async move { tokio::try_join!(main, tokens).map(drop) })
            }
        };
        let (presence, token_presence) = announce(&agent, hardening, bound, restricted, &access);
        Ok(Self {
            notifier: Notifier::ready(options.launched.is_none(), service.summary()),
            service,
            access,
            signals,
            stop,
            drain,
            launcher: tell_launcher(options.launched)?,
            log,
            presence,
            token_presence,
            standing,
            token_standing,
            settings_file,
            accepting,
            serving,
        })
    }

    /// Serves until somebody asks to stop.
    ///
    /// # Errors
    /// When the server ends by itself.
    pub async fn wait(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                ended = &mut self.serving => return ended.context("the server ended by itself"),
                () = self.service.keep_dropping_ended() => {}
                () = self.stop.requested() => return Ok(()),
                () = launcher_ended(&mut self.launcher) => return Ok(()),
                () = self.notifier.due() => self.notifier.alive(self.service.summary()),
                standing = self.presence.changed() => self.stands(Socket::Main, standing),
                standing = changed(&mut self.token_presence) => self.stands(Socket::Token, standing),
                asked = self.signals.next() => match asked {
                    Asked::DropKeys => self.service.drop_keys(),
                    Asked::Reload => self.reload(),
                    Asked::Stop(signal) => {
                        tracing::info!(signal, "stop requested");
                        return Ok(());
                    }
                },
            }
        }
    }

    /// SIGHUP: what can be read or opened again is.
    fn reload(&mut self) {
        self.access.reload();
        self.settings_file.send_replace(path_of(&self.access));
        self.service.reopen_audit();
        match self.log.reopen() {
            Ok(()) => tracing::info!("SIGHUP: the log was reopened"),
            Err(error) => tracing::error!(%error, "SIGHUP: the old log is kept"),
        }
    }

    fn stands(&mut self, socket: Socket, standing: Standing) {
        let (told, name, find, reach) = match socket {
            Socket::Main => (
                &self.standing,
                "socket",
                "no client can find",
                "clients do not reach",
            ),
            Socket::Token => (
                &self.token_standing,
                "restricted socket",
                "its clients cannot find",
                "its clients do not reach",
            ),
        };
        told.send_replace(standing);
        match standing {
            Standing::Own => tracing::info!("the {name} is back at its path"),
            Standing::Removed => {
                tracing::error!("the {name} was removed from its path: {find} this agent; start it anew");
            }
            Standing::Replaced => tracing::error!(
                "something else stands at the {name}'s path: {reach} this agent; stop what does, and start it anew"
            ),
        }
        self.notifier.alive(self.service.summary());
    }

    /// Takes the socket away, and lets the requests in work end, for a while; a second signal cuts that short.
    ///
    /// # Errors
    /// When the server fails on its last steps.
    pub async fn drain(mut self, bound: &mut Bound, restricted: Option<&mut Bound>) -> anyhow::Result<()> {
        self.notifier.stopping();
        for accepting in self.accepting {
            accepting.abort();
            // It holds the listener, too; cancelled is how it ends.
            drop(accepting.await);
        }
        bound.withdraw();
        if let Some(restricted) = restricted {
            restricted.withdraw();
        }
        self.service.close_silent();
        self.service.end_streams();
        self.drain.cancel();
        tokio::select! {
            ended = tokio::time::timeout(DRAIN_TIME, &mut self.serving) => match ended {
                Ok(ended) => ended.context("the server failed while it drained")?,
                Err(_) => tracing::warn!(seconds = DRAIN_TIME.as_secs(), "requests in work were cut off"),
            },
            signal = self.signals.stop() => tracing::warn!(signal, "stopped at once"),
        }
        self.service.finish_audit().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Begins to accept at a socket.
fn open(
    bound: &Bound,
    socket: Socket,
    table: Table,
    access: &Access,
    agent: &Arc<Agent>,
    audit: &Audit,
) -> io::Result<(JoinHandle<()>, Incoming)> {
    let listener = UnixListener::from_std(bound.listener()?)?;
    let (sender, connections) = mpsc::channel(HANDED_OVER_AT_ONCE);
    let entrance = Entrance {
        socket,
        table,
        policy: Arc::clone(&access.policy),
        agent: Arc::clone(agent),
        audit: audit.clone(),
    };
    let accepting = tokio::spawn(socket::accept(listener, entrance, sender));
    Ok((accepting, ReceiverStream::new(connections)))
}

/// The table of the main socket, which is kept tidy from now on.
fn table(descriptors: u64, access: &Access) -> Table {
    let limits = access.limits;
    let connections = Connections::new(limits.requests.0);
    tokio::spawn(connections.clone().keep_tidy(limits.idle.0));
    let beside = access
        .token_socket()
        .map_or(0, |(socket, _)| socket.connections.0);
    Table::for_descriptors(descriptors, limits.connections.0, beside, connections)
}

fn token_table(main: &Table, access: &Access) -> Table {
    let socket = access.settings.token_socket.clone().unwrap_or_default();
    main.beside(socket.connections.0, socket.connections_per_uid.0)
}

/// Says on standard output that the daemon serves. An agent that serves a command takes standard input over,
/// which ends with the launcher; a detached one lets go of everything.
fn tell_launcher(launched: Option<Launched>) -> io::Result<Option<Receiver>> {
    match launched {
        None => Ok(None),
        Some(Launched::Daemon) => detach::let_go(launch::READY).map(|()| None),
        Some(Launched::Command | Launched::CommandPrivate) => {
            let mut stdout = io::stdout();
            writeln!(stdout, "{}", launch::READY)?;
            stdout.flush()?;
            Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?).map(Some)
        }
    }
}

/// Path of agent.toml, if there is one by now.
fn path_of(access: &Access) -> Option<String> {
    access.file().map(|path| path.display().to_string())
}

/// Never where nothing is watched.
async fn changed(presence: &mut Option<Presence>) -> Standing {
    match presence {
        Some(presence) => presence.changed().await,
        None => std::future::pending().await,
    }
}

async fn launcher_ended(launcher: &mut Option<Receiver>) {
    let Some(pipe) = launcher else {
        return std::future::pending().await;
    };
    let mut ignored = [0; 64];
    // The launcher never writes; whatever comes, only the end counts, and a broken pipe is one.
    while pipe.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

fn agent(options: &Options, locked: watch::Receiver<bool>) -> anyhow::Result<Arc<Agent>> {
    let trusted = TrustedHosts::new(options.trust_hosts.iter().cloned());
    let endpoint = HttpEndpoint::new(options.timeouts(), trusted.clone()).context("TLS cannot be set up")?;
    let custody = Custody::new().context("no memory for the master secret")?;
    let reached = custody.protection();
    if let Some(required) = options.require_memory_protection
        && !required.accepts(reached)
    {
        return Err(TooLittleProtection { required, reached }.into());
    }
    let clock = Arc::new(SystemClock);
    Ok(Arc::new(Agent {
        clock,
        endpoint: Arc::new(endpoint),
        custody,
        trusted,
        logins: Logins::default(),
        counters: Counters::default(),
        locked,
    }))
}

/// Says that the agent serves. The watch over the sockets stands before: whoever hears it finds nothing unfinished.
fn announce(
    agent: &Agent,
    hardening: Hardening,
    bound: &Bound,
    restricted: Option<&Bound>,
    access: &Access,
) -> (Presence, Option<Presence>) {
    let watch = |bound: &Bound| Presence::watch(bound.path(), bound.inode());
    let watched = (watch(bound), restricted.map(watch));
    report(agent, hardening, bound, restricted, access);
    watched
}

/// A downgrade is never silent, and neither is a CA file that TLS could not read.
fn report(agent: &Agent, hardening: Hardening, bound: &Bound, restricted: Option<&Bound>, access: &Access) {
    let protection = agent.custody.protection();
    if protection != MemoryProtection::MemfdSecret {
        tracing::warn!(
            memory_protection = name(protection),
            "the master secret is protected less than memfd_secret would"
        );
    }
    if let Some(file) = env::var_os("SSL_CERT_FILE").map(PathBuf::from)
        && let Err(error) = File::open(&file)
    {
        tracing::warn!(file = %file.display(), %error, "SSL_CERT_FILE cannot be read");
    }
    for program in access::missing_programs(&access.policy.rules()) {
        tracing::warn!(program = %program.display(), "agent.toml allows a program that is not there");
    }
    if let Some(file) = access.file() {
        tracing::info!(file = %file.display(), "agent.toml was read");
    }
    if let Some(restricted) = restricted {
        tracing::info!(socket = %restricted.path().display(), "the restricted socket is open");
    }
    tracing::info!(
        socket = %bound.path().display(),
        memory_protection = name(protection),
        dumpable = hardening.dumpable,
        core_limit = hardening.core_limit,
        descriptors = hardening.descriptors,
        "ready"
    );
}

fn instance_id() -> io::Result<[u8; INSTANCE_ID_BYTES]> {
    let mut id = [0; INSTANCE_ID_BYTES];
    rand::fill(&mut id).map_err(|_| io::Error::other("the system's random source failed"))?;
    Ok(id)
}
