//! `sfkey import`: the logins of the sf CLI as accounts, their keys no longer in the clear.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use sfkey_tests::{
    sim::{AppKind, AudienceMode},
    support::{Canaries, Ran, Stage, StageSetup, Terminal, TestKey},
};

use crate::{
    bench::{granted, key_file, run, shown, words},
    desktop::{self, Desktop},
};

const PASSPHRASE: &str = "correct horse battery staple";

/// What `sf org login jwt` leaves behind (tests/foreign/real has the real one).
fn log_in(stage: &Stage, username: &str, key: &str) -> PathBuf {
    let file = serde_json::json!({
        "username": username,
        "orgId": "00DSim000000001AAA",
        "accessToken": "b7c3…",
        "instanceUrl": stage.sim.url(),
        "loginUrl": stage.sim.url(),
        "clientId": stage.sim.app(0).consumer_key,
        "privateKey": key,
    });
    stage
        .home
        .write(&format!(".sfdx/{username}.json"), file.to_string())
}

fn org() -> StageSetup {
    StageSetup::default().config(|config| config.apps[0].kind = AppKind::ExternalClientApp)
}

/// One login with the alias `prod`, and another one by a browser.
pub(crate) fn with_logins() -> (Stage, String) {
    let stage = org().empty();
    let key = key_file(&stage);
    let username = stage.sim.user(0).username;
    log_in(&stage, &username, &key);
    let web = r#"{"username":"web@acme.example","clientId":"PlatformCLI","refreshToken":"x"}"#;
    stage.home.write(".sfdx/web@acme.example.json", web);
    let aliases = serde_json::json!({ "orgs": { "prod": username } });
    stage.home.write(".sfdx/alias.json", aliases.to_string());
    (stage, key)
}

#[test]
fn without_apply_it_only_shows_what_there_is() {
    let (stage, key) = with_logins();
    let told = run(&stage, &["import"]).done().out();
    assert!(told.contains("ACCOUNT") && told.contains("prod"), "{told}");
    assert!(
        told.contains(&format!("{key}, RSA 2048, not encrypted")),
        "{told}"
    );
    assert!(
        told.contains("passed over: it logs in with a refresh token"),
        "{told}"
    );
    assert!(told.contains("Nothing was changed."), "{told}");
    assert_eq!(stage.sim.counters().asked, 0);
    assert!(!stage.home.path("config/sfkey").exists());
}

#[test]
fn an_imported_login_is_verified_and_its_key_kept_encrypted() {
    let (stage, key) = with_logins();
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let line = ["import", "--apply", "--passphrase-file", &passphrase, "--json"];
    let done = run(&stage, &line);
    assert_eq!((done.code, done.err().as_str()), (0, ""));
    let accounts = done.json()["accounts"].clone();
    assert_eq!(accounts[0]["outcome"], "imported");
    assert_eq!(accounts[1]["outcome"], "skipped");
    let kept = stage.home.path("config/sfkey/keys/prod.key");
    let text = fs::read_to_string(&kept).expect("kept");
    assert!(text.contains("BEGIN ENCRYPTED PRIVATE KEY"), "{text}");
    assert_eq!(
        fs::metadata(&kept).expect("there").permissions().mode() & 0o7777,
        0o600
    );
    assert!(
        PathBuf::from(&key).exists(),
        "it is removed only when somebody says so"
    );
    Canaries::new()
        .and_key(TestKey::of_app())
        .and("passphrase", PASSPHRASE)
        .hunt([
            ("standard output", done.stdout.as_slice()),
            ("the kept key", text.as_bytes()),
        ]);
    // From the kept key alone.
    fs::remove_file(&key).expect("removed");
    assert_eq!(run(&stage, &["remove", "prod"]).code, 0);
    assert_eq!(run(&stage, &["add", "prod"]).code, 0);
    let token = run(&stage, &["token", "prod"]);
    assert_eq!(token.out().trim_end(), granted(&stage));
}

