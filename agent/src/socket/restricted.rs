//! The restricted socket's place: a directory of its own, so that a container can mount it, opened to a group or to
//! everybody as `agent.toml` says and no further.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use sfkey_proto::place::{Distrust, judge_ancestors};

use super::bind::{BindError, Bound, failed, judge_place, shell_word, whole};
use crate::settings::SocketMode;

/// To whom the file system opens the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Permission bits.
    pub mode: SocketMode,
    /// The group of socket and directory; `None` leaves the agent's own.
    pub group: Option<u32>,
}

/// Why the restricted socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RestrictedBindError {
    /// For the reasons that the main one could not.
    #[error("the restricted socket: {0}")]
    Bind(BindError),
    /// Its directory is there with other permissions.
    #[error("the directory {path} has mode {mode:04o}; as the restricted socket's it must have {wanted:04o}")]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// Its directory is there with another group.
    #[error(
        "the directory {path} belongs to group {gid}; as the restricted socket's it must belong to {wanted}"
    )]
    Group {
        /// The directory.
        path: PathBuf,
        /// Its group.
        gid: u32,
        /// What it should be.
        wanted: u32,
    },
    /// The group cannot be given.
    #[error("cannot give {path} to group {wanted}: {cause}")]
    Give {
        /// The directory or socket.
        path: PathBuf,
        /// The group.
        wanted: u32,
        /// Why not.
        cause: io::Error,
    },
    /// It would lie beside the main socket, which a container then would see, too.
    #[error("the restricted socket needs another directory than the main one, {0}")]
    Shared(PathBuf),
}

impl From<BindError> for RestrictedBindError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl RestrictedBindError {
    /// The next step.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Bind(error) => error.fix().replace("--socket", "--token-socket"),
            Self::Mode { path, wanted, .. } => format!("chmod {wanted:04o} {}", shell_word(path)),
            Self::Group { path, wanted, .. } => format!("chgrp {wanted} {}", shell_word(path)),
            Self::Give { .. } => {
                "name a group that the agent's user is in: group = GID under [token_socket] in agent.toml"
                    .to_owned()
            }
            Self::Shared(_) => "--token-socket PATH, or path under [token_socket] in agent.toml".to_owned(),
        }
    }
}

impl Bound {
    /// Binds the restricted socket at `path` for the user `owner`, in another directory than that of `main`. It
    /// is the owner's alone until everything is right, and then opened.
    ///
    /// # Errors
    /// [`RestrictedBindError`]; nothing that was there before is touched, but a socket that refuses connections.
    pub fn restricted(
        path: &Path,
        owner: u32,
        opening: Opening,
        main: &Path,
    ) -> Result<Self, RestrictedBindError> {
        let path = whole(path)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        prepare_directory(directory, &path, owner, opening)?;
        let real = |path: &Path| path.canonicalize().ok();
        if main.parent().is_some_and(|main| real(main) == real(directory)) {
            return Err(RestrictedBindError::Shared(directory.to_path_buf()));
        }
        let bound = Self::in_prepared_directory(path, owner)?;
        give(bound.path(), opening)?;
        set_mode(bound.path(), opening.mode.socket())?;
        Ok(bound)
    }
}

/// Makes the directory, or requires that it is as it would have been made: opening one that was there before would
/// open whatever else is in it.
fn prepare_directory(
    directory: &Path,
    socket: &Path,
    owner: u32,
    opening: Opening,
) -> Result<(), RestrictedBindError> {
    let wanted = opening.mode.directory();
    judge_place(directory, owner).map_err(BindError::Untrusted)?;
    if let Some(above) = directory.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(above)
            .map_err(failed("create", above))?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            let opened = give(directory, opening).and_then(|()| Ok(set_mode(directory, wanted)?));
            // A directory that was not opened would be in the way at the next start.
            opened.inspect_err(|_| drop(fs::remove_dir(directory)))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("create", directory)(error).into()),
    }
    judge_ancestors(socket, owner).map_err(BindError::Untrusted)?;
    let found = fs::metadata(directory).map_err(failed("look at", directory))?;
    let (mode, path) = (found.mode() & 0o7777, || directory.to_path_buf());
    if found.uid() != owner {
        let (path, uid) = (path(), found.uid());
        return Err(BindError::Untrusted(Distrust::Owner { path, uid }).into());
    }
    match opening.group.filter(|_| opening.mode == SocketMode::Group) {
        Some(wanted) if wanted != found.gid() => {
            let (path, gid) = (path(), found.gid());
            Err(RestrictedBindError::Group { path, gid, wanted })
        }
        _ if mode != wanted => {
            let path = path();
            Err(RestrictedBindError::Mode { path, mode, wanted })
        }
        _ => Ok(()),
    }
}

/// Gives it to the group, where the group is let in.
fn give(path: &Path, opening: Opening) -> Result<(), RestrictedBindError> {
    let Some(wanted) = opening.group.filter(|_| opening.mode == SocketMode::Group) else {
        return Ok(());
    };
    chown(path, None, Some(wanted)).map_err(|cause| RestrictedBindError::Give {
        path: path.to_path_buf(),
        wanted,
        cause,
    })
}

fn set_mode(path: &Path, mode: u32) -> Result<(), BindError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: Opening = Opening {
        mode: SocketMode::Group,
        group: None,
    };

    struct Place {
        directory: tempfile::TempDir,
        owner: u32,
    }

    impl Place {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().expect("a directory"),
                owner: rustix::process::geteuid().as_raw(),
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("sfkey-token/token.sock")
        }

        fn bind(&self, opening: Opening) -> Result<Bound, RestrictedBindError> {
            let main = self.directory.path().join("sfkey/agent.sock");
            Bound::restricted(&self.path(), self.owner, opening, &main)
        }

        fn modes(&self) -> (u32, u32) {
            let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
            (
                mode(&self.path()),
                mode(self.path().parent().expect("a directory")),
            )
        }
    }

    #[test]
    fn socket_and_directory_get_the_modes_that_belong_together() {
        for (mode, modes) in [
            (SocketMode::Owner, (0o600, 0o700)),
            (SocketMode::Group, (0o660, 0o750)),
            (SocketMode::Everybody, (0o666, 0o755)),
        ] {
            let place = Place::new();
            let opening = Opening { mode, group: None };
            let bound = place.bind(opening).expect("bound");
            assert_eq!(place.modes(), modes);
            drop(bound);
            drop(
                place
                    .bind(opening)
                    .expect("bound again in the directory that it left"),
            );
        }
    }

    #[test]
    fn a_directory_with_other_permissions_is_left_as_it_is() {
        let place = Place::new();
        drop(place.bind(OPENING).expect("bound"));
        let directory = place.path().parent().expect("a directory").to_path_buf();
        for mode in [0o700, 0o755, 0o770] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("mode set");
            let error = place.bind(OPENING).err().expect("refused");
            let fixed = error.fix().starts_with("chmod 0750 ") || error.fix().contains("only you and root");
            assert!(fixed, "{mode:o}: {error}: {}", error.fix());
            assert_eq!(fs::metadata(&directory).expect("there").mode() & 0o7777, mode);
        }
    }

    #[test]
    fn it_does_not_lie_beside_the_main_socket() {
        let place = Place::new();
        let main = place.directory.path().join("sfkey-token/agent.sock");
        let error = Bound::restricted(&place.path(), place.owner, OPENING, &main);
        assert!(matches!(error, Err(RestrictedBindError::Shared(_))));
    }
}
