//! `sfkey list`, `status`, `remove` and `stop`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sfkey_tests::{
    sim::{Fault, FaultRule, Refusal as Row},
    support::{Stage, stage::ACCOUNT},
};

use crate::bench::{granted, loaded, run};

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_list_as_json_has_exactly_the_keys_of_the_contract() {
    let stage = loaded();
    let list = || run(&stage, &["list", "--json"]).done().json();
    let account = &list()["accounts"][0];
    let fingerprint = account["key_fingerprint"].as_str().expect("a fingerprint");
    assert!(
        fingerprint.len() == 64
            && fingerprint
                .bytes()
                .all(|digit| b"0123456789abcdef".contains(&digit))
    );
    let (url, app, user) = (stage.sim.url(), stage.sim.app(0), stage.sim.user(0));
    assert_eq!(
        list(),
        json!({ "accounts": [{
            "account": "prod", "default": true, "username": user.username, "login_url": url, "audience": url,
            "consumer_key": app.consumer_key, "key_fingerprint": fingerprint, "lifetime_ends_at": null,
            "idle_ends_at": null, "token": { "state": "none", "expires_at": null, "expiry_source": null },
            "last_error": null,
        }] })
    );
    let token = run(&stage, &["token", "--json"]).done().json();
    assert_eq!(
        list()["accounts"][0]["token"],
        json!({ "state": "live", "expires_at": token["expires_at"], "expiry_source": "assumed" })
    );
}

#[test]
fn a_failing_account_is_listed_as_such_with_its_error() {
    let stage = loaded();
    let refusal = Row::InvalidAssertion;
    stage.sim.fault(FaultRule::always(Fault::Refuse { refusal }));
    assert_eq!(run(&stage, &["token"]).code, 7);
    let list = run(&stage, &["list", "-o", "json"]).done().json();
    let account = &list["accounts"][0];
    assert_eq!(account["token"]["state"], "failing");
    let last_error = account["last_error"].as_str().expect("the error");
    assert!(last_error.contains("invalid assertion"), "{last_error}");
    let text = run(&stage, &["list"]).done().out();
    assert!(text.contains("invalid assertion"), "{text}");
}

#[test]
fn the_list_for_people_names_account_user_and_url_and_no_token() {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let text = run(&stage, &["list"]).done().out();
    let (url, user) = (stage.sim.url(), stage.sim.user(0));
    for told in [ACCOUNT, user.username.as_str(), url.as_str(), "default"] {
        assert!(text.contains(told), "{told}:\n{text}");
    }
    assert!(!text.contains(&granted(&stage)));
    let empty = run(&Stage::empty(), &["list"]).done().out();
    assert!(empty.contains("sfkey add"), "{empty}");
}

#[test]
fn the_status_as_json_has_the_keys_of_the_contract() {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let status = run(&stage, &["status", "--json"]).done().json();
    let required = BTreeSet::from([
        "version",
        "protocol_version",
        "pid",
        "socket",
        "locked",
        "memory_protection",
        "dumpable",
        "core_limit",
        "swap",
        "account_count",
        "clock_skew_seconds",
    ]);
    assert!(keys(&status).is_superset(&required), "{status}");
    assert_eq!(status["pid"], stage.agent.pid());
    assert_eq!(status["socket"], stage.home.socket().display().to_string());
    assert_eq!(
        (
            &status["locked"],
            &status["account_count"],
            &status["protocol_version"]
        ),
        (&json!(false), &json!(1), &json!(1))
    );
    assert_eq!(
        (&status["dumpable"], &status["core_limit"]),
        (&json!(false), &json!(0))
    );
    let protection = status["memory_protection"].as_str().expect("a level");
    assert!(
        ["memfd_secret", "mlock", "none"].contains(&protection),
        "{protection}"
    );
    assert!(
        status["clock_skew_seconds"]
            .as_i64()
            .is_some_and(|skew| skew.abs() <= 2),
        "{status}"
    );
    let text = run(&stage, &["status"]).done().out();
    assert!(text.contains(&stage.agent.pid().to_string()), "{text}");
}

#[test]
fn a_removed_account_is_gone_and_says_so() {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let removed = run(&stage, &["remove", ACCOUNT]).done();
    assert_eq!(removed.out(), "Removed prod.\n");
    let (error, fix) = run(&stage, &["token", ACCOUNT]).failed(4);
    assert!(
        error.contains("removed") && fix.starts_with("sfkey add prod"),
        "{error}\n{fix}"
    );
    let _again = run(&stage, &["remove", ACCOUNT]).failed(4);
    let all = run(&stage, &["remove", "--all", "--json"]).done().json();
    assert_eq!(all["removed"], 0);
}

#[test]
fn stopping_ends_the_agent_and_removes_its_socket() {
    let Stage {
        agent,
        sim: _sim,
        home,
    } = loaded();
    let stopped = sfkey_tests::support::Sfkey::new(&home, ["stop"]).run().done();
    assert!(stopped.out().contains("has stopped."), "{}", stopped.out());
    let ended = agent.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        !ended.output.contains("cut off"),
        "the client takes leave: {}",
        ended.output
    );
    assert!(!home.socket().exists());
    let (error, fix) = sfkey_tests::support::Sfkey::new(&home, ["status"])
        .run()
        .failed(3);
    assert!(
        error.contains("no agent is running") && fix.contains("sfkey-agent"),
        "{error}\n{fix}"
    );
}
