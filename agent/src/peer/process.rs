//! What may be known of a process: its program, its systemd unit, its session. Read when it is asked for, for a
//! process can become another program at any time.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{custody::sockopt, settings::UnitName};

/// How many generations of parents are told.
const MAX_PARENTS: usize = 6;

/// A process by its number, and by a descriptor that no other process ever gets.
#[derive(Clone, Debug)]
pub struct Process {
    pid: i32,
    handle: Option<Arc<OwnedFd>>,
}

/// What was seen of a process. What is missing could not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The program that it runs.
    pub executable: Option<Executable>,
    /// The systemd unit that it is in.
    pub unit: Option<UnitName>,
}

/// A program as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its path, for display: another mount namespace can make any path of it.
    pub path: PathBuf,
    /// The file itself.
    pub file: FileId,
}

/// A file, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u64, u64);

impl FileId {
    /// The file at `path`, if it can be looked at.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self(found.dev(), found.ino()))
    }

    #[cfg(test)]
    pub(crate) fn for_test(inode: u64) -> Self {
        Self(1, inode)
    }
}

/// Whether this kernel tells peers beyond doubt (SO_PEERPIDFD, Linux 6.5), and `/proc` what they are.
///
/// # Errors
/// Why not.
pub fn identity_is_known() -> io::Result<()> {
    let (socket, _other_end) = UnixStream::pair()?;
    let process = sockopt::peer_process(socket.as_fd())?;
    drop(process);
    fs::read_to_string("/proc/self/cgroup").map(drop)
}

impl Process {
    /// The process `pid`, with the descriptor that the kernel gave for it.
    #[must_use]
    pub fn new(pid: i32, handle: Option<OwnedFd>) -> Self {
        Self {
            pid,
            handle: handle.map(Arc::new),
        }
    }

    /// Its number, for display.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Looks at it, for an agent that runs as `owner`. Nothing is seen of a process that has ended, or whose
    /// number could be another's by now.
    #[must_use]
    pub fn look(&self, owner: u32) -> Seen {
        let place = PathBuf::from(format!("/proc/{}", self.pid));
        let link = place.join("exe");
        let executable = fs::read_link(&link)
            .ok()
            .and_then(|path| FileId::at(&link).map(|file| Executable { path, file }));
        let cgroup = fs::read_to_string(place.join("cgroup")).ok();
        let seen = Seen {
            executable,
            unit: cgroup.and_then(|text| unit(&text, owner)),
        };
        // Alive now, it was alive a moment ago, and its number was its own.
        if self.is_alive() { seen } else { Seen::default() }
    }

    /// The leader of its session and when that one was started, in ticks since boot (proc(5)): the number alone
    /// could be another session's later.
    #[must_use]
    pub fn session(&self) -> Option<(i32, u64)> {
        let session = Stat::of(self.pid)?.session;
        let leader = Stat::of(session).filter(|_| session > 0 && self.is_alive())?;
        Some((session, leader.started))
    }

    /// What started it, and what started that: process id and program, the nearest first. For display only.
    #[must_use]
    pub fn parents(&self) -> Vec<(i32, String)> {
        let mut parents = Vec::new();
        let mut child = Stat::of(self.pid);
        while let Some(stat) = child
            && stat.parent > 1
            && parents.len() < MAX_PARENTS
        {
            child = Stat::of(stat.parent);
            let Some(parent) = &child else { break };
            let program = fs::read_link(format!("/proc/{}/exe", stat.parent));
            let name = program.map_or_else(
                |_| format!("[{}]", parent.name),
                |path| path.to_string_lossy().into_owned(),
            );
            parents.push((stat.parent, name));
        }
        if self.is_alive() { parents } else { Vec::new() }
    }

    /// Whether it certainly has not ended.
    fn is_alive(&self) -> bool {
        let Some(handle) = &self.handle else { return false };
        let mut waited = [PollFd::new(handle, PollFlags::IN)];
        // A descriptor of a process becomes readable when the process ends.
        matches!(poll(&mut waited, Some(&Timespec::default())), Ok(0))
    }
}

