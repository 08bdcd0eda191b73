//! The units of an integration server: an agent of a user of its own, whose accounts a second unit loads from
//! encrypted credentials. A user's manager that runs as root starts them as the system's would.

use std::{fs, path::Path};

use sfkey_tests::{
    sim::{Config, Simulator},
    support::{
        Ran, TestKey,
        stranger::{UID, skipped},
    },
};

use crate::nest::{INSIDE, Manager, OF_SYSTEM, Place, tell_refused};

const AGENT: &str = "sfkey-agent@sfkey.service";
/// The group of the restricted socket, and a user of it.
const GROUP: u32 = 61_930;
const MEMBER: u32 = 61_925;

const LOADER: &str = "sfkey-load@sfkey.service";

/// The system units as they are, but for where the programs lie.
fn install(place: &Place) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/system");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".service") || name.ends_with(".socket") {
            let text = fs::read_to_string(&path).expect("a unit");
            let text = text.replace("ExecStart=sfkey", &format!("ExecStart={INSIDE}/bin/sfkey"));
            place.write(&format!("home/.config/systemd/user/{name}"), text);
        }
    }
}

fn scene(test: &str) -> Option<(Manager, Simulator, Vec<&'static str>)> {
    if !rustix::process::geteuid().is_root() {
        skipped(
            test,
            "only root can make the namespace that a nested systemd needs",
        );
        return None;
    }
    let sim = Simulator::start_blocking(Config::with_key(TestKey::of_app().app_key())).expect("it starts");
    let place = Place::of_system();
    install(&place);
    let passwd = fs::read_to_string("/etc/passwd").expect("readable");
    let group = fs::read_to_string("/etc/group").expect("readable");
    place.write(
        "etc/passwd",
        format!("{passwd}sfkey:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n"),
    );
    place.write(
        "etc/group",
        format!("{group}sfkey:x:{UID}:\nsfkey-token:x:{GROUP}:\n"),
    );
    place.write(
        "etc/sfkey/config.toml",
        format!(
            "[accounts.prod]\nlogin_url = \"{}\"\nconsumer_key = \"{}\"\nusername = \"{}\"\nkey = \"credential:sfkey.key\"\n",
            sim.url(),
            sim.app(0).consumer_key,
            sim.user(0).username
        ),
    );
    place.write("plain.key", TestKey::of_app().pkcs8_pem());
    place.write("ca.pem", sim.ca_pem());
    place.drop_in(
        AGENT,
        "test",
        &format!(
            "[Service]\nEnvironment=SSL_CERT_FILE={INSIDE}/ca.pem\nExecStart=\nExecStart={INSIDE}/bin/sfkey-agent \
             --require-memory-protection=mlock --audit-log=%L/%i/audit.log\n"
        ),
    );
    let said = format!("[Service]\nStandardError=append:{INSIDE}/loader.log\n");
    place.drop_in(LOADER, "test", &said);
    let manager = Manager::start(test, place)?;
    let refused = manager.grant_the_rest(&[AGENT, LOADER]);
    // A system's manager lets every service tell it how it is; a user's has no other user's services.
    let told = format!("{OF_SYSTEM}/systemd");
    let _opened = manager.run(&["chmod", "0755", &told]).done();
    let _open = manager.run(&["chmod", "0777", &format!("{told}/notify")]).done();
    Some((manager, sim, refused))
}

/// `sfkey` of the agent's own user.
fn sfkey(manager: &Manager, words: &[&str]) -> Ran {
    let uid = UID.to_string();
    let program = format!("{INSIDE}/bin/sfkey");
    let own = [
        "setpriv",
        "--reuid",
        &uid,
        "--regid",
        &uid,
        "--clear-groups",
        &program,
        "--socket",
        "/run/sfkey/agent.sock",
    ];
    manager.run(&[&own[..], words].concat())
}

/// Waits until the loader has run once more than it had at `before`, and returns when that was.
fn loaded_after(manager: &Manager, before: &str) -> String {
    let when = manager.wait_for(LOADER, "InactiveEnterTimestampMonotonic", |time| {
        time != "0" && time != before
    });
    let said = fs::read_to_string(manager.place().path("loader.log")).unwrap_or_default();
    assert_eq!(manager.property(LOADER, "Result"), "success", "{said}");
    when
}

/// No credentials lie anywhere any more.
fn assert_no_credentials(manager: &Manager) {
    let found = manager.run(&["find", "/run", "-path", "*/credentials/*"]).done();
    assert_eq!(found.out(), "");
}

