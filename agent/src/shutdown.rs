//! The end: a signal or a request to stop, a time to drain, and a second signal that cuts it short.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// Asks the agent to stop. Cloned to whoever may.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Asks; the first request counts.
    pub fn request(&self, by: &'static str) {
        tracing::info!(by, "stop requested");
        self.0.notify_one();
    }

    /// Ends when somebody asked.
    pub async fn requested(&self) {
        self.0.notified().await;
    }
}

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over.
    ///
    /// # Errors
    /// When the system does not let go of them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
