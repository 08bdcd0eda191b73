//! How often Salesforce may be asked, over all accounts: a budget for each user, a breaker for each host, and the
//! clock of each host.
//!
//! Salesforce refuses a user after 3,600 logins an hour and may block an address after a storm of failed ones. So
//! no fault of a caller, of an account or of a network may make this agent come near that. The times are boot time,
//! which nobody sets.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Now, identity::Identity, salesforce::ExchangeError};

/// Logins of one user that may come one right after the other.
pub const LOGIN_BURST: u32 = 300;

/// One more login of a user in this time: with the burst 900 in the first hour, a quarter of what Salesforce allows,
/// and 600 in every further one.
pub const LOGIN_EVERY: Duration = Duration::from_secs(6);

/// After Salesforce said that a user logged in too often nobody logs in as that user for this time.
const RATE_PAUSE: Duration = Duration::from_secs(15 * 60);

/// A host that failed this many accounts in a row is taken for down. Fewer can have causes of their own, and each
/// of them backs off by itself.
const DOWN_AFTER: usize = 10;

/// Failures that lie further back say nothing about now.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(5 * 60);

/// First and longest time for which a host that is down is left alone.
const OUTAGE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(120));

/// A try that has not ended by then is taken for lost, and another account may try.
const TRY_TIME: Duration = Duration::from_secs(60);

/// For this time after an outage logins are spread out.
const RECOVERY: Duration = Duration::from_secs(60);

/// The distance of two logins at one host during recovery.
const RECOVERY_STEP: Duration = Duration::from_millis(100);

/// A login that would have to wait longer than this is refused instead, with the time to come back.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A skew up to this many seconds is left uncorrected: `Date` has whole seconds, and an answer takes its time.
const TOLERATED_SKEW: i64 = 5;

/// Users and hosts that are remembered. What is forgotten is idle, and starts with a full budget.
const MAX_REMEMBERED: usize = 4_096;

/// Budgets, breakers and clocks.
#[derive(Default)]
pub struct Logins(Mutex<State>);

#[derive(Default)]
struct State {
    users: HashMap<(String, String), Budget>,
    hosts: HashMap<String, Host>,
}

/// A token bucket: tokens are logins.
struct Budget {
    left: u32,
    /// When `left` was true; a new login is added every [`LOGIN_EVERY`] from here.
    since: Duration,
    /// Salesforce refused the rate: no login before.
    paused_until: Duration,
}

#[derive(Default)]
struct Host {
    /// Accounts that failed since the last answer of Salesforce, and when.
    failing: HashMap<String, Duration>,
    outage: Option<Outage>,
    recovered_at: Option<Duration>,
    /// When the next login may be made during recovery.
    next_step: Duration,
    clock: Option<HostClock>,
}

struct Outage {
    until: Duration,
    times: u32,
    /// One account tries whether the host is back.
    trying_since: Option<Duration>,
    error: ExchangeError,
}

/// Salesforce's time at a boot time: setting the local clock does not change it.
#[derive(Clone, Copy)]
struct HostClock {
    date: i64,
    boot: Duration,
}

/// Why Salesforce is not asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The user's budget is used up until this boot time.
    Budget(Duration),
    /// The host is down for many accounts; it is tried again at this boot time.
    Outage(Duration, ExchangeError),
}

/// The state of a budget or an outage, for GetStatus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `(host, user, logins left, boot time of the next one if none is left)`, those in use only.
    pub budgets: Vec<(String, String, u32, Option<Duration>)>,
    /// `(host, boot time of the next try)`.
    pub outages: Vec<(String, Duration)>,
}

impl Logins {
    /// May `who` be logged in now? If so, after which delay; it counts as a login.
    ///
    /// # Errors
    /// [`Barred`], with the time to come back.
    pub fn admit(&self, who: &Identity, now: Now) -> Result<Duration, Barred> {
        let mut state = self.state();
        let state = &mut *state;
        state.forget_idle(now.boot);
        let host = state.hosts.entry(who.host.to_string()).or_default();
        let delay = host.admits(now.boot)?;
        let user = (who.host.to_string(), who.username.clone());
        let budget = state.users.entry(user).or_insert_with(|| Budget::full(now.boot));
        if let Err(until) = budget.spend(now.boot) {
            return Err(Barred::Budget(until));
        }
        host.admitted(now.boot, delay);
        Ok(delay)
    }

