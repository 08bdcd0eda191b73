//! Where `agent.toml` is, and whether what stands there can be trusted.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use sfkey_proto::place::{is_own_or_roots, judge_ancestors};

use super::{Settings, SettingsError};
use crate::{limits::MAX_SETTINGS_BYTES, socket::shell_word};

/// Where the settings of the whole system are; those of an agent of a user of its own are beside them.
pub const SYSTEM_DIRECTORY: &str = "/etc/sfkey";

/// Below it are the settings of all agents that run as no person's user.
const SYSTEM_SETTINGS: &str = "/etc";

/// Writable by the group or by everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The file that the agent's settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsFile {
    path: PathBuf,
}

impl SettingsFile {
    /// The file named, which then must be there; else `$XDG_CONFIG_HOME/sfkey/agent.toml`
    /// (`~/.config/sfkey/agent.toml`), else `/etc/sfkey/agent.toml`, whichever is there first.
    pub fn find(named: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        match named {
            Some(path) => Some(Self {
                path: std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
            }),
            None => Self::first(&Self::usual(variable)).cloned(),
        }
    }

    /// Where it is looked for when none is named.
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Vec<Self> {
        let directory = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let own = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
        let own = own.map(|directory| directory.join("sfkey/agent.toml"));
        let system = Path::new(SYSTEM_DIRECTORY).join("agent.toml");
        own.into_iter()
            .chain([system])
            .map(|path| Self { path })
            .collect()
    }

    /// The first of these that is there.
    #[must_use]
    pub fn first(places: &[Self]) -> Option<&Self> {
        // A file that cannot be looked at is no file that is missing: reading it will say why.
        let is_there =
            |file: &&Self| !matches!(file.path.symlink_metadata(), Err(error) if is_missing(&error));
        places.iter().find(is_there)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the whole system's.
    #[must_use]
    pub fn is_of_the_system(&self) -> bool {
        self.path.starts_with(SYSTEM_SETTINGS)
    }

    /// Reads it for an agent that runs as `owner`.
    ///
    /// # Errors
    /// When others could have written it, it is no file, it is too large, or something in it is not right.
    pub fn read(&self, owner: u32) -> Result<Settings, SettingsError> {
        let text = self.text(owner)?;
        let settings = Settings::parse(&text).map_err(|error| {
            SettingsError::new(format!("{}: {}", self.path.display(), error.message), error.fix)
        })?;
        Ok(settings)
    }

    fn text(&self, owner: u32) -> Result<String, SettingsError> {
        let shown = self.path.display();
        let look = || format!("look at it: ls -l {}", shell_word(&self.path));
        let unread = |error: io::Error| SettingsError::new(format!("cannot read {shown}: {error}"), look());
        let real = self.path.canonicalize().map_err(unread)?;
        // The path may be a symbolic link; the way to it and the way behind it must both be safe.
        for path in [&self.path, &real] {
            judge_ancestors(path, owner).map_err(|distrust| {
                let fix = "keep agent.toml below directories that only you and root can write to";
                SettingsError::new(format!("{shown}: {distrust}"), fix)
            })?;
        }
        let file = open(&real).map_err(unread)?;
        let found = file.metadata().map_err(unread)?;
        if !found.is_file() {
            return Err(SettingsError::new(format!("{shown} is not a file"), look()));
        }
        self.require_own(found.uid(), found.mode(), owner)?;
        let mut text = String::new();
        let length = file
            .take(MAX_SETTINGS_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(unread)?;
        if length as u64 > MAX_SETTINGS_BYTES {
            let message = format!("{shown} is larger than {MAX_SETTINGS_BYTES} bytes");
            return Err(SettingsError::new(message, look()));
        }
        Ok(text)
    }

    /// Whoever can write the file decides who gets tokens.
    fn require_own(&self, uid: u32, mode: u32, owner: u32) -> Result<(), SettingsError> {
        let (shown, word) = (self.path.display(), shell_word(&self.path));
        if !is_own_or_roots(uid, owner) {
            return Err(SettingsError::new(
                format!("{shown} belongs to another user (uid {uid})"),
                format!("chown {owner} {word}"),
            ));
        }
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(SettingsError::new(
                format!("others may write to {shown} (mode {:04o})", mode & 0o7777),
                format!("chmod go-w {word}"),
            ));
        }
        Ok(())
    }
}

/// Opens what stands there without waiting for somebody at the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).expect("open flags fit an int"))
        .open(path)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
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
        own: u32,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            fs::create_dir(directory.path().join("sfkey")).expect("created");
            Self {
                directory,
                own: rustix::process::geteuid().as_raw(),
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("sfkey/agent.toml")
        }

        fn found(&self) -> Option<SettingsFile> {
            SettingsFile::find(None, |name| {
                (name == "XDG_CONFIG_HOME").then(|| self.directory.path().into())
            })
        }

        fn read(&self) -> Result<Settings, SettingsError> {
            self.found().expect("it is there").read(self.own)
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused_with_the_command_that_cures_it() {
        let place = Place::new();
        fs::write(place.path(), "").expect("written");
        for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).expect("mode set");
            match place.read() {
                Ok(_) => assert!(good, "{mode:o}"),
                Err(error) => {
                    assert!(!good, "{error}");
                    assert_eq!(error.fix(), format!("chmod go-w {}", place.path().display()));
                }
            }
        }
    }

    #[test]
    fn a_directory_that_others_can_write_on_the_way_or_behind_a_link_is_refused() {
        let place = Place::new();
        let open = place.directory.path().join("open");
        fs::create_dir(&open).expect("created");
        fs::write(open.join("real.toml"), "").expect("written");
        symlink(open.join("real.toml"), place.path()).expect("linked");
        place.read().expect("a link is nothing bad");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("mode set");
        let error = place.read().expect_err("others can replace it");
        assert!(error.to_string().contains("others may write to"), "{error}");
    }

    #[test]
    fn a_pipe_a_directory_and_an_endless_file_are_refused_at_once() {
        let place = Place::new();
        rustix::fs::mkfifoat(rustix::fs::CWD, place.path(), rustix::fs::Mode::RUSR).expect("a pipe");
        assert!(
            place
                .read()
                .expect_err("a pipe")
                .to_string()
                .ends_with("is not a file")
        );
        fs::remove_file(place.path()).expect("removed");
        fs::create_dir(place.path()).expect("created");
        place.read().expect_err("a directory");
        fs::remove_dir(place.path()).expect("removed");
        let file = File::create(place.path()).expect("created");
        file.set_len(MAX_SETTINGS_BYTES + 1).expect("grown");
        let error = place.read().expect_err("too large");
        assert!(error.to_string().contains("is larger than"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_others_need_not() {
        let place = Place::new();
        let elsewhere = place.directory.path().join("none.toml");
        let named = SettingsFile::find(Some(&elsewhere), |_| None).expect("it was named");
        let error = named.read(place.own).expect_err("it is not there");
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        assert!(place.found().is_none_or(|found| found.path() != place.path()));
    }

    #[test]
    fn errors_in_it_are_told_with_its_path() {
        let place = Place::new();
        fs::write(place.path(), "askpas = \"/x\"").expect("written");
        let error = place.read().expect_err("unknown key").to_string();
        assert!(
            error.starts_with(&format!("{}: line 1: ", place.path().display())),
            "{error}"
        );
    }
}
