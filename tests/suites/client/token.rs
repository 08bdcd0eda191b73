//! `sfkey token`: every form, to the letter.

use std::{collections::BTreeSet, fs::File, process::Command};

use sfkey_tests::{
    sim::TokenFormat,
    support::{Ran, Stage, stage::ACCOUNT},
};

use crate::bench::{granted, loaded, run};

/// The output with what differs from run to run replaced by names.
fn redacted(stage: &Stage, text: &str) -> String {
    let (user, org) = (stage.sim.user(0), stage.sim.org(0));
    text.replace(&granted(stage), "TOKEN")
        .replace(&stage.sim.url(), "URL")
        .replace(&user.username, "USERNAME")
        .replace(&user.id, "USER")
        .replace(&org.id, "ORG")
}

#[test]
fn a_token_alone_is_one_line() {
    let stage = loaded();
    assert_eq!(
        run(&stage, &["token", ACCOUNT]).done().out(),
        format!("{}\n", granted(&stage))
    );
}

#[test]
fn a_header_is_what_curl_takes() {
    let stage = loaded();
    let header = run(&stage, &["token", ACCOUNT, "-o", "header"]).done();
    assert_eq!(redacted(&stage, &header.out()), "Authorization: Bearer TOKEN\n");
}

#[test]
fn variables_are_quoted_for_a_shell() {
    let stage = loaded();
    let variables = run(&stage, &["token", "-o", "env"]).done();
    assert_eq!(
        redacted(&stage, &variables.out()),
        "export SF_ACCESS_TOKEN='TOKEN'\n\
         export SF_ORG_INSTANCE_URL='URL'\n\
         export SF_TARGET_ORG='TOKEN'\n\
         export SALESFORCE_ACCESS_TOKEN='TOKEN'\n\
         export SALESFORCE_INSTANCE_URL='URL'\n\
         export SFKEY_ACCOUNT='prod'\n"
    );
    let script = format!(
        "{}printf %s \"$SF_ACCESS_TOKEN $SALESFORCE_INSTANCE_URL\"",
        variables.out()
    );
    let shell = Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    let told = String::from_utf8(shell.stdout).expect("UTF-8");
    assert_eq!(told, format!("{} {}", granted(&stage), stage.sim.url()));
}

#[test]
fn json_has_exactly_the_keys_of_the_contract_in_their_order() {
    let stage = loaded();
    for line in [
        &["token", "--json"][..],
        &["token", "-o", "json"],
        &["--json", "token", ACCOUNT],
    ] {
        let told = run(&stage, line).done();
        let json = told.json();
        let number = |key: &str| json[key].as_i64().expect("whole seconds").to_string();
        let id = json["id"].as_str().expect("an identity URL");
        assert!(id.starts_with("https://") && id.contains("/id/"), "{id}");
        let text = told.out().replace(&format!("\"{id}\""), "\"ID\"");
        let text = text
            .replace(&number("expires_at"), "END")
            .replace(&number("issued_at"), "BEGIN");
        let scope = json["scope"].as_str().expect("scopes");
        assert_eq!(
            redacted(&stage, &text).replace(scope, "SCOPE"),
            concat!(
                r#"{"account":"prod","access_token":"TOKEN","token_type":"Bearer","instance_url":"URL","#,
                r#""expires_at":END,"expiry_source":"assumed","issued_at":BEGIN,"scope":"SCOPE","id":"ID","#,
                r#""org_id":"ORG","user_id":"USER","username":"USERNAME","warnings":[]}"#,
                "\n"
            )
        );
    }
}

#[test]
fn the_source_of_the_expiry_is_told() {
    let stage = loaded();
    stage.sim.knobs(|knobs| knobs.expires_in = Some(1234));
    let json = run(&stage, &["token", "--json"]).done().json();
    assert_eq!(json["expiry_source"], "expires_in");
    assert_eq!(
        json["expires_at"]
            .as_i64()
            .zip(json["issued_at"].as_i64())
            .map(|(a, b)| a - b),
        Some(1234)
    );
}

#[test]
fn a_jwt_format_token_tells_its_end_and_is_no_target_org() {
    let stage = loaded();
    stage.sim.knobs(|knobs| knobs.token_format = TokenFormat::Jwt);
    assert_eq!(
        run(&stage, &["token", "--json"]).done().json()["expiry_source"],
        "jwt"
    );
    let variables = run(&stage, &["token", "-o", "env"]);
    assert_eq!(variables.code, 0);
    assert!(!variables.out().contains("SF_TARGET_ORG"), "{}", variables.out());
    assert!(
        variables.err().contains("SF_TARGET_ORG is not set"),
        "{}",
        variables.err()
    );
}

#[test]
fn a_token_that_is_asked_for_twice_costs_one_exchange() {
    let stage = loaded();
    let first = run(&stage, &["token"]).done();
    let second = run(&stage, &["token", ACCOUNT]).done();
    assert_eq!(first.stdout, second.stdout);
    let fresh = run(&stage, &["token", "--fresh"]);
    assert_eq!(
        (fresh.code, &fresh.stdout),
        (0, &first.stdout),
        "asked again within half a minute"
    );
    assert!(fresh.err().starts_with("warning: "), "{}", fresh.err());
    let json = run(&stage, &["token", "--min-valid", "24h", "--json"]);
    assert_eq!(json.json()["warnings"][0], "MIN_VALID_CAPPED");
    assert_eq!(stage.sim.counters().asked, 1);
}

#[test]
fn fifty_commands_at_once_share_one_exchange() {
    let stage = loaded();
    let commands: Vec<_> = (0..50).map(|_| stage.sfkey(["token"]).start()).collect();
    let tokens: BTreeSet<String> = commands
        .into_iter()
        .map(|command| Ran::of(command).done().out())
        .collect();
    assert_eq!(tokens, BTreeSet::from([format!("{}\n", granted(&stage))]));
    assert_eq!(stage.sim.counters().asked, 1);
}

#[test]
fn a_reader_that_has_gone_is_no_news() {
    let stage = loaded();
    for line in [&["token"][..], &["token", "--json"], &["list"], &["status"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = stage.sfkey(line.iter().copied()).stdout(writer).run();
        assert_eq!((ran.code, ran.err().as_str()), (141, ""), "{line:?}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let stage = loaded();
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("the kernel has it");
    let (error, _) = stage.sfkey(["token"]).stdout(full).run().failed(1);
    assert!(error.contains("standard output"), "{error}");
}

#[test]
fn contradicting_forms_are_a_usage_error() {
    let stage = loaded();
    let ran = run(&stage, &["token", "--json", "-o", "env"]);
    assert_eq!((ran.code, ran.stdout.as_slice()), (2, &b""[..]));
}