#[test]
fn a_kill_brings_the_accounts_back_through_the_loader_and_leaves_no_credentials_behind() {
    let test = "a_kill_brings_the_accounts_back_through_the_loader_and_leaves_no_credentials_behind";
    let Some((manager, sim, refused)) = scene(test) else {
        return;
    };
    let started = manager.systemctl(&["start", AGENT]);
    assert_eq!(
        started.code,
        0,
        "{started:?}{}",
        manager.systemctl(&["status", "--no-pager", AGENT]).out()
    );
    let first = loaded_after(&manager, "0");
    let status = sfkey(&manager, &["status", "--json"]).done().json();
    assert_eq!(
        (&status["account_count"], &status["memory_protection"]),
        (&1.into(), &"memfd_secret".into())
    );
    assert_eq!(status["socket"], "/run/sfkey/agent.sock");
    assert_no_credentials(&manager);
    let token = sfkey(&manager, &["token", "prod"]).done().out();
    assert_eq!(
        Some(token.trim_end().to_owned()),
        sim.last_exchange().expect("an exchange").access_token
    );
    let log = manager.place().path("home/.config/log/sfkey/audit.log");
    let recorded = fs::read_to_string(log).expect("an audit log");
    assert!(recorded.contains("\"decision\":\"granted\""), "{recorded}");
    let pid = manager.property(AGENT, "MainPID");
    let owner = manager
        .run(&["stat", "--format=%u", &format!("/proc/{pid}")])
        .done()
        .out();
    assert_eq!(owner.trim_end(), UID.to_string(), "it is the user's own");

    let _killed = manager.run(&["kill", "-KILL", &pid]).done();
    loaded_after(&manager, &first);
    let again = sfkey(&manager, &["status", "--json"]).done().json();
    assert_eq!(again["account_count"], 1, "{again}");
    assert_ne!(again["pid"], status["pid"]);
    let _token = sfkey(&manager, &["token", "prod"]).done();
    assert_no_credentials(&manager);

    // Whoever is not that user gets nothing, root included.
    let foreign = manager.sfkey(&["--socket", "/run/sfkey/agent.sock", "status"]);
    assert_eq!(foreign.code, 3, "{foreign:?}");
    tell_refused(test, &refused);
}

#[test]
fn the_first_call_to_the_system_socket_starts_agent_and_loader() {
    let test = "the_first_call_to_the_system_socket_starts_agent_and_loader";
    let Some((manager, _sim, _)) = scene(test) else {
        return;
    };
    let _listening = manager.systemctl(&["start", "sfkey-agent@sfkey.socket"]).done();
    let modes = manager
        .run(&["stat", "--format=%a %U", "/run/sfkey", "/run/sfkey/agent.sock"])
        .done()
        .out();
    assert_eq!(modes, "755 root\n600 sfkey\n");
    let status = sfkey(&manager, &["status", "--json"]).done().json();
    assert_eq!(status["socket_activated"], true);
    loaded_after(&manager, "0");
    let list = sfkey(&manager, &["list", "--json"]).done().json();
    assert_eq!(list["accounts"][0]["account"], "prod", "{list}");
}

#[test]
fn the_restricted_socket_of_a_server_starts_the_agent_and_serves_its_group_listed_tokens_alone() {
    let test = "the_restricted_socket_of_a_server_starts_the_agent_and_serves_its_group_listed_tokens_alone";
    let Some((manager, _sim, _)) = scene(test) else {
        return;
    };
    let settings = format!("[token_socket]\ngids = [{GROUP}]\naccounts = [\"prod\"]\n");
    manager.place().write("etc/sfkey/agent.toml", settings);
    let both = ["start", "sfkey-agent@sfkey.socket", "sfkey-token@sfkey.socket"];
    let _listening = manager.systemctl(&both).done();
    let stat = [
        "stat",
        "--format=%a %U %G",
        "/run/sfkey-token",
        "/run/sfkey-token/token.sock",
    ];
    let modes = manager.run(&stat).done().out();
    assert_eq!(modes, "755 root root\n660 sfkey sfkey-token\n");
    let (uid, group) = (MEMBER.to_string(), GROUP.to_string());
    let program = format!("{INSIDE}/bin/sfkey");
    let member = |words: &[&str]| {
        let own = [
            "setpriv", "--reuid", &uid, "--regid", &uid, "--groups", &group, &program,
        ];
        let socket = ["--socket", "/run/sfkey-token/token.sock"];
        manager.run(&[&own[..], &socket, words].concat())
    };
    // Its call starts the agent, which has the main socket, too, and which the loader follows.
    let _not_loaded_perhaps = member(&["token", "prod"]);
    loaded_after(&manager, "0");
    let token = member(&["token", "prod"]);
    assert_eq!(token.code, 0, "{token:?}");
    assert_eq!(member(&["status"]).code, 3, "no AgentService there");
    let status = sfkey(&manager, &["status", "--json"]).done().json();
    assert_eq!(
        (&status["socket_activated"], &status["token_socket"]),
        (&true.into(), &"/run/sfkey-token/token.sock".into())
    );
}
