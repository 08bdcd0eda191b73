//! One question at a time: of many calls that want to load the same account, one asks for its passphrase.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use sfkey::proto::AccountName;

/// How long a call waits for another one that is asking. Somebody who left the terminal does not come back for
/// every script that runs meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The right to load an account. It ends with this value, and with the process whatever ends that.
pub(super) struct Turn {
    file: File,
    may_ask: bool,
}

/// How a call came to its turn.
pub(super) enum Waited {
    /// It is its turn.
    For(Turn),
    /// Another call has been at it for all of [`PATIENCE`].
    InVain,
    /// There is no place for a lock, so every call is on its own.
    Not,
}

impl Turn {
    /// Waits for the turn to load `account` into the agent whose socket is `socket`. The lock lies beside the
    /// socket: whoever uses the same agent finds it there.
    ///
    /// `started` is when this process began. A question that was put since then was put for all that ran.
    pub(super) async fn wait(socket: &Path, account: &AccountName, started: Timestamp) -> Waited {
        let Ok(file) = open(&lock_file(socket, account)) else {
            return Waited::Not;
        };
        let (file, waited) = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => (file, false),
            Err(_) => {
                let waiting = tokio::task::spawn_blocking(move || {
                    flock(&file, FlockOperation::LockExclusive).map(|()| file)
                });
                match tokio::time::timeout(PATIENCE, waiting).await {
                    Ok(Ok(Ok(file))) => (file, true),
                    Ok(_) => return Waited::Not,
                    Err(_) => return Waited::InVain,
                }
            }
        };
        let asked = asked_since(&file, started);
        Waited::For(Self {
            file,
            may_ask: !waited && !asked,
        })
    }

    /// Whether this call may put the question. Another one may have, and got no answer that helped.
    pub(super) fn may_ask(&self) -> bool {
        self.may_ask
    }

    /// Leaves word that the question is put now, for calls that have started but do not wait yet.
    pub(super) fn asks(&self) {
        // Where that fails, those few calls may ask once more each; it is not worth failing this one.
        drop(self.file.write_all_at(b"asked\n", 0));
    }
}

fn lock_file(socket: &Path, account: &AccountName) -> PathBuf {
    socket.with_file_name(format!("{account}.loading"))
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are defined as C ints");
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

/// Whether the word of a question is newer than `started`. A lock file without one was only just made.
fn asked_since(file: &File, started: Timestamp) -> bool {
    let word = file
        .metadata()
        .ok()
        .filter(|found| found.len() > 0)
        .and_then(|found| found.modified().ok());
    word.and_then(|word| Timestamp::try_from(word).ok())
        .is_some_and(|word| word > started)
}
