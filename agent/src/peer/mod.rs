//! Who is calling, from the kernel. No [`Peer`], no connection.

mod asker;
mod crowds;
mod process;

use std::{io, os::fd::AsFd, sync::Arc};

use tokio::net::UnixStream;

use crate::custody::sockopt;

pub use asker::Asker;
pub use crowds::Crowds;
pub use process::{Executable, FileId, Process, Seen, identity_is_known};

/// Which of the agent's sockets a connection came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// The main one: everything, for the own user.
    Main,
    /// The restricted one: tokens of listed accounts, for listed users and groups.
    Token,
}

/// Whose a connection is, for whoever shares something out: a process, or a user whose processes are hidden from this
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    /// Where it came in.
    pub socket: Socket,
    /// Its user id.
    pub uid: u32,
    /// Its process id.
    pub pid: Option<i32>,
}

/// The process at the other end of a connection, as the kernel recorded it when the connection was made.
#[derive(Clone, Debug)]
pub struct Peer {
    socket: Socket,
    uid: u32,
    groups: Arc<[u32]>,
    process: Option<Process>,
}

/// Why a connection is closed before a byte is read.
#[derive(Debug, thiserror::Error)]
pub enum PeerRefused {
    /// A process that this socket does not answer.
    #[error("the peer is user {uid}")]
    Foreign {
        /// Its user id.
        uid: u32,
        /// Its process id.
        pid: Option<i32>,
    },
    /// A user who has as many connections as one may have.
    #[error("user {uid} has {most} connections already")]
    TooMany {
        /// The user id.
        uid: u32,
        /// How many that is.
        most: usize,
    },
    /// A process that connects faster than it is served.
    #[error("process {} of user {uid} connects faster than it is served", pid.unwrap_or_default())]
    Crowd {
        /// Its user id.
        uid: u32,
        /// Its process id.
        pid: Option<i32>,
    },
    /// The kernel does not say who it is.
    #[error("the kernel does not tell the peer: {0}")]
    Unknown(#[source] io::Error),
}

impl Peer {
    /// Identifies the other end of `stream`, which came by `socket`, and lets it in if `answered` says so.
    ///
    /// # Errors
    /// [`PeerRefused`]: the caller closes the stream unread.
    pub fn at_accept(
        stream: &UnixStream,
        socket: Socket,
        answered: impl FnOnce(&Self) -> bool,
    ) -> Result<Self, PeerRefused> {
        let credentials = stream.peer_cred().map_err(PeerRefused::Unknown)?;
        let peer = Self {
            socket,
            uid: credentials.uid(),
            groups: groups(stream, credentials.gid()).into(),
            process: credentials
                .pid()
                .filter(|pid| *pid > 0)
                .map(|pid| Process::new(pid, sockopt::peer_process(stream.as_fd()).ok())),
        };
        if answered(&peer) {
            return Ok(peer);
        }
        Err(PeerRefused::Foreign {
            uid: peer.uid,
            pid: peer.pid(),
        })
    }

    /// The socket that it came by.
    #[must_use]
    pub fn socket(&self) -> Socket {
        self.socket
    }

    /// Its user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// With whom it shares.
    #[must_use]
    pub fn party(&self) -> Party {
        Party {
            socket: self.socket,
            uid: self.uid,
            pid: self.pid(),
        }
    }

    /// Whether it is a member of the group `gid`.
    #[must_use]
    pub fn is_in(&self, gid: u32) -> bool {
        self.groups.contains(&gid)
    }

    /// Its process id: for display only, for it can be another process's by the time it is read.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The process itself; `None` when it is hidden from this one.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn for_test(uid: u32) -> Self {
        Self::of_socket_for_test(Socket::Main, uid, &[])
    }

    #[cfg(test)]
    pub(crate) fn of_process_for_test(pid: i32) -> Self {
        Self {
            process: Some(Process::new(pid, None)),
            ..Self::for_test(1000)
        }
    }

    #[cfg(test)]
    pub(crate) fn of_socket_for_test(socket: Socket, uid: u32, groups: &[u32]) -> Self {
        Self {
            socket,
            uid,
            groups: groups.into(),
            process: None,
        }
    }
}

/// The effective group and, where the kernel tells them, the supplementary ones. What is not told gives no access.
fn groups(stream: &UnixStream, effective: u32) -> Vec<u32> {
    let mut groups = sockopt::peer_groups(stream.as_fd()).unwrap_or_default();
    groups.push(effective);
    groups
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as Pair;

    use super::*;

    fn stream() -> (UnixStream, Pair) {
        let (ours, theirs) = Pair::pair().expect("a pair");
        ours.set_nonblocking(true).expect("non-blocking");
        (UnixStream::from_std(ours).expect("in a runtime"), theirs)
    }

    #[tokio::test]
    async fn the_kernel_tells_user_groups_and_process_of_the_other_end() {
        let (stream, _theirs) = stream();
        let peer = Peer::at_accept(&stream, Socket::Token, |_| true).expect("let in");
        assert_eq!(peer.socket(), Socket::Token);
        assert_eq!(peer.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(peer.pid(), i32::try_from(std::process::id()).ok());
        assert!(peer.is_in(rustix::process::getegid().as_raw()));
        for group in rustix::process::getgroups().expect("groups") {
            assert!(peer.is_in(group.as_raw()));
        }
        assert!(!peer.is_in(u32::MAX - 7));
    }

    #[tokio::test]
    async fn whoever_is_not_answered_is_refused_by_name() {
        let (stream, _theirs) = stream();
        let refused = Peer::at_accept(&stream, Socket::Main, |_| false).expect_err("refused");
        let own = rustix::process::geteuid().as_raw();
        assert!(
            matches!(refused, PeerRefused::Foreign { uid, pid: Some(_) } if uid == own),
            "{refused}"
        );
    }
}
