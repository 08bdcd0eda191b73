//! What every account shares: the three seams, custody, and the counters.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::{
    clock::Clock,
    custody::Custody,
    logins::Logins,
    salesforce::{TokenEndpoint, TokenHost, TrustedHosts},
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
    /// How often Salesforce may be asked.
    pub logins: Logins,
    /// What happened so far.
    pub counters: Counters,
    /// Whether the agent is locked. Whoever holds something secret watches it.
    pub locked: watch::Receiver<bool>,
}

impl Agent {
    /// Notes the `Date` of an answer of `host`, UTC epoch seconds.
    pub fn note_date(&self, host: &TokenHost, date: i64) {
        let now = self.clock.now();
        self.logins.note_date(&host.to_string(), date, now);
        self.counters.note_skew(now.unix.saturating_sub(date));
    }
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
    /// Introspections asked of Salesforce.
    pub introspections: Count,
    /// Introspections that brought no answer or an error.
    pub introspection_failures: Count,
    /// Reports of a refused token that were looked into.
    pub rejections: Count,
    /// Requests that policy, the user or the audit denied.
    pub denials: Count,
    /// Audit records written to the file.
    pub audit_records: Count,
    /// Audit records that could not be.
    pub audit_failures: Count,
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
