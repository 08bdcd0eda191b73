//! What an account knows of its token and of its attempts to get one, and what it decides. Pure: the time and
//! chance are arguments, and nothing here asks anybody.

use std::time::Duration;

use crate::{
    clock::Now,
    error::Failure,
    salesforce::Introspection,
    token::{Need, TokenHash, Validity},
};

/// Callers cause at most one exchange in this time while a token is held, and reports of a refused token at most
/// one look at the session.
pub(super) const EXCHANGE_PAUSE: Duration = Duration::from_secs(30);

/// Salesforce returned the token already held: the next early try waits at least this long, in seconds.
const EARLY_TRY_PAUSE: i64 = 60;

/// An end that moved by less than this many seconds has not moved.
pub(super) const MOVED: i64 = 30;

/// A token is renewed while this part of its life is left, the exact moment left to chance: late enough that the
/// logins are hardly more than the least possible, early enough for a second and a third try.
const RENEW_AT_LEFT: (f64, f64) = (0.065, 0.085);

/// Seconds before callers would begin to wait for the renewal.
const RENEW_BEFORE_NEED: i64 = 10;

/// Sessions after which an org that regrants in vain is tried early again: it may have changed.
const SESSIONS_IN_VAIN: u8 = 8;

/// Pauses after failures in a row, the first and the longest: of the network, and of Salesforce's refusals, which
/// will be the same again until somebody mends something.
const PASSING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
const LASTING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// Salesforce's own advice after too many logins, at least.
const RATE: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(3600));

/// A token that lives is checked again this often while somebody watches: timers stand still while the machine is
/// suspended.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Something about a token that its caller should know; stable codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warning {
    /// More was asked than three quarters of the token's life.
    MinValidCapped,
    /// Salesforce was asked a moment ago; this is the token held.
    FreshLimited,
    /// Renewal failed; this token is still alive.
    Stale,
}

/// How lasting a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The network, an outage: it may be over in a moment.
    Passing,
    /// Salesforce refused: it will be the same again until somebody mends something.
    Lasting,
    /// Too many logins.
    Rate,
}

/// What is done for a caller who needs a token.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// The token held will do.
    Serve(Option<Warning>),
    /// The answer comes with the exchange that is in flight.
    Join,
    /// Salesforce is asked.
    Ask(Ask),
    /// It failed a moment ago and would fail again; the time is boot time.
    Refuse(Failure, Duration),
}

/// What Salesforce is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A token.
    Mint,
    /// Whether the session was extended meanwhile; a token if not.
    ExtendOrMint,
    /// Whether the session is alive; a token if not.
    VerifyOrMint,
}

/// What a report of a refused token leads to.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// Another token is held by now, or none: the caller is served like any other.
    Outdated,
    /// The answer comes with what is in flight.
    Join,
    /// The session is looked at.
    Verify,
    /// It was looked at a moment ago: the session is not the cause.
    NotTheSession,
    /// Salesforce cannot be asked now.
    Refuse(Failure, Duration),
}

/// What came of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    /// A token that was not held before.
    New,
    /// The one held.
    Same,
}

/// A failure that is remembered.
#[derive(Clone, Debug)]
pub(super) struct HoldOff {
    /// What callers are told until then.
    pub(super) failure: Failure,
    /// Boot time at which Salesforce may be asked again.
    pub(super) until: Duration,
    kind: Kind,
    since: Duration,
}

/// The token held, without the token.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: TokenHash,
    validity: Validity,
    /// A caller whose need is not met causes no exchange before this boot time.
    early_try_at: Duration,
    /// It is renewed when this much is left, in seconds, or earlier for the sake of a need.
    renew_at_left: i64,
}

/// The state of one account, beside the token itself.
#[derive(Default)]
pub(super) struct Life {
    token: Option<Known>,
    hold_off: Option<HoldOff>,
    failures: u32,
    asked_at: Option<Duration>,
    /// A report of a refused token was looked into.
    verified_at: Option<Duration>,
    used_at: Option<Duration>,
    /// The largest needs, in seconds, that were met with the token held and with the one before.
    need: i64,
    need_before: i64,
    /// This org answers with the token held and leaves its end where it was: for so many sessions nothing is tried
    /// early.
    in_vain: u8,
    /// Session timeout that introspection taught, in seconds.
    session_timeout: Option<u32>,
    /// No renewal ahead of time before this boot time.
    barred_until: Duration,
}

impl Life {
    /// The validity of the token held, dead or alive.
    pub(super) fn validity(&self) -> Option<Validity> {
        self.token.map(|token| token.validity)
    }

    pub(super) fn hash(&self) -> Option<TokenHash> {
        self.token.map(|token| token.hash)
    }

    pub(super) fn is_live(&self, now: Now) -> bool {
        self.live(now).is_some()
    }

