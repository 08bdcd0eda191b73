//! May a secret be sent to this socket?
//!
//! Sealing hides a secret from whoever reads along; it does not tell who is at the other end. The kernel
//! tells that: the uid of the process that listens, and the owners of the directories on the way to it.

use std::{fmt, path::Path};

use sfkey_proto::place;

/// What speaks against a socket.
#[derive(Debug)]
pub enum Distrust {
    /// The process that listens belongs to another user.
    Peer {
        /// The uid of that process.
        uid: u32,
    },
    /// A directory on the way to it does.
    Way(place::Distrust),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { uid } => write!(
                f,
                "the process that listens there belongs to another user (uid {uid})"
            ),
            Self::Way(distrust) => distrust.fmt(f),
        }
    }
}

/// Judges a socket whose listening process has the uid `peer`, for a caller with the uid `own`.
///
/// # Errors
/// What speaks against it. There is no way to overrule the judgement.
pub fn judge(socket: &Path, peer: u32, own: u32) -> Result<(), Distrust> {
    let real = socket.canonicalize().map_err(|source| {
        Distrust::Way(place::Distrust::Unknown {
            path: socket.to_path_buf(),
            source,
        })
    })?;
    judge_peer(&real, peer, own)?;
    // The socket itself may be a symbolic link; the way to it and the way behind it must both be safe.
    for path in [socket, &real] {
        place::judge_ancestors(path, own).map_err(Distrust::Way)?;
    }
    Ok(())
}

/// The listening process is one's own; root's too for a system socket below `/run`.
fn judge_peer(socket: &Path, peer: u32, own: u32) -> Result<(), Distrust> {
    if peer == own || (peer == 0 && socket.starts_with("/run")) {
        Ok(())
    } else {
        Err(Distrust::Peer { uid: peer })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    const ME: u32 = 1000;
    const OTHER: u32 = 1001;

    #[test]
    fn only_the_own_uid_may_listen_and_root_only_below_run() {
        let private = Path::new("/home/me/sfkey/agent.sock");
        let system = Path::new("/run/sfkey/agent.sock");
        assert!(judge_peer(private, ME, ME).is_ok());
        assert!(judge_peer(system, 0, ME).is_ok());
        assert!(judge_peer(private, 0, ME).is_err());
        assert!(judge_peer(Path::new("/runner/agent.sock"), 0, ME).is_err());
        assert!(judge_peer(system, OTHER, ME).is_err());
        assert!(judge_peer(private, OTHER, 0).is_err());
    }

    #[test]
    fn the_way_behind_a_socket_that_is_a_symbolic_link_is_judged_too() {
        let place = tempfile::tempdir().expect("a directory");
        let open = place.path().join("open");
        fs::create_dir(&open).expect("created");
        fs::write(open.join("agent.sock"), "").expect("written");
        let link = place.path().join("agent.sock");
        symlink(open.join("agent.sock"), &link).expect("linked");
        let own = rustix::process::geteuid().as_raw();
        judge(&link, own, own).expect("both ways are safe");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("mode set");
        let distrust = judge(&link, own, own).expect_err("others can write behind the link");
        assert!(matches!(distrust, Distrust::Way(_)), "{distrust}");
    }
}
