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

impl Now {
    /// The wall time at a boot time, as far as this reading tells: UTC epoch seconds.
    #[must_use]
    pub fn wall_at(&self, boot: Duration) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        self.unix
            .saturating_add(seconds(boot))
            .saturating_sub(seconds(self.boot))
    }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use sfkey_tests::support::stranger::skipped;

    use super::*;

    /// Seconds by which the clock that counts suspend is ahead of the one that does not.
    const SUSPENDED: u64 = 1_000_000;

    /// Set in the process that is to believe that the machine was suspended.
    const INSIDE: &str = "SFKEY_TEST_AFTER_SUSPEND";

    /// Nobody suspends a machine for a test; in a time namespace the kernel's own clocks are what they would be
    /// after it (time_namespaces(7)). This test runs itself there.
    #[test]
    fn boot_time_counts_the_time_that_the_machine_was_suspended() {
        const TEST: &str = "boot_time_counts_the_time_that_the_machine_was_suspended";
        if std::env::var_os(INSIDE).is_some() {
            let awake = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let awake = Duration::try_from(awake).expect("it does not go back behind zero");
            assert!(SystemClock.now().boot >= awake + Duration::from_secs(SUSPENDED));
            return;
        }
        let suspended = |program: &str, arguments: &[&str]| {
            let mut command = Command::new("unshare");
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--map-root-user"]);
            }
            command.args(["--time", "--fork", "--boottime", &SUSPENDED.to_string(), program]);
            command.args(arguments).env(INSIDE, "1").output()
        };
        if !suspended("true", &[]).is_ok_and(|ran| ran.status.success()) {
            return skipped(TEST, "time namespaces cannot be had here");
        }
        let own = std::env::current_exe().expect("this program");
        let path = format!("clock::tests::{TEST}");
        let ran = suspended(&own.display().to_string(), &["--exact", &path]).expect("it is there");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
