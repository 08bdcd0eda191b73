//! `salesforce-sim`: a Salesforce to test integrations against, offline.

mod announce;
mod cli;
mod files;
mod setup;

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use sfkey_tests::sim::Simulator;
use tokio::signal::unix::{SignalKind, signal};

use cli::Cli;
use files::Files;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = "salesforce-sim --help";
            // Nothing can be done about an error stream that is closed.
            writeln!(io::stderr(), "error: {error:#}\ntry: {hint}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async { End::new(cli) })?;
    let mut files = Files::default();
    let config = setup::config(cli, &mut files)?;
    let simulator = Simulator::start_blocking(config)?;
    files.write_ca(cli, &simulator)?;
    announce::ready(cli, &simulator, &files).context("cannot write to standard output")?;
    runtime.block_on(end.come());
    Ok(())
}

/// What ends the simulator. Made before the first file is written, so that a signal leaves none behind.
struct End {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    stdin_closed: Option<tokio::sync::oneshot::Receiver<()>>,
}

impl End {
    fn new(cli: &Cli) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stdin_closed: cli.exit_on_stdin_close.then(watch_stdin),
        })
    }

    async fn come(mut self) {
        let stdin = async {
            match self.stdin_closed {
                // Both a message and a sender that is gone mean the end.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = stdin => {}
        }
    }
}

/// Reads standard input to its end on a thread that may outlive the rest.
fn watch_stdin() -> tokio::sync::oneshot::Receiver<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while matches!(io::stdin().read(&mut buffer), Ok(count) if count > 0) {}
        sender.send(()).ok();
    });
    receiver
}
