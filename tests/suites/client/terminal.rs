//! In front of a person: passphrases are asked for, tokens are not shown.

use sfkey_tests::support::{Ran, Stage, Terminal, TestKey, stage::ACCOUNT};

use crate::bench::{add_line, configure, granted, loaded, shown, words};

const PASSPHRASE: &str = "correct horse battery staple";

fn encrypted_key(stage: &Stage) -> String {
    let arguments = [
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-passout",
        "pass:correct horse battery staple",
    ];
    shown(&TestKey::of_app().convert(&arguments, &stage.home.path("encrypted.key")))
}

#[test]
fn a_token_does_not_go_to_a_terminal_unless_told_to() {
    let stage = loaded();
    for line in [
        &["token"][..],
        &["token", "-o", "header"],
        &["token", "--json"],
        &["token", "-o", "env"],
    ] {
        let terminal = Terminal::open();
        let ran = stage.sfkey(line.iter().copied()).stdout(terminal.device()).run();
        assert_eq!(ran.code, 2, "{line:?}");
        assert!(ran.err().contains("--show"), "{}", ran.err());
        assert_eq!(terminal.shown_to_the_end(), "", "{line:?}");
    }
    assert_eq!(stage.sim.counters().asked, 0, "not even asked for");
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    let ran = stage.sfkey(["token", "--show"]).stdout(terminal.device()).run();
    assert_eq!((ran.code, ran.err().as_str()), (0, ""));
    terminal.wait_for(&granted(&stage));
    drop(keeps_it_open);
}

#[test]
fn a_passphrase_is_asked_for_and_not_shown() {
    let stage = Stage::empty();
    let mut terminal = Terminal::open();
    let line = add_line(&stage, ACCOUNT, &encrypted_key(&stage));
    let child = terminal.sfkey(&stage.home, &line).start();
    terminal.wait_for("Passphrase of ");
    terminal.wait_for(": ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    let added = Ran::of(child).done();
    assert!(added.out().starts_with("Added prod: "), "{}", added.out());
    let shown = terminal.shown_to_the_end();
    assert!(!shown.contains("horse"), "{shown:?}");
}

#[test]
fn a_wrong_passphrase_is_asked_for_again() {
    let stage = Stage::empty();
    configure(&stage, &encrypted_key(&stage), "");
    let mut terminal = Terminal::open();
    let child = terminal.sfkey(&stage.home, &words(&["token", ACCOUNT])).start();
    terminal.wait_for(": ");
    terminal.type_in("a wrong one\n");
    terminal.wait_for("not its passphrase");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    let token = Ran::of(child).done();
    assert_eq!(token.out().trim_end(), granted(&stage), "loaded on demand");
    drop(terminal);
}

#[test]
fn whoever_types_nothing_gets_a_way_out() {
    let stage = Stage::empty();
    let mut terminal = Terminal::open();
    let line = add_line(&stage, ACCOUNT, &encrypted_key(&stage));
    let child = terminal.sfkey(&stage.home, &line).start();
    terminal.wait_for(": ");
    terminal.type_in("\n");
    let (_, fix) = Ran::of(child).failed(1);
    assert!(fix.contains("--passphrase-file"), "{fix}");
}

#[test]
fn control_c_at_the_question_ends_as_by_the_signal() {
    let stage = Stage::empty();
    let mut terminal = Terminal::open();
    let line = add_line(&stage, ACCOUNT, &encrypted_key(&stage));
    let child = terminal.sfkey(&stage.home, &line).start();
    terminal.wait_for(": ");
    terminal.type_in("half a pass\u{3}");
    let ran = Ran::of(child);
    assert_eq!((ran.code, ran.stdout.as_slice()), (130, &b""[..]));
}
