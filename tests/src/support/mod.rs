//! What the end-to-end suites stand on: real binaries, real sockets, and a simulator over TLS.
//!
//! ```text
//! binaries   the built programs, and a refusal to test stale ones
//! home       a private place: socket directory, HOME, XDG directories
//! agent      sfkey-agent as a process: start, log, signals, end
//! detached   sfkey-agent as it leaves itself behind
//! calls      gRPC over its socket, and what a failure must look like
//! command    sfkey as a command, with a clean environment
//! keys       RSA keys and the files that people keep them in
//! line       a line to the agent that can be cut
//! terminal   a pseudo-terminal with a person in front of it
//! stage      simulator, agent and a loaded account, in one line
//! canary     secrets that must not be found, and the hunt for them
//! golden     texts that are kept, so that a change of them is seen
//! stranger   another user
//! wire       HTTP/2 by hand, for what no well-behaved client sends
//! stopwatch  the one place that reads a clock
//! ```
//!
//! Everything panics with a reason where a test could not go on: a test that cannot run has failed.

pub mod agent;
pub mod binaries;
pub mod calls;
pub mod canary;
pub mod command;
pub mod detached;
pub mod golden;
pub mod home;
pub mod keys;
pub mod line;
pub mod stage;
pub mod stopwatch;
pub mod stranger;
pub mod terminal;
pub mod wire;

pub use agent::{Agent, Launch};
pub use calls::{Calls, refusal};
pub use canary::Canaries;
pub use command::{Ran, Sfkey};
pub use detached::Detached;
pub use home::Home;
pub use keys::TestKey;
pub use line::Line;
pub use stage::{Stage, StageSetup};
pub use stopwatch::Stopwatch;
pub use terminal::Terminal;
