//! Takes the socket's path: one agent a path, nothing foreign displaced, never visible to others.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    process::umask,
};
use sfkey_proto::place::{Distrust, judge_ancestors};

use super::{
    activation::PassedSocket,
    probe::{Listener, who_listens},
};
use crate::limits::{HANDOVER_STEP, HANDOVER_TIME};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Longest path of a Unix socket, in bytes, the final NUL aside (unix(7)).
const MAX_PATH_BYTES: usize = 107;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent serves this path.
    #[error("an agent is running at {0}")]
    Running(PathBuf),
    /// Something that is no socket of ours stands there.
    #[error("{path} is {what}, not a socket of this user")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The directory lets others in.
    #[error("the directory {path} has mode {mode:04o}; only its owner may have access")]
    Loose {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory on the way cannot be trusted.
    #[error(transparent)]
    Untrusted(Distrust),
    /// The path is longer than the kernel takes.
    #[error("the socket path {0} is longer than {MAX_PATH_BYTES} bytes")]
    TooLong(PathBuf),
    /// The system says no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl BindError {
    /// The next step.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Running(_) => {
                "sfkey status shows it; sfkey stop ends it; --socket PATH chooses another path".into()
            }
            Self::Foreign { .. } => "move it away, or choose another path with --socket".into(),
            // Only for the directory that the agent makes itself: on a shared one the advice would do harm.
            Self::Loose { path, .. } if path.ends_with("sfkey") => format!("chmod 700 {}", shell_word(path)),
            Self::Loose { path, .. } => {
                format!(
                    "give the socket a directory of its own: --socket {}",
                    shell_word(&path.join("sfkey/agent.sock"))
                )
            }
            Self::Untrusted(_) => {
                "choose a path below a directory that only you and root can write to".into()
            }
            Self::TooLong(_) => "choose a shorter path with --socket".into(),
            Self::Io { .. } => "check the path and its permissions, or choose another with --socket".into(),
        }
    }
}

/// A path as one word of a shell.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The socket that the agent serves. Dropping it removes the path, unless something else stands there by now or
/// the service manager owns it.
pub struct Bound {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: (u64, u64),
    /// Held for life by whoever made the path; `None` when the service manager did.
    lock: Option<File>,
}

impl Bound {
    /// Binds the socket at `path` for the user `owner`, mode 0600 from the first moment. While another agent
    /// that has the path is only starting or ending, it is waited for.
    ///
    /// # Errors
    /// [`BindError`]; nothing that was there before is touched, but a socket that refuses connections.
    pub fn new(path: &Path, owner: u32) -> Result<Self, BindError> {
        let path = whole(path)?;
        prepare_directory(&path, owner)?;
        Self::in_prepared_directory(path, owner)
    }

    /// The same where the directory is seen to already.
    pub(super) fn in_prepared_directory(path: PathBuf, owner: u32) -> Result<Self, BindError> {
        let lock = lock(&path, owner)?;
        clear(&path, owner)?;
        let listener = listen(&path).map_err(failed("bind", &path))?;
        Ok(Self {
            listener: Some(listener),
            inode: inode(&path)?,
            path,
            lock: Some(lock),
        })
    }

    /// Adopts a socket that the service manager bound, and that goes on to belong to it.
    ///
    /// # Errors
    /// When the socket has gone from its path in this moment.
    pub fn adopt(socket: PassedSocket) -> Result<Self, BindError> {
        Ok(Self {
            listener: Some(socket.listener),
            inode: inode(&socket.path)?,
            path: socket.path,
            lock: None,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the socket's file.
    #[must_use]
    pub fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// Whether the service manager bound it.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.lock.is_none()
    }

    /// A non-blocking handle for the runtime.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated, or was withdrawn.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Takes the socket away from clients, so that none is left waiting in its queue. The path stays locked: the
    /// next agent waits until this one has ended.
    pub fn withdraw(&mut self) {
        if self.listener.take().is_none() || self.is_adopted() {
            return;
        }
        let ours = inode(&self.path).is_ok_and(|found| found == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }

    /// Removes the lock and the directory as well, which were made for this agent alone. What cannot be removed
    /// is of no harm: two small files of the user's own.
    pub fn remove_directory(mut self) {
        self.withdraw();
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        drop(fs::remove_file(lock_path(&self.path)).and_then(|()| fs::remove_dir(directory)));
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn inode(path: &Path) -> Result<(u64, u64), BindError> {
    let found = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    Ok((found.dev(), found.ino()))
}

pub(super) fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BindError + use<'a> {
    move |source| BindError::Io {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// The path from the root on, if the kernel takes one of its length.
pub(super) fn whole(path: &Path) -> Result<PathBuf, BindError> {
    let path = std::path::absolute(path).map_err(failed("resolve", path))?;
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(BindError::TooLong(path));
    }
    Ok(path)
}

/// Makes the directory if need be, and requires that it is ours, a directory, and nobody else's business.
fn prepare_directory(path: &Path, owner: u32) -> Result<(), BindError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    judge_place(directory, owner).map_err(BindError::Untrusted)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("create", directory))?;
    judge_ancestors(path, owner).map_err(BindError::Untrusted)?;
    let found = fs::metadata(directory).map_err(failed("look at", directory))?;
    let mode = found.mode() & 0o7777;
    if found.uid() != owner {
        let uid = found.uid();
        return Err(BindError::Untrusted(Distrust::Owner {
            path: directory.to_path_buf(),
            uid,
        }));
    }
    if mode & 0o077 != 0 {
        return Err(BindError::Loose {
            path: directory.to_path_buf(),
            mode,
        });
    }
    Ok(())
}

/// Judges the nearest directory that is there before `path`, or anything on the way to it, is made in it: root,
/// running with another user's `HOME`, must leave nothing behind that this user then cannot use.
pub(crate) fn judge_place(path: &Path, owner: u32) -> Result<(), Distrust> {
    let missing = |ancestor: &&Path| fs::symlink_metadata(ancestor).is_err();
    let made = path.ancestors().take_while(missing).last();
    made.map_or(Ok(()), |first| judge_ancestors(first, owner))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// One agent a path: the lock is held for life, so that two starts at once cannot both see a stale socket.
fn lock(path: &Path, owner: u32) -> Result<File, BindError> {
    let lock_path = lock_path(path);
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).expect("open flags fit an int"))
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    let mut waited = Duration::ZERO;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        // Who has the lock and does not listen is about to begin or to end.
        let serves = matches!(who_listens(path, owner), Ok(Listener::Own | Listener::Foreign));
        if serves || waited >= HANDOVER_TIME {
            return Err(BindError::Running(path.to_path_buf()));
        }
        wait_a_step();
        waited += HANDOVER_STEP;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "neither a lock that is freed nor a socket that begins to listen tells it to others, and nothing else runs yet"
)]
fn wait_a_step() {
    std::thread::sleep(HANDOVER_STEP);
}

/// Removes a socket that nobody listens on any more; refuses everything else.
fn clear(path: &Path, owner: u32) -> Result<(), BindError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    let kind = found.file_type();
    let foreign = |what| {
        Err(BindError::Foreign {
            path: path.to_path_buf(),
            what,
        })
    };
    match () {
        () if kind.is_symlink() => return foreign("a symbolic link"),
        () if kind.is_dir() => return foreign("a directory"),
        () if !kind.is_socket() => return foreign("a file"),
        () if found.uid() != owner => return foreign("another user's socket"),
        () => {}
    }
    match who_listens(path, owner) {
        Ok(Listener::Nobody) => fs::remove_file(path).map_err(failed("remove the stale socket", path)),
        Ok(Listener::NoPath) => Ok(()),
        Ok(Listener::Own) => Err(BindError::Running(path.to_path_buf())),
        Ok(Listener::Foreign) => foreign("a socket that another user's process serves"),
        Err(error) => Err(failed("find out who listens at", path)(error)),
    }
}

