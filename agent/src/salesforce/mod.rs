//! Salesforce as the agent sees it: which hosts it may talk to, the exchange, and what answers mean.

pub mod endpoint;
pub mod errors;
pub mod hosts;
pub mod http;
pub mod raw;

pub use endpoint::{ExchangeError, Grant, TokenEndpoint};
pub use hosts::{Audience, HostRejected, TokenHost, TrustedHosts};
pub use http::HttpEndpoint;
