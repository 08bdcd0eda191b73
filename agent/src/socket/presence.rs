//! Notices when the socket is no longer where clients look for it: an agent that nobody can reach still holds
//! keys, and its user should know.

use std::{
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::limits::PRESENCE_INTERVAL;

/// Bytes of events that are read at once; what they say does not matter, only that there are some.
const EVENTS: usize = 4096;

/// What stands at the socket's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The agent's own socket.
    Own,
    /// Nothing.
    Removed,
    /// Something else.
    Replaced,
}

/// A watch over the socket's path.
pub struct Presence {
    path: PathBuf,
    inode: (u64, u64),
    standing: Standing,
    /// Tells at once; the interval is for what the kernel does not tell, such as another mount over a directory.
    events: Option<AsyncFd<OwnedFd>>,
    interval: Interval,
}

impl Presence {
    /// Watches over `path`, at which the file with this device and inode stands. Where the kernel grants no
    /// watch, for a user may have used up his, the path is looked at now and then.
    #[must_use]
    pub fn watch(path: &Path, inode: (u64, u64)) -> Self {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let events = watch_directory(directory)
            .inspect_err(|error| tracing::debug!(%error, "the socket's directory cannot be watched"))
            .ok();
        let mut interval = interval(PRESENCE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            path: path.to_path_buf(),
            inode,
            standing: Standing::Own,
            events,
            interval,
        }
    }

    /// Ends when something else stands there than before. May be cancelled and called again.
    pub async fn changed(&mut self) -> Standing {
        loop {
            let found = standing(&self.path, self.inode);
            if found != self.standing {
                self.standing = found;
                return found;
            }
            tokio::select! {
                _ = self.interval.tick() => {}
                () = next_events(&mut self.events) => {}
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "what its successor asks the caller to promise holds: an OwnedFd stays open and the same"
)]
fn watch_directory(directory: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&events, directory, flags)?;
    AsyncFd::with_interest(events, Interest::READABLE)
}

/// Waits for events and reads them off; for ever where there is no watch.
async fn next_events(events: &mut Option<AsyncFd<OwnedFd>>) {
    let Some(watch) = events else {
        return std::future::pending().await;
    };
    let Ok(mut ready) = watch.readable_mut().await else {
        *events = None;
        return;
    };
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut reader = Reader::new(ready.get_inner(), &mut buffer);
    let end = loop {
        if let Err(error) = reader.next() {
            break error;
        }
    };
    ready.clear_ready();
    if end != Errno::AGAIN && end != Errno::INTR {
        *events = None;
    }
}

fn standing(path: &Path, inode: (u64, u64)) -> Standing {
    match fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == inode => Standing::Own,
        Ok(_) => Standing::Replaced,
        Err(_) => Standing::Removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf, (u64, u64)) {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent.sock");
        fs::write(&path, "").expect("written");
        let made = fs::metadata(&path).expect("metadata");
        (place, path, (made.dev(), made.ino()))
    }

    #[tokio::test]
    async fn a_path_that_is_removed_replaced_or_back_is_told_each_time() {
        let (place, path, inode) = place();
        let mut presence = Presence::watch(&path, inode);
        let aside = place.path().join("aside");
        fs::rename(&path, &aside).expect("moved");
        assert_eq!(presence.changed().await, Standing::Removed);
        fs::write(&path, "").expect("written");
        assert_eq!(presence.changed().await, Standing::Replaced);
        fs::rename(&aside, &path).expect("moved back");
        assert_eq!(presence.changed().await, Standing::Own);
    }

    #[tokio::test]
    async fn the_kernel_tells_at_once_and_other_files_beside_the_socket_do_not_matter() {
        let (place, path, inode) = place();
        let mut presence = Presence::watch(&path, inode);
        let changing = tokio::spawn(async move { presence.changed().await });
        for name in ["one", "two"] {
            fs::write(place.path().join(name), "").expect("written");
            tokio::task::yield_now().await;
        }
        fs::remove_file(&path).expect("removed");
        assert_eq!(changing.await.expect("told"), Standing::Removed);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watch_the_path_is_looked_at_now_and_then() {
        let (_place, path, inode) = place();
        let mut presence = Presence::watch(&path, inode);
        presence.events = None;
        let changing = tokio::spawn(async move { presence.changed().await });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        fs::remove_file(&path).expect("removed");
        assert_eq!(changing.await.expect("told"), Standing::Removed);
    }
}
