//! Fakes for unit tests, at the seams only.

use std::time::Duration;

use crate::{
    clock::{Clock, Now},
    custody::{Fingerprint, SignError, Signer},
};

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

/// Signs anything, with nothing.
pub(crate) struct TestSigner;

impl Signer for TestSigner {
    fn sign_rs256(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(vec![1; 256])
    }

    fn fingerprint(&self) -> Fingerprint {
        unreachable!("an account never asks which key it signs with")
    }
}
