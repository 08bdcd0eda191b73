//! What the simulator remembers of the requests it was sent, so that tests can assert on them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// One request, whatever its path. `Debug` shows neither its headers nor its body, for they hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// When it arrived, in seconds since 1970 on the simulated clock.
    pub at: i64,
    /// Its method.
    pub method: String,
    /// The host it was sent to, without the port.
    pub host: String,
    /// Its path.
    pub path: String,
    /// Its query string, empty if it had none.
    pub query: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Its headers in the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of the header `name` (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The form parameters of the body, if the request says that it is a form.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        let is_form = self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            url::form_urlencoded::parse(&self.body).into_owned().collect()
        } else {
            Vec::new()
        }
    }

    /// The value of the form parameter `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.form()
            .into_iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("at", &self.at)
            .field("method", &self.method)
            .field("host", &self.host)
            .field("path", &self.path)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// How a token request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not yet answered: held by a stall.
    Pending,
    /// A token was granted.
    Granted,
    /// It was refused with this `error` and `error_description`.
    Refused(String, String),
    /// A fault replaced the answer.
    Faulted,
}

/// One request to the token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Counts from 1.
    pub number: u64,
    /// The request as it came.
    pub request: Request,
    /// The assertion, if there was one.
    pub assertion: Option<String>,
    /// Its decoded header; null if it cannot be decoded.
    pub header: Value,
    /// Its decoded claims; null if they cannot be decoded.
    pub claims: Value,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// The access token that was granted.
    pub access_token: Option<String>,
}

impl Exchange {
    /// The claim `name` as text; empty if it is absent or no text.
    #[must_use]
    pub fn claim(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("number", &self.number)
            .field("request", &self.request)
            .field("header", &self.header)
            .field("claims", &self.claims)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// What was asked of the token endpoint for one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserCounters {
    /// Exchanges asked.
    pub asked: u64,
    /// Exchanges granted.
    pub granted: u64,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests of every kind.
    pub requests: u64,
    /// Requests to the token endpoint.
    pub asked: u64,
    /// Grants.
    pub granted: u64,
    /// Refusals.
    pub refused: u64,
    /// Requests to the introspection endpoint.
    pub introspections: u64,
    /// Requests to the revocation endpoint.
    pub revocations: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Requests that a stall holds at this moment.
    pub stalled: u64,
    /// By username, as the assertions' `sub` tells it.
    pub users: BTreeMap<String, UserCounters>,
}

impl Counters {
    /// The counts of one user; zero for one who never asked.
    #[must_use]
    pub fn of(&self, username: &str) -> UserCounters {
        self.users.get(username).copied().unwrap_or_default()
    }
}
