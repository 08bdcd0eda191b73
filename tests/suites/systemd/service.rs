//! `sfkey service`: sets up, is asked again, and never takes a change away unasked.

use std::fs;

use sfkey_tests::support::{Home, Sfkey, binaries};

use crate::nest::{Manager, Place, USER};

const UNIT: &str = "home/.config/systemd/user/sfkey-agent.service";

#[test]
fn installing_again_changes_nothing_and_uninstalling_leaves_nothing() {
    let test = "installing_again_changes_nothing_and_uninstalling_leaves_nothing";
    let Some(manager) = Manager::start(test, Place::new()) else {
        return;
    };
    let missing = manager.sfkey(&["service", "status", "--json"]).done().json();
    assert_eq!(
        (&missing["systemd"], &missing["units"][0]["state"]),
        (&true.into(), &"missing".into())
    );
    let first = manager.sfkey(&["service", "install", "--json"]).done().json();
    assert_eq!(first["units"][1]["action"], "installed");
    let text = fs::read_to_string(manager.place().path(UNIT)).expect("the unit");
    assert!(text.contains("\nExecStart=/run/nest/bin/sfkey-agent\n"), "{text}");
    let again = manager.sfkey(&["service", "install", "--json"]).done().json();
    assert_eq!(again["units"][1]["action"], "unchanged");
    let status = manager.sfkey(&["service", "status", "--json"]).done().json();
    assert_eq!(
        (&status["units"][0]["state"], &status["socket"]),
        (&"installed".into(), &"active".into())
    );
    let removed = manager.sfkey(&["service", "uninstall"]).done();
    assert!(removed.out().contains("stopped"), "{removed:?}");
    assert!(!manager.place().path(UNIT).exists());
    assert_eq!(manager.property("sfkey-agent.socket", "LoadState"), "not-found");
    let nothing = manager.sfkey(&["service", "uninstall"]).done();
    assert!(nothing.out().starts_with("There are no units"), "{nothing:?}");
}

#[test]
fn a_unit_that_was_changed_by_hand_is_left_alone_unless_force_sets_it_aside() {
    let test = "a_unit_that_was_changed_by_hand_is_left_alone_unless_force_sets_it_aside";
    let place = Place::new();
    place.write(UNIT, "[Service]\nExecStart=/usr/bin/sleep 600\n");
    let Some(manager) = Manager::start(test, place) else {
        return;
    };
    let (error, fix) = manager.sfkey(&["service", "install"]).failed(2);
    assert!(
        error.ends_with("sfkey-agent.service was changed by hand, so it is left alone"),
        "{error}"
    );
    assert!(
        fix.contains("systemctl --user edit") && fix.contains("--force"),
        "{fix}"
    );
    let _same = manager.sfkey(&["service", "uninstall"]).failed(2);
    let forced = manager.sfkey(&["service", "install", "--force"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(forced.err().contains("is kept as"), "{forced:?}");
    let kept = fs::read_to_string(manager.place().path(format!("{UNIT}.old"))).expect("kept");
    assert!(kept.contains("sleep 600"), "{kept}");
}

#[test]
fn a_socket_that_an_agent_of_the_user_serves_is_not_taken_from_it() {
    let test = "a_socket_that_an_agent_of_the_user_serves_is_not_taken_from_it";
    let Some(manager) = Manager::start(test, Place::new()) else {
        return;
    };
    let _refused = manager.grant_the_rest(&["sfkey-agent.service"]);
    let started = manager.run(&["/run/nest/bin/sfkey-agent", "--daemon"]).done();
    assert!(
        started
            .out()
            .starts_with(&format!("SFKEY_SOCK=/run/user/{USER}/sfkey/agent.sock;")),
        "{started:?}"
    );
    let pid = manager.sfkey(&["status", "--json"]).done().json()["pid"].clone();
    let (error, fix) = manager.sfkey(&["service", "install"]).failed(2);
    assert!(
        error.contains("systemd did not start") && fix.starts_with("sfkey stop"),
        "{error}\n{fix}"
    );
    assert_eq!(manager.sfkey(&["status", "--json"]).done().json()["pid"], pid);
    let _stopped = manager.sfkey(&["stop"]).done();
    let _installed = manager.sfkey(&["service", "install"]).done();
    // Where systemd has the socket, a start-up file's line finds it served.
    let line = manager.run(&["/run/nest/bin/sfkey-agent", "--daemon"]).done();
    assert_eq!(line.out(), started.out());
    assert_eq!(
        manager.sfkey(&["status", "--json"]).done().json()["socket_activated"],
        true
    );
}

#[test]
fn what_would_be_written_can_be_seen_and_without_systemd_it_is_said_what_to_do() {
    let home = Home::new();
    let service = |words: &[&str]| {
        let line = ["service"].iter().chain(words).copied();
        Sfkey::new(&home, line)
            .variable("XDG_RUNTIME_DIR", "/nonexistent")
            .run()
    };
    let printed = service(&["install", "--print"]).done().out();
    let agent = binaries::built("sfkey-agent").display().to_string();
    assert!(
        printed.contains("ListenStream=%t/sfkey/agent.sock") && printed.contains(&agent),
        "{printed}"
    );
    assert!(!home.path("config/systemd").exists());
    let (error, fix) = service(&["install"]).failed(1);
    assert!(
        error.starts_with("the systemd of this user cannot be reached"),
        "{error}"
    );
    assert!(fix.contains("eval \"$(sfkey-agent --daemon)\""), "{fix}");
    assert!(!home.path("config/systemd").exists());
}
