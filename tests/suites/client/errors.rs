//! How a command fails: two lines or one object, and the exit code.

use std::os::unix::net::UnixListener;

use rustix::process::Signal;
use serde_json::{Value, json};
use sfkey_tests::{
    sim::{Fault, FaultRule, Refusal as Row},
    support::{Agent, Home, Launch, Ran, Sfkey, Stage, stage::ACCOUNT},
};

use crate::bench::{add_line_for, key_file, loaded, run};

/// One JSON object on standard error and nothing on standard output.
fn error_object(ran: &Ran) -> Value {
    assert_eq!(ran.stdout, b"", "{ran:?}");
    let err = ran.err();
    assert_eq!(err.lines().count(), 1, "{err}");
    let report: Value = serde_json::from_str(&err).expect("an object");
    let report = report.as_object().expect("an object");
    assert_eq!(report.keys().collect::<Vec<_>>(), ["error"]);
    let error = report["error"].clone();
    let mut keys: Vec<_> = error.as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["exit_code", "fix", "message", "reason", "salesforce"]);
    assert_eq!(error["exit_code"], ran.code);
    error
}

#[test]
fn every_refusal_of_salesforce_is_told_raw_in_both_forms_with_its_exit_code() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    for (index, row) in Row::ALL.into_iter().enumerate() {
        let name = format!("row-{index}");
        let user = stage.spec_of_new_user(&name).username.clone();
        let _added = stage.sfkey(add_line_for(&stage, &name, &user, &key)).run().done();
        stage.sim.clear_faults();
        stage.sim.fault(FaultRule::always(Fault::Refuse { refusal: row }));
        let transient = matches!(row, Row::ServerError | Row::UnknownError);
        let (code, reason) = if transient {
            (8, "SALESFORCE_UNAVAILABLE")
        } else {
            (7, "SALESFORCE_REFUSED")
        };
        let raw = json!({
            "error": row.error(), "error_description": row.description(false), "http_status": 400,
        });
        let told = run(&stage, &["token", &name, "--json"]);
        let object = error_object(&told);
        assert_eq!(
            (told.code, &object["reason"], &object["salesforce"]),
            (code, &json!(reason), &raw),
            "{row:?}"
        );
        let text = run(&stage, &["token", &name]);
        assert_eq!((text.code, text.stdout.as_slice()), (code, &b""[..]), "{row:?}");
        let err = text.err();
        let lines: Vec<&str> = err.lines().collect();
        assert!(
            lines[0].starts_with("error: ") && lines[0].contains(row.description(false)),
            "{err}"
        );
        let fix = object["fix"].as_str();
        assert_eq!(
            lines.get(1).and_then(|line| line.strip_prefix("try: ")),
            fix,
            "{err}"
        );
        assert_eq!(lines.len(), 1 + usize::from(fix.is_some()), "{err}");
    }
}

#[test]
fn a_refusal_reads_as_it_should() {
    let stage = loaded();
    let refusal = Row::InvalidAssertion;
    stage.sim.fault(FaultRule::always(Fault::Refuse { refusal }));
    let (error, fix) = run(&stage, &["token"]).failed(7);
    assert_eq!(
        error,
        "Salesforce refused account prod: the signature does not match the app's certificate, or a later \
         deploy cleared the certificate (invalid_grant: invalid assertion)"
    );
    assert_eq!(
        fix,
        "compare the key's fingerprint with the app's certificate and upload the certificate again if they differ"
    );
}

#[test]
fn whatever_keeps_salesforce_from_answering_is_exit_code_8() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    let cases = [
        ("maintenance", Fault::Maintenance, "SALESFORCE_UNAVAILABLE"),
        ("gateway", Fault::BadGateway, "SALESFORCE_UNAVAILABLE"),
        ("portal", Fault::HtmlOk, "MALFORMED_ANSWER"),
        ("empty", Fault::EmptyBody, "MALFORMED_ANSWER"),
        ("reset", Fault::Reset, "NETWORK"),
    ];
    for (name, fault, reason) in cases {
        let user = stage.spec_of_new_user(name).username.clone();
        let _added = stage.sfkey(add_line_for(&stage, name, &user, &key)).run().done();
        stage.sim.clear_faults();
        stage.sim.fault(FaultRule::always(fault));
        let told = error_object(&run(&stage, &["token", name, "--json"]));
        assert_eq!(
            (&told["reason"], &told["exit_code"]),
            (&json!(reason), &json!(8)),
            "{name}"
        );
        let _text = run(&stage, &["token", name]).failed(8);
    }
}

#[test]
fn without_an_agent_every_command_is_exit_code_3() {
    let home = Home::new();
    let commands: [&[&str]; 7] = [
        &["token"],
        &["list"],
        &["status"],
        &["remove", "x"],
        &["stop"],
        &["exec", "--", "true"],
        &["token", "x", "--no-load"],
    ];
    for command in commands {
        let (error, fix) = Sfkey::new(&home, command.iter().copied()).run().failed(3);
        assert_eq!(
            home.redact(&error),
            "no agent is running: there is no HOME/run/sfkey/agent.sock",
            "{command:?}"
        );
        assert!(fix.contains("sfkey-agent"), "{fix}");
        let json = Sfkey::new(
            &home,
            command
                .iter()
                .take_while(|word| **word != "--")
                .copied()
                .chain(["--json"]),
        );
        if command[0] != "exec" {
            let told = error_object(&json.run());
            assert_eq!(
                (&told["reason"], &told["salesforce"]),
                (&json!("NO_AGENT"), &Value::Null),
                "{command:?}"
            );
        }
    }
}

