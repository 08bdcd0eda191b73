//! The token endpoint as a seam: what is asked of it, and what comes back.

use std::{fmt, future::Future, pin::Pin};

use sfkey_proto::SalesforceAnswer;
use zeroize::Zeroizing;

use super::TokenHost;
use crate::assertion::Assertion;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Salesforce, over HTTPS or in a test.
pub trait TokenEndpoint: Send + Sync {
    /// Exchanges an assertion for an access token (RFC 7523, section 2.1). One request, no retry.
    fn exchange<'a>(
        &'a self,
        host: &'a TokenHost,
        assertion: Assertion,
    ) -> BoxFuture<'a, Result<Grant, ExchangeError>>;
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
    /// Salesforce's clock when it answered, UTC epoch seconds, from the `Date` header.
    pub date: Option<i64>,
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
    /// An OAuth error of Salesforce: it will be the same again.
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