    /// Salesforce answered, be it with a refusal: the host is well.
    pub fn answered(&self, who: &Identity, now: Now) {
        let mut state = self.state();
        let host = state.hosts.entry(who.host.to_string()).or_default();
        host.failing.clear();
        if host.outage.take().is_some() {
            host.recovered_at = Some(now.boot);
            host.next_step = now.boot + RECOVERY_STEP;
            tracing::info!(host = %who.host, "the token host answers again");
        }
    }

    /// The host could not be reached or could not serve. `chance` in 0..1 spreads the next try.
    pub fn failed(&self, who: &Identity, account: &str, error: &ExchangeError, now: Now, chance: f64) {
        let mut state = self.state();
        let host = state.hosts.entry(who.host.to_string()).or_default();
        host.failing
            .retain(|_, at| now.boot.saturating_sub(*at) < FAILURE_COUNTS_FOR);
        host.failing.insert(account.to_owned(), now.boot);
        let times = match &host.outage {
            Some(outage) if now.boot < outage.until => return,
            Some(outage) => outage.times + 1,
            None if host.failing.len() < DOWN_AFTER => return,
            None => 0,
        };
        let pause = OUTAGE.0.saturating_mul(1 << times.min(8)).min(OUTAGE.1);
        let pause = pause.mul_f64(1.0 + chance / 4.0);
        tracing::warn!(host = %who.host, seconds = pause.as_secs(), "the token host is down for several accounts");
        host.outage = Some(Outage {
            until: now.boot + pause,
            times,
            trying_since: None,
            error: error.clone(),
        });
    }

    /// Salesforce said that this user logged in too often.
    pub fn rate_exceeded(&self, who: &Identity, now: Now) {
        let mut state = self.state();
        let user = (who.host.to_string(), who.username.clone());
        let budget = state.users.entry(user).or_insert_with(|| Budget::full(now.boot));
        budget.paused_until = now.boot + RATE_PAUSE;
    }

    /// Whether the host came back after `since` (boot time): what failed before says nothing any more.
    #[must_use]
    pub fn recovered_after(&self, who: &Identity, since: Duration) -> bool {
        let state = self.state();
        let host = state.hosts.get(&who.host.to_string());
        host.and_then(|host| host.recovered_at)
            .is_some_and(|at| at >= since)
    }

    /// Notes the `Date` of an answer of `host`.
    pub fn note_date(&self, host: &str, date: i64, now: Now) {
        let clock = HostClock { date, boot: now.boot };
        self.state().hosts.entry(host.to_owned()).or_default().clock = Some(clock);
    }

    /// By how many seconds the local clock is ahead of the host's, as far as that is known.
    #[must_use]
    pub fn skew(&self, host: &str, now: Now) -> Option<i64> {
        let state = self.state();
        let clock = state.hosts.get(host)?.clock?;
        Some(now.unix.saturating_sub(clock.at(now.boot)))
    }

    /// The time by the clock of the host, UTC epoch seconds.
    #[must_use]
    pub fn utc(&self, host: &str, now: Now) -> i64 {
        let skew = self.skew(host, now).filter(|skew| skew.abs() > TOLERATED_SKEW);
        now.unix.saturating_sub(skew.unwrap_or(0))
    }

