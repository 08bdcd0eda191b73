//! The end: a signal or a request to stop, a time to drain, and a second signal that cuts it short.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// A request that is made once and remembered. Cloned to whoever may make it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Makes it.
    pub fn request(&self) {
        self.0.notify_one();
    }

    /// Ends when it was made.
    pub async fn requested(&self) {
        self.0.notified().await;
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT or SIGQUIT: drain and stop.
    Stop(&'static str),
    /// SIGUSR1: forget every key.
    DropKeys,
    /// SIGHUP: the terminal has gone, or settings are to be read again.
    Reload,
}

/// The signals that the daemon takes over.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// When the system does not let go of them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.quit.recv() => Asked::Stop("SIGQUIT"),
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.user.recv() => Asked::DropKeys,
        }
    }

    /// Waits for the next one that asks to stop, and names it.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}
