//! Time at the edge. Logic takes [`Now`] as an argument and never asks for it.

use std::time::Duration;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time, UTC seconds since the epoch. It may jump when the clock is set.
    pub unix: i64,
    /// Time since boot, suspend included. It never goes back.
    pub boot: Duration,
}

/// Where the time comes from: the kernel, or a test.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

/// The kernel's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Now {
            unix: wall.tv_sec,
            boot: boot_time(),
        }
    }
}

/// CLOCK_BOOTTIME counts suspend, which CLOCK_MONOTONIC leaves out.
#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}