    /// Budgets that are not full, and outages.
    #[must_use]
    pub fn report(&self, now: Now) -> Report {
        let mut state = self.state();
        let mut report = Report::default();
        for ((host, user), budget) in &mut state.users {
            budget.refill(now.boot);
            let barred = budget.barred_until(now.boot);
            if budget.left < LOGIN_BURST || barred.is_some() {
                report
                    .budgets
                    .push((host.clone(), user.clone(), budget.left, barred));
            }
        }
        for (name, host) in &state.hosts {
            if let Some(outage) = &host.outage {
                report.outages.push((name.clone(), outage.until));
            }
        }
        report.budgets.sort();
        report.outages.sort();
        report
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps the tables from growing with every user who ever was loaded.
    fn forget_idle(&mut self, now: Duration) {
        if self.users.len() >= MAX_REMEMBERED {
            self.users.retain(|_, budget| {
                budget.refill(now);
                budget.left < LOGIN_BURST || budget.paused_until > now
            });
        }
        if self.hosts.len() >= MAX_REMEMBERED {
            self.hosts.retain(|_, host| host.outage.is_some());
        }
    }
}

impl Host {
    fn admits(&self, now: Duration) -> Result<Duration, Barred> {
        if let Some(outage) = &self.outage {
            let retry = match outage.trying_since {
                Some(since) => since + TRY_TIME,
                None => outage.until,
            };
            if now < retry {
                return Err(Barred::Outage(retry, outage.error.clone()));
            }
        }
        let recovering = self.recovered_at.is_some_and(|at| now < at + RECOVERY);
        let delay = if recovering {
            self.next_step.saturating_sub(now)
        } else {
            Duration::ZERO
        };
        if delay > LONGEST_DELAY {
            let error = ExchangeError::Network("the host is coming back from an outage".to_owned());
            return Err(Barred::Outage(now + delay, error));
        }
        Ok(delay)
    }

    fn admitted(&mut self, now: Duration, delay: Duration) {
        if let Some(outage) = &mut self.outage {
            outage.trying_since = Some(now);
        }
        self.next_step = now + delay + RECOVERY_STEP;
    }
}

impl Budget {
    fn full(now: Duration) -> Self {
        Self {
            left: LOGIN_BURST,
            since: now,
            paused_until: Duration::ZERO,
        }
    }

    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.since);
        let more = u32::try_from(elapsed.as_secs() / LOGIN_EVERY.as_secs()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(LOGIN_BURST);
        self.since = if self.left == LOGIN_BURST {
            now
        } else {
            self.since + LOGIN_EVERY * more
        };
    }

    fn barred_until(&self, now: Duration) -> Option<Duration> {
        let refilled = (self.left == 0).then(|| self.since + LOGIN_EVERY);
        let paused = (self.paused_until > now).then_some(self.paused_until);
        refilled.max(paused)
    }

    /// Takes one login, or tells when there will be one.
    fn spend(&mut self, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        match self.barred_until(now) {
            Some(until) => Err(until),
            None => {
                self.left -= 1;
                Ok(())
            }
        }
    }
}

