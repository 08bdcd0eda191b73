//! The simulated clock: the machine's clock plus an offset that tests move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the simulator's time. Sessions, assertions, rate limits and the `Date` header all follow it.
#[derive(Debug, Default)]
pub(super) struct SimClock {
    offset_ms: AtomicI64,
}

impl SimClock {
    /// Milliseconds since 1970 on the simulated clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the simulator reads the machine's clock"
    )]
    pub(super) fn now_ms(&self) -> i64 {
        let real = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        real.saturating_add(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Seconds since 1970 on the simulated clock.
    pub(super) fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    /// How far the simulated clock is ahead of the machine's, in seconds; negative when it is behind.
    pub(super) fn offset(&self) -> i64 {
        self.offset_ms.load(Ordering::SeqCst).div_euclid(1000)
    }

    /// Sets the offset to `seconds`.
    pub(super) fn set_offset(&self, seconds: i64) {
        self.offset_ms
            .store(seconds.saturating_mul(1000), Ordering::SeqCst);
    }

    /// Moves the clock by `milliseconds`, forward or back.
    pub(super) fn advance_ms(&self, milliseconds: i64) {
        self.offset_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }
}
