//! An account of the configuration is loaded when it is needed.

use sfkey_tests::support::{Home, Sfkey, Stage, StageSetup, TestKey, binaries, stage::ACCOUNT};

use crate::bench::{configure, granted, key_file, run, shown};

/// A stage with an empty agent and a configuration.
fn configured(more: &str) -> Stage {
    let stage = Stage::empty();
    let key = key_file(&stage);
    configure(&stage, &key, more);
    stage
}

#[test]
fn a_configured_account_is_loaded_at_the_first_call_for_a_token() {
    let stage = configured("");
    assert_eq!(
        run(&stage, &["token", ACCOUNT]).done().out().trim_end(),
        granted(&stage)
    );
    assert_eq!(
        run(&stage, &["token", ACCOUNT]).done().out().trim_end(),
        granted(&stage)
    );
    assert_eq!(stage.sim.counters().asked, 1);
}

#[test]
fn the_only_configured_account_needs_no_name() {
    let stage = configured("");
    assert_eq!(run(&stage, &["token"]).done().out().trim_end(), granted(&stage));
    let ran = run(
        &stage,
        &["exec", "--", "/bin/sh", "-c", "printf %s \"$SFKEY_ACCOUNT\""],
    );
    assert_eq!(ran.out(), ACCOUNT);
}

#[test]
fn a_command_is_run_with_an_account_that_was_loaded_for_it() {
    let stage = configured("");
    let ran = run(
        &stage,
        &[
            "exec",
            ACCOUNT,
            "--",
            "/bin/sh",
            "-c",
            "ulimit -c; printf %s \"$SF_ACCESS_TOKEN\"",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.err());
    let limit = std::process::Command::new("/bin/sh")
        .args(["-c", "ulimit -c"])
        .output()
        .expect("a shell");
    let limit = String::from_utf8(limit.stdout).expect("a number");
    assert_eq!(
        ran.out(),
        format!("{limit}{}", granted(&stage)),
        "the limit of core dumps is the caller's again"
    );
}

#[test]
fn nothing_is_loaded_when_told_not_to() {
    let stage = configured("");
    let (_, fix) = run(&stage, &["token", ACCOUNT, "--no-load"]).failed(4);
    assert!(fix.starts_with("sfkey add prod"), "{fix}");
    assert_eq!(
        run(&stage, &["status", "--json"]).done().json()["account_count"],
        0
    );
}

/// The three commands that load on demand.
const ASKING: [&[&str]; 3] = [
    &["token", ACCOUNT],
    &["exec", ACCOUNT, "--", "true"],
    &["watch", ACCOUNT],
];

fn loaded_accounts(stage: &Stage) -> serde_json::Value {
    run(stage, &["status", "--json"]).done().json()["account_count"].clone()
}

#[test]
fn nothing_is_loaded_into_a_locked_agent() {
    let stage = configured("");
    let file = shown(
        &stage
            .home
            .write("lock-passphrase", "correct horse battery staple"),
    );
    let _locked = run(&stage, &["lock", "--passphrase-file", &file]).done();
    for line in ASKING {
        let (error, _) = run(&stage, line).failed(5);
        assert!(error.contains("locked"), "{line:?}: {error}");
    }
    let _unlocked = run(&stage, &["unlock", "--passphrase-file", &file]).done();
    assert_eq!(loaded_accounts(&stage), 0);
    assert_eq!(stage.sim.counters().asked, 0);
}

#[test]
fn nothing_is_loaded_through_a_restricted_socket() {
    let home = Home::new();
    home.settings(&format!("[token_socket]\naccounts = [\"{ACCOUNT}\"]\n"));
    let stage = StageSetup::default().home(home).empty();
    let key = key_file(&stage);
    configure(&stage, &key, "");
    let socket = shown(&stage.home.token_socket());
    for line in ASKING {
        let line = [&["--socket", &socket], line].concat();
        let (error, _) = run(&stage, &line).failed(4);
        assert!(error.contains(ACCOUNT), "{line:?}: {error}");
    }
    assert_eq!(loaded_accounts(&stage), 0);
    // The same call at the main socket is what loads it, and then the restricted one serves it.
    let _token = run(&stage, &["token", ACCOUNT]).done();
    let token = run(&stage, &["--socket", &socket, "token", ACCOUNT]).done();
    assert_eq!(token.out().trim_end(), granted(&stage));
}

#[test]
fn a_removed_account_stays_away_until_it_is_added_by_hand() {
    let stage = configured("");
    let _token = run(&stage, &["token", ACCOUNT]).done();
    assert_eq!(run(&stage, &["remove", ACCOUNT]).code, 0);
    let (error, _) = run(&stage, &["token", ACCOUNT]).failed(4);
    assert!(error.contains("removed"), "{error}");
    let _added = run(&stage, &["add", ACCOUNT]).done();
    let _token = run(&stage, &["token", ACCOUNT]).done();
}

#[test]
fn an_encrypted_key_without_a_terminal_is_exit_code_4_with_the_line_that_helps() {
    let stage = Stage::empty();
    let arguments = [
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-passout",
        "pass:secret of the key",
    ];
    let file = TestKey::of_app().convert(&arguments, &stage.home.path("encrypted.key"));
    configure(&stage, &shown(&file), "");
    let program = shown(&binaries::built("sfkey"));
    let line = ["--wait", &program, "token", ACCOUNT];
    let (_, fix) = Sfkey::program("/usr/bin/setsid".into(), &stage.home, line)
        .run()
        .failed(4);
    assert!(fix.starts_with("sfkey add prod"), "{fix}");
}

#[test]
fn a_key_with_its_passphrase_in_a_file_is_loaded_without_a_word() {
    let stage = Stage::empty();
    let arguments = [
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-passout",
        "pass:secret of the key",
    ];
    let file = TestKey::of_app().convert(&arguments, &stage.home.path("encrypted.key"));
    stage.home.write("config/sfkey/passphrase", "secret of the key\n");
    configure(&stage, &shown(&file), "passphrase = \"file:passphrase\"");
    assert_eq!(
        run(&stage, &["token", ACCOUNT]).done().out().trim_end(),
        granted(&stage)
    );
}

#[test]
fn a_broken_configuration_disturbs_nobody_who_does_not_need_it() {
    let stage = crate::bench::loaded();
    stage
        .home
        .write("config/sfkey/config.toml", "this is = not [ TOML");
    let _token = run(&stage, &["token", ACCOUNT]).done();
    let (error, _) = run(&stage, &["token", "another"]).failed(2);
    assert!(
        stage
            .home
            .redact(&error)
            .contains("HOME/config/sfkey/config.toml"),
        "{error}"
    );
}