/// What `/proc/PID/stat` says (proc(5)).
struct Stat {
    name: String,
    parent: i32,
    session: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name stands in brackets, and may hold brackets and spaces itself.
    fn parse(text: &str) -> Option<Self> {
        let (before, behind) = text.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = behind.split(' ').collect();
        Some(Self {
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The unit that a process is in, from `/proc/PID/cgroup`, by the rules of systemd: below slices stands the unit.
/// Below the manager of the own user a unit is that manager's, and that user's processes can make such paths at
/// will; no other user's can get anywhere but below their own manager or session.
fn unit(cgroup: &str, owner: u32) -> Option<UnitName> {
    // In a hybrid hierarchy the unified one may be unused.
    let path = |prefix: &str| {
        cgroup
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
            .filter(|path| *path != "/")
    };
    let named = || {
        cgroup
            .lines()
            .find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path))
    };
    let path = path("0::").or_else(named)?.strip_prefix('/')?;
    let mut parts = path.split('/').skip_while(|part| part.ends_with(".slice"));
    let name = unescape(parts.next()?);
    if !UnitName::is_name(name) {
        return None;
    }
    if name != format!("user@{owner}.service") {
        return Some(UnitName::System(name.to_owned()));
    }
    let inner = unescape(parts.find(|part| !part.ends_with(".slice"))?);
    UnitName::is_name(inner).then(|| UnitName::User(inner.to_owned()))
}

/// systemd puts an underscore before names that the kernel could take for its own files.
fn unescape(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const OWNER: u32 = 1000;

    fn system(name: &str) -> Option<UnitName> {
        Some(UnitName::System(name.to_owned()))
    }

    fn user(name: &str) -> Option<UnitName> {
        Some(UnitName::User(name.to_owned()))
    }

    #[test]
    fn the_unit_is_what_stands_below_the_slices() {
        for (cgroup, expected) in [
            ("0::/system.slice/nightly.service\n", system("nightly.service")),
            (
                "0::/system.slice/system-getty.slice/getty@tty1.service",
                system("getty@tty1.service"),
            ),
            (
                "0::/system.slice/nightly.service/inner/deeper.service",
                system("nightly.service"),
            ),
            (
                "0::/user.slice/user-1000.slice/session-3.scope",
                system("session-3.scope"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.slice/backup.service/x",
                user("backup.service"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/init.scope",
                user("init.scope"),
            ),
            ("0::/user.slice/user-1000.slice/user@1000.service", None),
            ("0::/system.slice/_cgroup.service", system("cgroup.service")),
            ("0::/", None),
            ("0::/docker/0123456789abcdef", None),
            ("0::/../../system.slice/nightly.service", None),
            ("0::/init.scope", system("init.scope")),
            ("", None),
            ("0::", None),
            (
                "1:cpu:/\n0::/\n9:name=systemd:/system.slice/a.service",
                system("a.service"),
            ),
            (
                "9:name=systemd:/system.slice/a.service\n0::/system.slice/b.service",
                system("b.service"),
            ),
        ] {
            assert_eq!(unit(cgroup, OWNER), expected, "{cgroup}");
        }
    }

    #[test]
    fn a_path_that_another_user_made_below_his_own_manager_is_no_unit_of_the_system_or_of_the_owner() {
        for path in [
            "0::/user.slice/user-1001.slice/user@1001.service/nightly.service",
            "0::/user.slice/user-1001.slice/user@1001.service/system.slice/nightly.service",
            "0::/user.slice/user-1001.slice/user@1001.service/user@1000.service/nightly.service",
        ] {
            assert_eq!(unit(path, OWNER), system("user@1001.service"), "{path}");
        }
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_what_stands_behind_it() {
        let numbers: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        let stat = Stat::parse(&format!("7 (a) S 1 (b) S {}", numbers.join(" "))).expect("parsed");
        assert_eq!(
            (stat.name.as_str(), stat.parent, stat.session, stat.started),
            ("a) S 1 (b", 0, 2, 18)
        );
    }

    #[test]
    fn a_process_is_seen_while_it_lives_and_not_after() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let pid = rustix::process::Pid::from_child(&child);
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let process = Process::new(pid.as_raw_nonzero().get(), Some(handle.expect("a descriptor")));
        let program = FileId::at(Path::new("/bin/cat")).expect("cat is there");
        // Between fork and exec it still is this program.
        while process
            .look(OWNER)
            .executable
            .is_some_and(|seen| seen.file != program)
        {
            std::thread::yield_now();
        }
        let seen = process.look(OWNER).executable.expect("its program");
        assert_eq!(seen.file, program);
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert_eq!(process.look(OWNER), Seen::default());
    }

    #[test]
    fn without_a_descriptor_nothing_is_known_of_a_process() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert_eq!(Process::new(own, None).look(OWNER), Seen::default());
    }
}
