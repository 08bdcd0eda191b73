//! The file: regular, the owner's alone, appended to by one write a record.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use sfkey_proto::place::judge_ancestors;

use crate::socket::shell_word;

/// What cannot be written to, and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log {message}")]
pub struct AuditError {
    message: String,
    fix: String,
}

impl AuditError {
    /// The next step.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    owner: u32,
    file: File,
    /// The last record was cut off: the next one begins on a line of its own.
    torn: bool,
}

impl AuditFile {
    /// Opens the file at `path`, or makes it with mode 0600.
    pub(super) fn open(path: &Path, owner: u32) -> Result<Self, AuditError> {
        let path = std::path::absolute(path).map_err(|error| AuditError {
            message: format!("{} is no path: {error}", path.display()),
            fix: "--audit-log /var/log/sfkey/audit.log".to_owned(),
        })?;
        let file = open(&path, owner)?;
        let torn = false;
        Ok(Self {
            path,
            owner,
            file,
            torn,
        })
    }

    /// Opens what stands at the path now. On failure the old one is kept.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        self.file = open(&self.path, self.owner)?;
        self.torn = false;
        Ok(())
    }

    /// Appends a line, in one write.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        // A file that was removed can be written to, and nobody ever reads it.
        if self.file.metadata()?.nlink() == 0 {
            self.reopen().map_err(io::Error::other)?;
        }
        let before = if self.torn { "\n" } else { "" };
        let bytes = format!("{before}{line}\n").into_bytes();
        match self.file.write(&bytes)? {
            length if length == bytes.len() => {
                self.torn = false;
                Ok(())
            }
            _ => {
                self.torn = true;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
        }
    }
}

fn open(path: &Path, owner: u32) -> Result<File, AuditError> {
    let (shown, word) = (path.display(), shell_word(path));
    let refused = |what: String, fix: String| AuditError {
        message: format!("{shown} {what}"),
        fix,
    };
    judge_ancestors(path, owner).map_err(|distrust| {
        let fix = "keep it below directories that are there and that only you and root can write to";
        refused(format!("is not safe: {distrust}"), fix.to_owned())
    })?;
    // Not waiting, for a pipe has another end, and not following, for a link leads elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).expect("open flags fit an int"))
        .open(path)
        .map_err(|error| {
            refused(
                format!("cannot be opened: {error}"),
                format!("look at it: ls -l {word}"),
            )
        })?;
    let found = file
        .metadata()
        .map_err(|error| refused(format!("cannot be looked at: {error}"), format!("ls -l {word}")))?;
    if !found.is_file() {
        return Err(refused(
            "is not a file".to_owned(),
            "choose another path with --audit-log".to_owned(),
        ));
    }
    if found.uid() != owner {
        let what = format!("belongs to another user (uid {})", found.uid());
        return Err(refused(what, format!("chown {owner} {word}")));
    }
    if found.mode() & 0o077 != 0 {
        let what = format!("is open to others (mode {:04o})", found.mode() & 0o7777);
        return Err(refused(what, format!("chmod 0600 {word}")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

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
            self.directory.path().join("audit.log")
        }

        fn open(&self) -> Result<AuditFile, AuditError> {
            AuditFile::open(&self.path(), self.owner)
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).expect("readable")
        }
    }

    #[test]
    fn records_are_appended_to_a_file_that_nobody_else_can_read() {
        let place = Place::new();
        place.open().expect("made").append("one").expect("written");
        place.open().expect("opened").append("two").expect("written");
        assert_eq!(place.text(), "one\ntwo\n");
        let mode = fs::metadata(place.path()).expect("there").mode() & 0o7777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_link_a_pipe_and_a_file_that_is_open_to_others_are_refused() {
        let place = Place::new();
        symlink(place.directory.path().join("elsewhere"), place.path()).expect("linked");
        place.open().expect_err("a link");
        assert!(!place.directory.path().join("elsewhere").exists());
        fs::remove_file(place.path()).expect("removed");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, place.path(), mode).expect("a pipe");
        place.open().expect_err("a pipe");
        fs::remove_file(place.path()).expect("removed");
        fs::write(place.path(), "").expect("written");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o640)).expect("mode set");
        let error = place.open().expect_err("open to a group");
        assert!(error.fix().starts_with("chmod 0600 "), "{error}");
    }

    #[test]
    fn a_file_that_vanished_is_made_anew_and_a_moved_one_left_when_it_is_asked_for() {
        let place = Place::new();
        let mut file = place.open().expect("made");
        fs::remove_file(place.path()).expect("removed");
        file.append("one").expect("written");
        assert_eq!(place.text(), "one\n");
        let moved = place.directory.path().join("audit.log.1");
        fs::rename(place.path(), &moved).expect("moved");
        file.append("two").expect("written");
        assert_eq!(fs::read_to_string(&moved).expect("readable"), "one\ntwo\n");
        file.reopen().expect("made anew");
        file.append("three").expect("written");
        assert_eq!(place.text(), "three\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_next_record_begins_on_its_own_line() {
        let place = Place::new();
        let mut file = place.open().expect("made");
        file.file = OpenOptions::new()
            .append(true)
            .open("/dev/full")
            .expect("it is there");
        file.append("lost").expect_err("full");
        file.reopen().expect("opened");
        file.append("one").expect("written");
        file.torn = true;
        file.append("two").expect("written");
        assert_eq!(place.text(), "one\n\ntwo\n");
    }
}
