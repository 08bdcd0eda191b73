//! In front of a person: passphrases are asked for, tokens are not shown.

use std::{fs, path::Path, process::Child};

use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Ran, Sfkey, Stage, Terminal, binaries, stage::ACCOUNT, stopwatch::eventually},
};

use crate::bench::{PASSPHRASE, add_line, configure, encrypted_key, granted, loaded, run, shown, words};

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

/// Ends `sfkey` in the middle of a question for a passphrase, and requires that the terminal then is as it was. The exit
/// code.
fn ended_at_the_question(end: impl FnOnce(&mut Terminal, &Child)) -> i32 {
    let stage = Stage::empty();
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    let before = tcgetattr(&keeps_it_open).expect("a terminal").local_modes;
    let line = add_line(&stage, ACCOUNT, &encrypted_key(&stage));
    let child = terminal.sfkey(&stage.home, &line).start();
    terminal.wait_for(": ");
    let asked = tcgetattr(&keeps_it_open).expect("a terminal").local_modes;
    assert!(
        !asked.contains(LocalModes::ECHO),
        "nothing is shown while it is asked for"
    );
    end(&mut terminal, &child);
    let code = Ran::of(child).code;
    let after = tcgetattr(&keeps_it_open).expect("a terminal").local_modes;
    assert_eq!(after, before, "exit code {code}");
    code
}

#[test]
fn after_control_c_the_terminal_shows_again_what_is_typed() {
    let code = ended_at_the_question(|terminal, _| terminal.type_in("half a pass\u{3}"));
    assert_eq!(code, 130);
}

#[test]
fn a_question_that_a_signal_ends_leaves_a_terminal_that_shows_what_is_typed() {
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT, Signal::INT] {
        let code = ended_at_the_question(|_, child| {
            kill_process(Pid::from_child(child), signal).expect("it waits");
        });
        assert_eq!(code, 128 + signal.as_raw());
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_want_it() {
    let stage = loaded();
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut terminal = Terminal::open();
        let keeps_it_open = terminal.device();
        let list = stage
            .sfkey(["list"])
            .variable("TERM", "xterm")
            .stdout(terminal.device());
        let list = variables
            .iter()
            .fold(list, |list, (name, value)| list.variable(name, *value));
        assert_eq!(list.run().code, 0);
        terminal.wait_for("none yet");
        drop(keeps_it_open);
        terminal.shown_to_the_end()
    };
    assert!(on_terminal(&[]).contains("\u{1b}[1m"));
    assert!(!on_terminal(&[("NO_COLOR", "1")]).contains('\u{1b}'));
    assert!(!run(&stage, &["list"]).done().out().contains('\u{1b}'));
    let forced = stage.sfkey(["list"]).variable("CLICOLOR_FORCE", "1").run().done();
    assert!(forced.out().contains("\u{1b}[1m"), "{}", forced.out());
    let failed = stage.sfkey(["token", "nobody"]).run();
    assert!(!failed.err().contains('\u{1b}'), "{}", failed.err());
}

#[test]
fn a_narrow_terminal_gets_a_block_for_each_account() {
    let stage = loaded();
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    let narrow = Winsize {
        ws_row: 24,
        ws_col: 40,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&keeps_it_open, narrow).expect("a terminal");
    assert_eq!(stage.sfkey(["list"]).stdout(terminal.device()).run().code, 0);
    terminal.wait_for("unloads");
    drop(keeps_it_open);
    let shown = terminal.shown_to_the_end();
    assert!(shown.starts_with("prod (default)\r\n  username"), "{shown:?}");
}

#[test]
fn what_takes_longer_than_a_moment_says_so_on_a_terminal() {
    let stage = loaded();
    stage.sim.fault(FaultRule::next(1, Fault::Stall));
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    let asking = stage
        .sfkey(["token"])
        .variable("TERM", "xterm")
        .stderr(terminal.device())
        .start();
    terminal.wait_for("Waiting for Salesforce… ");
    stage.sim.release_stalled();
    terminal.wait_for("\r\u{1b}[K");
    let token = Ran::of(asking);
    assert_eq!(
        (token.code, token.out().trim_end()),
        (0, granted(&stage).as_str())
    );
    drop(keeps_it_open);
}

#[test]
fn ten_calls_at_once_ask_one_question() {
    let stage = Stage::empty();
    configure(&stage, &encrypted_key(&stage), "");
    let mut terminal = Terminal::open();
    let program = shown(&binaries::built("sfkey"));
    let script = format!("for _ in 1 2 3 4 5 6 7 8 9 10; do {program} token {ACCOUNT} & done; wait");
    let line = ["--ctty", "--wait", "/bin/sh", "-c", &script];
    let calls = Sfkey::program("/usr/bin/setsid".into(), &stage.home, line)
        .stdin(terminal.device())
        .start();
    terminal.wait_for("Passphrase of ");
    terminal.wait_for(": ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    let tokens = Ran::of(calls).done().out();
    assert_eq!(tokens, format!("{}\n", granted(&stage)).repeat(10));
    assert_eq!(terminal.shown_to_the_end().matches("Passphrase of ").count(), 1);
}

#[tokio::test]
async fn when_the_one_question_is_not_answered_the_other_calls_do_not_ask() {
    let stage = Stage::empty();
    configure(&stage, &encrypted_key(&stage), "");
    let mut terminal = Terminal::open();
    let program = shown(&binaries::built("sfkey"));
    let script = format!("for _ in 1 2 3; do {program} token {ACCOUNT} & done; wait");
    let line = ["--ctty", "--wait", "/bin/sh", "-c", &script];
    // Who starts after a question was put may ask again: all three are there before the agent answers the first.
    stage.agent.signal(Signal::STOP);
    let calls = Sfkey::program("/usr/bin/setsid".into(), &stage.home, line)
        .stdin(terminal.device())
        .start();
    eventually(async || (connected(&stage.home.socket()) == 3).then_some(())).await;
    stage.agent.signal(Signal::CONT);
    terminal.wait_for("Passphrase of ");
    terminal.wait_for(": ");
    terminal.type_in("\n");
    let ran = Ran::of(calls);
    assert_eq!(ran.out(), "");
    assert_eq!(
        terminal.shown_to_the_end().matches("Passphrase of ").count(),
        1,
        "{}",
        ran.err()
    );
    // An interrupted or unlucky holder leaves nothing that would stand in the way.
    let mut terminal = Terminal::open();
    let child = terminal.sfkey(&stage.home, &words(&["token", ACCOUNT])).start();
    terminal.wait_for(": ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    assert_eq!(Ran::of(child).done().out().trim_end(), granted(&stage));
}

/// Connections to a listening socket, accepted or not: they are in the list under its path, as it is itself.
fn connected(socket: &Path) -> usize {
    let list = fs::read_to_string("/proc/net/unix").expect("proc(5)");
    let path = shown(socket);
    list.lines()
        .filter(|line| line.ends_with(&path))
        .count()
        .saturating_sub(1)
}
