//! `sfkey exec`: the command takes sfkey's place.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use sfkey_tests::{
    sim::TokenFormat,
    support::{Ran, Stage, stage::ACCOUNT},
};

use crate::bench::{granted, loaded, run};

fn exec(stage: &Stage, command: &[&str]) -> Ran {
    let line = ["exec", ACCOUNT, "--"].iter().chain(command);
    stage.sfkey(line.copied()).run()
}

/// The environment that a command gets.
fn environment(stage: &Stage) -> BTreeMap<String, String> {
    let listed = exec(stage, &["/usr/bin/env"]).out();
    let variables = listed.lines().filter_map(|line| line.split_once('='));
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_command_gets_the_token_in_every_variable_that_tools_read() {
    let stage = loaded();
    let environment = environment(&stage);
    let (token, url) = (granted(&stage), stage.sim.url());
    for (name, value) in [
        ("SF_ACCESS_TOKEN", token.as_str()),
        ("SF_ORG_INSTANCE_URL", &url),
        ("SF_TARGET_ORG", &token),
        ("SALESFORCE_ACCESS_TOKEN", &token),
        ("SALESFORCE_INSTANCE_URL", &url),
        ("SFKEY_ACCOUNT", ACCOUNT),
        ("TZ", "UTC"),
    ] {
        assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_jwt_format_token_unsets_the_target_org_with_a_warning() {
    let stage = loaded();
    stage.sim.knobs(|knobs| knobs.token_format = TokenFormat::Jwt);
    let line = [
        "exec",
        ACCOUNT,
        "--",
        "/bin/sh",
        "-c",
        "printf %s \"${SF_TARGET_ORG-unset}\"",
    ];
    let ran = stage.sfkey(line).variable("SF_TARGET_ORG", "an-older-one").run();
    assert_eq!((ran.code, ran.out().as_str()), (0, "unset"));
    assert!(ran.err().contains("SF_TARGET_ORG is not set"), "{}", ran.err());
}

#[test]
fn the_commands_exit_code_and_signal_are_those_of_sfkey() {
    let stage = loaded();
    for code in [0, 1, 3, 42, 255] {
        let ran = exec(&stage, &["/bin/sh", "-c", &format!("exit {code}")]);
        assert_eq!((ran.code, ran.err().as_str()), (code, ""));
    }
    assert_eq!(exec(&stage, &["/bin/sh", "-c", "kill -KILL $$"]).code, 128 + 9);
}

#[test]
fn the_command_has_the_process_id_of_sfkey_and_gets_its_signals() {
    let stage = loaded();
    let line = ["exec", ACCOUNT, "--", "/bin/sh", "-c", "echo $$; exec sleep 600"];
    let mut child = stage.sfkey(line).start();
    let mut first = String::new();
    let out = child.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut first).expect("a line");
    let id = i32::try_from(child.id()).expect("a process id");
    let signalled = kill_process(Pid::from_raw(id).expect("not zero"), Signal::TERM);
    let status = child.wait().expect("it is a child of this process");
    signalled.expect("it was running");
    assert_eq!(first.trim_end(), id.to_string());
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn the_command_gets_its_arguments_input_and_limits_as_they_were() {
    let stage = loaded();
    let ran = exec(
        &stage,
        &["/usr/bin/printf", "%s|", "--json", "a b", "--", "", "$HOME"],
    );
    assert_eq!(ran.out(), "--json|a b|--||$HOME|");
    let piped = stage
        .sfkey(["exec", ACCOUNT, "--", "/bin/cat"])
        .input("through")
        .run();
    assert_eq!(piped.out(), "through");
    let script = "ulimit -c; ulimit -n; grep -E '^(SigBlk|SigIgn)' /proc/self/status";
    let without = Command::new("/bin/sh")
        .args(["-c", script])
        .output()
        .expect("a shell");
    let without = String::from_utf8(without.stdout).expect("numbers");
    assert_eq!(exec(&stage, &["/bin/sh", "-c", script]).out(), without);
}

#[test]
fn a_command_that_cannot_be_run_ends_as_with_env() {
    let stage = loaded();
    let (error, _) = exec(&stage, &["/nowhere/at-all"]).failed(127);
    assert!(error.contains("/nowhere/at-all"), "{error}");
    let file = stage.home.write("not-a-program", "x").display().to_string();
    let (error, _) = exec(&stage, &[&file]).failed(126);
    assert!(error.contains("not-a-program"), "{error}");
}

#[test]
fn without_a_token_the_command_is_not_run() {
    let stage = Stage::empty();
    let mark = stage.home.path("mark");
    let touch = [
        "exec",
        "nobody",
        "--",
        "/usr/bin/touch",
        mark.to_str().expect("UTF-8"),
    ];
    let (error, _) = run(&stage, &touch).failed(4);
    assert!(error.contains("nobody"), "{error}");
    assert!(!mark.exists());
    let (_, fix) = run(&stage, &["exec", "prod", "ls"]).failed(2);
    assert!(fix.contains("--"), "{fix}");
}

#[test]
fn the_only_account_needs_no_name() {
    let stage = loaded();
    let ran = run(
        &stage,
        &["exec", "--", "/bin/sh", "-c", "printf %s \"$SFKEY_ACCOUNT\""],
    );
    assert_eq!((ran.code, ran.out().as_str()), (0, ACCOUNT));
}
