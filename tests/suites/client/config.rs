//! `sfkey config`: what the configuration says, and whether it will do.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use sfkey_tests::support::{Canaries, Home, Ran, Sfkey, Stage, TestKey, home::set_mode};

use crate::bench::{configure, key_file, run, shown};

const PASSPHRASE: &str = "correct horse battery staple";

fn config(home: &Home, line: &[&str]) -> Ran {
    let words = ["config"].iter().chain(line).copied();
    Sfkey::new(home, words).run()
}

/// A place with these lines as its configuration, a key and its certificate.
fn place(lines: &str) -> Home {
    let home = Home::new();
    home.write("config/sfkey/config.toml", lines);
    home.write("server.key", TestKey::of_app().pkcs8_pem());
    home.write("server.crt", &TestKey::of_app().app_key().certificate_pem);
    home
}

/// The findings of a check by id; of several with one id the worst.
fn findings(ran: &Ran) -> BTreeMap<String, Value> {
    let checks = ran.json()["checks"].as_array().expect("an array").clone();
    let rank = |check: &Value| {
        ["ok", "warning", "failed"]
            .iter()
            .position(|word| check["status"] == *word)
    };
    let mut found = BTreeMap::<String, Value>::new();
    for check in checks {
        let id = check["id"].as_str().expect("an id").to_owned();
        if found.get(&id).is_none_or(|known| rank(known) < rank(&check)) {
            found.insert(id, check);
        }
    }
    found
}

fn encrypted_key(home: &Home, name: &str) -> String {
    let password = format!("pass:{PASSPHRASE}");
    let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &password];
    fs::create_dir_all(home.path(name).parent().expect("below the home")).expect("created");
    shown(&TestKey::of_app().convert(&arguments, &home.path(name)))
}

/// The TOML of the manual.
fn example() -> String {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = fs::read_to_string(manual).expect("the manual is there");
    let (_, rest) = text.split_once("```toml\n").expect("it has an example");
    rest.split_once("```").expect("which ends").0.to_owned()
}

#[test]
fn the_example_of_the_manual_has_every_setting_and_holds() {
    let home = place(&example());
    encrypted_key(&home, "config/sfkey/keys/prod.key");
    home.write(
        "config/sfkey/keys/prod.crt",
        &TestKey::of_app().app_key().certificate_pem,
    );
    encrypted_key(&home, "keys/uat.key");
    home.write("keys/uat.passphrase", format!("{PASSPHRASE}\n"));
    let line = ["config", "check", "--json"];
    let ran = Sfkey::new(&home, line)
        .variable("UAT_CONSUMER_SECRET", "s3cret")
        .run();
    assert_eq!((ran.code, ran.err().as_str()), (0, ""), "{}", ran.out());
    let found = findings(&ran);
    assert_eq!(found["accounts.uat.passphrase"]["status"], "ok", "{found:?}");
    assert_eq!(
        found["accounts.nightly@acme.com.key"]["status"], "warning",
        "{found:?}"
    );
    let shown = config(&home, &["show", "--json"]).done().json();
    let told: Vec<&str> = shown["settings"]
        .as_array()
        .expect("an array")
        .iter()
        .filter(|setting| setting["source"] == "file")
        .map(|setting| {
            setting["setting"]
                .as_str()
                .expect("a name")
                .rsplit('.')
                .next()
                .expect("a part")
        })
        .collect();
    for setting in [
        "default_account",
        "login_url",
        "audience",
        "consumer_key",
        "username",
        "key",
        "passphrase",
        "consumer_secret",
        "certificate",
        "lifetime",
        "idle",
        "session_timeout",
    ] {
        assert!(told.contains(&setting), "the example lacks {setting}: {told:?}");
    }
}

#[test]
fn the_path_is_told_whether_or_not_there_is_a_file() {
    let home = Home::new();
    let path = shown(&home.path("config/sfkey/config.toml"));
    assert_eq!(config(&home, &["path"]).done().out(), format!("{path}\n"));
    assert_eq!(
        config(&home, &["path", "--json"]).done().json(),
        json!({"path": path, "exists": false})
    );
    home.write("config/sfkey/config.toml", "");
    assert_eq!(config(&home, &["path", "--json"]).done().json()["exists"], true);
    let checked = config(&Home::new(), &["check", "--json"]).done();
    assert_eq!(findings(&checked)["config"]["status"], "warning");
}

