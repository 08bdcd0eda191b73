//! `sfkey add` beyond the key.

use std::fs;

use serde_json::json;
use sfkey_tests::support::{Canaries, Stage, TestKey, stage::ACCOUNT};

use crate::bench::{add_line, add_line_for, configure, granted, key_file, loaded, run, shown, words};

fn with(mut line: Vec<String>, more: &[&str]) -> Vec<String> {
    line.extend(words(more));
    line
}

#[test]
fn adding_the_same_again_is_no_failure_and_another_key_needs_replace() {
    let stage = loaded();
    let same = add_line(&stage, ACCOUNT, &key_file(&stage));
    let again = stage.sfkey(same).run().done();
    assert!(
        again.out().starts_with("Already loaded: prod: "),
        "{}",
        again.out()
    );
    let other = shown(&stage.home.write("other.key", TestKey::of_nobody().pkcs8_pem()));
    let other = add_line(&stage, ACCOUNT, &other);
    let (error, fix) = stage.sfkey(other.clone()).run().failed(6);
    assert_eq!(error, "account prod is loaded with another identity or key");
    assert!(fix.contains("sfkey add prod --replace"), "{fix}");
    let replaced = stage.sfkey(with(other, &["--replace"])).run().done();
    assert!(
        replaced.out().starts_with("Replaced prod: "),
        "{}",
        replaced.out()
    );
}

#[test]
fn what_is_missing_is_named_at_once() {
    let stage = Stage::empty();
    let (error, fix) = run(&stage, &["add", "prod"]).failed(2);
    for flag in ["--consumer-key", "--username", "--key"] {
        assert!(error.contains(flag) && fix.contains(flag), "{error}\n{fix}");
    }
}

#[test]
fn a_lightning_address_is_refused_with_the_my_domain_it_belongs_to() {
    let stage = Stage::empty();
    let mut line = add_line(&stage, ACCOUNT, &key_file(&stage));
    "https://acme.lightning.force.com".clone_into(&mut line[3]);
    let (error, _) = stage.sfkey(line).run().failed(2);
    assert!(error.contains("https://acme.my.salesforce.com"), "{error}");
}

#[test]
fn limits_and_default_reach_the_agent() {
    let stage = Stage::empty();
    let line = add_line(&stage, ACCOUNT, &key_file(&stage));
    let limits = [
        "--lifetime",
        "8h",
        "--idle",
        "30m",
        "--session-timeout",
        "2h",
        "--default",
    ];
    let _added = stage.sfkey(with(line, &limits)).run().done();
    let list = run(&stage, &["list", "--json"]).done().json();
    let account = &list["accounts"][0];
    assert_eq!(account["default"], true);
    assert!(
        account["lifetime_ends_at"].is_i64() && account["idle_ends_at"].is_i64(),
        "{account}"
    );
    let token = run(&stage, &["token", "--json"]).done().json();
    assert_eq!(token["expiry_source"], "session_timeout");
    let life = token["expires_at"]
        .as_i64()
        .zip(token["issued_at"].as_i64())
        .map(|(end, begin)| end - begin);
    assert_eq!(life, Some(7200));
}

#[test]
fn an_added_account_is_told_as_json_on_demand() {
    let stage = Stage::empty();
    let line = add_line(&stage, ACCOUNT, &key_file(&stage));
    let added = stage.sfkey(with(line, &["--json"])).run().done().json();
    assert_eq!(
        (&added["outcome"], &added["account"], &added["default"]),
        (&json!("added"), &json!("prod"), &json!(true))
    );
}

#[test]
fn what_is_saved_loads_the_account_the_next_time_and_holds_no_secret() {
    let stage = Stage::empty();
    let secret = stage
        .home
        .write("consumer-secret", "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7\n");
    let line = add_line(&stage, ACCOUNT, &key_file(&stage));
    let more = ["--consumer-secret-file", &shown(&secret), "--default", "--save"];
    let _added = stage.sfkey(with(line, &more)).run().done();
    let saved = fs::read(stage.home.path("config/sfkey/config.toml")).expect("saved");
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and("secret", "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7");
    canaries.hunt([("configuration", saved.as_slice())]);
    assert_eq!(run(&stage, &["remove", ACCOUNT]).code, 0);
    let again = run(&stage, &["add", ACCOUNT]).done();
    assert!(again.out().starts_with("Added prod: "), "{}", again.out());
    assert_eq!(run(&stage, &["token"]).done().out().trim_end(), granted(&stage));
}

#[test]
fn saving_keeps_what_the_user_wrote() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    let file = configure(
        &stage,
        &key,
        "# mine\n[accounts.other]\nusername = \"o@acme.example\"",
    );
    let _added = stage
        .sfkey(words(&["add", "prod", "--lifetime", "8h", "--save"]))
        .run()
        .done();
    let text = fs::read_to_string(file).expect("readable");
    for kept in ["# kept", "# mine", "o@acme.example", "lifetime"] {
        assert!(text.contains(kept), "{kept}:\n{text}");
    }
}

#[test]
fn all_accounts_of_the_configuration_are_loaded_at_once() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    let other = stage.spec_of_new_user("other");
    let more = format!(
        "[accounts.other]\nlogin_url = \"{}\"\nconsumer_key = \"{}\"\nusername = \"{}\"\nkey = \"{key}\"",
        other.login_url, other.consumer_key, other.username
    );
    configure(&stage, &key, &more);
    let _added = run(&stage, &["add", "--all"]).done();
    for name in ["prod", "other"] {
        assert_eq!(
            run(&stage, &["token", name]).done().out().trim_end(),
            granted(&stage)
        );
    }
}

#[test]
fn an_account_is_named_by_the_variable_when_by_nothing_else() {
    let stage = loaded();
    let other = stage.spec_of_new_user("other");
    let line = add_line_for(&stage, "other", &other.username, &key_file(&stage));
    let _added = stage.sfkey(line).run().done();
    let by_variable = |line: &[&str]| {
        let command = stage
            .sfkey(line.iter().copied())
            .variable("SFKEY_ACCOUNT", "other");
        command.run().done().json()["account"].clone()
    };
    assert_eq!(by_variable(&["token", "--json"]), "other");
    assert_eq!(by_variable(&["token", "prod", "--json"]), "prod");
    let (error, _) = run(&stage, &["token"]).failed(4);
    assert!(error.contains("none of the 2"), "{error}");
}
