//! The sockets: bound so that nobody else can, and accepted from with care.

mod accept;
mod bind;
mod restricted;

pub(crate) use bind::shell_word;

pub use accept::{Entrance, Table, accept};
pub use bind::{BindError, Bound};
pub use restricted::{Opening, RestrictedBindError};
