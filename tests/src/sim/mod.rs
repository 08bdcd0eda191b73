//! A simulator of Salesforce's OAuth 2.0 JWT Bearer endpoint and of the REST calls its clients make next.
//!
//! The modules stand in the order in which a request meets them:
//!
//! ```text
//! config ─▶ simulator ─▶ tls ─▶ server ─▶ router ─▶ faults ─┬▶ token_endpoint ─▶ assertion ─▶ policy ─▶ grant
//!                                                           ├▶ introspect (and revoke)
//!                                                           └▶ identity · rest · soql · soap
//! control ─▶ knobs, registry, faults, time
//! ```
//!
//! What the simulator claims about Salesforce is written, with its evidence, in `docs/simulator.md`; every claim
//! has a test in `tests/suites/sim`.
//!
//! ```no_run
//! use sfkey_tests::sim::{Config, Simulator};
//!
//! # async fn example() -> Result<(), sfkey_tests::sim::StartError> {
//! let simulator = Simulator::start(Config::one_of_each()).await?;
//! simulator.knobs(|knobs| knobs.session_timeout = 900);
//! println!("{}", simulator.url());
//! # Ok(())
//! # }
//! ```

mod answer;
mod app;
mod assertion;
mod clock;
mod config;
mod control;
mod faults;
mod grant;
mod identity;
mod ids;
mod introspect;
mod knobs;
mod log;
mod org;
mod policy;
mod refusal;
mod rest;
mod router;
mod server;
mod session;
mod simulator;
mod soap;
mod soql;
mod tls;
mod token_endpoint;
mod world;

pub use app::{App, AppKind, IpPolicy, PermittedUsers, Secret};
pub use assertion::{AppKey, sign_assertion};
pub use config::{Config, ServerCertificate, StartError};
pub use faults::{Fault, FaultRule};
pub use ids::{long_id, random_id};
pub use knobs::{AudienceMode, IntrospectionMode, Knobs, Regrant, RestMode, RevocationMode, TokenFormat};
pub use log::{Counters, Exchange, Outcome, Request, UserCounters};
pub use org::{Org, OrgStatus, User};
pub use refusal::Refusal;
pub use simulator::{Simulator, WaitedTooLong};
