//! The token endpoint as a seam: what is asked of it, and what comes back.

use std::{fmt, future::Future, pin::Pin};

use sfkey_proto::SalesforceAnswer;
use zeroize::Zeroizing;

use super::TokenHost;
use crate::assertion::Assertion;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Salesforce, over HTTPS or in a test. Every call is one request, without a retry.
pub trait TokenEndpoint: Send + Sync {
    /// Exchanges an assertion for an access token (RFC 7523, section 2.1).
    fn exchange<'a>(&'a self, host: &'a TokenHost, assertion: Assertion) -> BoxFuture<'a, Answered<Grant>>;

    /// Asks about an access token of the instance that granted it (RFC 7662).
    fn introspect<'a>(
        &'a self,
        instance_url: &'a str,
        token: &'a str,
        client: Client<'a>,
    ) -> BoxFuture<'a, Answered<Introspection>>;

    /// Ends the session of an access token (RFC 7009). A token that is no longer known has ended, too.
    fn revoke<'a>(&'a self, host: &'a TokenHost, token: &'a str) -> BoxFuture<'a, Answered<()>>;

    /// Asks whose access token it is.
    fn userinfo<'a>(&'a self, host: &'a TokenHost, token: &'a str) -> BoxFuture<'a, Answered<UserInfo>>;

    /// Asks the instance for the newest version of its API, such as `64.0`. That needs no token.
    fn versions<'a>(&'a self, instance_url: &'a str) -> BoxFuture<'a, Answered<String>>;

    /// Asks the API for the org's limits, which shows whether it takes the token.
    fn limits<'a>(
        &'a self,
        instance_url: &'a str,
        version: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Answered<()>>;
}

/// What came of a request, and Salesforce's clock when it answered.
#[derive(Debug)]
pub struct Answered<T> {
    /// The answer, or why there is none.
    pub outcome: Result<T, ExchangeError>,
    /// UTC epoch seconds, from the `Date` header.
    pub date: Option<i64>,
}

impl<T> Answered<T> {
    /// An outcome that came without a time.
    #[must_use]
    pub fn undated(outcome: Result<T, ExchangeError>) -> Self {
        Self { outcome, date: None }
    }
}

/// The app, as it shows itself for introspection.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// Consumer key.
    pub consumer_key: &'a str,
    /// Consumer secret.
    pub consumer_secret: &'a str,
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("consumer_key", &self.consumer_key)
            .field("consumer_secret", &"[redacted]")
            .finish()
    }
}

/// What introspection says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// Whether the session is alive. `false` has been seen for a token that works: of one that was minted just now
    /// it is a hint at the configuration, not proof of death.
    pub active: bool,
    /// `iat`, UTC epoch seconds.
    pub issued_at: Option<i64>,
    /// `exp`, UTC epoch seconds: the end as it is now, which moves with activity.
    pub expires_at: Option<i64>,
}

/// Whose token it is, as Salesforce says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// User id.
    pub user_id: String,
    /// Organization id.
    pub org_id: String,
    /// Username.
    pub username: String,
    /// Full name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
}

/// A granted token, checked for its form.
pub struct Grant {
    /// The access token.
    pub access_token: Zeroizing<String>,
    /// Base URL for REST calls, without a trailing slash; a believable one.
    pub instance_url: String,
    /// Identity URL.
    pub id: Option<String>,
    /// Scopes as sent.
    pub scope: Option<String>,
    /// Lifetime in seconds, when the answer had one.
    pub expires_in: Option<u32>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("access_token", &"[redacted]")
            .field("instance_url", &self.instance_url)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// Why there is no token. No variant holds anything but text that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// An OAuth error of Salesforce, or a refusal of its API: it will be the same again.
    Refused(SalesforceAnswer),
    /// No answer: name resolution, connection, TLS, time.
    Network(String),
    /// Salesforce says that it cannot serve now.
    Unavailable(SalesforceAnswer),
    /// An answer that Salesforce does not give: a proxy's page, a redirect, cut off, too long.
    Malformed(SalesforceAnswer),
    /// The assertion could not be signed.
    Signing,
    /// The task of the exchange ended without a result.
    Internal,
}
