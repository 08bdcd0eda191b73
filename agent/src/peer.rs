//! Who is calling, from the kernel. No [`Peer`], no connection.

use std::io;

use tokio::net::UnixStream;

/// The process at the other end of a connection, as the kernel recorded it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    uid: u32,
    pid: Option<i32>,
}

/// Why a connection is closed before a byte is read.
#[derive(Debug, thiserror::Error)]
pub enum PeerRefused {
    /// Another user's process.
    #[error("the peer is user {uid}")]
    Foreign {
        /// Its user id.
        uid: u32,
    },
    /// The kernel does not say who it is.
    #[error("the kernel does not tell the peer: {0}")]
    Unknown(#[source] io::Error),
}

impl Peer {
    /// Identifies the other end of `stream` and lets only the user `owner` in.
    ///
    /// # Errors
    /// [`PeerRefused`]: the caller closes the stream unread.
    pub fn at_accept(stream: &UnixStream, owner: u32) -> Result<Self, PeerRefused> {
        let credentials = stream.peer_cred().map_err(PeerRefused::Unknown)?;
        if credentials.uid() != owner {
            return Err(PeerRefused::Foreign {
                uid: credentials.uid(),
            });
        }
        Ok(Self {
            uid: credentials.uid(),
            pid: credentials.pid(),
        })
    }

    /// Its user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its process id: for display only, for it can be another process's by the time it is read.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    #[cfg(test)]
    pub(crate) fn for_test(uid: u32) -> Self {
        Self { uid, pid: None }
    }
}
