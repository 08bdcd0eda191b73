//! The daemon: parse · harden · bind · build · wait · drain.

use std::{alloc::System, env, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use sfkey_agent::{
    config::Options,
    daemon::Daemon,
    hardening, logging,
    socket::{BindError, Bound},
};
use tokio::runtime::Builder;
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block when it is freed: the copies that serialization, HTTP/2 and TLS leave behind. A block
/// that grows is moved and wiped, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let options = Options::parse();
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let hardening = hardening::harden().context("the process cannot be hardened")?;
    logging::start(options.log_level, options.log_format);
    let owner = rustix::process::geteuid().as_raw();
    let path = options
        .socket_path(owner, |name| env::var_os(name))
        .context("no place for the socket: neither --socket, SFKEY_SOCK, XDG_RUNTIME_DIR nor HOME is set")?;
    let bound = Bound::new(&path, owner)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut daemon = Daemon::build(options, hardening, &bound, owner)?;
        daemon.wait().await?;
        daemon.drain().await
    });
    runtime.shutdown_background();
    served
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
