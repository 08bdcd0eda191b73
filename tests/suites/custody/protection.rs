//! What the agent does where the system grants little: it says so, and does its work.

use std::{os::unix::fs::chown, path::PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sfkey_tests::{
    sim::{Config, Simulator},
    support::{
        Agent, Home, Launch, Ran, Sfkey, TestKey,
        home::set_mode,
        stranger::{UID, act, copy_of, is_possible},
    },
};
use tempfile::TempDir;

use crate::{
    hunt::{Memory, Quarry, rsa_parts},
    scene::{none, sleeps, tell, without_memfd_secret},
};

/// A machine as an ordinary user finds it: root's CAP_IPC_LOCK would ignore the limit of locked memory.
#[derive(Clone, Copy, Debug)]
struct Machine {
    /// RLIMIT_MEMLOCK in KiB.
    lockable: u32,
    memfd_secret: bool,
}

/// What the agent gets there.
const GRANTED: [(Machine, &str); 4] = [
    (machine(64, true), "memfd_secret"),
    (machine(0, true), "none"),
    (machine(64, false), "mlock"),
    (machine(0, false), "none"),
];

const fn machine(lockable: u32, memfd_secret: bool) -> Machine {
    Machine {
        lockable,
        memfd_secret,
    }
}

/// Programs and files of that user.
struct Place {
    home: Home,
    programs: TempDir,
    agent: PathBuf,
    client: PathBuf,
}

impl Place {
    fn new() -> Self {
        let programs = tempfile::tempdir().expect("a directory");
        Self {
            home: Home::of_user(UID),
            agent: copy_of("sfkey-agent", programs.path()),
            client: copy_of("sfkey", programs.path()),
            programs,
        }
    }

    /// How to start an agent on such a machine: a shell lowers the limit and becomes the agent.
    fn launch(&self, machine: Machine) -> Launch {
        let script = self.programs.path().join("limited");
        let text = format!(
            "#!/bin/sh\nulimit -l {}\nexec '{}' \"$@\"\n",
            machine.lockable,
            self.agent.display()
        );
        std::fs::write(&script, text).expect("written");
        set_mode(&script, 0o755);
        Launch::default().as_user(UID, script)
    }

    /// Starts one.
    fn agent(self, machine: Machine, ca_pem: &str) -> (Self, Agent) {
        let ca_file = self.home.write("ca.pem", ca_pem);
        set_mode(&ca_file, 0o644);
        let launch = self.launch(machine).trusting(ca_file);
        let start = move || {
            let agent = Agent::start(&self.home, &launch);
            (self, agent)
        };
        on(machine, start)
    }

    fn sfkey(&self, line: &[&str]) -> Ran {
        Sfkey::program(self.client.clone(), &self.home, line.iter().copied())
            .as_user(UID)
            .run()
    }

    /// A file of that user.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.write(name, content);
        chown(&path, Some(UID), Some(UID)).expect("root may give files away");
        path.display().to_string()
    }

    fn key_file(&self) -> String {
        self.file("server.key", TestKey::of_app().pkcs8_pem())
    }
}

fn on<R: Send + 'static>(machine: Machine, act: impl FnOnce() -> R + Send + 'static) -> R {
    if machine.memfd_secret {
        act()
    } else {
        without_memfd_secret(act)
    }
}

/// Waits until everybody has left and the agent sleeps.
fn settle(agent: &Agent, descriptors: usize) {
    while agent.descriptors() != descriptors || !sleeps(agent.pid()) {
        std::thread::yield_now();
    }
}