    pub(super) fn hold_off(&self) -> Option<&HoldOff> {
        self.hold_off.as_ref()
    }

    /// What introspection taught of this org's sessions, in seconds.
    pub(super) fn session_timeout(&self) -> Option<u32> {
        self.session_timeout
    }

    fn live(&self, now: Now) -> Option<&Known> {
        self.token.as_ref().filter(|token| token.validity.is_live(now))
    }

    fn held_off(&self, now: Now) -> Option<&HoldOff> {
        self.hold_off
            .as_ref()
            .filter(|hold_off| now.boot < hold_off.until)
    }

    fn asked_lately(&self, now: Now) -> bool {
        lately(self.asked_at, now)
    }

    /// What to do for a caller. `busy`: something is in flight already.
    pub(super) fn decide(&self, need: Need, now: Now, busy: bool) -> Decision {
        let Some(token) = self.live(now) else {
            return self.decide_without(need, now, busy);
        };
        let capped = need.min_valid > token.validity.longest_need();
        if token.validity.usable_at(now, need.min_valid) && !need.fresh {
            return Decision::Serve(capped.then_some(Warning::MinValidCapped));
        }
        if busy {
            return Decision::Join;
        }
        if self.held_off(now).is_some() {
            return Decision::Serve(Some(Warning::Stale));
        }
        let too_early = !need.fresh && now.boot < token.early_try_at;
        if self.asked_lately(now) || too_early {
            return Decision::Serve(Some(Warning::FreshLimited));
        }
        Decision::Ask(if need.fresh { Ask::Mint } else { Ask::ExtendOrMint })
    }

    fn decide_without(&self, need: Need, now: Now, busy: bool) -> Decision {
        if busy {
            return Decision::Join;
        }
        match self.held_off(now) {
            // Somebody says that it was mended: one look in a while cannot hurt.
            Some(_) if need.fresh && !self.asked_lately(now) => Decision::Ask(Ask::Mint),
            Some(hold_off) => Decision::Refuse(hold_off.failure.clone(), hold_off.until),
            None => Decision::Ask(Ask::Mint),
        }
    }

    /// What to do with a report that Salesforce refused the token with this hash.
    pub(super) fn rejected(&self, hash: &TokenHash, now: Now, busy: bool) -> Report {
        if self.live(now).is_none_or(|token| token.hash != *hash) {
            return Report::Outdated;
        }
        if busy {
            return Report::Join;
        }
        if lately(self.verified_at, now) {
            return Report::NotTheSession;
        }
        if let Some(hold_off) = self.held_off(now) {
            return Report::Refuse(hold_off.failure.clone(), hold_off.until);
        }
        Report::Verify
    }

    /// A report is being looked into.
    pub(super) fn verifying(&mut self, now: Now) {
        self.verified_at = Some(now.boot);
    }

    /// A caller got the token, which had to last for `need` seconds.
    pub(super) fn used(&mut self, need: i64, now: Now) {
        self.used_at = Some(now.boot);
        if need > self.need {
            self.need = need;
        }
    }

    /// Salesforce is asked.
    pub(super) fn asking(&mut self, now: Now) {
        self.asked_at = Some(now.boot);
    }

    /// Salesforce granted a token. One that is held already keeps its end, unless the grant itself tells another.
    /// `taught` is a session timeout that was learned with it.
    pub(super) fn granted(
        &mut self,
        hash: TokenHash,
        validity: Validity,
        taught: Option<u32>,
        now: Now,
        chance: f64,
    ) -> Granted {
        self.clear_failures();
        self.session_timeout = taught.or(self.session_timeout);
        let held = self.live(now).copied().filter(|held| held.hash == hash);
        let Some(held) = held else {
            let renewed_early = self.token.is_none_or(|old| old.validity.is_live(now));
            self.in_vain = if renewed_early {
                0
            } else {
                self.in_vain.saturating_sub(1)
            };
            let early_try_at = if self.in_vain > 0 { Duration::MAX } else { now.boot };
            self.need_before = std::mem::take(&mut self.need);
            self.hold(hash, validity, early_try_at, chance);
            return Granted::New;
        };
        let validity = if validity.is_told() {
            validity
        } else {
            held.validity
        };
        let in_vain = validity.left(now) < held.validity.left(now) + MOVED;
        self.in_vain = if in_vain { SESSIONS_IN_VAIN } else { 0 };
        let early_try_at = if in_vain {
            early_try(validity.left(now), now)
        } else {
            now.boot
        };
        self.hold(hash, validity, early_try_at, chance);
        Granted::Same
    }

    /// Introspection told that the session of the token held goes on until the end in `told`.
    pub(super) fn extended(&mut self, told: &Introspection, now: Now, utc: i64, chance: f64) {
        self.clear_failures();
        if let (Some(token), Some(end)) = (self.token, told.expires_at) {
            self.hold(
                token.hash,
                token.validity.extended(end, now, utc),
                now.boot,
                chance,
            );
        }
    }

