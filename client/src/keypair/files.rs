//! New files that appear whole or not at all, and never in the place of another.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, open},
    io::Errno,
};

use crate::{
    exit::{Cause, Failure, words},
    quote,
};

/// A file that is to be.
pub(crate) struct NewFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) content: &'a [u8],
    /// Permission bits, whatever the umask.
    pub(crate) mode: u32,
}

/// Requires that nothing stands at `path`, before anybody is asked anything.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(exists(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match directory(path).metadata() {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(uncreatable(path, &io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(uncreatable(path, &error)),
        },
        Err(error) => Err(uncreatable(path, &error)),
    }
}

/// Creates all of `files`, or none of them.
///
/// Their contents are on the disk before any of them has a name, so whatever ends the process leaves no half
/// of a file behind.
pub(crate) fn create(files: &[NewFile<'_>]) -> Result<(), Failure> {
    let mut nameless = Vec::with_capacity(files.len());
    for file in files {
        nameless.push(write_nameless(file).map_err(|error| uncreatable(file.path, &error))?);
    }
    for (done, (file, written)) in files.iter().zip(&nameless).enumerate() {
        let named = match written {
            Some(written) => name(written, file.path),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let named = match named {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_named(file),
            named => named,
        };
        if let Err(error) = named {
            for earlier in &files[..done] {
                drop(fs::remove_file(earlier.path));
            }
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => exists(file.path),
                _ => uncreatable(file.path, &error),
            });
        }
    }
    for file in files {
        let kept = File::open(directory(file.path)).and_then(|directory| directory.sync_all());
        kept.map_err(|error| uncreatable(file.path, &error))?;
    }
    Ok(())
}

/// Writes the content into a file that has no name yet; `None` where the file system has no such files.
fn write_nameless(file: &NewFile<'_>) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = match open(directory(file.path), flags, Mode::RUSR | Mode::WUSR) {
        Ok(opened) => File::from(opened),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    fill(&opened, file)?;
    Ok(Some(opened))
}

fn name(written: &File, path: &Path) -> io::Result<()> {
    // A process may always follow its own descriptors, and needs no capability for it as for AT_EMPTY_PATH.
    let nameless = format!("/proc/self/fd/{}", written.as_raw_fd());
    Ok(linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Writes the file under its name, for file systems without nameless ones. An error takes it away again.
fn write_named(file: &NewFile<'_>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file.path)?;
    let filled = fill(&opened, file);
    if filled.is_err() {
        drop(fs::remove_file(file.path));
    }
    filled
}

fn fill(mut opened: &File, file: &NewFile<'_>) -> io::Result<()> {
    opened.write_all(file.content)?;
    opened.set_permissions(Permissions::from_mode(file.mode))?;
    opened.sync_all()
}

/// The directory in which the file is to stand.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Cause::Io,
        format!("{} exists, and nothing is written over it", path.display()),
        "name another file: --out FILE",
    )
}

fn uncreatable(path: &Path, error: &io::Error) -> Failure {
    let missing = !directory(path).exists();
    let directory = quote::word(&directory(path).to_string_lossy());
    let fix = match error.kind() {
        io::ErrorKind::NotFound if missing => format!("mkdir -p {directory}"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("make room: df -h {directory}"),
        _ => format!("name a file in a directory of yours: --out FILE   (see ls -ld {directory})"),
    };
    Failure::new(
        Cause::Io,
        format!("{} cannot be written: {}", path.display(), words(error)),
        fix,
    )
}
