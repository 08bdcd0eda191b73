//! Where log lines go, and what happens when they cannot.
//!
//! A disk that is full, a pipe that nobody reads (any more), a terminal that was stopped or a file that was removed
//! costs lines and nothing else. How many were lost stands before the next line that could be written.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    process::geteuid,
};
use sfkey_proto::place::Distrust;
use tracing_subscriber::fmt::MakeWriter;

use super::LogError;
use crate::socket::judge_place;

/// A log of lines. Cloned to whoever writes.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Mutex<Sink>>);

#[derive(Debug)]
struct Sink {
    place: Place,
    /// Lines since the last one that was written.
    lost: u64,
}

#[derive(Debug)]
enum Place {
    StandardError,
    File { path: PathBuf, file: File },
}

impl Lines {
    pub(super) fn to_standard_error() -> Self {
        Self::new(Place::StandardError)
    }

    /// Appends to `path`, which is made with mode 0600, and its directory with 0700.
    pub(super) fn to_file(path: &Path) -> Result<Self, LogError> {
        let absolute = std::path::absolute(path).map_err(failed(path))?;
        let file = open(&absolute)?;
        Ok(Self::new(Place::File { path: absolute, file }))
    }

    fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(Sink { place, lost: 0 })))
    }

    pub(super) fn reopen(&self) -> Result<(), LogError> {
        match &mut self.sink().place {
            Place::StandardError => Ok(()),
            Place::File { path, file } => {
                *file = open(path)?;
                Ok(())
            }
        }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.place {
            Place::StandardError => write_with_loss(&mut Unblocked(io::stderr()), &mut self.lost, line),
            Place::File { path, file } => {
                // Removed, and nobody told us: what is written there would be lost with the last descriptor.
                if file.metadata()?.nlink() == 0
                    && let Ok(new) = open(path)
                {
                    *file = new;
                }
                write_with_loss(file, &mut self.lost, line)
            }
        }
    }
}

/// Standard error, which may be a pipe that is full and that nobody reads: a write to it would hold up the agent for
/// as long as that lasts.
struct Unblocked(io::Stderr);

/// A pipe that is ready has room for so many bytes, and takes them as a whole (pipe(7), PIPE_BUF).
const SURELY_TAKEN: usize = 4096;

impl Write for Unblocked {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let at_once = Timespec::default();
        let mut ready = [PollFd::new(&self.0, PollFlags::OUT)];
        if poll(&mut ready, Some(&at_once))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.write(&data[..data.len().min(SURELY_TAKEN)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_with_loss(to: &mut impl Write, lost: &mut u64, line: &[u8]) -> io::Result<()> {
    if *lost > 0 {
        // As one write: it is taken as a whole, or not.
        to.write_all(format!("({lost} log lines could not be written)\n").as_bytes())?;
        *lost = 0;
    }
    to.write_all(line)
}

/// One line on its way.
pub(super) struct Line<'a>(MutexGuard<'a, Sink>);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write(line).is_err() {
            self.0.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self.sink())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::File {
        path: path.to_path_buf(),
        source,
    }
}

/// A regular file and nothing else: opening a pipe would wait for its reader, and writing to one as well.
fn open(path: &Path) -> Result<File, LogError> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    require_own_place(path).map_err(failed(path))?;
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed(path))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).expect("open flags fit an int"))
        .open(path)
        .map_err(failed(path))?;
    if !file.metadata().map_err(failed(path))?.is_file() {
        return Err(failed(path)(io::Error::other("it is no regular file")));
    }
    Ok(file)
}

/// Nothing is made among another user's files. That others of a group can write there is of no harm: a log tells no
/// secret, and gives nobody leave to anything.
fn require_own_place(path: &Path) -> io::Result<()> {
    match judge_place(path, geteuid().as_raw()) {
        Err(distrust @ Distrust::Owner { .. }) => Err(io::Error::other(distrust)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn log() -> (tempfile::TempDir, PathBuf, Lines) {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("state/agent.log");
        let lines = Lines::to_file(&path).expect("opened");
        (place, path, lines)
    }

    fn write(lines: &Lines, line: &str) {
        lines
            .make_writer()
            .write_all(line.as_bytes())
            .expect("never an error");
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("there")
    }

    #[test]
    fn the_file_and_its_directory_are_the_owners_alone() {
        let (_place, path, _lines) = log();
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(
            (mode(&path), mode(path.parent().expect("a directory"))),
            (0o600, 0o700)
        );
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let (_place, path, lines) = log();
        write(&lines, "one\n");
        fs::remove_file(&path).expect("removed");
        write(&lines, "two\n");
        assert_eq!(text(&path), "two\n");
    }

    #[test]
    fn a_file_that_was_moved_is_written_until_the_log_is_reopened() {
        let (place, path, lines) = log();
        let old = place.path().join("old.log");
        fs::rename(&path, &old).expect("moved");
        write(&lines, "one\n");
        lines.reopen().expect("reopened");
        write(&lines, "two\n");
        assert_eq!(
            (text(&old), text(&path)),
            ("one\n".to_owned(), "two\n".to_owned())
        );
    }

    #[test]
    fn lines_that_are_lost_are_counted_and_the_next_one_says_so() {
        let (_place, path, lines) = log();
        let full = File::options().write(true).open("/dev/full").expect("opened");
        let usual = match &mut lines.sink().place {
            Place::File { file, .. } => std::mem::replace(file, full),
            Place::StandardError => panic!("it is a file"),
        };
        for line in ["one\n", "two\n"] {
            write(&lines, line);
        }
        match &mut lines.sink().place {
            Place::File { file, .. } => *file = usual,
            Place::StandardError => panic!("it is a file"),
        }
        write(&lines, "three\n");
        assert_eq!(text(&path), "(2 log lines could not be written)\nthree\n");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        assert!(Lines::to_file(place.path()).is_err(), "a directory");
        assert!(Lines::to_file(Path::new("/dev/null")).is_err(), "a device");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path().join("elsewhere"), &link).expect("linked");
        assert!(Lines::to_file(&link).is_err(), "a link");
    }
}
