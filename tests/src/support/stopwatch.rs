//! Real time, for the few promises that are made in seconds.

use std::time::{Duration, Instant};

/// Started when made.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the edge at which tests read the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// UTC epoch seconds by the machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge at which tests read the clock")]
pub fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("before the year 292277026596")
}

/// Longest wait for something that surely happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `future` yields, so that a test fails instead of hanging.
///
/// # Panics
/// After 30 s.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens within 30 s")
}

/// Asks again and again until the answer is something; each time gives other tasks their turn.
///
/// # Panics
/// After 30 s.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}
