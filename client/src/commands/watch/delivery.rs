//! Where a token goes: standard output, a file, and the command that is run on it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::rand::{GetRandomFlags, getrandom};
use sfkey::proto::v1::Token;
use sha2::{Digest, Sha256};

use super::hook::Newest;
use crate::{
    exit::{Cause, Failure, words},
    output::{Output, Shell, TokenFormat},
    quote,
};

/// Hands tokens on, each once.
pub(super) struct Delivery<'a> {
    output: &'a Output,
    form: TokenFormat,
    file: Option<PathBuf>,
    printing: bool,
    hook: Newest,
    /// SHA-256 and end of the last token. After a reconnect the agent begins with the one that it holds.
    last: Option<([u8; 32], i64)>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        output: &'a Output,
        form: TokenFormat,
        file: Option<PathBuf>,
        printing: bool,
        hook: Newest,
    ) -> Self {
        Self {
            output,
            form,
            file,
            printing,
            hook,
            last: None,
        }
    }

    /// Hands a token on. One that was handed on before is told again only when its end has moved, and the
    /// command is not run on it again.
    pub(super) fn deliver(&mut self, token: Token) -> Result<(), Failure> {
        let this = (Sha256::digest(&token.access_token).into(), token.expires_at);
        if self.last == Some(this) {
            return Ok(());
        }
        let known = self.last.is_some_and(|(hash, _)| hash == this.0);
        self.last = Some(this);
        if let Some(path) = &self.file {
            let text = self.output.rendered(&token, self.form, Shell::Sh)?;
            replace(path, &text).map_err(|error| cannot_write(path, &error))?;
        }
        if self.printing {
            self.output.token(&token, self.form, Shell::Sh)?;
        }
        if !known {
            self.hook.send_replace(Some(token));
        }
        Ok(())
    }
}

/// Puts `text` in the place of the file in one step, readable by its owner alone: whoever reads it finds the old
/// token or the new one, whole. It is not synced: after a crash of the machine the token is worth nothing.
///
/// A process that was killed may have left its file beside, and this one may have that one's id: the name is random.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty())?;
    beside.push(format!(".{:016x}", u64::from_ne_bytes(random)));
    replace_by_way_of(&path.with_file_name(beside), path, text)
}

/// Removes `beside` only when it is this call's own.
fn replace_by_way_of(beside: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(beside)?;
    let written = file.write_all(text).and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        drop(fs::remove_file(beside));
    }
    written
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Failure::new(
        Cause::Io,
        format!("cannot write {}: {}", path.display(), words(error)),
        format!("ls -ld {}", quote::word(&directory.to_string_lossy())),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_in_one_step_and_is_its_owners_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("token");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode set");
        let old = fs::File::open(&path).expect("opened");
        replace(&path, b"new").expect("replaced");
        assert_eq!(
            io::read_to_string(old).expect("read"),
            "old",
            "whole to its reader"
        );
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(place.path()).expect("listed").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn what_somebody_else_left_beside_is_neither_in_the_way_nor_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("token");
        let left = place.path().join(format!(".token.{}", std::process::id()));
        fs::write(&left, "left").expect("written");
        replace(&path, b"new").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        replace_by_way_of(&left, &path, b"newer").expect_err("it is there already");
        assert_eq!(fs::read_to_string(&left).expect("read"), "left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_and_nothing_is_left_there() {
        let place = tempfile::tempdir().expect("a directory");
        let nowhere = place.path().join("no/token");
        let error = replace(&nowhere, b"x").expect_err("no such directory");
        let failure = cannot_write(&nowhere, &error);
        assert!(failure.message.contains("no/token"), "{}", failure.message);
        let directory = place.path().join("directory");
        fs::create_dir(&directory).expect("created");
        replace(&directory, b"x").expect_err("a directory");
        assert_eq!(fs::read_dir(place.path()).expect("listed").count(), 1);
    }
}
