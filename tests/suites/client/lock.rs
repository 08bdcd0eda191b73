//! `sfkey lock` and `sfkey unlock`.

use sfkey_tests::support::{Stage, Terminal, stage::ACCOUNT};

use crate::bench::{granted, loaded, run, shown, words};

const PASSPHRASE: &str = "correct horse battery staple";

/// Runs `lock` or `unlock` with the passphrase in a file.
fn turn(stage: &Stage, command: &str, passphrase: &str) -> sfkey_tests::support::Ran {
    let file = shown(&stage.home.write("lock-passphrase", passphrase));
    run(stage, &[command, "--passphrase-file", &file])
}

#[test]
fn a_locked_agent_serves_no_token_and_after_unlocking_everything_is_there() {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let _locked = turn(&stage, "lock", PASSPHRASE).done();
    for line in [
        &["token"][..],
        &["token", ACCOUNT],
        &["exec", ACCOUNT, "--", "true"],
    ] {
        let (error, fix) = run(&stage, line).failed(5);
        assert!(
            error.contains("locked") && fix.contains("sfkey unlock"),
            "{error}\n{fix}"
        );
    }
    assert_eq!(run(&stage, &["status", "--json"]).done().json()["locked"], true);
    assert_eq!(
        stage.sim.counters().asked,
        1,
        "Salesforce is not asked while locked"
    );
    let (error, _) = turn(&stage, "unlock", "quite another one").failed(6);
    assert!(error.contains("passphrase"), "{error}");
    let _unlocked = turn(&stage, "unlock", &format!("{PASSPHRASE}\n")).done();
    assert_eq!(
        run(&stage, &["token", ACCOUNT]).done().out().trim_end(),
        granted(&stage)
    );
    assert_eq!(stage.sim.counters().asked, 2, "the lock wiped the token");
}

#[test]
fn nothing_is_loaded_on_demand_into_a_locked_agent() {
    let stage = Stage::empty();
    let key = crate::bench::key_file(&stage);
    crate::bench::configure(&stage, &key, "");
    let _locked = turn(&stage, "lock", PASSPHRASE).done();
    let _error = run(&stage, &["token", ACCOUNT]).failed(5);
    let _error = run(&stage, &["add", ACCOUNT]).failed(5);
    assert_eq!(
        run(&stage, &["status", "--json"]).done().json()["account_count"],
        0
    );
}

#[test]
fn a_new_passphrase_is_typed_twice_and_not_shown() {
    let stage = loaded();
    let lock = |second: &str| {
        let mut terminal = Terminal::open();
        let child = terminal.sfkey(&stage.home, &words(&["lock"])).start();
        terminal.wait_for("New passphrase");
        terminal.wait_for(": ");
        terminal.type_in(&format!("{PASSPHRASE}\n"));
        terminal.wait_for("again: ");
        terminal.type_in(&format!("{second}\n"));
        let ran = sfkey_tests::support::Ran::of(child);
        let shown = terminal.shown_to_the_end();
        assert!(!shown.contains("horse"), "{shown:?}");
        ran
    };
    let _words = lock("a slip").failed(1);
    assert_eq!(run(&stage, &["token"]).code, 0, "not locked");
    let _locked = lock(PASSPHRASE).done();
    assert_eq!(run(&stage, &["token"]).code, 5);
    let _unlocked = turn(&stage, "unlock", PASSPHRASE).done();
}
