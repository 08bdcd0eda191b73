//! A private place for one user's agent and client.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A temporary directory with HOME, the XDG directories and the socket's place; it goes with this value.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A place for the user that runs the tests. The socket's directory is left to the agent to make.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("sfkey-").tempdir();
        let home = Self {
            directory: directory.expect("a temporary directory"),
        };
        for name in ["run", "config", "state"] {
            let path = home.path(name);
            fs::create_dir(&path).expect("created");
            set_mode(&path, 0o700);
        }
        home
    }

    /// A place that belongs to the user `uid`. Only root can make one.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        let home = Self::new();
        for path in ["run", "config", "state", "."] {
            chown(home.path(path), Some(uid), Some(uid)).expect("root may give files away");
        }
        home
    }

    /// A path below it.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(below)
    }

    /// The agent's socket, where both programs look for it by themselves.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/sfkey/agent.sock")
    }

    /// Makes the socket's directory, for tests that put something there before an agent does.
    pub fn make_socket_directory(&self) {
        let directory = self.path("run/sfkey");
        fs::create_dir_all(&directory).expect("created");
        set_mode(&directory, 0o700);
    }

    /// Opens the socket and the way to it to everybody, as a careless user could.
    pub fn let_everybody_in(&self) {
        for path in [".", "run", "run/sfkey"] {
            set_mode(&self.path(path), 0o755);
        }
        set_mode(&self.socket(), 0o666);
    }

    /// Writes a file that only its owner may read, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below this place")).expect("created");
        fs::write(&path, content).expect("written");
        set_mode(&path, 0o600);
        path
    }

    /// The restricted socket, where the agent puts it by itself.
    #[must_use]
    pub fn token_socket(&self) -> PathBuf {
        self.path("run/sfkey-token/token.sock")
    }

    /// Writes `agent.toml`, which everybody may read.
    pub fn settings(&self, text: &str) -> PathBuf {
        let path = self.write("config/sfkey/agent.toml", text);
        set_mode(&path, 0o644);
        path
    }

    /// Environment of a program that lives here, and of nothing else.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("HOME", self.path(".")),
            ("XDG_RUNTIME_DIR", self.path("run")),
            ("XDG_CONFIG_HOME", self.path("config")),
            ("XDG_STATE_HOME", self.path("state")),
        ]
    }

    /// `text` with this place's path replaced by `HOME`, for comparison with a golden.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.directory.path().display().to_string(), "HOME")
    }
}

/// Sets the permission bits of a file.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the owner may change the mode");
}
