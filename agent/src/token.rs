//! An access token's life: when it ends, whether it will do, when to ask again. Pure: `now` is an argument.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sfkey_proto::{DEFAULT_MIN_VALID_SECONDS, v1::ExpirySource};

use crate::{
    clock::Now,
    identity::SESSION_TIMEOUTS,
    salesforce::{Grant, Introspection},
};

/// Life assumed when nothing tells it, in seconds: the shortest session that Salesforce allows.
const ASSUMED_LIFE: i64 = 15 * 60;

/// A session that began within this many seconds was made by the exchange that is looked at.
const JUST_NOW: i64 = 60;

/// SHA-256 of an access token.
pub type TokenHash = [u8; 32];

/// What a caller needs of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Seconds that it must stay valid.
    pub min_valid: i64,
    /// Exchange even if the held one would do.
    pub fresh: bool,
}

impl Need {
    /// From a request; `None` is 60 s.
    #[must_use]
    pub fn new(min_valid_seconds: Option<u32>, fresh: bool) -> Self {
        let min_valid = i64::from(min_valid_seconds.unwrap_or(DEFAULT_MIN_VALID_SECONDS));
        Self { min_valid, fresh }
    }
}

/// When a token was received, when it ends, and how that is known. Both times are UTC epoch seconds by the clock
/// of Salesforce; what is left is told by the clocks of this machine, so that a wrong one does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When the agent received it.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// Where that was learned.
    pub source: ExpirySource,
    /// When that was learned, by the clocks of this machine.
    learned: Now,
    /// Seconds that it had left then.
    lasts: i64,
}

impl Validity {
    /// Learns the validity of a granted token: its own `exp`, `expires_in`, what introspection said, the session
    /// timeout of the account, else 15 minutes. `utc` is the time by the clock of Salesforce, UTC epoch seconds.
    #[must_use]
    pub fn of(
        grant: &Grant,
        introspection: Option<&Introspection>,
        session_timeout: Option<u32>,
        now: Now,
        utc: i64,
    ) -> Self {
        let known = |seconds: u32| utc.saturating_add(i64::from(seconds));
        let introspected = introspection.and_then(|told| told.expires_at);
        let (expires_at, source) = if let Some(exp) = jwt_expiry(&grant.access_token) {
            (exp, ExpirySource::Jwt)
        } else if let Some(seconds) = grant.expires_in {
            (known(seconds), ExpirySource::ExpiresIn)
        } else if let Some(exp) = introspected {
            (exp, ExpirySource::Introspection)
        } else if let Some(seconds) = session_timeout {
            (known(seconds), ExpirySource::SessionTimeout)
        } else {
            (utc.saturating_add(ASSUMED_LIFE), ExpirySource::Assumed)
        };
        Self::new(utc, expires_at, source, now, utc)
    }

    /// The same token with the end that introspection told at `now`.
    #[must_use]
    pub fn extended(&self, expires_at: i64, now: Now, utc: i64) -> Self {
        Self::new(self.issued_at, expires_at, ExpirySource::Introspection, now, utc)
    }

    fn new(issued_at: i64, expires_at: i64, source: ExpirySource, learned: Now, utc: i64) -> Self {
        Self {
            issued_at,
            expires_at,
            source,
            learned,
            lasts: expires_at.saturating_sub(utc),
        }
    }

    /// Seconds that are left at `now`; zero or less when it has ended. Of the two clocks the one that went further
    /// counts: boot time does not see a machine that was paused from outside, and wall time does not see itself
    /// being set back.
    #[must_use]
    pub fn left(&self, now: Now) -> i64 {
        let (boot, wall) = self.passed(now);
        self.lasts.saturating_sub(boot.max(wall))
    }

    /// Seconds since its end was learned, by boot time and by wall time.
    fn passed(&self, now: Now) -> (i64, i64) {
        let boot = now.boot.saturating_sub(self.learned.boot).as_secs();
        let boot = i64::try_from(boot).unwrap_or(i64::MAX);
        (boot, now.unix.saturating_sub(self.learned.unix))
    }

    /// Whether the token is still good at `now`.
    #[must_use]
    pub fn is_live(&self, now: Now) -> bool {
        self.left(now) > 0
    }

    /// Whether the token will do for a caller that needs it for `min_valid` more seconds, of which at most
    /// [`Validity::longest_need`] counts.
    #[must_use]
    pub fn usable_at(&self, now: Now, min_valid: i64) -> bool {
        let left = self.left(now);
        left > 0 && left >= min_valid.min(self.longest_need())
    }

