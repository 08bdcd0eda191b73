//! The socket: bound so that nobody else can, and accepted from with care.

mod accept;
mod bind;

pub use accept::{Table, accept};
pub use bind::{BindError, Bound};
