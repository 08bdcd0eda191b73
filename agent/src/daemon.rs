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

use crate::{
    accounts::Accounts,
    agent::{Agent, Counters},
    clock::SystemClock,
    config::{Options, Protection},
    custody::Custody,
    hardening::Hardening,
    launch,
    limits::DRAIN_TIME,
    lock::Lock,
    policy::Policy,
    salesforce::{HttpEndpoint, TrustedHosts},
    service::{self, Parts, Service},
    shutdown::{Asked, Signals, Stop},
    socket::{self, Bound, Table},
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

/// A daemon that serves.
pub struct Daemon {
    service: Service,
    signals: Signals,
    stop: Stop,
    drain: Stop,
    /// Ends when the launcher does; `None` without one.
    launcher: Option<Receiver>,
    accepting: JoinHandle<()>,
    serving: Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>>>>,
}

impl Daemon {
    /// Builds every part and begins to accept.
    ///
    /// # Errors
    /// When the system does not give what is needed, or less protection than was required.
    pub fn build(options: &Options, hardening: Hardening, bound: &Bound, owner: u32) -> anyhow::Result<Self> {
        let signals = Signals::new().context("signals cannot be taken over")?;
        let (locked, locks) = watch::channel(false);
        let agent = agent(options, locks)?;
        let table = Table::for_descriptors(hardening.descriptors);
        let stop = Stop::default();
        let service = Service::new(Parts {
            accounts: Accounts::new(Arc::clone(&agent)),
            policy: Policy::new(owner),
            lock: Lock::start(
                Arc::clone(&agent.custody),
                Arc::clone(&agent.clock),
                locked,
                table.connections().clone(),
            ),
            table: table.clone(),
            stop: stop.clone(),
            hardening,
            socket: bound.path().display().to_string(),
            instance_id: instance_id()?,
            started_at: agent.clock.now().unix,
            pid: std::process::id(),
            requests: Service::request_places(),
            agent: Arc::clone(&agent),
        });
        let listener = UnixListener::from_std(bound.listener()?)?;
        let (sender, connections) = mpsc::channel(1);
        let accepting = tokio::spawn(socket::accept(listener, owner, table, Arc::clone(&agent), sender));
        let drain = Stop::default();
        let draining = drain.clone();
        let serving = service::serve(service.clone(), ReceiverStream::new(connections), async move {
            draining.requested().await;
        });
        report(&agent, hardening, bound);
        let launcher = if options.launched {
            Some(tell_launcher()?)
        } else {
            None
        };
        Ok(Self {
            service,
            signals,
            stop,
            drain,
            launcher,
            accepting,
            serving: Box::pin(serving),
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
                asked = self.signals.next() => match asked {
                    Asked::DropKeys => self.service.drop_keys(),
                    Asked::Reload => tracing::info!("SIGHUP: nothing to read again"),
                    Asked::Stop(signal) => {
                        tracing::info!(signal, "stop requested");
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Lets the requests in work end, for a while; a second signal cuts that short.
    ///
    /// # Errors
    /// When the server fails on its last steps.
    pub async fn drain(mut self) -> anyhow::Result<()> {
        self.accepting.abort();
        self.service.close_silent();
        self.drain.request();
        tokio::select! {
            ended = tokio::time::timeout(DRAIN_TIME, &mut self.serving) => match ended {
                Ok(ended) => ended.context("the server failed while it drained")?,
                Err(_) => tracing::warn!(seconds = DRAIN_TIME.as_secs(), "requests in work were cut off"),
            },
            signal = self.signals.stop() => tracing::warn!(signal, "stopped at once"),
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Says on standard output that the daemon serves, and takes standard input over.
fn tell_launcher() -> io::Result<Receiver> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", launch::READY)?;
    stdout.flush()?;
    Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)
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
        counters: Counters::default(),
        locked,
    }))
}

/// A downgrade is never silent, and neither is a CA file that TLS could not read.
fn report(agent: &Agent, hardening: Hardening, bound: &Bound) {
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
    tracing::info!(
        socket = %bound.path().display(),
        memory_protection = name(protection),
        dumpable = hardening.dumpable,
        core_limit = hardening.core_limit,
        descriptors = hardening.descriptors,
        "ready"
    );
}

/// As the contract's JSON names it.
fn name(protection: MemoryProtection) -> &'static str {
    match protection {
        MemoryProtection::MemfdSecret => "memfd_secret",
        MemoryProtection::Mlock => "mlock",
        MemoryProtection::None | MemoryProtection::Unspecified => "none",
    }
}

fn instance_id() -> io::Result<[u8; INSTANCE_ID_BYTES]> {
    let mut id = [0; INSTANCE_ID_BYTES];
    rand::fill(&mut id).map_err(|_| io::Error::other("the system's random source failed"))?;
    Ok(id)
}
