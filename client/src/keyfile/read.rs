//! Reading a key file without hanging and without filling memory, whatever its path names.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};
use zeroize::Zeroizing;

use super::{KeyFileError, MAX_KEYSTORE_BYTES};

/// How long a pipe may stay silent, in seconds. Long enough for a password manager to answer, short enough
/// not to look like a hang.
const PIPE_SILENCE_SECONDS: i64 = 5;

const READ_BY_GROUP_OR_OTHERS: u32 = 0o044;

/// The file's permission bits when its group or everybody may read it, so that the caller can warn.
/// `None` also when the path names no regular file.
pub fn readable_by_others(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = metadata.mode() & 0o7777;
    (mode & READ_BY_GROUP_OR_OTHERS != 0).then_some(mode)
}

pub(super) fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    // Without NONBLOCK, opening a pipe nobody writes to would wait for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("open flags are defined as C ints");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        Err(KeyFileError::Directory)
    } else if kind.is_fifo() {
        stream(PatientPipe(file))
    } else if !kind.is_file() {
        Err(KeyFileError::NotAFile)
    } else if metadata.len() > MAX_KEYSTORE_BYTES as u64 {
        Err(KeyFileError::TooLarge)
    } else {
        stream(file)
    }
}

/// Reads to the end, but never more than the cap and one byte, by which the file is known to be too large.
/// The buffer is as large as it may become from the start: growing would leave copies of the key behind.
pub(super) fn stream(reader: impl Read) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let cap = MAX_KEYSTORE_BYTES + 1;
    let mut bytes = Zeroizing::new(vec![0; cap]);
    let mut reader = reader;
    let mut filled = 0;
    while filled < cap {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(KeyFileError::SilentPipe),
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A pipe that waits for its writer, but not for ever.
struct PatientPipe(File);

impl Read for PatientPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let silence = Timespec {
            tv_sec: PIPE_SILENCE_SECONDS,
            tv_nsec: 0,
        };
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&silence))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}
