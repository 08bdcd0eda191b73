//! `sfkey service` where there is no systemd. With one: the systemd suite.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use sfkey_tests::support::{Agent, Home, Launch, Sfkey};

const SOCKET: &str = "sfkey-agent.socket";
const SERVICE: &str = "sfkey-agent.service";

/// `sfkey service ARGUMENTS` with no `systemctl` in its PATH.
fn service(home: &Home, arguments: &[&str]) -> Sfkey {
    let all = ["service"].iter().chain(arguments);
    Sfkey::new(home, all.copied()).variable("PATH", home.path("bin"))
}

fn directory(home: &Home) -> PathBuf {
    home.path("config/systemd/user")
}

/// The link by which systemd knows that the socket is enabled.
fn link(home: &Home) -> PathBuf {
    directory(home).join("sockets.target.wants").join(SOCKET)
}

/// The units as `install` writes them, and its link with this target.
fn install(home: &Home, target: &Path) {
    let listing = service(home, &["install", "--print"]).run().done().out();
    let service = directory(home).join(SERVICE);
    let head = |unit: &str| format!("# {}\n", directory(home).join(unit).display());
    let (socket_text, service_text) = listing
        .strip_prefix(&head(SOCKET))
        .and_then(|rest| rest.split_once(&format!("\n{}", head(SERVICE))))
        .expect("both units");
    fs::create_dir_all(link(home).parent().expect("a directory")).expect("created");
    fs::write(directory(home).join(SOCKET), socket_text).expect("written");
    fs::write(service, service_text).expect("written");
    symlink(target, link(home)).expect("linked");
}

#[test]
fn uninstall_without_systemd_removes_units_and_link_and_says_that_nothing_was_stopped() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default());
    for target in [directory(&home).join(SOCKET), Path::new("..").join(SOCKET)] {
        install(&home, &target);
        let told = service(&home, &["uninstall"]).run().done().out();
        assert_eq!(
            home.redact(&told),
            "The units of sfkey are removed in HOME/config/systemd/user. The systemd of this user was not reached, \
             so nothing was stopped: an agent that runs keeps its keys until sfkey stop.\n"
        );
        let left = fs::read_dir(directory(&home)).expect("a directory");
        assert_eq!(left.count(), 0);
    }
    let status = Sfkey::new(&home, ["status", "--json"]).run().done().json();
    assert_eq!(status["pid"], agent.pid(), "it goes on");
    let again = service(&home, &["uninstall"]).run().done().out();
    assert!(again.starts_with("There are no units of sfkey in "), "{again}");
}

#[test]
fn uninstall_without_systemd_leaves_links_of_others_alone() {
    let home = Home::new();
    install(&home, Path::new("/dev/null"));
    let other = link(&home).with_file_name("other.socket");
    symlink("/dev/null", &other).expect("linked");
    let done = service(&home, &["uninstall", "--json"]).run().done().json();
    let removed: Vec<&str> = done["units"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|unit| unit["unit"].as_str().expect("a name"))
        .collect();
    assert_eq!(removed, [SOCKET, SERVICE]);
    for left in [link(&home), other] {
        assert!(left.is_symlink(), "{}", left.display());
    }
}

#[test]
fn install_without_systemd_writes_nothing_and_says_what_to_do_instead() {
    let home = Home::new();
    let (error, fix) = service(&home, &["install"]).run().failed(1);
    assert!(
        error.starts_with("the systemd of this user cannot be reached: "),
        "{error}"
    );
    assert!(fix.contains("eval \"$(sfkey-agent --daemon)\""), "{fix}");
    assert!(!home.path("config/systemd").exists());
}

#[test]
fn status_without_systemd_tells_the_units_and_that_it_was_not_reached() {
    let home = Home::new();
    install(&home, &directory(&home).join(SOCKET));
    let told = service(&home, &["status"]).run().done().out();
    assert!(
        told.ends_with("systemd of this user: not reached\n")
            && told.contains("sfkey-agent.socket: installed ("),
        "{told}"
    );
    let told = service(&home, &["status", "--json"]).run().done().json();
    assert_eq!((&told["systemd"], &told["socket"]), (&false.into(), &().into()));
}
