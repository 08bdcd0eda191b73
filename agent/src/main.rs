//! The daemon: parse · harden · bind · build · wait · drain.

use std::{
    alloc::System,
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use sfkey_agent::{
    access::{self, Access},
    audit::AuditError,
    config::Options,
    custody::heap,
    daemon::{Daemon, TooLittleProtection},
    hardening,
    launch::{self, Launched, command, detach},
    limits::MAX_OWN_LOG_BYTES,
    logging::{self, Log, LogError},
    settings::SettingsError,
    socket::{
        BindError, Bound, RestrictedBindError,
        activation::{ActivationError, Adopted, Passed, PassedSocket},
    },
};
use tokio::runtime::Builder;
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block when it is freed: the copies that serialization, HTTP/2 and TLS leave behind. A block
/// that grows is moved and wiped, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match () {
        () if options.check_config => check_config(&options),
        () if options.serves() => serve(options),
        () if options.daemon => leave_behind(&options),
        () => run_command(&options),
    };
    ended.map_or_else(|error| fail(&error), ExitCode::from)
}

fn leave_behind(options: &Options) -> anyhow::Result<u8> {
    let (owner, path) = place(options, true)?;
    detach::run(&path, owner, options.shell)
}

fn run_command(options: &Options) -> anyhow::Result<u8> {
    // The variable may name the agent of a caller, beside which there need be no room for another.
    let (_, path) = place(options, false)?;
    command::run(options.socket.as_deref(), &path, &options.command)
}

fn serve(mut options: Options) -> anyhow::Result<u8> {
    if options.launched == Some(Launched::Daemon) {
        detach::leave_session().context("the agent cannot leave its session")?;
    }
    let passed = Passed::read(std::process::id(), |name| env::var_os(name))?;
    heap::keep_large_blocks_out();
    let hardening = hardening::harden(passed.count()).context("the process cannot be hardened")?;
    let log = start_log(&options)?;
    let (owner, path) = place(&options, true)?;
    let Adopted { agent, token } = passed.adopt(owner)?;
    if let Some(token) = &token {
        token.require_at(options.token_socket.as_deref())?;
        options.token_socket = Some(token.path.clone());
    }
    let access = Access::load(&options, owner, |name| env::var_os(name))?;
    let mut bound = match bind(&options, agent, &path, owner) {
        Err(error) if options.launched == Some(Launched::Daemon) && is_running(&error) => {
            detach::let_go(launch::RUNNING)?;
            return Ok(0);
        }
        bound => bound?,
    };
    let mut restricted = match token {
        Some(token) => Some(Bound::adopt(token)?),
        None => access.bind_token_socket(bound.path())?,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut daemon = Daemon::build(&options, hardening, log, &bound, restricted.as_ref(), access)?;
        daemon.wait().await?;
        daemon.drain(&mut bound, restricted.as_mut()).await
    });
    runtime.shutdown_background();
    if options.launched == Some(Launched::CommandPrivate) {
        bound.remove_directory();
    }
    served.map(|()| 0)
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn check_config(options: &Options) -> anyhow::Result<u8> {
    let owner = rustix::process::geteuid().as_raw();
    let access = Access::load(options, owner, |name| env::var_os(name))?;
    for line in access::describe(&access) {
        println!("{line}");
    }
    Ok(0)
}

/// Adopts the socket that the service manager passed, or makes one.
fn bind(options: &Options, passed: Option<PassedSocket>, path: &Path, owner: u32) -> anyhow::Result<Bound> {
    match passed {
        Some(socket) => {
            socket.require_at(options.socket.as_deref())?;
            Ok(Bound::adopt(socket)?)
        }
        None => Ok(Bound::new(path, owner)?),
    }
}

fn is_running(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(BindError::Running(_)))
}

/// Starts the log. A detached agent serves without one rather than not at all, unless a file was asked for.
#[expect(clippy::print_stderr, reason = "there is no log to say it in")]
fn start_log(options: &Options) -> anyhow::Result<Log> {
    let place = options.log_place(|name| env::var_os(name));
    if let Some((path, false)) = &place {
        logging::set_aside(path, MAX_OWN_LOG_BYTES);
    }
    let file = place.as_ref().map(|(path, _)| path.as_path());
    let started = logging::start(options.level(), options.log_format, file);
    match (started, place) {
        (Err(error), Some((_, false))) => {
            eprintln!("warning: {error}; this agent keeps no log");
            Ok(logging::start(options.level(), options.log_format, None)?)
        }
        (started, _) => Ok(started?),
    }
}

fn place(options: &Options, by_variable: bool) -> anyhow::Result<(u32, PathBuf)> {
    let owner = rustix::process::geteuid().as_raw();
    let path = options
        .socket_path(owner, |name| {
            (by_variable || name != "SFKEY_SOCK")
                .then(|| env::var_os(name))
                .flatten()
        })
        .context("no place for the socket: neither --socket, SFKEY_SOCK, XDG_RUNTIME_DIR nor HOME is set")?;
    Ok((owner, path))
}

/// Standard error may be closed, and a process that ends must not panic over it.
fn fail(error: &anyhow::Error) -> ExitCode {
    let bind = error.downcast_ref::<BindError>().map(BindError::fix);
    let restricted = error.downcast_ref().map(RestrictedBindError::fix);
    let others = [
        error.downcast_ref().map(TooLittleProtection::fix),
        error.downcast_ref().map(ActivationError::fix),
        error.downcast_ref().map(LogError::fix),
        error.downcast_ref().map(SettingsError::fix),
        error.downcast_ref().map(AuditError::fix),
    ];
    let other = others
        .into_iter()
        .flatten()
        .next()
        .unwrap_or("sfkey-agent --help");
    let fix = bind.or(restricted).unwrap_or_else(|| other.to_owned());
    let mut stderr = io::stderr().lock();
    drop(io::Write::write_all(
        &mut stderr,
        format!("error: {error:#}\ntry: {fix}\n").as_bytes(),
    ));
    ExitCode::FAILURE
}