#[test]
fn the_agent_says_what_protection_it_has_and_works_with_any() {
    if !is_possible("the_agent_says_what_protection_it_has_and_works_with_any") {
        return;
    }
    let sim = Simulator::start_blocking(Config::with_key(TestKey::of_app().app_key()));
    let sim = sim.expect("the simulator starts");
    let (url, app, user) = (sim.url(), sim.app(0), sim.user(0));
    for (machine, granted) in GRANTED {
        let (place, agent) = Place::new().agent(machine, sim.ca_pem());
        let descriptors = agent.descriptors();
        let status = place.sfkey(&["status", "--json"]).done().json();
        assert_eq!(status["memory_protection"], granted, "{machine:?}");
        assert_eq!(
            (&status["dumpable"], &status["core_limit"]),
            (&false.into(), &0.into())
        );
        let told = agent.log().text().contains("protected less than memfd_secret");
        assert_eq!(
            told,
            granted != "memfd_secret",
            "a downgrade is logged: {machine:?}"
        );
        let key = place.key_file();
        let line = [
            "add",
            "prod",
            "--login-url",
            &url,
            "--consumer-key",
            &app.consumer_key,
        ];
        let line = [&line[..], &["--username", &user.username, "--key", &key]].concat();
        let _added = place.sfkey(&line).done();
        let token = place.sfkey(&["token", "prod"]).done().out();
        settle(&agent, descriptors);
        let quarry = Quarry::default()
            .and_all(rsa_parts(TestKey::of_app()))
            .and("access token", crate::scene::secret_part(token.trim_end()));
        let memory = Memory::of(agent.pid());
        let hits = quarry.hits(&memory);
        tell(&format!("protection {granted}"), memory.length(), &quarry, &hits);
        none(&hits);
    }
}

#[test]
fn protection_that_is_required_and_not_granted_is_refused() {
    if !is_possible("protection_that_is_required_and_not_granted_is_refused") {
        return;
    }
    for (machine, granted) in GRANTED {
        for (required, levels) in [
            ("--require-memory-protection", &["memfd_secret"][..]),
            ("--require-memory-protection=mlock", &["memfd_secret", "mlock"]),
        ] {
            let place = Place::new();
            let launch = place.launch(machine).arguments([required]);
            if levels.contains(&granted) {
                drop(on(machine, move || Agent::start(&place.home, &launch)));
                continue;
            }
            let ended = on(machine, move || Agent::start_in_vain(&place.home, &launch));
            assert_eq!(ended.code, Some(1), "{machine:?} {required}: {}", ended.output);
            let lines: Vec<&str> = ended.output.lines().collect();
            let [error, fix] = lines.as_slice() else {
                panic!("not two lines: {}", ended.output)
            };
            assert!(error.starts_with("error: ") && error.contains(granted), "{error}");
            assert!(fix.starts_with("try: ") && !fix.ends_with("--help"), "{fix}");
        }
    }
}

/// Sets how much memory a running agent may lock, in bytes, as any process of its user can.
fn set_lockable(agent: &Agent, bytes: u64) {
    let pid = i32::try_from(agent.pid()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(64 * 1024),
    };
    act(move || prlimit(pid, Resource::Memlock, limit)).expect("a limit of the user's own process");
}

#[test]
fn an_agent_stays_locked_where_its_secret_would_come_back_with_less_protection() {
    if !is_possible("an_agent_stays_locked_where_its_secret_would_come_back_with_less_protection") {
        return;
    }
    let sim = Simulator::start_blocking(Config::with_key(TestKey::of_app().app_key()));
    let sim = sim.expect("the simulator starts");
    for (machine, granted) in [(machine(64, true), "memfd_secret"), (machine(64, false), "mlock")] {
        let (place, agent) = Place::new().agent(machine, sim.ca_pem());
        let passphrase = place.file("passphrase", "correct horse battery staple");
        let turn = |command| place.sfkey(&[command, "--passphrase-file", &passphrase]);
        let status = || place.sfkey(&["status", "--json"]).done().json();
        let _locked = turn("lock").done();
        set_lockable(&agent, 0);
        let (error, _) = turn("unlock").failed(1);
        assert!(error.contains("protected memory"), "{error}");
        let (locked, protection) = (&status()["locked"], &status()["memory_protection"]);
        assert_eq!(
            (locked, protection),
            (&true.into(), &granted.into()),
            "{machine:?}"
        );
        set_lockable(&agent, 64 * 1024);
        let _unlocked = turn("unlock").done();
        let (locked, protection) = (&status()["locked"], &status()["memory_protection"]);
        assert_eq!(
            (locked, protection),
            (&false.into(), &granted.into()),
            "{machine:?}"
        );
    }
}
