//! How long to wait before the next try.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// The first wait: an agent that is started anew is there again within a moment.
const SHORTEST: Duration = Duration::from_millis(250);

/// The longest wait. A try costs one connect(2).
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that double, until something works.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pause {
    /// It works: the next wait is a short one.
    pub(super) fn reset(&mut self) {
        self.0 = SHORTEST;
    }

    /// Waits.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.next(chance())).await;
    }

    /// The next wait: between three quarters and all of the doubled one, so that many watchers of one agent do
    /// not come back at the same moment. `chance` is any number.
    fn next(&mut self, chance: u64) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).min(LONGEST);
        let parts = u32::try_from(chance % 256).expect("it is below 256");
        whole - whole * parts / (4 * 256)
    }
}

/// A random number; the standard library keys its hashers with one.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut pause = Pause::default();
        let waits: Vec<_> = (0..9).map(|_| pause.next(0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        pause.reset();
        assert_eq!(pause.next(0), SHORTEST);
    }

    #[test]
    fn chance_shortens_a_wait_by_a_quarter_at_most() {
        for chance in 0..=u64::from(u8::MAX) {
            let wait = Pause::default().next(chance);
            assert!(wait <= SHORTEST && wait >= SHORTEST * 3 / 4, "{wait:?}");
        }
    }
}
