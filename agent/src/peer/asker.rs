//! Who asks, as far as a yes to it may count again.

use crate::{peer::FileId, settings::UnitName};

use super::{Peer, Socket};

/// A caller that would be the same caller again: one program in one session, as sudo remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// Its program and session are known.
    Known {
        /// Its user.
        uid: u32,
        /// The socket that it came by.
        socket: Socket,
        /// Its program.
        program: FileId,
        /// Its systemd unit.
        unit: Option<UnitName>,
        /// The leader of its session, and when that one was started.
        session: (i32, u64),
    },
    /// They are not: a yes is for this process and this once.
    Unknown {
        /// Its user.
        uid: u32,
        /// The socket that it came by.
        socket: Socket,
        /// Its process id.
        pid: Option<i32>,
    },
}

impl Asker {
    /// Who `peer` is now, to an agent that runs as `owner`.
    #[must_use]
    pub fn of(peer: &Peer, owner: u32) -> Self {
        let (uid, socket) = (peer.uid(), peer.socket());
        let unknown = Self::Unknown {
            uid,
            socket,
            pid: peer.pid(),
        };
        let Some(process) = peer.process() else {
            return unknown;
        };
        let session = process.session();
        // Looked at last: what was seen before was seen of a process that is still there.
        let seen = process.look(owner);
        match (seen.executable, session) {
            (Some(executable), Some(session)) => Self::Known {
                uid,
                socket,
                program: executable.file,
                unit: seen.unit,
                session,
            },
            _ => unknown,
        }
    }

    /// Whether a yes may be remembered.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Known { .. })
    }
}
