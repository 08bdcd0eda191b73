//! What every account shares: the three seams, custody, and the counters.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::{
    clock::Clock,
    custody::Custody,
    salesforce::{TokenEndpoint, TrustedHosts},
};

/// The agent's shared parts. Made once at start.
pub struct Agent {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Salesforce.
    pub endpoint: Arc<dyn TokenEndpoint>,
    /// Secrets at rest; makes the signers.
    pub custody: Arc<Custody>,
    /// Hosts named with `--trust-host`.
    pub trusted: TrustedHosts,
    /// What happened so far.
    pub counters: Counters,
    /// Whether the agent is locked. Whoever holds something secret watches it.
    pub locked: watch::Receiver<bool>,
}

/// Counts since start, for GetStatus.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests for a token.
    pub token_requests: Count,
    /// Token requests answered from memory.
    pub cache_hits: Count,
    /// Exchanges asked of Salesforce.
    pub exchanges: Count,
    /// Exchanges that failed.
    pub exchange_failures: Count,
    /// Connections refused: foreign peers.
    pub connections_refused: Count,
    skew: Mutex<Option<i64>>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Notes by how many seconds the local clock is ahead of Salesforce's.
    pub fn note_skew(&self, seconds: i64) {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }

    /// The last skew noted.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
