//! What the service manager is told: that the agent serves, how it is, and that it is alive (sd_notify(3)).

use std::{env, io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the status is told without a watchdog that asks more often.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// The way to the service manager. Without one, everything is done in vain and costs nothing.
pub struct Notifier {
    interval: Option<Interval>,
    watchdog: bool,
    status: String,
    failing: bool,
}

impl Notifier {
    /// For the process that the service manager started itself: tells at once that it serves, and how it is. An agent that was started by a launcher is not
    /// the main process of its unit, so it has nothing to say in its name.
    #[must_use]
    pub fn ready(is_main_process: bool, status: String) -> Self {
        let listens = is_main_process && env::var_os("NOTIFY_SOCKET").is_some();
        let watchdog = sd_notify::watchdog_enabled().filter(|timeout| listens && !timeout.is_zero());
        // Half of what is allowed, as sd_watchdog_enabled(3) recommends.
        let period = watchdog.map_or(STATUS_INTERVAL, |timeout| (timeout / 2).min(STATUS_INTERVAL));
        let interval = listens.then(|| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let mut notifier = Self {
            interval,
            watchdog: watchdog.is_some(),
            status: String::new(),
            failing: false,
        };
        notifier.send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        notifier.status = status;
        notifier
    }

    /// It lets requests in work end.
    pub fn stopping(&mut self) {
        self.send(&[
            NotifyState::Stopping,
            NotifyState::Status("Lets requests in work end"),
        ]);
    }

    /// Ends when it is time for [`Notifier::alive`]; never without a service manager.
    pub async fn due(&mut self) {
        match &mut self.interval {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }

    /// It is alive: whoever calls this was not held up. The status is told when it is another one.
    pub fn alive(&mut self, status: String) {
        if self.watchdog {
            self.send(&[NotifyState::Watchdog]);
        }
        if status != self.status {
            self.send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// A message that does not arrive is told once: the manager acts on what it misses, and journals it.
    fn send(&mut self, message: &[NotifyState<'_>]) {
        if self.interval.is_none() {
            return;
        }
        let sent: io::Result<()> = sd_notify::notify(message);
        match sent {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(%error, "the service manager cannot be told");
            }
            Err(_) => {}
        }
    }
}
