//! Client of `sfkey-agent`: Salesforce access tokens for Rust tools, and the reading of private keys.
//!
//! ```text
//! environment   the variables that decide where things are, as a value
//! connect       where the socket is, and one connection to it
//! trust         may a secret be sent there: the kernel's word on who listens, and the directories' owners
//! client        the calls
//! error         what can go wrong
//! keyfile       private keys in the forms that people really have
//! ```

mod client;
pub mod connect;
pub mod environment;
mod error;
pub mod keyfile;
pub mod trust;

pub use client::{Checks, Client, Watch};
pub use environment::Environment;
pub use error::Error;
/// The contract: messages, the error table and sealing.
pub use sfkey_proto as proto;
