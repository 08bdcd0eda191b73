//! The contract between `sfkey-agent` and its callers.
//!
//! ```text
//! v1        generated messages and services of sfkey.agent.v1; redact.rs writes the Debug of the secret ones
//! sealing   RFC 9180 sealing of AddAccount, Lock and Unlock, used by both ends
//! refusal   the error table: reason, gRPC code, exit code, and how a failure travels in a Status
//! name      what an account may be called
//! duration  how lengths of time are written in files and on command lines
//! place     where the socket is, and whether the way to it can be trusted
//! ```

pub mod duration;
pub mod name;
pub mod place;
mod redact;
pub mod refusal;
pub mod sealing;

pub use name::AccountName;
pub use refusal::{Reason, Refusal, SalesforceAnswer};

/// Version of the contract, sent in `protocol_version`; it grows with every incompatible change.
pub const PROTOCOL_VERSION: u32 = 1;

/// `min_valid` of a request that names none, in seconds.
pub const DEFAULT_MIN_VALID_SECONDS: u32 = 60;

/// Largest request, in bytes: a sealed `AccountSpec` with an RSA 8192 key and the longest fields has about 8 KiB.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Largest reply, in bytes: a list of a thousand accounts with the longest fields.
pub const MAX_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// The serialized file descriptors of the contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sfkey.agent.v1.bin"));

/// Messages and services of package `sfkey.agent.v1`.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/sfkey.agent.v1.rs"));
}
