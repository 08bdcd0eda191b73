//! Questions that are answered late: the agent has closed the connection by then, and is asked all the same.

use std::process::Child;

use sfkey_tests::support::{Line, Ran, Stage, Terminal, stage::ACCOUNT};

use crate::{
    bench::{PASSPHRASE, add_line, configure, encrypted_key, granted, loaded, run, shown, words},
    import::with_logins,
};

/// Somebody who thinks for so long that the agent closes the connection.
struct Slow {
    line: Line,
    terminal: Terminal,
    child: Child,
}

impl Slow {
    fn begin(stage: &Stage, words: &[String]) -> Self {
        let line = Line::to(&stage.home);
        let terminal = Terminal::open();
        let mut all = vec!["--socket".to_owned(), shown(line.path())];
        all.extend_from_slice(words);
        let child = terminal.sfkey(&stage.home, &all).start();
        Self {
            line,
            terminal,
            child,
        }
    }

    fn answer(&mut self, question: &str, text: &str) {
        self.terminal.wait_for_next(question);
        assert_ne!(self.line.cut(), 0, "it is asked once the agent has answered");
        self.terminal.type_in(&format!("{text}\n"));
    }

    fn done(self) -> Ran {
        Ran::of(self.child).done()
    }
}

#[test]
fn a_passphrase_that_is_typed_late_loads_the_account() {
    let stage = Stage::empty();
    let mut slow = Slow::begin(&stage, &add_line(&stage, ACCOUNT, &encrypted_key(&stage)));
    slow.answer("encrypted.key for prod: ", PASSPHRASE);
    assert!(slow.done().out().starts_with("Added prod: "));
}

#[test]
fn every_account_of_the_configuration_is_loaded_however_late_each_answer_is() {
    let stage = Stage::empty();
    let config = configure(&stage, &encrypted_key(&stage), "");
    let text = std::fs::read_to_string(&config).expect("written");
    let second = text.replace("# kept\n[accounts.prod]", "[accounts.second]");
    std::fs::write(&config, text + &second).expect("written");
    let mut slow = Slow::begin(&stage, &words(&["add", "--all"]));
    slow.answer("for prod: ", PASSPHRASE);
    slow.terminal.wait_for_next("for second: ");
    slow.line.cut();
    slow.terminal.type_in(&format!("{PASSPHRASE}\n"));
    let told = slow.done().out();
    assert!(
        told.contains("Added prod: ") && told.contains("Added second: "),
        "{told}"
    );
}

#[test]
fn a_token_comes_of_an_account_whose_passphrase_was_typed_late() {
    for line in [
        &["token", ACCOUNT][..],
        &[
            "exec",
            ACCOUNT,
            "--",
            "/bin/sh",
            "-c",
            "echo \"$SF_ACCESS_TOKEN\"",
        ],
        &["doctor", ACCOUNT],
    ] {
        let stage = Stage::empty();
        configure(&stage, &encrypted_key(&stage), "");
        let mut slow = Slow::begin(&stage, &words(line));
        slow.answer("encrypted.key for prod: ", PASSPHRASE);
        let told = slow.done().out();
        if line[0] == "doctor" {
            assert!(told.contains("prod was loaded from the configuration"), "{told}");
        } else {
            assert_eq!(told.trim_end(), granted(&stage));
        }
    }
}

#[test]
fn a_watch_begins_although_the_passphrase_was_typed_late() {
    let stage = Stage::empty();
    configure(&stage, &encrypted_key(&stage), "");
    let once = "kill \"$PPID\"";
    let mut slow = Slow::begin(&stage, &words(&["watch", ACCOUNT, "--exec", once]));
    slow.answer("encrypted.key for prod: ", PASSPHRASE);
    slow.done();
    assert_eq!(stage.sim.counters().asked, 1);
}

#[test]
fn a_lock_whose_passphrase_is_typed_late_locks_and_opens() {
    let stage = loaded();
    let mut slow = Slow::begin(&stage, &words(&["lock"]));
    slow.terminal.wait_for_next("New passphrase for the lock: ");
    slow.terminal.type_in(&format!("{PASSPHRASE}\n"));
    slow.answer("The same again: ", PASSPHRASE);
    assert!(slow.done().out().starts_with("Locked: "));
    std::fs::remove_dir_all(stage.home.path("run/line")).expect("removed");
    let mut slow = Slow::begin(&stage, &words(&["unlock"]));
    slow.answer("Passphrase of the lock: ", PASSPHRASE);
    assert_eq!(slow.done().out(), "Unlocked.\n");
    assert_eq!(run(&stage, &["token"]).code, 0);
}

#[test]
fn logins_are_imported_although_the_passphrase_was_typed_late() {
    let (stage, _) = with_logins();
    let mut slow = Slow::begin(&stage, &words(&["import", "--apply"]));
    slow.terminal
        .wait_for_next("New passphrase for the keys that are imported: ");
    slow.terminal.type_in(&format!("{PASSPHRASE}\n"));
    slow.answer("The same again: ", PASSPHRASE);
    slow.terminal.wait_for_next("Remove that file? [no]: ");
    slow.terminal.type_in("\n");
    assert!(slow.done().out().starts_with("Imported prod: "));
}

#[test]
fn a_yes_that_comes_late_revokes_the_token() {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let mut slow = Slow::begin(&stage, &words(&["revoke", ACCOUNT]));
    slow.answer("Revoke it? [y/N] ", "y");
    assert!(slow.done().out().starts_with("Revoked the token of prod."));
}
