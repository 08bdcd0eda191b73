//! A systemd of a user that is ours alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sfkey_tests::support::{
    Home, Ran, Sfkey, Stopwatch, home,
    stranger::{self, skipped},
};
use tempfile::TempDir;

use crate::ready::{PATIENCE, Readiness, is_installed};

/// Where the place of the tests stands inside.
pub(crate) const INSIDE: &str = "/run/nest";

/// Directives that some sandboxes cannot grant, because they mount over what those have mounted already. Each is
/// tried, and left out only where it fails; every other one of the units holds in every test.
const PERHAPS_NOT_GRANTED: [&str; 3] = [
    "ProtectHome=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelTunables=yes",
];

/// A place with programs and files, from which a manager is started.
pub(crate) struct Place {
    directory: TempDir,
    runtime: String,
    uid: u32,
}

/// The user whose manager it is: nobody's whose files are of this machine, and not root, who may do what users may not.
pub(crate) const USER: u32 = 61_923;

/// A runtime directory that no unit hides: what a system's manager has there, services of every user reach.
pub(crate) const OF_SYSTEM: &str = "/run/manager";

impl Place {
    /// For the manager of an ordinary user.
    pub(crate) fn new() -> Self {
        Self::of(USER, format!("/run/user/{USER}"))
    }

    /// For a manager that stands in for the system's.
    pub(crate) fn of_system() -> Self {
        Self::of(0, OF_SYSTEM.to_owned())
    }

    fn of(uid: u32, runtime: String) -> Self {
        let place = tempfile::Builder::new()
            .prefix("nest-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let directory = place.expect("a directory");
        let place = Self {
            directory,
            runtime,
            uid,
        };
        for directory in [
            "bin",
            "home/.config/systemd/user",
            "etc/credstore.encrypted",
            "etc/sfkey",
        ] {
            fs::create_dir_all(place.path(directory)).expect("created");
        }
        home::set_mode(&place.path("."), 0o755);
        for (file, entry) in [
            ("passwd", "nest:x:UID:UID::/run/nest/home:/bin/sh\n"),
            ("group", "nest:x:UID:\n"),
        ] {
            let known = fs::read_to_string(Path::new("/etc").join(file)).expect("every system has one");
            let own = entry.replace("UID", &USER.to_string());
            place.write(&format!("etc/{file}"), known + &own);
        }
        for program in ["sfkey", "sfkey-agent"] {
            let _copy = stranger::copy_of(program, &place.path("bin"));
        }
        place
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Writes a file that everybody may read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below this place")).expect("created");
        fs::write(&path, content).expect("written");
        home::set_mode(&path, 0o644);
    }

    /// A drop-in for a unit.
    pub(crate) fn drop_in(&self, unit: &str, name: &str, text: &str) {
        self.write(&format!("home/.config/systemd/user/{unit}.d/{name}.conf"), text);
    }
}

/// A running manager. It ends, with all that it runs, when this is dropped.
pub(crate) struct Manager {
    child: Child,
    place: Place,
    /// Where commands are started before they enter.
    home: Home,
}

impl Manager {
    /// Starts one; `None`, having said that `test` did not run, where that is not possible.
    ///
    /// # Panics
    /// In CI, when what can be installed is missing.
    pub(crate) fn start(test: &str, place: Place) -> Option<Self> {
        if !geteuid().is_root() {
            skipped(
                test,
                "only root can make the namespace that a nested systemd needs",
            );
            return None;
        }
        for program in [
            "/lib/systemd/systemd",
            "/usr/bin/systemd-creds",
            "/usr/bin/nsenter",
        ] {
            if !is_installed(test, program) {
                return None;
            }
        }
        let ready = Readiness::at(&place.path("notify"), place.path("nest.log"));
        match ready.of(&mut nest("start", &place)) {
            Ok(child) => Some(Self {
                child,
                place,
                home: Home::new(),
            }),
            Err(why) => {
                skipped(test, &format!("no nested systemd here: {why}"));
                None
            }
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A program inside, with the environment of the user's session.
    pub(crate) fn command(&self, line: &[&str]) -> Sfkey {
        let (target, uid) = (self.child.id().to_string(), self.place.uid.to_string());
        let own = [
            "--target", &target, "--mount", "--wd=/", "--setuid", &uid, "--setgid", &uid, "--",
        ];
        let all = own.iter().chain(line).copied();
        Sfkey::program("/usr/bin/nsenter".into(), &self.home, all)
            .variable("HOME", format!("{INSIDE}/home"))
            .variable("XDG_CONFIG_HOME", format!("{INSIDE}/home/.config"))
            .variable("XDG_STATE_HOME", format!("{INSIDE}/home/.local/state"))
            .variable("XDG_RUNTIME_DIR", &self.place.runtime)
            .variable("PATH", format!("{INSIDE}/bin:/usr/bin:/bin"))
    }

    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        self.command(line).run()
    }

    /// `sfkey` of the user whose manager this is.
    pub(crate) fn sfkey(&self, words: &[&str]) -> Ran {
        let program = format!("{INSIDE}/bin/sfkey");
        self.run(&[&[program.as_str()], words].concat())
    }

    pub(crate) fn systemctl(&self, words: &[&str]) -> Ran {
        self.run(&[&["systemctl", "--user"], words].concat())
    }

    /// A property of a unit, as systemd shows it.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let shown = self
            .systemctl(&["show", "--property", name, "--value", unit])
            .done();
        shown.out().trim().to_owned()
    }