    /// The largest `min_valid` that counts: three quarters of the life. A larger one could never be met,
    /// or would mean an exchange for every call.
    #[must_use]
    pub fn longest_need(&self) -> i64 {
        self.lasts.max(0) / 4 * 3
    }

    /// Seconds between the moment at which its end was learned and that end.
    #[must_use]
    pub fn lasts(&self) -> i64 {
        self.lasts
    }

    /// Boot time at which it has `left` seconds left, if the clocks go on from `now` as one.
    #[must_use]
    pub fn boot_when_left(&self, left: i64, now: Now) -> Duration {
        let (boot, wall) = self.passed(now);
        let ahead = wall.saturating_sub(boot).max(0);
        let after = self.lasts.saturating_sub(left).saturating_sub(ahead);
        let after = u64::try_from(after).unwrap_or(0);
        self.learned.boot.saturating_add(Duration::from_secs(after))
    }

    /// Whether the end is Salesforce's word on this very grant, not a guess from its session settings.
    #[must_use]
    pub fn is_told(&self) -> bool {
        matches!(
            self.source,
            ExpirySource::Jwt | ExpirySource::ExpiresIn | ExpirySource::Introspection
        )
    }
}

/// Whether the answer itself tells when the token ends, so that introspection has nothing to add.
#[must_use]
pub fn tells_its_end(grant: &Grant) -> bool {
    grant.expires_in.is_some() || jwt_expiry(&grant.access_token).is_some()
}

/// The session timeout, in seconds, that introspection of a token minted just now teaches: `exp − iat`. Later it
/// would teach too much, for `exp` moves with activity and `iat` does not.
#[must_use]
pub fn session_timeout(told: &Introspection, utc: i64) -> Option<u32> {
    let (issued_at, expires_at) = (told.issued_at?, told.expires_at?);
    let fresh = utc.saturating_sub(issued_at).abs() <= JUST_NOW;
    let timeout = u32::try_from(expires_at.saturating_sub(issued_at)).ok()?;
    (fresh && SESSION_TIMEOUTS.contains(&timeout)).then_some(timeout)
}

/// SHA-256 of a token, to tell whether Salesforce granted the one already held.
#[must_use]
pub fn hash(token: &str) -> TokenHash {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .try_into()
        .expect("a SHA-256 digest has 32 bytes")
}

/// The organization and user ids at the end of an identity URL, `https://HOST/id/ORG/USER`.
#[must_use]
pub fn ids(identity_url: &str) -> (Option<String>, Option<String>) {
    let is_id = |part: &&str| part.len() >= 15 && part.bytes().all(|c| c.is_ascii_alphanumeric());
    let Some((_, path)) = identity_url.split_once("/id/") else {
        return (None, None);
    };
    let mut parts = path.split('/');
    let mut next = || parts.next().filter(is_id).map(str::to_owned);
    (next(), next())
}

