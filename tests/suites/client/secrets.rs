//! No secret in anything that the command says, unless it is what was asked for.

use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Canaries, Ran, Stage, StageSetup, TestKey, stage::ACCOUNT},
};

use crate::bench::{PASSPHRASE, add_line, add_line_for, encrypted_key, granted, key_file, run, shown, words};

const CONSUMER_SECRET: &str = "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7";
/// Every command, well and badly, and what each said; the output of `token` is left out.
fn say_everything(stage: &Stage) -> Vec<Ran> {
    let key = key_file(stage);
    let secret = shown(&stage.home.write("consumer-secret", CONSUMER_SECRET));
    let mut said = Vec::new();
    let mut add = add_line(stage, ACCOUNT, &key);
    add.extend(words(&["--consumer-secret-file", &secret, "--save", "--default"]));
    said.push(stage.sfkey(add).run());
    let mut token = run(stage, &["token"]);
    token.stdout.clear();
    said.push(token);
    for line in [
        &["list"][..],
        &["list", "--json"],
        &["status"],
        &["status", "--json"],
        &["token", "-o", "xml"],
    ] {
        said.push(run(stage, line));
    }
    said.push(run(stage, &["exec", ACCOUNT, "--", "/nowhere"]));
    let encrypted = encrypted_key(stage);
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    // The files of key and passphrase confused, and a key with its last lines missing.
    let truncated = shown(
        &stage
            .home
            .write("truncated.key", &TestKey::of_app().pkcs8_pem()[..900]),
    );
    for (key, passphrase) in [
        (&encrypted, &key),
        (&passphrase, &encrypted),
        (&encrypted, &passphrase),
        (&truncated, &passphrase),
    ] {
        let mut line = add_line(stage, "other", key);
        line.extend(words(&["--passphrase-file", passphrase]));
        said.push(stage.sfkey(line).run());
    }
    let pem = TestKey::of_app().pkcs8_pem();
    said.push(
        stage
            .sfkey(add_line(stage, "third", "env:KEY"))
            .variable("KEY", &pem[..1000])
            .run(),
    );
    said.push(
        stage
            .sfkey(add_line(stage, "third", "-"))
            .input(&pem[..1000])
            .run(),
    );
    said.extend(hear_echoes(stage, &key));
    said.push(run(stage, &["remove", ACCOUNT]));
    said.push(run(stage, &["token", ACCOUNT]));
    said
}

/// Refusals that repeat what was sent.
fn hear_echoes(stage: &Stage, key: &str) -> Vec<Ran> {
    let bodies = [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"bad {assertion}"}"#,
        ),
        (400, "<html>{body}</html>"),
        (503, "{body}"),
    ];
    let mut said = Vec::new();
    for (number, (status, body)) in bodies.into_iter().enumerate() {
        let name = format!("echo-{number}");
        let user = stage.spec_of_new_user(&name).username.clone();
        said.push(stage.sfkey(add_line_for(stage, &name, &user, key)).run());
        let (headers, body) = (Vec::new(), body.to_owned());
        stage.sim.fault(FaultRule::next(
            2,
            Fault::Canned {
                status,
                headers,
                body,
            },
        ));
        said.push(run(stage, &["token", &name]));
        said.push(run(stage, &["token", &name, "--json"]));
        stage.sim.clear_faults();
    }
    said
}

#[test]
fn no_secret_is_in_what_the_commands_say_or_the_agent_logs() {
    let stage = StageSetup::default().arguments(["--log-level", "trace"]).empty();
    let said = say_everything(&stage);
    assert!(
        said.iter().filter(|ran| ran.code != 0).count() >= 10,
        "most of these fail: {said:?}"
    );
    let exchanges = stage.sim.exchanges();
    let token = exchanges
        .iter()
        .find_map(|exchange| exchange.access_token.clone())
        .expect("a token");
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and("consumer secret", CONSUMER_SECRET)
        .and("passphrase", PASSPHRASE)
        .and_token(&token);
    let assertions = exchanges
        .iter()
        .filter_map(|exchange| exchange.assertion.as_deref());
    let canaries = assertions.fold(canaries, Canaries::and_assertion);
    let out: Vec<u8> = said.iter().flat_map(|ran| ran.stdout.clone()).collect();
    let err: Vec<u8> = said.iter().flat_map(|ran| ran.stderr.clone()).collect();
    let log = stage.agent.log().bytes();
    canaries.hunt([
        ("standard output", out.as_slice()),
        ("standard error", &err),
        ("log", &log),
    ]);
}

#[test]
fn the_token_is_in_the_output_of_the_token_command_which_shows_that_the_hunt_can_find_it() {
    let stage = crate::bench::loaded();
    let ran = run(&stage, &["token"]).done();
    let canaries = Canaries::new().and_token(&granted(&stage));
    assert_eq!(canaries.found_in(&ran.stdout), ["access token"]);
}
