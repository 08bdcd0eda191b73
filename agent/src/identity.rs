//! Who an account is towards Salesforce, checked field by field.

use sfkey_proto::v1::AccountSpec;

use crate::{
    limits::{MAX_FIELD_BYTES, MAX_LIFETIME_SECONDS},
    salesforce::{Audience, HostRejected, TokenHost, TrustedHosts},
};

/// Session timeouts that Salesforce lets an administrator set, in seconds.
pub const SESSION_TIMEOUTS: std::ops::RangeInclusive<u32> = 900..=86_400;

/// The whole identity that a token is minted for. Two accounts share a token only if all of it is equal,
/// which is why nothing looks tokens up by a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Where assertions go.
    pub host: TokenHost,
    /// The assertion's `aud`.
    pub audience: Audience,
    /// The assertion's `iss`.
    pub consumer_key: String,
    /// The assertion's `sub`.
    pub username: String,
}

/// Times that end an account or are known of its sessions, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Dropped after this time, whatever happens.
    pub lifetime: Option<u32>,
    /// Dropped when not used for this time.
    pub idle: Option<u32>,
    /// Session timeout of the app's policy.
    pub session_timeout: Option<u32>,
}

/// Why a specification is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRejected {
    /// A URL that is no good, or a pair that must not be.
    #[error(transparent)]
    Host(#[from] HostRejected),
    /// A field that is empty, too long, or has control characters or spaces.
    #[error("the {0} is empty, longer than 512 bytes, or has spaces or control characters")]
    Field(&'static str),
    /// A time out of its range.
    #[error("the {0}")]
    Time(&'static str),
}

impl Identity {
    /// Checks what a client sent.
    ///
    /// # Errors
    /// [`IdentityRejected`], which names the field and quotes no secret.
    pub fn of(spec: &AccountSpec, trusted: &TrustedHosts) -> Result<Self, IdentityRejected> {
        let host = TokenHost::parse(&spec.login_url)?;
        let audience = Audience::parse(&spec.audience, &host, trusted)?;
        let consumer_key = field("consumer key", &spec.consumer_key)?;
        let username = field("username", &spec.username)?;
        Ok(Self {
            host,
            audience,
            consumer_key,
            username,
        })
    }

    /// The same user and app at another pair of token host and audience.
    #[must_use]
    pub fn with_pair(&self, host: TokenHost, audience: Audience) -> Self {
        Self {
            host,
            audience,
            ..self.clone()
        }
    }
}

impl Terms {
    /// Checks what a client sent.
    ///
    /// # Errors
    /// [`IdentityRejected::Time`].
    pub fn of(spec: &AccountSpec) -> Result<Self, IdentityRejected> {
        let usual = 1..=MAX_LIFETIME_SECONDS;
        let check = |time: Option<u32>, range: &std::ops::RangeInclusive<u32>, what| match time {
            Some(time) if !range.contains(&time) => Err(IdentityRejected::Time(what)),
            _ => Ok(time),
        };
        Ok(Self {
            lifetime: check(
                spec.lifetime_seconds,
                &usual,
                "lifetime is not between 1 second and 366 days",
            )?,
            idle: check(
                spec.idle_seconds,
                &usual,
                "idle time is not between 1 second and 366 days",
            )?,
            session_timeout: check(
                spec.session_timeout_seconds,
                &SESSION_TIMEOUTS,
                "session timeout is not between 15 minutes and 24 hours",
            )?,
        })
    }
}

fn field(name: &'static str, text: &str) -> Result<String, IdentityRejected> {
    let fits = !text.is_empty() && text.len() <= MAX_FIELD_BYTES;
    if fits && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(text.to_owned())
    } else {
        Err(IdentityRejected::Field(name))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A well-formed specification.
    pub(crate) fn spec() -> AccountSpec {
        let mut spec = AccountSpec::default();
        spec.account = "prod".to_owned();
        spec.login_url = "https://login.salesforce.com".to_owned();
        spec.consumer_key = "consumer-key".to_owned();
        spec.username = "ci@acme.example".to_owned();
        spec
    }

    /// Its identity.
    pub(crate) fn identity() -> Identity {
        Identity::of(&spec(), &TrustedHosts::default()).expect("well-formed")
    }

    #[test]
    fn a_field_with_control_characters_spaces_or_excess_is_refused_by_name() {
        for bad in ["", "a b", "a\nb", "a\rb", "a\u{1b}b", &"x".repeat(513)] {
            let mut spec = spec();
            spec.username = bad.to_owned();
            let rejected = Identity::of(&spec, &TrustedHosts::default());
            assert_eq!(rejected, Err(IdentityRejected::Field("username")), "{bad:?}");
        }
    }

    #[test]
    fn times_out_of_range_are_refused() {
        let mut spec = spec();
        assert_eq!(Terms::of(&spec), Ok(Terms::default()));
        spec.session_timeout_seconds = Some(899);
        assert!(Terms::of(&spec).is_err());
        spec.session_timeout_seconds = Some(900);
        spec.lifetime_seconds = Some(0);
        assert!(Terms::of(&spec).is_err());
    }
}
