//! The search for secrets in another process's memory.
//!
//! ```text
//! memory     /proc/PID/maps and every readable byte behind it
//! quarry     the secrets, and where pieces of them are found
//! key        what is secret of an RSA key, and an X25519 key that is known by its public half only
//! form       secrets in the forms that they take while they are used
//! wrapped    the master secret of a locked agent
//! ```

mod form;
mod key;
mod memory;
mod quarry;
mod wrapped;

pub(crate) use form::{basic_credentials, chacha_schedule};
pub(crate) use key::{rsa_parts, x25519_private_key};
pub(crate) use memory::{Mapping, Memory, master_secret_page, secret_flags, secret_mappings};
pub(crate) use quarry::{Hit, Quarry};
pub(crate) use wrapped::wrapping_key;