#[test]
fn the_key_in_the_clear_is_removed_only_by_a_person_who_says_yes() {
    for (answer, stays) in [("", true), ("no", true), ("yes", false)] {
        let (stage, key) = with_logins();
        let mut terminal = Terminal::open();
        let child = terminal
            .sfkey(&stage.home, &words(&["import", "--apply"]))
            .start();
        terminal.wait_for_next("New passphrase for the keys that are imported: ");
        terminal.type_in(&format!("{PASSPHRASE}\n"));
        terminal.wait_for_next("The same again: ");
        terminal.type_in(&format!("{PASSPHRASE}\n"));
        terminal.wait_for_next("sf no longer logs in by itself");
        terminal.wait_for_next("Remove that file? [no]: ");
        terminal.type_in(&format!("{answer}\n"));
        let ran = Ran::of(child);
        assert_eq!(ran.code, 0, "{}", ran.err());
        assert!(ran.out().starts_with("Imported prod: "), "{}", ran.out());
        assert_eq!(PathBuf::from(&key).exists(), stays, "{answer:?}");
    }
}

#[test]
fn a_key_can_be_imported_into_the_keyring_and_its_file_removed() {
    let test = "a_key_can_be_imported_into_the_keyring_and_its_file_removed";
    if !desktop::is_possible(test) {
        return;
    }
    let (stage, key) = with_logins();
    let desktop = Desktop::start(&stage.home);
    let mut terminal = Terminal::open();
    let line = words(&["import", "--apply", "--store-key", "keyring"]);
    let child = terminal
        .sfkey(&stage.home, &line)
        .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
        .start();
    terminal.wait_for_next("Remove that file? [no]: ");
    terminal.type_in("yes\n");
    let ran = Ran::of(child).done();
    assert!(ran.out().contains("the key is in the keyring"), "{}", ran.out());
    assert!(!PathBuf::from(&key).exists());
    assert_eq!(run(&stage, &["remove", "prod"]).code, 0);
    let again = desktop.bus.sfkey(&stage, ["add", "prod"]).run();
    assert_eq!(again.code, 0, "{again:?}");
    let token = run(&stage, &["token", "prod"]);
    assert_eq!(token.out().trim_end(), granted(&stage));
}

#[test]
fn a_key_that_went_into_a_keyring_that_forgets_keeps_its_file() {
    let test = "a_key_that_went_into_a_keyring_that_forgets_keeps_its_file";
    if !desktop::is_possible(test) {
        return;
    }
    let (stage, key) = with_logins();
    let desktop = Desktop::with(&stage.home, &[], &[]);
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    // Should there be an offer after all, it is answered and does not wait for ever.
    terminal.type_in("\n");
    let ran = terminal
        .sfkey(
            &stage.home,
            &words(&["import", "--apply", "--store-key", "keyring"]),
        )
        .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
        .run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err().contains("lost at reboot"), "{ran:?}");
    assert!(PathBuf::from(&key).exists());
    drop(keeps_it_open);
    assert!(!terminal.shown_to_the_end().contains("Remove"));
}

#[test]
fn a_login_that_no_longer_works_is_told_and_leaves_nothing_behind() {
    let (stage, key) = with_logins();
    log_in(&stage, "gone@acme.example", &key);
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let line = [
        "import",
        "gone@acme.example",
        "--apply",
        "--passphrase-file",
        &passphrase,
    ];
    let ran = run(&stage, &line);
    assert_eq!(ran.code, 7, "{}", ran.err());
    assert!(
        ran.err().contains("user hasn't approved this consumer"),
        "{}",
        ran.err()
    );
    let list = run(&stage, &["list", "--json"]).json();
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(0));
    assert!(!stage.home.path("config/sfkey/config.toml").exists());
    assert!(PathBuf::from(&key).exists());
}

