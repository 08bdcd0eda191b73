//! What ends a watch from outside: a signal, or nobody who reads any more.

use std::{io, os::fd::AsFd};

use rustix::process::Signal;
use tokio::{
    io::Interest,
    net::unix::pipe,
    signal::unix::{Signal as Signals, SignalKind, signal},
};

use crate::exit::{Cause, Failure, words};

/// Waits for the end.
pub(super) struct Stop {
    interrupt: Signals,
    terminate: Signals,
    /// Standard output, when it is a pipe or a socket: its reader may go while nothing is written.
    reader: Option<pipe::Sender>,
    came: Option<Signal>,
}

impl Stop {
    /// From here on the signals are waited for, and standard output too when something is `printing` on it.
    pub(super) fn listen(printing: bool) -> Result<Self, Failure> {
        let listening = |kind| {
            signal(kind).map_err(|error| {
                let message = format!("signals cannot be waited for: {}", words(&error));
                Failure::new(Cause::Io, message, "check ulimit -n")
            })
        };
        Ok(Self {
            interrupt: listening(SignalKind::interrupt())?,
            terminate: listening(SignalKind::terminate())?,
            reader: printing.then(reader).flatten(),
            came: None,
        })
    }

    /// Waits for the end: good when it was asked for, quiet failure when nobody reads any more.
    pub(super) async fn requested(&mut self) -> Result<(), Failure> {
        tokio::select! {
            _ = self.interrupt.recv() => self.came = Some(Signal::INT),
            _ = self.terminate.recv() => self.came = Some(Signal::TERM),
            () = gone(self.reader.as_ref()) => {
                return Err(Failure::writing(&io::ErrorKind::BrokenPipe.into()));
            }
        }
        Ok(())
    }

    /// The signal that asked for the end.
    pub(super) fn signal(&self) -> Option<Signal> {
        self.came
    }
}

/// Standard output as something to wait for. A file cannot be waited for, and has no reader that goes. Nothing is
/// written through this, and the descriptor keeps its blocking mode, which others may share.
fn reader() -> Option<pipe::Sender> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned().ok()?;
    pipe::Sender::from_owned_fd_unchecked(descriptor).ok()
}

async fn gone(reader: Option<&pipe::Sender>) {
    let gone = match reader {
        Some(reader) => reader.ready(Interest::ERROR).await.is_ok(),
        None => false,
    };
    if !gone {
        std::future::pending::<()>().await;
    }
}
