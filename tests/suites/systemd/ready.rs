//! Daemons of systemd, and when they are ready (sd_notify(3)).

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use sfkey_tests::support::{Stopwatch, home, stranger::skipped};

/// Longest wait for something that systemd surely does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is seen to that a daemon still runs while it is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// Whether a program is there. If not, says that `test` did not run.
///
/// # Panics
/// In CI, where it can be installed.
pub(crate) fn is_installed(test: &str, program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "{program} is missing");
        skipped(test, &format!("{program} is not installed"));
    }
    there
}

/// Where a daemon tells that it is ready, and what it says until then.
pub(crate) struct Readiness {
    socket: UnixDatagram,
    log: PathBuf,
}

impl Readiness {
    /// Listens at `socket`; what the daemon says goes to `log`.
    pub(crate) fn at(socket: &Path, log: PathBuf) -> Self {
        let path = socket;
        let socket = UnixDatagram::bind(path).expect("a short enough path");
        // The daemon may be another user's.
        home::set_mode(path, 0o666);
        socket.set_read_timeout(Some(LOOK)).expect("set");
        Self { socket, log }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// How it ended before, and what it said.
    pub(crate) fn of(&self, daemon: &mut Command) -> Result<Child, String> {
        let mut child = daemon
            .stderr(fs::File::create(&self.log).expect("created"))
            .spawn()
            .expect("util-linux is installed");
        let (mut message, begun) = ([0; 4096], Stopwatch::start());
        loop {
            if let Some(status) = child.try_wait().expect("a child of this process") {
                let why = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{status}: {}", why.trim()));
            }
            assert!(begun.elapsed() < PATIENCE, "it is ready in time");
            let Ok(length) = self.socket.recv(&mut message) else {
                continue;
            };
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|line| line == "READY=1") {
                return Ok(child);
            }
        }
    }
}
