//! The agent of one user: started by the first call, watched, started anew, drained.

use std::{fs, process::Child};

use sfkey_tests::{
    sim::{Config, Fault, FaultRule, Simulator},
    support::{Ran, TestKey, home},
};

use crate::nest::{INSIDE, Manager, Place, USER, tell_refused};

const SOCKET: &str = "sfkey-agent.socket";
const SERVICE: &str = "sfkey-agent.service";

/// A manager with the units as `sfkey service install` sets them up, and an org.
struct Scene {
    manager: Manager,
    sim: Simulator,
    /// What the sandbox of these tests cannot grant to the unit.
    refused: Vec<&'static str>,
}

impl Scene {
    fn open(test: &str, more: &str) -> Option<Self> {
        let sim =
            Simulator::start_blocking(Config::with_key(TestKey::of_app().app_key())).expect("it starts");
        let place = Place::new();
        place.write("ca.pem", sim.ca_pem());
        place.write("server.key", TestKey::of_app().pkcs8_pem());
        place.drop_in(
            SERVICE,
            "test",
            &format!("[Service]\nEnvironment=SSL_CERT_FILE={INSIDE}/ca.pem\n{more}"),
        );
        let manager = Manager::start(test, place)?;
        let refused = manager.grant_the_rest(&[SERVICE]);
        let installed = manager.sfkey(&["service", "install"]).done();
        assert!(
            installed
                .out()
                .contains("the first call to sfkey starts the agent"),
            "{installed:?}"
        );
        Some(Self {
            manager,
            sim,
            refused,
        })
    }

    fn add(&self) {
        let (url, app, user) = (self.sim.url(), self.sim.app(0), self.sim.user(0));
        let key = format!("{INSIDE}/server.key");
        let line = [
            "add",
            "prod",
            "--login-url",
            &url,
            "--consumer-key",
            &app.consumer_key,
            "--username",
            &user.username,
            "--key",
            &key,
        ];
        let added = self.manager.sfkey(&line);
        assert_eq!(added.code, 0, "{added:?}");
    }

    /// `sfkey token` that waits for Salesforce, which holds the request.
    fn token_in_work(&self) -> Child {
        self.sim.fault(FaultRule::next(1, Fault::Stall));
        let program = format!("{INSIDE}/bin/sfkey");
        let child = self.manager.command(&[&program, "token", "prod"]).start();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime
            .block_on(self.sim.wait_for_stalled(1))
            .expect("Salesforce holds it");
        child
    }

    fn main_pid(&self) -> String {
        self.manager.property(SERVICE, "MainPID")
    }
}

#[test]
fn the_first_call_starts_the_agent_which_does_its_full_job_in_its_sandbox() {
    let test = "the_first_call_starts_the_agent_which_does_its_full_job_in_its_sandbox";
    let Some(scene) = Scene::open(test, "") else {
        return;
    };
    let manager = &scene.manager;
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    let status = manager.sfkey(&["status", "--json"]).done().json();
    assert_eq!(status["memory_protection"], "memfd_secret", "{status}");
    assert_eq!(
        (&status["dumpable"], &status["core_limit"]),
        (&false.into(), &0.into())
    );
    assert_eq!(status["socket_activated"], true);
    // With Type=notify it is active only after READY=1.
    assert_eq!(
        manager.wait_for(SERVICE, "SubState", |state| state == "running"),
        "running"
    );
    assert_eq!(status["pid"].to_string(), scene.main_pid());
    let told = manager.property(SERVICE, "StatusText");
    assert_eq!(told, "Serves; accounts: 0; memory protection: memfd_secret");
    scene.add();
    let token = manager.sfkey(&["token", "prod"]).done().out();
    let granted = scene
        .sim
        .last_exchange()
        .expect("an exchange")
        .access_token
        .expect("granted");
    assert_eq!(token.trim_end(), granted);
    manager.place().write("passphrase", "open sesame");
    let passphrase = format!("{INSIDE}/passphrase");
    for verb in ["lock", "unlock"] {
        let turned = manager.sfkey(&[verb, "--passphrase-file", &passphrase]);
        assert_eq!(turned.code, 0, "{turned:?}");
    }
    let again = manager.sfkey(&["token", "prod", "--json"]).done().json();
    assert_eq!(again["account"], "prod");
    let reloaded = manager.systemctl(&["reload", SERVICE]).done();
    assert_eq!(reloaded.out(), "");
    let _removed = manager.sfkey(&["remove", "--all"]).done();
    let stopped = manager.sfkey(&["stop"]).done();
    assert!(
        stopped
            .out()
            .contains("systemd starts a new one at the next call"),
        "{stopped:?}"
    );
    assert_eq!(
        manager.wait_for(SERVICE, "ActiveState", |state| state == "inactive"),
        "inactive"
    );
    let next = manager.sfkey(&["status", "--json"]).done().json();
    assert_ne!(next["pid"], status["pid"]);
    tell_refused(test, &scene.refused);
}

