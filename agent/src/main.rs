//! The daemon: parse · harden · bind · build · wait · drain.

use std::{alloc::System, env, process::ExitCode, sync::Arc};

use anyhow::Context;
use aws_lc_rs::rand;
use clap::Parser;
use sfkey_agent::{
    accounts::Accounts,
    agent::{Agent, Counters},
    clock::SystemClock,
    config::Options,
    connection::Connection,
    custody::Custody,
    hardening::{self, Hardening},
    limits::DRAIN_TIME,
    lock::Lock,
    logging,
    policy::Policy,
    salesforce::{HttpEndpoint, TrustedHosts},
    service::{self, Parts, Service},
    shutdown::{Signals, Stop},
    socket::{self, BindError, Bound, Table},
};
use sfkey_proto::sealing::INSTANCE_ID_BYTES;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block when it is freed: the copies that serialization, HTTP/2 and TLS leave behind. A block
/// that grows is moved and wiped, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let options = Options::parse();
    match start(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn start(options: &Options) -> anyhow::Result<()> {
    let hardening = hardening::harden().context("the process cannot be hardened")?;
    logging::start(options.log_level, options.log_format);
    let owner = rustix::process::geteuid().as_raw();
    let path = options
        .socket_path(owner, |name| env::var_os(name))
        .context("no place for the socket: neither --socket, SFKEY_SOCK, XDG_RUNTIME_DIR nor HOME is set")?;
    let bound = Bound::new(&path, owner)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(run(options, hardening, &bound, owner));
    runtime.shutdown_background();
    served
}

async fn run(options: &Options, hardening: Hardening, bound: &Bound, owner: u32) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals cannot be taken over")?;
    let table = Table::for_descriptors(hardening.descriptors);
    let (locked, locks) = watch::channel(false);
    let agent = build(options, locks)?;
    let connections = table.connections().clone();
    let lock = Lock::start(
        Arc::clone(&agent.custody),
        Arc::clone(&agent.clock),
        locked,
        connections,
    );
    let stop = Stop::default();
    let service = Service::new(Parts {
        accounts: Accounts::new(Arc::clone(&agent)),
        policy: Policy::new(owner),
        table: table.clone(),
        lock,
        stop: stop.clone(),
        hardening,
        socket: bound.path().display().to_string(),
        instance_id: instance_id()?,
        started_at: agent.clock.now().unix,
        pid: std::process::id(),
        requests: Service::request_places(),
        agent: Arc::clone(&agent),
    });
    let listener = tokio::net::UnixListener::from_std(bound.listener()?)?;
    let (sender, connections) = mpsc::channel::<std::io::Result<Connection>>(1);
    let accepting = tokio::spawn(socket::accept(listener, owner, table, Arc::clone(&agent), sender));
    let drain = Stop::default();
    let draining = drain.clone();
    let serving = service::serve(service, ReceiverStream::new(connections), async move {
        draining.requested().await;
    });
    let mut serving = std::pin::pin!(serving);
    let protection = agent.custody.protection().as_str_name();
    tracing::info!(socket = %bound.path().display(), protection, ?hardening, "ready");
    tokio::select! {
        ended = &mut serving => return ended.context("the server ended by itself"),
        signal = signals.next() => stop.request(signal),
        () = stop.requested() => {}
    }
    accepting.abort();
    drain.request("drain");
    tokio::select! {
        ended = tokio::time::timeout(DRAIN_TIME, &mut serving) => match ended {
            Ok(ended) => ended.context("the server failed while it drained")?,
            Err(_) => tracing::warn!(seconds = DRAIN_TIME.as_secs(), "requests in work were cut off"),
        },
        signal = signals.next() => tracing::warn!(signal, "stopped at once"),
    }
    tracing::info!("stopped");
    Ok(())
}

fn build(options: &Options, locked: watch::Receiver<bool>) -> anyhow::Result<Arc<Agent>> {
    let trusted = TrustedHosts::new(options.trust_hosts.iter().cloned());
    let endpoint = HttpEndpoint::new(options.timeouts(), trusted.clone()).context("TLS cannot be set up")?;
    Ok(Arc::new(Agent {
        clock: Arc::new(SystemClock),
        endpoint: Arc::new(endpoint),
        custody: Custody::new().context("no memory for the master secret")?,
        trusted,
        counters: Counters::default(),
        locked,
    }))
}

fn instance_id() -> anyhow::Result<[u8; INSTANCE_ID_BYTES]> {
    let mut id = [0; INSTANCE_ID_BYTES];
    rand::fill(&mut id)
        .ok()
        .context("the system's random source failed")?;
    Ok(id)
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that did not come up"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    let fix = error.downcast_ref::<BindError>().map(BindError::fix);
    eprintln!("error: {error:#}");
    eprintln!("try: {}", fix.as_deref().unwrap_or("sfkey-agent --help"));
    ExitCode::FAILURE
}