    fn hold(&mut self, hash: TokenHash, validity: Validity, early_try_at: Duration, chance: f64) {
        let (least, most) = RENEW_AT_LEFT;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a life has few digits"
        )]
        let renew_at_left = (validity.lasts() as f64 * (least + (most - least) * chance)) as i64;
        self.token = Some(Known {
            hash,
            validity,
            early_try_at,
            renew_at_left,
        });
    }

    /// Salesforce gave none. `chance` in 0..1 spreads the next try.
    pub(super) fn failed(&mut self, failure: Failure, kind: Kind, now: Now, chance: f64) {
        let (first, longest) = match kind {
            Kind::Passing => PASSING,
            Kind::Lasting => LASTING,
            Kind::Rate => RATE,
        };
        // One fault of the network may be followed at once by a second try: most are over by then.
        let doublings = match (kind, self.failures) {
            (Kind::Passing, 0) => None,
            (Kind::Passing, failures) => Some(failures - 1),
            (_, failures) => Some(failures),
        };
        self.failures = self.failures.saturating_add(1);
        let pause = doublings.map_or(Duration::ZERO, |doublings| {
            let pause = first.saturating_mul(1 << doublings.min(16)).min(longest);
            pause.mul_f64(1.0 + chance / 4.0)
        });
        self.hold_off = Some(HoldOff {
            failure,
            until: now.boot + pause,
            kind,
            since: now.boot,
        });
    }

    /// Salesforce was not asked, for too much was asked of it already; nothing ahead of time before `until`.
    pub(super) fn barred(&mut self, until: Duration, now: Now, chance: f64) {
        let spread = Duration::from_secs(10).mul_f64(chance);
        self.barred_until = until.max(now.boot) + spread;
    }

    /// The boot time of the last failure, if it may be over by now.
    pub(super) fn failing_since(&self) -> Option<Duration> {
        let passing = self
            .hold_off
            .as_ref()
            .filter(|hold_off| hold_off.kind == Kind::Passing);
        passing.map(|hold_off| hold_off.since)
    }

    /// What failed before counts no more: the account was added again, or the host is back.
    pub(super) fn clear_failures(&mut self) {
        self.hold_off = None;
        self.failures = 0;
        self.barred_until = Duration::ZERO;
    }

    /// The token goes.
    pub(super) fn evict(&mut self) {
        self.token = None;
    }

    /// The boot time at which to renew ahead of time, if anybody would miss the token: `watched`, or used in the
    /// second half of its life. `None`: nothing is to be done before somebody asks.
    pub(super) fn renew_at(&self, now: Now, watched: bool) -> Option<Duration> {
        let blocked = self
            .hold_off
            .as_ref()
            .map_or(Duration::ZERO, |hold_off| hold_off.until);
        let blocked = blocked.max(self.barred_until);
        let Some(token) = &self.token else {
            return watched.then_some(blocked.max(now.boot));
        };
        let validity = &token.validity;
        let half = validity.boot_when_left(validity.lasts() / 2, now);
        let used = self.used_at.is_some_and(|at| at >= half);
        let worth_it = if validity.is_live(now) {
            watched || used
        } else {
            // One try for those who used it, and no more until somebody asks.
            watched || used && self.hold_off.is_none()
        };
        worth_it.then(|| self.due_at(token, now).max(blocked))
    }

    fn due_at(&self, token: &Known, now: Now) -> Duration {
        let validity = &token.validity;
        if self.in_vain > 0 {
            return validity.boot_when_left(0, now);
        }
        let need = self.need.max(self.need_before).min(validity.longest_need());
        let left = token.renew_at_left.max(need.saturating_add(RENEW_BEFORE_NEED));
        let due = validity.boot_when_left(left.min(validity.lasts() / 2), now);
        due.max(token.early_try_at)
    }

    /// What a renewal ahead of time asks for; `None` when it is not its time (the timer only says "look").
    pub(super) fn renewal(&self, now: Now, watched: bool) -> Option<Ask> {
        let due = self.renew_at(now, watched).is_some_and(|at| at <= now.boot);
        due.then(|| {
            if self.is_live(now) {
                Ask::ExtendOrMint
            } else {
                Ask::Mint
            }
        })
    }
}

/// When to try again after a try in vain: in the middle of what is left, at most once a minute, and not in the last
/// minute, in which a caller would wait for what the end brings anyway.
fn early_try(left: i64, now: Now) -> Duration {
    let pause = EARLY_TRY_PAUSE.max(left / 2);
    if left - pause < EARLY_TRY_PAUSE {
        return Duration::MAX;
    }
    now.boot + seconds(pause)
}

fn lately(at: Option<Duration>, now: Now) -> bool {
    at.is_some_and(|at| now.boot.saturating_sub(at) < EXCHANGE_PAUSE)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
