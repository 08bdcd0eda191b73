//! A secret goes to nobody else's agent, and a stranger gets nothing from ours.

use std::os::unix::fs::chown;

use sfkey_tests::support::{
    Agent, Home, Launch, Sfkey, Stage, TestKey, home,
    stage::ACCOUNT,
    stranger::{self, UID, is_possible},
};

use crate::bench::{add_line, key_file, loaded, run, shown};

fn assert_nothing_loaded(stage: &Stage) {
    let status = run(stage, &["status", "--json"]).done().json();
    assert_eq!(status["account_count"], 0);
}

#[test]
fn a_way_that_others_can_change_gets_no_key() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    home::set_mode(&stage.home.path("run"), 0o777);
    let (error, fix) = stage.sfkey(add_line(&stage, ACCOUNT, &key)).run().failed(6);
    assert!(error.contains("others may write"), "{error}");
    assert_eq!(stage.home.redact(&fix), "chmod go-w HOME/run");
    home::set_mode(&stage.home.path("run"), 0o700);
    assert_nothing_loaded(&stage);
    let _added = stage.sfkey(add_line(&stage, ACCOUNT, &key)).run().done();
}

#[test]
fn a_directory_of_another_user_gets_no_key() {
    if !is_possible("a_directory_of_another_user_gets_no_key") {
        return;
    }
    let stage = Stage::empty();
    let key = key_file(&stage);
    chown(stage.home.path("run"), Some(UID), None).expect("root may give files away");
    let (error, _) = stage.sfkey(add_line(&stage, ACCOUNT, &key)).run().failed(6);
    assert!(error.contains("another user"), "{error}");
    chown(stage.home.path("run"), Some(0), None).expect("root may take files");
    assert_nothing_loaded(&stage);
}

#[test]
fn an_agent_of_another_user_gets_no_key() {
    if !is_possible("an_agent_of_another_user_gets_no_key") {
        return;
    }
    let stage = Stage::empty();
    let programs = tempfile::tempdir().expect("a directory");
    let program = stranger::copy_of("sfkey-agent", programs.path());
    let theirs = Home::of_user(UID);
    let _agent = Agent::start(&theirs, &Launch::default().as_user(UID, program));
    let mut line = add_line(&stage, ACCOUNT, &key_file(&stage));
    line.extend(["--socket".to_owned(), shown(&theirs.socket())]);
    let (error, _) = stage.sfkey(line).run().failed(6);
    assert!(error.contains("another user"), "{error}");
}

#[test]
fn a_stranger_gets_neither_token_nor_status_of_an_open_socket() {
    if !is_possible("a_stranger_gets_neither_token_nor_status_of_an_open_socket") {
        return;
    }
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    stage.home.let_everybody_in();
    let programs = tempfile::tempdir().expect("a directory");
    let program = stranger::copy_of("sfkey", programs.path());
    let theirs = Home::of_user(UID);
    let socket = shown(&stage.home.socket());
    for command in ["token", "status", "list", "stop"] {
        let line = ["--socket", &socket, command];
        let _words = Sfkey::program(program.clone(), &theirs, line)
            .as_user(UID)
            .run()
            .failed(3);
    }
    let status = run(&stage, &["status", "--json"]).done().json();
    assert_eq!(status["connections_refused"], 4);
}

#[test]
fn a_stranger_gives_no_key_to_an_open_socket() {
    if !is_possible("a_stranger_gives_no_key_to_an_open_socket") {
        return;
    }
    let stage = Stage::empty();
    stage.home.let_everybody_in();
    let programs = tempfile::tempdir().expect("a directory");
    let program = stranger::copy_of("sfkey", programs.path());
    let mut line = add_line(&stage, ACCOUNT, "-");
    line.extend(["--socket".to_owned(), shown(&stage.home.socket())]);
    let theirs = Home::of_user(UID);
    let add = Sfkey::program(program, &theirs, line)
        .as_user(UID)
        .input(TestKey::of_app().pkcs8_pem());
    let (error, _) = add.run().failed(6);
    assert!(error.contains("another user"), "{error}");
}

#[test]
fn an_ordinary_user_needs_no_privilege_for_anything() {
    if !is_possible("an_ordinary_user_needs_no_privilege_for_anything") {
        return;
    }
    let programs = tempfile::tempdir().expect("a directory");
    let agent = stranger::copy_of("sfkey-agent", programs.path());
    let client = stranger::copy_of("sfkey", programs.path());
    let setup = sfkey_tests::support::StageSetup::default().home(Home::of_user(UID));
    let stage = setup.launch(|launch| launch.as_user(UID, agent)).empty();
    let line = add_line(&stage, ACCOUNT, "-");
    let add = Sfkey::program(client.clone(), &stage.home, line).as_user(UID);
    let _added = add.input(TestKey::of_app().pkcs8_pem()).run().done();
    let token = Sfkey::program(client, &stage.home, ["token"])
        .as_user(UID)
        .run()
        .done();
    assert!(stage.sim.session_expiry(token.out().trim_end()).is_some());
}
