//! What programs read: the shape of every JSON object, as it was reviewed.

use serde_json::{Map, Value};
use sfkey_tests::support::{Ran, Stage, golden, stage::ACCOUNT};

use crate::bench::{add_line, configure, key_file, loaded, run, shown};

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

fn successes(stage: &Stage) -> Vec<(&'static str, Ran)> {
    let passphrase = shown(&stage.home.write("passphrase", "correct horse battery staple"));
    let lock = |command: &str| run(stage, &[command, "--passphrase-file", &passphrase, "--json"]);
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
    for (name, ran) in successes(&stage) {
        texts.push((format!("{name}.json"), of(&ran.done().out())));
    }
    golden::hold(
        "json",
        texts.iter().map(|(name, text)| (name.clone(), text.as_str())),
    );
}