#[test]
fn a_program_that_asks_finds_the_display_with_the_drop_in_and_not_without() {
    let test = "a_program_that_asks_finds_the_display_with_the_drop_in_and_not_without";
    let Some(scene) = Scene::open(test, "") else {
        return;
    };
    let (manager, place) = (&scene.manager, scene.manager.place());
    let script = "#!/bin/sh\n[ \"$DISPLAY\" = :7 ] && [ -e /tmp/.X11-unix/X7 ]\n";
    place.write("askpass", script);
    home::set_mode(&place.path("askpass"), 0o755);
    let settings = format!("askpass = \"{INSIDE}/askpass\"\n[accounts.prod.policy]\nconfirm = \"always\"\n");
    place.write("home/.config/sfkey/agent.toml", settings);
    let _socket = manager
        .run(&["install", "-D", "/dev/null", "/tmp/.X11-unix/X7"])
        .done();
    let import = [
        "env",
        "DISPLAY=:7",
        "systemctl",
        "--user",
        "import-environment",
        "DISPLAY",
    ];
    let _imported = manager.run(&import).done();
    scene.add();
    let (error, _) = manager.sfkey(&["token", "prod"]).failed(6);
    assert!(error.contains("the user said no"), "{error}");
    let relaxed = include_str!("../../../systemd/user/confirm.conf");
    place.drop_in(SERVICE, "confirm", relaxed);
    let _reloaded = manager.systemctl(&["daemon-reload"]).done();
    let _restarted = manager.systemctl(&["restart", SERVICE]).done();
    scene.add();
    let token = manager.sfkey(&["token", "prod"]);
    assert_eq!(token.code, 0, "{token:?}");
    let status = manager.sfkey(&["status", "--json"]).done().json();
    assert_eq!(status["memory_protection"], "memfd_secret", "{status}");
}

#[test]
fn the_restricted_socket_and_an_audit_log_work_in_the_sandbox() {
    let test = "the_restricted_socket_and_an_audit_log_work_in_the_sandbox";
    let log = "home/.local/state/sfkey/audit.log";
    let start = format!(
        "ExecStart=\nExecStart={INSIDE}/bin/sfkey-agent --audit-log %h/.local/state/sfkey/audit.log\n"
    );
    let Some(scene) = Scene::open(test, &start) else {
        return;
    };
    let (manager, place) = (&scene.manager, scene.manager.place());
    let own = format!("{INSIDE}/home/.local/state/sfkey");
    let _made = manager.run(&["mkdir", "-p", "-m", "0700", &own]).done();
    place.write(
        "home/.config/sfkey/agent.toml",
        "[token_socket]\naccounts = [\"prod\"]\n",
    );
    let unit = include_str!("../../../systemd/user/sfkey-token.socket");
    place.write("home/.config/systemd/user/sfkey-token.socket", unit);
    let _reloaded = manager.systemctl(&["daemon-reload"]).done();
    let _enabled = manager
        .systemctl(&["enable", "--quiet", "--now", "sfkey-token.socket"])
        .done();
    scene.add();
    let socket = format!("/run/user/{USER}/sfkey-token/token.sock");
    let token = manager
        .sfkey(&["--socket", &socket, "token", "prod"])
        .done()
        .out();
    let granted = scene
        .sim
        .last_exchange()
        .and_then(|exchange| exchange.access_token);
    assert_eq!(Some(token.trim_end()), granted.as_deref());
    assert_eq!(
        manager.sfkey(&["--socket", &socket, "remove", "prod"]).code,
        3,
        "no AgentService there"
    );
    let modes = manager.run(&[
        "stat",
        "--format=%a",
        &format!("/run/user/{USER}/sfkey-token"),
        &socket,
    ]);
    assert_eq!(modes.done().out(), "755\n600\n");
    let recorded = fs::read_to_string(place.path(log)).expect("an audit log");
    assert!(recorded.contains("\"decision\":\"granted\""), "{recorded}");
}