#[test]
fn a_socket_that_an_agent_left_behind_is_exit_code_3() {
    let home = Home::new();
    let agent = Agent::start(&home, &Launch::default());
    agent.signal(Signal::KILL);
    assert_eq!(agent.ended().signal, Some(9));
    let (error, _) = Sfkey::new(&home, ["token"]).run().failed(3);
    assert!(error.starts_with("no agent is running"), "{error}");
}

#[test]
fn a_file_and_a_foreign_server_at_the_path_are_exit_code_3() {
    let home = Home::new();
    home.make_socket_directory();
    std::fs::write(home.socket(), "x").expect("written");
    let _error = Sfkey::new(&home, ["token"]).run().failed(3);
    std::fs::remove_file(home.socket()).expect("removed");
    let listener = UnixListener::bind(home.socket()).expect("bound");
    let hasty = std::thread::spawn(move || drop(listener.accept()));
    let _error = Sfkey::new(&home, ["token"]).run().failed(3);
    hasty.join().expect("it accepted and closed");
}

#[test]
fn the_socket_is_found_by_flag_and_variable() {
    let stage = loaded();
    let elsewhere = Home::new();
    let socket = stage.home.socket().display().to_string();
    let by_flag = Sfkey::new(&elsewhere, ["--socket", &socket, "token"])
        .run()
        .done();
    let by_variable = Sfkey::new(&elsewhere, ["token"])
        .variable("SFKEY_SOCK", &socket)
        .run()
        .done();
    assert_eq!(by_flag.stdout, by_variable.stdout);
    let both = Sfkey::new(&elsewhere, ["--socket", "/nowhere", "token"]).variable("SFKEY_SOCK", &socket);
    let _error = both.run().failed(3);
}

#[test]
fn a_wrong_command_line_is_exit_code_2_in_both_forms() {
    let stage = Stage::empty();
    let lines: [&[&str]; 5] = [
        &["tokn"],
        &["token", "--bad"],
        &["token", "a b"],
        &["token", "--min-valid", "5"],
        &["add", "x", "--login-url", "nothing"],
    ];
    for line in lines {
        let _words = run(&stage, line).failed(2);
        let told = error_object(&stage.sfkey(line.iter().copied().chain(["--json"])).run());
        assert_eq!(told["reason"], "USAGE", "{line:?}");
    }
}

#[test]
fn an_account_that_is_not_loaded_is_exit_code_4() {
    let stage = Stage::empty();
    let told = error_object(&run(&stage, &["token", "--json"]));
    assert_eq!(
        (&told["reason"], &told["exit_code"]),
        (&json!("NO_DEFAULT_ACCOUNT"), &json!(4))
    );
    let told = error_object(&run(&stage, &["token", ACCOUNT, "--no-load", "--json"]));
    assert_eq!(
        (&told["reason"], &told["exit_code"]),
        (&json!("ACCOUNT_NOT_LOADED"), &json!(4))
    );
    let (_, fix) = run(&stage, &["token", ACCOUNT]).failed(4);
    assert!(fix.starts_with("sfkey add prod"), "{fix}");
}

#[test]
fn help_and_version_are_answers() {
    let home = Home::new();
    for line in [
        &["--help"][..],
        &["--version"],
        &["token", "--help"],
        &["exec", "--help"],
    ] {
        let ran = Sfkey::new(&home, line.iter().copied()).run().done();
        assert!(ran.out().len() > 5, "{line:?}");
    }
}

#[test]
fn a_slip_in_a_name_is_answered_with_the_name_that_was_meant() {
    let stage = loaded();
    stage.home.write(
        "config/sfkey/config.toml",
        "[accounts.staging]\nusername = \"u@acme.example\"\n",
    );
    for (line, meant) in [
        (&["token", "prdo"][..], "prod"),
        (&["token", "pr"], "prod"),
        (&["exec", "stagign", "--", "true"], "staging"),
        (&["remove", "PROD"], "prod"),
        (&["token", "prdo", "--no-load"], "prod"),
    ] {
        let (error, _) = run(&stage, line).failed(4);
        assert!(
            error.ends_with(&format!("; did you mean {meant}?")),
            "{line:?}: {error}"
        );
    }
    let (error, _) = run(&stage, &["token", "xyzzy"]).failed(4);
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn quiet_says_less_and_verbose_more() {
    let stage = loaded();
    assert_eq!(run(&stage, &["remove", "prod", "-q"]).done().out(), "");
    let (error, _) = run(&stage, &["token", "prod", "--quiet"]).failed(4);
    assert!(error.contains("removed"), "{error}");
    let verbose = run(&stage, &["list", "-v"]);
    assert_eq!(verbose.code, 0);
    assert!(
        verbose.err().contains(&stage.home.socket().display().to_string()),
        "{}",
        verbose.err()
    );
    let _both = run(&stage, &["list", "-q", "-v"]).failed(2);
}