/// Binds under a umask that keeps everybody else out: a socket that is opened first and tightened later can
/// be connected to in between.
fn listen(path: &Path) -> io::Result<UnixListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = bind(&socket, &SocketAddrUnix::new(path)?);
    umask(before);
    bound?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
    };

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf, u32) {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("sfkey/agent.sock");
        (place, path, rustix::process::geteuid().as_raw())
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("metadata").mode() & 0o7777
    }

    #[test]
    fn the_socket_and_its_directory_are_the_owners_alone_and_go_with_the_agent() {
        let (_place, path, owner) = place();
        let bound = Bound::new(&path, owner).expect("bound");
        assert_eq!(
            (mode(&path), mode(path.parent().expect("a parent"))),
            (0o600, 0o700)
        );
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_agent_on_a_live_path_is_refused_and_the_first_stays() {
        let (_place, path, owner) = place();
        let first = Bound::new(&path, owner).expect("bound");
        assert!(matches!(Bound::new(&path, owner), Err(BindError::Running(_))));
        assert!(UnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn a_socket_that_listens_without_our_lock_is_somebody_alive() {
        let (_place, path, owner) = place();
        fs::create_dir(path.parent().expect("a parent")).expect("created");
        fs::set_permissions(
            path.parent().expect("a parent"),
            fs::Permissions::from_mode(0o700),
        )
        .expect("mode");
        let _other = UnixListener::bind(&path).expect("bound");
        assert!(matches!(Bound::new(&path, owner), Err(BindError::Running(_))));
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_place, path, owner) = place();
        let first = Bound::new(&path, owner).expect("bound");
        // What kill -9 leaves: the path without a listener.
        drop(first);
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let second = Bound::new(&path, owner).expect("bound again");
        assert!(UnixStream::connect(second.path()).is_ok());
    }

    #[test]
    fn a_file_a_link_and_a_directory_at_the_path_are_refused_and_left_alone() {
        let (place, path, owner) = place();
        let directory = path.parent().expect("a parent");
        drop(Bound::new(&path, owner).expect("bound"));
        type Make = fn(&Path, &Path);
        let make: [(&str, Make); 3] = [
            ("a file", |_, path| fs::write(path, "precious").expect("written")),
            ("a symbolic link", |place, path| {
                symlink(place.join("target"), path).expect("linked");
            }),
            ("a directory", |_, path| fs::create_dir(path).expect("created")),
        ];
        for (kind, make) in make {
            make(place.path(), &path);
            let error = Bound::new(&path, owner).err().expect("refused");
            assert!(
                matches!(&error, BindError::Foreign { what, .. } if *what == kind),
                "{error}"
            );
            assert!(fs::symlink_metadata(&path).is_ok(), "{kind} is still there");
            drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)));
        }
        assert_eq!(
            fs::read_dir(directory).expect("readable").count(),
            1,
            "the lock file alone"
        );
    }

    #[test]
    fn a_directory_that_lets_others_in_is_refused() {
        let (_place, path, owner) = place();
        let directory = path.parent().expect("a parent");
        fs::create_dir(directory).expect("created");
        for (mode, loose) in [(0o750, true), (0o755, true), (0o711, true), (0o777, false)] {
            fs::set_permissions(directory, fs::Permissions::from_mode(mode)).expect("mode set");
            let error = Bound::new(&path, owner).err().expect("refused");
            assert_eq!(
                matches!(error, BindError::Loose { .. }),
                loose,
                "{mode:o}: {error}"
            );
            assert!(!path.exists());
        }
    }
}