    /// Asks until the property is as wanted.
    ///
    /// # Panics
    /// After 60 s.
    pub(crate) fn wait_for(&self, unit: &str, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        let stopwatch = Stopwatch::start();
        loop {
            let value = self.property(unit, name);
            if wanted(&value) {
                return value;
            }
            assert!(
                stopwatch.elapsed() < PATIENCE,
                "{name} of {unit} stays {value:?}: {}",
                self.systemctl(&["status", "--no-pager", "--full", "sfkey*"])
                    .out()
            );
        }
    }

    /// Turns off what this sandbox cannot grant to these units, and returns what that is.
    pub(crate) fn grant_the_rest(&self, units: &[&str]) -> Vec<&'static str> {
        let is_refused = |directive: &&&str| {
            // What the manager of an ordinary user cannot grant without.
            let veiled = format!("--property=PrivateUsers={}", self.place.uid != 0);
            let granted = format!("--property={directive}");
            let probe = [
                "systemd-run",
                "--user",
                "--quiet",
                "--wait",
                &veiled,
                &granted,
                "/bin/true",
            ];
            let probe = self.run(&probe);
            probe.code != 0
        };
        let refused: Vec<_> = PERHAPS_NOT_GRANTED.iter().filter(is_refused).copied().collect();
        let mut text = String::from("[Service]\n");
        for directive in &refused {
            text += &format!("{}\n", directive.replace("=yes", "=no"));
        }
        for unit in units {
            self.place.drop_in(unit, "sandbox", &text);
        }
        let _reloaded = self.systemctl(&["daemon-reload"]).done();
        refused
    }
}

/// A step of the script that makes the namespaces.
fn nest(step: &str, place: &Place) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suites/systemd/nest.bash");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "bash", script, step])
        .arg(place.directory.path())
        .arg(&place.runtime)
        .arg(place.uid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Tells that a test of the whole sandbox ran without these directives.
pub(crate) fn tell_refused(test: &str, refused: &[&str]) {
    if !refused.is_empty() {
        let names = refused.join(" ");
        skipped(
            test,
            &format!("its part with {names}, which this sandbox cannot grant"),
        );
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It stops its units first; an error means that it has ended already.
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::TERM).ok();
        self.child.wait().ok();
        nest("clean", &self.place).stderr(Stdio::null()).status().ok();
    }
}