#[test]
fn an_account_of_that_name_with_another_identity_stays_as_it_is() {
    let (stage, _) = with_logins();
    let before = "[accounts.prod]\nusername = \"other@acme.example\"\n";
    let config = stage.home.write("config/sfkey/config.toml", before);
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let ran = run(&stage, &["import", "--apply", "--passphrase-file", &passphrase]);
    assert_eq!(ran.code, 2, "{}", ran.err());
    assert!(
        ran.err().contains("another account of the name prod"),
        "{}",
        ran.err()
    );
    assert_eq!(fs::read_to_string(config).expect("there"), before);
    assert_eq!(stage.sim.counters().asked, 0);
}

#[test]
fn importing_again_keeps_a_loaded_account_whatever_comes_of_it() {
    let (stage, _) = with_logins();
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let line = ["import", "--apply", "--passphrase-file", &passphrase];
    assert_eq!(run(&stage, &line).code, 0);
    let again = run(&stage, &line);
    assert_eq!(again.code, 0, "{}", again.err());
    let app = stage.sim.app(0).consumer_key;
    stage.sim.with_app(&app, |app| app.certificate = None);
    let _removed = run(&stage, &["remove", "prod"]).done();
    let _added = run(&stage, &["add", "prod"]).done();
    assert_eq!(run(&stage, &line).code, 7);
    let list = run(&stage, &["list", "--json"]).json();
    assert_eq!(
        list["accounts"].as_array().map(Vec::len),
        Some(1),
        "it was loaded before"
    );
}

/// The account `prod` as it is configured, with an audience.
fn configured_with(stage: &Stage, audience: &str) -> PathBuf {
    let (app, username) = (stage.sim.app(0).consumer_key, stage.sim.user(0).username);
    let text = format!(
        "[accounts.prod]\nlogin_url = \"{}\"\naudience = \"{audience}\"\nconsumer_key = \"{app}\"\nusername = \"{username}\"\n",
        stage.sim.url()
    );
    stage.home.write("config/sfkey/config.toml", text)
}

#[test]
fn importing_begins_with_the_audience_that_is_configured() {
    let (stage, _) = with_logins();
    let app = stage.sim.app(0).consumer_key;
    stage.sim.with_app(&app, |app| {
        app.kind = AppKind::ConnectedApp;
        app.audience = Some(AudienceMode::Classic);
    });
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    configured_with(&stage, "https://login.salesforce.com");
    for time in ["the first time", "while it is loaded"] {
        let ran = run(&stage, &["import", "--apply", "--passphrase-file", &passphrase]);
        assert_eq!(ran.code, 0, "{time}: {}", ran.err());
    }
}

#[test]
fn a_configured_audience_that_is_wrong_is_put_right() {
    let (stage, _) = with_logins();
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let config = configured_with(&stage, "https://test.salesforce.com");
    for time in ["the first time", "while it is loaded"] {
        let ran = run(&stage, &["import", "--apply", "--passphrase-file", &passphrase]);
        assert_eq!(ran.code, 0, "{time}: {}", ran.err());
    }
    let text = fs::read_to_string(config).expect("there");
    assert!(
        text.contains(&format!("audience = \"{}\"", stage.sim.url())),
        "{text}"
    );
}

#[test]
fn a_key_that_is_kept_under_another_passphrase_is_told_with_what_to_do() {
    let (stage, _) = with_logins();
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let line = ["import", "--apply", "--passphrase-file", &passphrase];
    assert_eq!(run(&stage, &line).code, 0);
    stage.home.write("passphrase", "quite another one");
    let kept = shown(&stage.home.path("config/sfkey/keys/prod.key"));
    let before = fs::read(&kept).expect("kept");
    let ran = run(&stage, &line);
    assert_eq!(ran.code, 1, "{}", ran.err());
    assert!(
        ran.err().contains("it is kept under another passphrase"),
        "{}",
        ran.err()
    );
    assert!(
        ran.err().contains(&format!("mv {kept} {kept}.old")),
        "{}",
        ran.err()
    );
    assert_eq!(fs::read(&kept).expect("kept"), before);
}

#[test]
fn a_home_without_logins_gets_a_next_step() {
    let stage = org().empty();
    let (_, fix) = run(&stage, &["import"]).failed(1);
    assert!(fix.contains("--from DIR"), "{fix}");
}