impl HostClock {
    fn at(&self, boot: Duration) -> i64 {
        let since = boot.saturating_sub(self.boot).as_secs();
        self.date.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;

    fn at(seconds: u64) -> Now {
        Now {
            unix: 1_800_000_000 + i64::try_from(seconds).expect("a test's time"),
            boot: Duration::from_secs(seconds),
        }
    }

    fn down() -> ExchangeError {
        ExchangeError::Network("no route".to_owned())
    }

    /// So many accounts fail at second 0.
    fn fail(logins: &Logins, who: &Identity, accounts: usize) {
        for account in 0..accounts {
            logins.failed(who, &format!("account{account}"), &down(), at(0), 0.0);
        }
    }

    #[test]
    fn whatever_callers_do_a_user_is_logged_in_less_than_a_thousand_times_an_hour() {
        let (logins, who) = (Logins::default(), identity());
        let admitted = (0..36_000u64)
            .filter(|tenth| {
                let now = Now {
                    boot: Duration::from_millis(tenth * 100),
                    ..at(0)
                };
                logins.admit(&who, now).is_ok()
            })
            .count();
        assert_eq!(admitted, 300 + 3600 / 6 - 1);
    }

    #[test]
    fn a_budget_that_is_used_up_says_when_the_next_login_may_be_made_and_is_shown() {
        let (logins, who) = (Logins::default(), identity());
        assert_eq!(logins.report(at(0)), Report::default());
        for _ in 0..LOGIN_BURST {
            assert!(logins.admit(&who, at(1)).is_ok());
        }
        assert_eq!(logins.admit(&who, at(2)), Err(Barred::Budget(at(7).boot)));
        let (host, user) = (who.host.to_string(), who.username.clone());
        assert_eq!(logins.report(at(2)).budgets, [(host, user, 0, Some(at(7).boot))]);
        assert!(logins.admit(&who, at(7)).is_ok());
    }

    #[test]
    fn a_user_whose_rate_salesforce_refused_is_left_alone_for_a_quarter_of_an_hour() {
        let (logins, who) = (Logins::default(), identity());
        logins.rate_exceeded(&who, at(0));
        assert_eq!(logins.admit(&who, at(899)), Err(Barred::Budget(at(900).boot)));
        assert!(logins.admit(&who, at(900)).is_ok());
    }

    #[test]
    fn a_host_that_fails_many_accounts_is_tried_by_one_at_a_time_and_less_and_less_often() {
        let (logins, who) = (Logins::default(), identity());
        for (account, barred) in [(1, false), (1, false), (9, false), (10, true)] {
            fail(&logins, &who, account);
            assert_eq!(logins.admit(&who, at(1)).is_err(), barred, "{account}");
        }
        assert_eq!(
            logins.admit(&who, at(14)),
            Err(Barred::Outage(at(15).boot, down()))
        );
        assert!(logins.admit(&who, at(15)).is_ok(), "one tries");
        assert!(logins.admit(&who, at(16)).is_err(), "the others wait for it");
        logins.failed(&who, "account0", &down(), at(20), 0.0);
        assert_eq!(
            logins.admit(&who, at(20)),
            Err(Barred::Outage(at(50).boot, down()))
        );
        assert!(logins.admit(&who, at(50)).is_ok());
        assert!(
            logins.admit(&who, at(110)).is_ok(),
            "a try that never ended is lost"
        );
    }

    #[test]
    fn after_an_outage_logins_are_spread_out() {
        let (logins, who) = (Logins::default(), identity());
        fail(&logins, &who, DOWN_AFTER);
        assert!(!logins.recovered_after(&who, at(0).boot));
        logins.answered(&who, at(20));
        assert!(logins.recovered_after(&who, at(0).boot));
        let delays: Vec<_> = (0..3)
            .map(|_| logins.admit(&who, at(20)).expect("admitted"))
            .collect();
        assert_eq!(delays, [1, 2, 3].map(|step| RECOVERY_STEP * step));
        assert_eq!(logins.admit(&who, at(81)), Ok(Duration::ZERO));
    }

    #[test]
    fn failures_that_lie_minutes_apart_are_no_outage() {
        let (logins, who) = (Logins::default(), identity());
        for account in 0..30 {
            logins.failed(&who, &format!("account{account}"), &down(), at(account * 40), 0.0);
        }
        assert!(logins.admit(&who, at(1200)).is_ok());
    }

    #[test]
    fn the_clock_of_a_host_goes_on_when_the_local_one_is_set() {
        let logins = Logins::default();
        assert_eq!(
            (logins.skew("h", at(0)), logins.utc("h", at(0))),
            (None, at(0).unix)
        );
        logins.note_date("h", at(0).unix - 600, at(0));
        assert_eq!(
            (logins.skew("h", at(50)), logins.utc("h", at(50))),
            (Some(600), at(50).unix - 600)
        );
        let set = Now {
            unix: at(50).unix - 600,
            boot: at(50).boot,
        };
        assert_eq!((logins.skew("h", set), logins.utc("h", set)), (Some(0), set.unix));
    }

    #[test]
    fn a_few_seconds_of_skew_are_no_skew() {
        let logins = Logins::default();
        logins.note_date("h", at(0).unix - 5, at(0));
        assert_eq!(logins.utc("h", at(0)), at(0).unix);
    }
}