#[test]
fn a_rule_that_the_sandbox_cannot_hold_to_keeps_the_agent_from_starting_until_it_is_relaxed() {
    let test = "a_rule_that_the_sandbox_cannot_hold_to_keeps_the_agent_from_starting_until_it_is_relaxed";
    let Some(scene) = Scene::open(test, &format!("StandardError=append:{INSIDE}/home/agent.log\n")) else {
        return;
    };
    let (manager, place) = (&scene.manager, scene.manager.place());
    let rule = format!("[accounts.prod.policy]\nexecutables = [\"{INSIDE}/bin/sfkey\"]\n");
    place.write("home/.config/sfkey/agent.toml", rule);
    let (error, _) = manager.sfkey(&["status"]).failed(3);
    assert!(error.contains("closed the connection"), "{error}");
    let said = fs::read_to_string(place.path("home/agent.log")).expect("it said why");
    assert!(
        said.contains("executables of [accounts.prod.policy] cannot hold") && said.contains("confirm.conf"),
        "{said}"
    );
    place.drop_in(
        SERVICE,
        "confirm",
        include_str!("../../../systemd/user/confirm.conf"),
    );
    let _reloaded = manager.systemctl(&["daemon-reload"]).done();
    let _again = manager.systemctl(&["reset-failed"]).done();
    let _started = manager.systemctl(&["start", SOCKET, SERVICE]).done();
    scene.add();
    assert_eq!(manager.sfkey(&["token", "prod"]).code, 0);
}

#[test]
fn an_agent_that_is_killed_is_started_anew() {
    let test = "an_agent_that_is_killed_is_started_anew";
    let Some(scene) = Scene::open(test, "") else {
        return;
    };
    let manager = &scene.manager;
    let _status = manager.sfkey(&["status"]).done();
    let pid = scene.main_pid();
    let _killed = manager.run(&["kill", "-KILL", &pid]).done();
    manager.wait_for(SERVICE, "NRestarts", |count| count == "1");
    let status = manager.sfkey(&["status", "--json"]).done().json();
    assert_ne!(status["pid"].to_string(), pid);
    assert_eq!(status["socket_activated"], true);
}

#[test]
fn the_watchdog_is_kept_and_a_stopped_agent_is_started_anew() {
    let test = "the_watchdog_is_kept_and_a_stopped_agent_is_started_anew";
    // Longer than any load holds the agent up, short enough to be seen several times.
    let Some(scene) = Scene::open(test, "WatchdogSec=6\n") else {
        return;
    };
    let manager = &scene.manager;
    let _status = manager.sfkey(&["status"]).done();
    let pid = scene.main_pid();
    let mut seen = manager.property(SERVICE, "WatchdogTimestampMonotonic");
    for _ in 0..3 {
        seen = manager.wait_for(SERVICE, "WatchdogTimestampMonotonic", |time| time != seen);
    }
    assert_eq!(
        (manager.property(SERVICE, "NRestarts"), scene.main_pid()),
        ("0".to_owned(), pid.clone())
    );
    let _stopped = manager.run(&["kill", "-STOP", &pid]).done();
    manager.wait_for(SERVICE, "NRestarts", |count| count == "1");
    let status = manager.sfkey(&["status", "--json"]).done().json();
    assert_ne!(status["pid"].to_string(), pid);
}

#[test]
fn stopping_the_unit_lets_a_request_in_work_be_answered() {
    let test = "stopping_the_unit_lets_a_request_in_work_be_answered";
    let Some(scene) = Scene::open(test, "") else {
        return;
    };
    let manager = &scene.manager;
    scene.add();
    let request = scene.token_in_work();
    let _begun = manager.systemctl(&["stop", "--no-block", SERVICE]).done();
    manager.wait_for(SERVICE, "StatusText", |text| text == "Lets requests in work end");
    scene.sim.release_stalled();
    let answered = Ran::of(request);
    assert_eq!((answered.code, answered.err()), (0, String::new()));
    assert_eq!(
        manager.wait_for(SERVICE, "ActiveState", |state| state == "inactive"),
        "inactive"
    );
    assert_eq!(manager.property(SERVICE, "Result"), "success");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
}

#[test]
fn nothing_of_the_machines_is_touched() {
    let test = "nothing_of_the_machines_is_touched";
    let own = tempfile::NamedTempFile::new().expect("a file in /tmp");
    let Some(scene) = Scene::open(test, "") else {
        return;
    };
    let inside = scene.manager.run(&["ls", "-A", "/tmp"]).done();
    assert!(
        !inside.out().contains(
            &own.path()
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        )
    );
    drop(scene);
    assert!(fs::metadata(own.path()).is_ok());
}
