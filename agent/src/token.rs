//! An access token's life: when it ends, whether it will do, when to ask again. Pure: `now` is an argument.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sfkey_proto::{DEFAULT_MIN_VALID_SECONDS, v1::ExpirySource};

use crate::salesforce::Grant;

/// Life assumed when nothing tells it, in seconds: the shortest session that Salesforce allows.
const ASSUMED_LIFE: i64 = 15 * 60;

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

/// When a token was received, when it ends, and how that is known. All times UTC epoch seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When the agent received it.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// Where that was learned.
    pub source: ExpirySource,
}

impl Validity {
    /// Learns the validity of a granted token: its own `exp`, `expires_in`, the configured session
    /// timeout, else 15 minutes.
    #[must_use]
    pub fn of(grant: &Grant, session_timeout: Option<u32>, now: i64) -> Self {
        let known = |seconds: u32| now.saturating_add(i64::from(seconds));
        let (expires_at, source) = if let Some(exp) = jwt_expiry(&grant.access_token) {
            (exp, ExpirySource::Jwt)
        } else if let Some(seconds) = grant.expires_in {
            (known(seconds), ExpirySource::ExpiresIn)
        } else if let Some(seconds) = session_timeout {
            (known(seconds), ExpirySource::SessionTimeout)
        } else {
            (now.saturating_add(ASSUMED_LIFE), ExpirySource::Assumed)
        };
        Self {
            issued_at: now,
            expires_at,
            source,
        }
    }

    /// Whether the token is still good at `now`.
    #[must_use]
    pub fn is_live(&self, now: i64) -> bool {
        now < self.expires_at
    }

    /// Whether the token will do for a caller that needs it for `min_valid` more seconds, of which at most
    /// [`Validity::longest_need`] counts.
    #[must_use]
    pub fn usable_at(&self, now: i64, min_valid: i64) -> bool {
        let needed = min_valid.min(self.longest_need());
        self.is_live(now) && self.expires_at.saturating_sub(now) >= needed
    }

    /// The largest `min_valid` that counts: three quarters of the life. A larger one could never be met,
    /// or would mean an exchange for every call.
    #[must_use]
    pub fn longest_need(&self) -> i64 {
        self.expires_at.saturating_sub(self.issued_at).max(0) / 4 * 3
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

    fn grant(token: &str, expires_in: Option<u32>) -> Grant {
        Grant {
            access_token: Zeroizing::new(token.to_owned()),
            instance_url: String::new(),
            id: None,
            scope: None,
            expires_in,
            date: None,
        }
    }

    #[test]
    fn the_most_certain_source_of_expiry_wins() {
        let jwt = format!(
            "e30.{}.sig",
            URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", NOW + 99))
        );
        let learned = |token: &str, expires_in, session| {
            let validity = Validity::of(&grant(token, expires_in), session, NOW);
            (validity.expires_at - NOW, validity.source)
        };
        assert_eq!(learned(&jwt, Some(7200), Some(900)), (99, ExpirySource::Jwt));
        assert_eq!(
            learned("00D!x", Some(7200), Some(900)),
            (7200, ExpirySource::ExpiresIn)
        );
        assert_eq!(
            learned("00D!x", None, Some(3600)),
            (3600, ExpirySource::SessionTimeout)
        );
        assert_eq!(learned("00D!x", None, None), (900, ExpirySource::Assumed));
        assert_eq!(learned("not.a.jwt", None, None), (900, ExpirySource::Assumed));
    }

    #[test]
    fn a_token_is_usable_while_what_is_left_covers_the_need() {
        let validity = Validity {
            issued_at: NOW,
            expires_at: NOW + 900,
            source: ExpirySource::Assumed,
        };
        assert!(validity.usable_at(NOW + 840, 60));
        assert!(!validity.usable_at(NOW + 841, 60));
        assert!(validity.usable_at(NOW + 899, 0));
        assert!(!validity.usable_at(NOW + 900, 0));
    }

    #[test]
    fn a_need_beyond_three_quarters_of_the_life_counts_as_three_quarters() {
        let validity = Validity {
            issued_at: NOW,
            expires_at: NOW + 900,
            source: ExpirySource::Assumed,
        };
        assert_eq!(validity.longest_need(), 675);
        assert!(validity.usable_at(NOW + 225, i64::from(u32::MAX)));
        assert!(!validity.usable_at(NOW + 226, i64::from(u32::MAX)));
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
            issued in proptest::num::i64::ANY, expires in proptest::num::i64::ANY,
            now in proptest::num::i64::ANY, need in 0..i64::from(u32::MAX),
        ) {
            let validity = Validity { issued_at: issued, expires_at: expires, source: ExpirySource::Jwt };
            let usable = validity.usable_at(now, need);
            proptest::prop_assert!(!usable || validity.is_live(now));
        }
    }
}
