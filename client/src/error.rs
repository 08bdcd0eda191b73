//! What can go wrong between this process and the agent.

use std::{io, path::PathBuf, time::Duration};

use sfkey_proto::{PROTOCOL_VERSION, Refusal, sealing::SealingError};

use crate::trust::Distrust;

/// Why a call to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No variable says where the socket is: neither `SFKEY_SOCK` nor `XDG_RUNTIME_DIR` nor `HOME` is set.
    #[error(
        "where the agent's socket is cannot be told: SFKEY_SOCK, XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME are not set"
    )]
    NoPlace,
    /// The socket cannot be connected to.
    #[error("{}", unreachable(.socket, .source))]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What connect(2) answered.
        source: io::Error,
    },
    /// The agent took the request and did not answer in time.
    #[error("the agent at {} did not answer within {} s", .socket.display(), .waited.as_secs())]
    NoAnswer {
        /// The socket that was asked.
        socket: PathBuf,
        /// How long the call waited.
        waited: Duration,
    },
    /// The agent belongs to another user and closed the connection, as the main socket does to strangers.
    #[error("the agent at {} belongs to another user (uid {uid}) and closed the connection", .socket.display())]
    OthersAgent {
        /// The socket that was asked.
        socket: PathBuf,
        /// Whose agent it is.
        uid: u32,
    },
    /// The connection broke before an answer came.
    #[error("the connection to the agent at {} broke: {detail}", .socket.display())]
    Broken {
        /// The socket that was asked.
        socket: PathBuf,
        /// What the transport says.
        detail: String,
    },
    /// Something answered that does not serve this call: a restricted socket, or no `sfkey-agent` at all.
    #[error("{} does not serve this call: it is a restricted token socket, or no sfkey-agent", .socket.display())]
    NotServed {
        /// The socket that was asked.
        socket: PathBuf,
    },
    /// Something answered with a status that no `sfkey-agent` gives.
    #[error("what answers at {} is no sfkey-agent: {detail}", .socket.display())]
    Foreign {
        /// The socket that was asked.
        socket: PathBuf,
        /// The status, as text.
        detail: String,
    },
    /// The socket may be somebody else's, so no secret is sent to it.
    #[error("no secret is sent to {}: {why}", .socket.display())]
    Untrusted {
        /// The socket that was judged.
        socket: PathBuf,
        /// What speaks against it.
        why: Distrust,
    },
    /// The agent refused the request.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The agent speaks another version of the contract.
    #[error("the agent speaks protocol {agent}, and this program speaks protocol {PROTOCOL_VERSION}")]
    OtherProtocol {
        /// The agent's version.
        agent: u32,
    },
    /// The answer lacks something that every answer has, or holds what none may hold.
    #[error("the agent's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The agent's sealing key cannot be used.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// Says what connect(2) found, in words of what the user can see.
fn unreachable(socket: &std::path::Path, source: &io::Error) -> String {
    let socket = socket.display();
    match source.kind() {
        io::ErrorKind::NotFound => format!("no agent is running: there is no {socket}"),
        io::ErrorKind::ConnectionRefused => {
            format!("no agent is running: {socket} is left over from one that has ended")
        }
        io::ErrorKind::PermissionDenied => format!("this user may not connect to {socket}"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the agent at {socket} accepts no connection")
        }
        _ => format!("cannot connect to {socket}: {source}"),
    }
}
