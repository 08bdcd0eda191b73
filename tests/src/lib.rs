//! Test support of sfkey.
//!
//! [`sim`] is the simulator of Salesforce's OAuth 2.0 JWT Bearer endpoint that the suites run against; the
//! binary `salesforce-sim` offers the same to users (`docs/simulator.md`). [`support`] starts the programs of this workspace against
//! it.

pub mod sim;
pub mod support;
