//! What programs read: the shape of every JSON object, as it was reviewed.

use serde_json::{Map, Value};
use sfkey_tests::support::{Ran, Stage, golden, stage::ACCOUNT};

use crate::{
    bench::{add_line, configure, key_file, loaded, run, shown},
    import, setup,
};

/// The object with its values replaced by what they are.
fn shape(value: &Value) -> Value {
    let named = |name: &str| Value::String(name.to_owned());
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => named("boolean"),
        Value::Number(number) => named(if number.is_f64() { "number" } else { "integer" }),
        Value::String(_) => named("string"),
        // Of a list the first element stands for all.
        Value::Array(elements) => Value::Array(elements.iter().take(1).map(shape).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), shape(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn of(text: &str) -> String {
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::to_string_pretty(&shape(&value)).expect("it was JSON") + "\n"
}

/// A line of the agent's audit log.
const RECORD: &str = r#"{"time":1800000000,"decision":"granted","uid":1000,"pid":7,"exe":"/usr/bin/node","unit":"deploy.service","account":"prod","method":"GetToken","reason":null,"fingerprint":"0123456789abcdef","count":1}
"#;

/// What ends or begins with everything, each on a stage of its own.
fn with_a_stage_each() -> Vec<(&'static str, Ran)> {
    let stage = loaded();
    let _token = run(&stage, &["token"]).done();
    let panicked = run(&stage, &["panic", "--json"]);
    let stage = setup::org().empty();
    let answers = shown(&stage.home.write("answers.toml", setup::answers(&stage)));
    let line = ["setup", "--answers", &answers, "--non-interactive", "--json"];
    let set_up = run(&stage, &line);
    let (stage, _) = import::with_logins();
    vec![
        ("panic", panicked),
        ("setup", set_up),
        ("import", run(&stage, &["import", "--json"])),
    ]
}

fn successes(stage: &Stage) -> Vec<(&'static str, Ran)> {
    let passphrase = shown(&stage.home.write("passphrase", "correct horse battery staple"));
    let lock = |command: &str| run(stage, &[command, "--passphrase-file", &passphrase, "--json"]);
    let made = shown(&stage.home.path("made.key"));
    let record = shown(&stage.home.write("audit.log", RECORD));
    let mut add = add_line(stage, ACCOUNT, &key_file(stage));
    add.push("--json".to_owned());
    vec![
        ("add", stage.sfkey(add).run()),
        ("token", run(stage, &["token", "--json"])),
        ("token-sf", run(stage, &["token", "-o", "sf"])),
        ("list", run(stage, &["list", "--json"])),
        ("status", run(stage, &["status", "--json"])),
        ("config-path", run(stage, &["config", "path", "--json"])),
        ("config-show", run(stage, &["config", "show", "--json"])),
        ("config-check", run(stage, &["config", "check", "--json"])),
        ("add-all", run(stage, &["add", "--all", "--json"])),
        ("whoami", run(stage, &["whoami", "--json"])),
        ("doctor", run(stage, &["doctor", ACCOUNT, "--json"])),
        (
            "keygen",
            run(stage, &["keygen", "--out", &made, "--no-passphrase", "--json"]),
        ),
        ("revoke", run(stage, &["revoke", ACCOUNT, "--yes", "--json"])),
        ("audit", run(stage, &["audit", "--file", &record, "--json"])),
        ("lock", lock("lock")),
        ("unlock", lock("unlock")),
        ("remove", run(stage, &["remove", ACCOUNT, "--json"])),
        ("stop", run(stage, &["stop", "--json"])),
    ]
}

#[test]
fn every_object_has_the_members_that_were_promised() {
    let stage = loaded();
    configure(&stage, &key_file(&stage), "");
    let refused = run(&stage, &["token", "nobody", "--json"]);
    assert_eq!((refused.code, refused.stdout.as_slice()), (4, &b""[..]));
    let mut texts = vec![("failure.json".to_owned(), of(&refused.err()))];
    for (name, ran) in successes(&stage).into_iter().chain(with_a_stage_each()) {
        // Some of them warn as well.
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        texts.push((format!("{name}.json"), of(&ran.out())));
    }
    golden::hold(
        "json",
        texts.iter().map(|(name, text)| (name.clone(), text.as_str())),
    );
}
