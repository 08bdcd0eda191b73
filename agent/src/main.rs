//! The daemon: parse · harden · bind · build · wait · drain.

use std::{alloc::System, env, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use sfkey_agent::{
    access::{self, Access},
    audit::AuditError,
    config::Options,
    daemon::{Daemon, TooLittleProtection},
    hardening, launch, logging,
    settings::SettingsError,
    socket::{BindError, Bound, RestrictedBindError},
};
use tokio::runtime::Builder;
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block when it is freed: the copies that serialization, HTTP/2 and TLS leave behind. A block
/// that grows is moved and wiped, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = if options.check_config {
        check_config(&options)
    } else if options.launched || options.command.is_empty() {
        serve(&options)
    } else {
        launch(&options)
    };
    ended.map_or_else(|error| fail(&error), ExitCode::from)
}

fn launch(options: &Options) -> anyhow::Result<u8> {
    let (_, path) = place(options)?;
    launch::run(options.socket.as_deref(), &path, &options.command)
}

fn serve(options: &Options) -> anyhow::Result<u8> {
    let hardening = hardening::harden().context("the process cannot be hardened")?;
    logging::start(options.level(), options.log_format);
    let (owner, path) = place(options)?;
    let access = Access::load(options, owner, |name| env::var_os(name))?;
    let bound = Bound::new(&path, owner)?;
    let restricted = access.bind_token_socket(bound.path())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut daemon = Daemon::build(options, hardening, &bound, restricted.as_ref(), access)?;
        daemon.wait().await?;
        daemon.drain().await
    });
    runtime.shutdown_background();
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

fn place(options: &Options) -> anyhow::Result<(u32, PathBuf)> {
    let owner = rustix::process::geteuid().as_raw();
    let path = options
        .socket_path(owner, |name| env::var_os(name))
        .context("no place for the socket: neither --socket, SFKEY_SOCK, XDG_RUNTIME_DIR nor HOME is set")?;
    Ok((owner, path))
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that did not come up"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    let occupied = error.downcast_ref::<BindError>().map(BindError::fix);
    let unprotected = error
        .downcast_ref::<TooLittleProtection>()
        .map(|error| error.fix().to_owned());
    let restricted = error
        .downcast_ref::<RestrictedBindError>()
        .map(RestrictedBindError::fix);
    let misconfigured = error
        .downcast_ref::<SettingsError>()
        .map(|error| error.fix().to_owned());
    let unaudited = error
        .downcast_ref::<AuditError>()
        .map(|error| error.fix().to_owned());
    let fix = occupied
        .or(unprotected)
        .or(restricted)
        .or(misconfigured)
        .or(unaudited);
    eprintln!("error: {error:#}");
    eprintln!("try: {}", fix.as_deref().unwrap_or("sfkey-agent --help"));
    ExitCode::FAILURE
}
