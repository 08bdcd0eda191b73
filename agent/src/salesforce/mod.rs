//! Salesforce as the agent sees it: which hosts it may talk to, the exchange, and what answers mean.

mod answer;
pub mod endpoint;
pub mod errors;
pub mod grant;
pub mod hosts;
pub mod http;
pub mod raw;
pub mod session;

pub use endpoint::{Answered, Client, ExchangeError, Grant, Introspection, TokenEndpoint, UserInfo};
pub use hosts::{Audience, HostRejected, TokenHost, TrustedHosts};
pub use http::HttpEndpoint;