/// `exp` of a JWT-format access token. The signature is Salesforce's and is not ours to check: the token
/// came over TLS from the token host.
fn jwt_expiry(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: i64,
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = zeroize::Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    serde_json::from_slice::<Expiry>(&payload)
        .ok()
        .map(|claims| claims.exp)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Now {
        jumped(seconds, seconds)
    }

    /// `boot` and `wall` seconds after the token came.
    fn jumped(boot: i64, wall: i64) -> Now {
        Now {
            unix: NOW + wall,
            boot: Duration::from_secs(1000)
                + Duration::from_secs(u64::try_from(boot).expect("no time before")),
        }
    }

    fn grant(token: &str, expires_in: Option<u32>) -> Grant {
        Grant {
            access_token: Zeroizing::new(token.to_owned()),
            instance_url: String::new(),
            id: None,
            scope: None,
            expires_in,
        }
    }

    fn assumed() -> Validity {
        Validity::of(&grant("00D!x", None), None, None, at(0), NOW)
    }

    fn told(issued_at: i64, expires_at: i64) -> Introspection {
        Introspection {
            active: true,
            issued_at: Some(issued_at),
            expires_at: Some(expires_at),
        }
    }

    #[test]
    fn the_most_certain_source_of_expiry_wins() {
        let jwt = format!(
            "e30.{}.sig",
            URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", NOW + 99))
        );
        let asked = told(NOW, NOW + 1800);
        let learned = |token: &str, expires_in, asked: Option<&Introspection>, session| {
            let validity = Validity::of(&grant(token, expires_in), asked, session, at(0), NOW);
            (validity.expires_at - NOW, validity.source)
        };
        assert_eq!(
            learned(&jwt, Some(7200), Some(&asked), Some(900)),
            (99, ExpirySource::Jwt)
        );
        assert_eq!(
            learned("00D!x", Some(7200), Some(&asked), Some(900)),
            (7200, ExpirySource::ExpiresIn)
        );
        assert_eq!(
            learned("00D!x", None, Some(&asked), Some(3600)),
            (1800, ExpirySource::Introspection)
        );
        assert_eq!(
            learned("00D!x", None, None, Some(3600)),
            (3600, ExpirySource::SessionTimeout)
        );
        assert_eq!(learned("00D!x", None, None, None), (900, ExpirySource::Assumed));
        assert_eq!(
            learned("not.a.jwt", None, None, None),
            (900, ExpirySource::Assumed)
        );
    }

    #[test]
    fn a_token_is_usable_while_what_is_left_covers_the_need() {
        let validity = assumed();
        assert!(validity.usable_at(at(840), 60));
        assert!(!validity.usable_at(at(841), 60));
        assert!(validity.usable_at(at(899), 0));
        assert!(!validity.usable_at(at(900), 0));
    }

    #[test]
    fn a_need_beyond_three_quarters_of_the_life_counts_as_three_quarters() {
        let validity = assumed();
        assert_eq!(validity.longest_need(), 675);
        assert!(validity.usable_at(at(225), i64::from(u32::MAX)));
        assert!(!validity.usable_at(at(226), i64::from(u32::MAX)));
    }

    #[test]
    fn the_clock_that_went_further_tells_what_is_left() {
        let validity = assumed();
        assert_eq!(validity.left(jumped(100, 100)), 800);
        // Set back by ten minutes, and a machine that was paused for ten.
        assert_eq!(validity.left(jumped(100, -500)), 800);
        assert_eq!(validity.left(jumped(100, 700)), 200);
        assert!(!validity.is_live(jumped(100, 900)));
    }

    #[test]
    fn a_clock_that_is_wrong_from_the_start_changes_no_life() {
        for wrong in [-600, 600] {
            let utc = NOW - wrong;
            let asked = told(utc, utc + 1800);
            let validity = Validity::of(&grant("00D!x", None), Some(&asked), None, at(0), utc);
            assert_eq!((validity.left(at(0)), validity.expires_at), (1800, utc + 1800));
            assert!(!validity.is_live(at(1800)));
        }
    }

    #[test]
    fn only_a_session_that_began_just_now_teaches_its_timeout() {
        assert_eq!(session_timeout(&told(NOW, NOW + 7200), NOW + 3), Some(7200));
        assert_eq!(session_timeout(&told(NOW - 4000, NOW + 7200), NOW), None);
        assert_eq!(session_timeout(&told(NOW, NOW + 60), NOW), None);
        assert_eq!(
            session_timeout(
                &Introspection {
                    active: true,
                    issued_at: None,
                    expires_at: Some(NOW)
                },
                NOW
            ),
            None
        );
    }

    #[test]
    fn ids_come_from_the_identity_url_and_only_if_they_look_like_ids() {
        let (org, user) = ids("https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA");
        assert_eq!(
            (org.as_deref(), user.as_deref()),
            (Some("00D000000000001EAA"), Some("005000000000001AAA"))
        );
        assert_eq!(ids("https://login.salesforce.com/"), (None, None));
        assert_eq!(ids("https://x/id/../;rm").1, None);
    }

    proptest::proptest! {
        #[test]
        fn no_expiry_and_no_need_makes_arithmetic_overflow(
            utc in proptest::num::i64::ANY, exp in proptest::num::i64::ANY,
            unix in proptest::num::i64::ANY, boot in proptest::num::u64::ANY, need in 0..i64::from(u32::MAX),
        ) {
            let asked = told(utc, exp);
            let validity = Validity::of(&grant("00D!x", None), Some(&asked), None, at(0), utc);
            let now = Now { unix, boot: Duration::from_secs(boot) };
            let usable = validity.usable_at(now, need);
            proptest::prop_assert!(!usable || validity.is_live(now));
            proptest::prop_assert!(validity.boot_when_left(need, at(0)) >= at(0).boot);
        }
    }
}
