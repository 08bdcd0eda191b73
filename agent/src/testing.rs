//! Fakes for unit tests, at the seams only.

use std::time::Duration;

use crate::clock::{Clock, Now};

/// UTC epoch seconds at which the test clock begins.
pub(crate) const START: i64 = 1_800_000_000;

/// Follows tokio's clock, which a paused test turns by hand.
pub(crate) struct TestClock(tokio::time::Instant);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let boot: Duration = self.0.elapsed();
        Now {
            unix: START + i64::try_from(boot.as_secs()).expect("a test's time"),
            boot,
        }
    }
}