#[test]
fn every_value_is_shown_with_where_it_comes_from() {
    let home = place(
        "default_account = \"a\"\n\n[accounts.a]\n# mine\nusername = \"u@acme.example\"\nkey = \"k\"\n",
    );
    let ran = Sfkey::new(&home, ["config", "show"])
        .variable("SFKEY_SOCK", "/nowhere/agent.sock")
        .variable("SFKEY_ACCOUNT", "a")
        .run()
        .done();
    let table = home.redact(&ran.out());
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> = table.lines().map(cells).collect();
    assert_eq!(
        rows,
        [
            ["SETTING", "VALUE", "FROM"],
            ["socket", "/nowhere/agent.sock", "SFKEY_SOCK"],
            ["account", "a", "SFKEY_ACCOUNT"],
            ["default_account", "a", "line 1"],
            ["accounts.a.login_url", "https://login.salesforce.com", "default"],
            ["accounts.a.audience", "the login URL", "default"],
            ["accounts.a.username", "u@acme.example", "line 5"],
            ["accounts.a.key", "file:HOME/config/sfkey/k", "line 6"],
        ]
    );
    let one = config(&home, &["show", "a", "--json"]).done().json();
    assert_eq!(
        one["settings"][2],
        json!({"setting": "accounts.a.username", "value": "u@acme.example", "source": "file", "variable": null, "line": 5})
    );
    let (error, _) = config(&home, &["show", "b"]).failed(2);
    assert!(error.contains("no [accounts.b]"), "{error}");
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_one_fix_each() {
    let home = place(
        "defaults_account = \"a\"\n[accounts.a]\nusernam = \"u\"\nlifetime = \"8\"\nlogin_url = \"https://acme.lightning.force.com\"\n\
         key = \"env:NOT_SET\"\npassphrase = \"hunter2-canary\"\ncertificate = \"gone.crt\"\n",
    );
    let ran = config(&home, &["check"]);
    assert_eq!((ran.code, ran.err().as_str()), (1, ""), "{}", ran.out());
    let text = home.redact(&ran.out());
    for line in [
        "failed  config: HOME/config/sfkey/config.toml, line 1: unknown key defaults_account",
        "        try: did you mean default_account?",
        "line 3: unknown key usernam",
        "line 4: lifetime = \"8\": a duration needs a unit",
        "line 7: passphrase is no reference",
        "failed  accounts.a.consumer_key: it is missing",
        "failed  accounts.a.login_url: a Lightning address serves no tokens",
        "try: login_url = \"https://acme.my.salesforce.com\"",
        "failed  accounts.a.key: env:NOT_SET cannot be read",
        "failed  accounts.a.certificate: HOME/config/sfkey/gone.crt: it cannot be read: No such file",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let shown = config(&home, &["show"]);
    assert!(
        !shown.out().contains("hunter2") && !shown.err().contains("hunter2"),
        "{}",
        shown.out()
    );
    assert!(shown.err().contains("unknown key usernam"), "{}", shown.err());
}

#[test]
fn a_certificate_of_another_key_fails_and_an_old_one_warns_where_people_look() {
    let home = place(
        "[accounts.a]\nconsumer_key = \"k\"\nusername = \"u\"\nkey = \"~/server.key\"\ncertificate = \"~/server.crt\"\n",
    );
    let found = findings(&config(&home, &["check", "--json"]));
    assert_eq!(
        found["accounts.a.key"]["status"], "warning",
        "it is not encrypted: {found:?}"
    );
    assert_eq!(found["accounts.a.certificate"]["status"], "ok", "{found:?}");
    home.write("server.crt", &TestKey::of_nobody().app_key().certificate_pem);
    let ran = config(&home, &["check", "--json"]);
    let detail = &findings(&ran)["accounts.a.certificate"]["detail"];
    assert_eq!(ran.code, 1);
    assert!(
        detail
            .as_str()
            .is_some_and(|detail| detail.contains("another key")),
        "{detail}"
    );
}

#[test]
fn a_certificate_that_ends_within_a_month_is_told_wherever_accounts_are_listed() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    for (days, told) in [("20", true), ("40", false)] {
        let name = format!("{days}.crt");
        let made = ["keygen", "--key", &key, "--out", &name, "--days", days];
        let _made = run(&stage, &made).done();
        configure(&stage, &key, &format!("certificate = \"../../{name}\""));
        for command in ["list", "status"] {
            let ran = run(&stage, &[command]);
            let error = ran.err();
            let warned = error.contains("the certificate of prod expires ") && error.contains(&name);
            assert_eq!((ran.code, warned), (0, told), "{command}, {days} days: {error:?}");
        }
    }
}

#[test]
fn a_passphrase_that_does_not_fit_and_files_that_others_read_are_found() {
    let home = place(
        "[accounts.a]\nconsumer_key = \"k\"\nusername = \"u\"\nkey = \"../../e.key\"\npassphrase = \"file:~/p\"\n",
    );
    let key = encrypted_key(&home, "e.key");
    home.write("p", "wrong");
    set_mode(Path::new(&key), 0o644);
    let found = findings(&config(&home, &["check", "--json"]));
    assert_eq!(found["accounts.a.passphrase"]["status"], "failed");
    assert_eq!(found["accounts.a.key"]["status"], "warning");
    let fix = found["accounts.a.key"]["fix"].as_str().expect("a fix");
    let path = fix.strip_prefix("chmod go= ").expect("a command");
    assert_eq!(fs::canonicalize(path).expect("it is there"), Path::new(&key));
    home.write("p", PASSPHRASE);
    let found = findings(&config(&home, &["check", "a", "--json"]));
    assert_eq!(found["accounts.a.passphrase"]["status"], "ok");
}

#[test]
fn a_configuration_that_others_can_write_is_no_configuration() {
    let home = place("[accounts.a]\nusername = \"u\"\n");
    set_mode(&home.path("config/sfkey/config.toml"), 0o666);
    let found = findings(&config(&home, &["check", "--json"]));
    assert_eq!(found["config.permissions"]["status"], "failed");
    set_mode(&home.path("config/sfkey/config.toml"), 0o600);
    set_mode(&home.path("config/sfkey"), 0o777);
    let found = findings(&config(&home, &["check", "--json"]));
    assert_eq!(found["config.permissions"]["status"], "warning");
}

#[test]
fn neither_showing_nor_checking_tells_a_secret() {
    let home = place(
        "[accounts.a]\nconsumer_key = \"k\"\nusername = \"u\"\nkey = \"env:KEY\"\nconsumer_secret = \"env:SECRET\"\n\
         [accounts.b]\nkey = \"-----BEGIN PRIVATE KEY-----\"\n",
    );
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and("secret", "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7");
    for line in [["config", "show"], ["config", "check"]] {
        let ran = Sfkey::new(&home, line)
            .variable("KEY", TestKey::of_app().pkcs8_pem())
            .variable("SECRET", "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7")
            .run();
        assert!(!ran.out().contains("-----BEGIN"), "{}", ran.out());
        canaries.hunt([("output", [ran.stdout, ran.stderr].concat().as_slice())]);
    }
}
