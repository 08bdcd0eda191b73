//! `sfkey-agent` as a process.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{binaries, home::Home};

/// Longest wait for something that an agent surely does.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an agent is started. The default has no arguments but the socket's place in its environment.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    ca_file: Option<PathBuf>,
    user: Option<(u32, PathBuf)>,
    descriptors: Option<(&'static str, u32)>,
    at_home: bool,
}

impl Launch {
    /// With these arguments besides.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Trusting the certificates in this file and no others.
    #[must_use]
    pub fn trusting(mut self, ca_file: PathBuf) -> Self {
        self.ca_file = Some(ca_file);
        self
    }

    /// As another user, who runs this copy of the program ([`super::stranger::copy_of`]).
    #[must_use]
    pub fn as_user(mut self, uid: u32, program: PathBuf) -> Self {
        self.user = Some((uid, program));
        self
    }

    /// With a hard limit of open descriptors.
    #[must_use]
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(("-n", limit));
        self
    }

    /// With a soft limit of open descriptors, which it may raise.
    #[must_use]
    pub fn soft_descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(("-S -n", limit));
        self
    }

    /// With its home for its working directory, where the kernel leaves core dumps.
    #[must_use]
    pub fn at_home(mut self) -> Self {
        self.at_home = true;
        self
    }

    fn command(&self, home: &Home) -> Command {
        let own_program = || binaries::built("sfkey-agent");
        let program = self
            .user
            .as_ref()
            .map_or_else(own_program, |(_, program)| program.clone());
        let mut command = match self.descriptors {
            None => Command::new(program),
            // The shell becomes the agent, so that the limit is there before its first line runs.
            Some((flags, limit)) => {
                let mut shell = Command::new("/bin/sh");
                shell
                    .args(["-c", &format!("ulimit {flags} {limit}; exec \"$0\" \"$@\"")])
                    .arg(program);
                shell
            }
        };
        command.args(&self.arguments).env_clear().envs(home.environment());
        command.envs(self.ca_file.iter().map(|file| ("SSL_CERT_FILE", file)));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some((uid, _)) = self.user {
            command.uid(uid).gid(uid);
        }
        command
            .current_dir(if self.at_home { home.path(".") } else { "/".into() })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// A running agent, killed by its process id when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    log: Log,
}

/// How an agent ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All that it wrote, to either output.
    pub output: String,
}

impl Agent {
    /// Starts an agent and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends before.
    #[must_use]
    pub fn start(home: &Home, launch: &Launch) -> Self {
        let agent = Self::spawn(home, launch);
        // `ready` is the message of a text line and the member of a JSON line.
        agent
            .log
            .wait_for_any(&[" ready socket=", "\"message\":\"ready\""]);
        agent
    }

    /// Starts an agent that is not going to be ready, and waits for its end.
    #[must_use]
    pub fn start_in_vain(home: &Home, launch: &Launch) -> Ended {
        Self::spawn(home, launch).ended()
    }

    fn spawn(home: &Home, launch: &Launch) -> Self {
        let mut child = launch.command(home).spawn().expect("the agent can be executed");
        let log = Log::default();
        log.follow(child.stderr.take().expect("it is piped"));
        log.follow(child.stdout.take().expect("it is piped"));
        Self { child, log }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("it is running");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not within 30 s.
    #[must_use]
    pub fn ended(mut self) -> Ended {
        self.log.wait_for_end();
        let status = self.child.wait().expect("it is a child of this process");
        Ended {
            code: status.code(),
            signal: status.signal(),
            output: self.log.text(),
        }
    }

    /// The same without blocking the runtime of the test.
    pub async fn has_ended(self) -> Ended {
        let ended = tokio::task::spawn_blocking(move || self.ended()).await;
        ended.expect("the agent ended in time")
    }

    /// Number of descriptors that it has open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        open.expect("its descriptors can be listed").count()
    }

    /// See [`memory_of`].
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        memory_of(self.pid())
    }

    /// Processor time used so far, in clock ticks of 10 ms (proc(5), fields utime and stime).
    #[must_use]
    pub fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it is running");
        let (_, behind_name) = stat.rsplit_once(") ").expect("the name stands in brackets");
        let fields: Vec<&str> = behind_name.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a process writes, as it writes it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<(Mutex<Written>, Condvar)>);

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    open: usize,
}

impl Log {
    /// Takes in what `source` holds, on a thread of its own, to the end.
    fn follow(&self, mut source: impl Read + Send + 'static) {
        self.change(|written| written.open += 1);
        let log = self.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = source.read(&mut piece) {
                log.change(|written| written.bytes.extend_from_slice(&piece[..length]));
            }
            log.change(|written| written.open -= 1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// All so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
            .clone()
    }

    /// All so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits until `text` was written.
    ///
    /// # Panics
    /// When the process ends before, or after 30 s.
    pub fn wait_for(&self, text: &str) {
        self.wait_for_any(&[text]);
    }

    /// The same without blocking the runtime of the test.
    pub async fn has(&self, text: &'static str) {
        let log = self.clone();
        let waited = tokio::task::spawn_blocking(move || log.wait_for(text)).await;
        waited.expect("the text came");
    }

    fn wait_for_any(&self, texts: &[&str]) {
        let holds = |written: &Written| {
            let all = String::from_utf8_lossy(&written.bytes);
            texts.iter().any(|text| all.contains(text))
        };
        let found = self.wait_until(|written| written.open == 0 || holds(written), holds);
        assert!(found, "{texts:?} was not written:\n{}", self.text());
    }

    fn wait_for_end(&self) {
        let ended = |written: &Written| written.open == 0;
        assert!(self.wait_until(ended, ended), "it does not end:\n{}", self.text());
    }

    fn wait_until(&self, stop: impl Fn(&Written) -> bool, reached: impl Fn(&Written) -> bool) -> bool {
        let (written, changed) = &*self.0;
        let guard = written.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = changed
            .wait_timeout_while(guard, PATIENCE, |written| !stop(written))
            .unwrap_or_else(PoisonError::into_inner);
        reached(&guard)
    }
}

/// Memory that a process has, and the most that it had, in KiB (proc(5), VmRSS and VmHWM).
///
/// # Panics
/// When it does not run.
#[must_use]
pub fn memory_of(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is running");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number")
    };
    (field("VmRSS:"), field("VmHWM:"))
}
