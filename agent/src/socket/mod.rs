//! The sockets: bound so that nobody else can or adopted, accepted from with care, and watched.

mod accept;
pub mod activation;
mod bind;
mod lobby;
mod presence;
mod probe;
mod restricted;

pub(crate) use bind::{judge_place, shell_word};

pub use accept::{Entrance, Table, accept};
pub use bind::{BindError, Bound};
pub use presence::{Presence, Standing};
pub use probe::{Listener, who_listens};
pub use restricted::{Opening, RestrictedBindError};
