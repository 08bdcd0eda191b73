//! `sfkey doctor` on set-ups that are broken in one way each: the first thing that it finds is the cause.

use std::fs;

use serde_json::Value;
use sfkey_tests::{
    sim::{AudienceMode, Config, Fault, FaultRule, IntrospectionMode, RestMode, ServerCertificate},
    support::{Home, Ran, Sfkey, Stage, StageSetup, Terminal, TestKey, home::set_mode, stage::ACCOUNT},
};

use crate::bench::{run, shown};

const PASSPHRASE: &str = "correct horse battery staple";

/// What the account's configuration says, to be broken before it is written.
struct Setup {
    login_url: String,
    consumer_key: String,
    username: String,
    key: &'static TestKey,
    certificate: String,
    consumer_secret: String,
    more: String,
}

impl Setup {
    fn of(stage: &Stage) -> Self {
        let app = stage.sim.app(0);
        Self {
            login_url: stage.sim.url(),
            consumer_key: app.consumer_key,
            username: stage.sim.user(0).username,
            key: TestKey::of_app(),
            certificate: TestKey::of_app().app_key().certificate_pem.clone(),
            consumer_secret: app.consumer_secret.expose().to_owned(),
            more: String::new(),
        }
    }

    fn write(&self, home: &Home) {
        home.write("config/sfkey/passphrase", PASSPHRASE);
        home.write("config/sfkey/secret", &self.consumer_secret);
        home.write("config/sfkey/server.crt", &self.certificate);
        let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout"];
        let passout = format!("pass:{PASSPHRASE}");
        let arguments: Vec<&str> = arguments.into_iter().chain([passout.as_str()]).collect();
        self.key
            .convert(&arguments, &home.path("config/sfkey/server.key"));
        let text = format!(
            "[accounts.prod]\nlogin_url = \"{}\"\nconsumer_key = \"{}\"\nusername = \"{}\"\nkey = \"server.key\"\n\
             passphrase = \"file:passphrase\"\nconsumer_secret = \"file:secret\"\ncertificate = \"server.crt\"\n{}",
            self.login_url, self.consumer_key, self.username, self.more
        );
        home.write("config/sfkey/config.toml", text);
    }
}

/// A stage whose account is configured and not loaded yet, changed by `change`.
fn scene(change: impl FnOnce(&mut Setup)) -> Stage {
    scene_with(|_| {}, change)
}

fn scene_with(config: impl FnOnce(&mut Config), change: impl FnOnce(&mut Setup)) -> Stage {
    let stage = StageSetup::default().config(config).empty();
    let mut setup = Setup::of(&stage);
    change(&mut setup);
    setup.write(&stage.home);
    stage
}

fn checks(ran: &Ran) -> Vec<Value> {
    let object = ran.json();
    assert_eq!(object.as_object().expect("an object").len(), 1);
    let checks = object["checks"].as_array().expect("a list").clone();
    for check in &checks {
        let mut keys: Vec<_> = check.as_object().expect("an object").keys().collect();
        keys.sort();
        assert_eq!(keys, ["detail", "fix", "id", "status"], "{check}");
        let failed = check["status"] != "ok";
        assert_eq!(
            check["fix"].is_string(),
            failed,
            "one fix where it is needed: {check}"
        );
    }
    let failed = checks.iter().any(|check| check["status"] == "failed");
    assert_eq!(ran.code, i32::from(failed), "{object}");
    checks
}

/// The first thing that is not well, whatever protects the memory of this machine's agent.
fn first(ran: &Ran) -> Value {
    let checks = checks(ran);
    let mut odd = checks
        .iter()
        .filter(|check| check["status"] != "ok" && check["id"] != "memory");
    odd.next()
        .unwrap_or_else(|| panic!("nothing is wrong: {checks:?}"))
        .clone()
}

fn diagnose(stage: &Stage) -> Ran {
    run(stage, &["doctor", ACCOUNT, "--json"])
}

/// Requires that the cause is found first, with these words in what was found and what to do.
fn found(ran: &Ran, id: &str, status: &str, detail: &str, fix: &str) {
    let first = first(ran);
    assert_eq!(
        (&first["id"], &first["status"]),
        (&id.into(), &status.into()),
        "{first}"
    );
    let has = |key: &str, part: &str| first[key].as_str().is_some_and(|text| text.contains(part));
    assert!(has("detail", detail), "{first}");
    assert!(has("fix", fix), "{first}");
}

#[test]
fn nothing_is_wrong_with_a_sound_setup() {
    let stage = scene(|_| {});
    let ran = diagnose(&stage);
    let checks = checks(&ran);
    let ids: Vec<_> = checks
        .iter()
        .map(|check| check["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(
        ids,
        [
            "agent",
            "version",
            "socket",
            "memory",
            "config",
            "key",
            "certificate",
            "key_certificate",
            "account",
            "host",
            "tls",
            "proxy",
            "clock",
            "audience",
            "token",
            "introspection",
            "scopes",
            "api"
        ]
    );
    let odd: Vec<_> = checks
        .iter()
        .filter(|check| check["status"] != "ok" && check["id"] != "memory")
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_eq!(stage.sim.counters().asked, 1, "one login, and no other audience");
    let text = run(&stage, &["doctor"]);
    assert_eq!(text.code, 0, "{}", text.err());
    assert!(text.out().contains("\nok       token "), "{}", text.out());
    assert!(text.out().contains("\nNothing failed"), "{}", text.out());
    assert_eq!(stage.sim.counters().asked, 1, "the token is held");
}

#[test]
fn without_an_agent_the_rest_is_checked_all_the_same() {
    let stage = scene(|setup| setup.certificate = TestKey::of_app().ended_certificate());
    let elsewhere = shown(&stage.home.path("nobody.sock"));
    let ran = run(&stage, &["doctor", ACCOUNT, "--json", "--socket", &elsewhere]);
    found(&ran, "agent", "failed", "no agent is running", "sfkey-agent");
    assert!(
        checks(&ran)
            .iter()
            .any(|check| check["id"] == "certificate" && check["status"] == "failed")
    );
}

#[test]
fn a_host_where_nobody_listens() {
    let stage = scene(|setup| setup.login_url = "https://localhost:1".to_owned());
    found(
        &diagnose(&stage),
        "host",
        "failed",
        "https://localhost:1",
        "login URL",
    );
}

#[test]
fn a_certificate_of_the_server_that_is_not_trusted() {
    for (kind, fix) in [
        (ServerCertificate::UnknownIssuer, "SSL_CERT_FILE"),
        (ServerCertificate::Expired, "clock"),
        (ServerCertificate::WrongHost, "login URL"),
    ] {
        let stage = scene_with(|config| config.server_certificate = kind, |_| {});
        found(&diagnose(&stage), "tls", "failed", "certificate", fix);
        assert_eq!(stage.sim.counters().asked, 0, "nothing was sent");
    }
}

#[test]
fn a_proxy_that_does_not_answer() {
    let stage = StageSetup::default()
        .launch(|launch| launch.variable("HTTPS_PROXY", "http://me:canary@127.0.0.1:1"))
        .empty();
    Setup::of(&stage).write(&stage.home);
    let ran = diagnose(&stage);
    found(&ran, "proxy", "failed", "http://127.0.0.1:1", "HTTPS_PROXY");
    assert!(!ran.out().contains("canary"), "{}", ran.out());
}

#[test]
fn an_audience_that_is_not_accepted() {
    let stage = scene_with(|config| config.knobs.audience = AudienceMode::Classic, |_| {});
    found(
        &diagnose(&stage),
        "audience",
        "failed",
        "audience is invalid",
        "--audience",
    );
    assert_eq!(stage.sim.counters().asked, 1, "no other one is tried unasked");
}

#[test]
fn a_key_that_is_not_the_certificates() {
    let stage = scene(|setup| setup.key = TestKey::of_nobody());
    found(
        &diagnose(&stage),
        "key_certificate",
        "failed",
        "another key",
        "certificate",
    );
}

#[test]
fn a_certificate_of_the_app_that_is_not_the_keys() {
    let other = TestKey::of_nobody();
    let stage = scene(|setup| {
        setup.key = other;
        setup.certificate = other.app_key().certificate_pem.clone();
    });
    found(&diagnose(&stage), "token", "failed", "signature", "certificate");
}

#[test]
fn a_consumer_key_that_is_not_known() {
    let stage = scene(|setup| setup.consumer_key = "3MVG9unknown".to_owned());
    found(
        &diagnose(&stage),
        "token",
        "failed",
        "consumer key",
        "consumer key",
    );
}

#[test]
fn a_user_who_is_not_approved() {
    let stage = scene(|_| {});
    let username = stage.sim.user(0).username;
    stage
        .sim
        .with_user(&username, |user| user.profile = "Nobody".to_owned());
    found(
        &diagnose(&stage),
        "token",
        "failed",
        "not admin approved",
        "assign",
    );
    let stage = scene(|setup| setup.username = "nobody@acme.example".to_owned());
    found(
        &diagnose(&stage),
        "token",
        "failed",
        "hasn't approved",
        "pre-authorized",
    );
}

#[test]
fn a_scope_that_is_missing() {
    for (scopes, detail) in [
        (&["api"][..], "refresh_token"),
        (&["web", "refresh_token"][..], "api is missing"),
    ] {
        let stage = scene_with(
            |config| config.apps[0].scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            |_| {},
        );
        found(&diagnose(&stage), "scopes", "failed", detail, "scope");
    }
}

#[test]
fn a_clock_that_is_ten_minutes_off_in_either_direction() {
    for (offset, words) in [(600, "behind"), (-600, "ahead of")] {
        let stage = scene(|_| {});
        let app = stage.sim.app(0).consumer_key;
        stage.sim.with_app(&app, |app| app.created_at = Some(0));
        stage.sim.set_clock_offset(offset);
        let ran = diagnose(&stage);
        found(&ran, "clock", "warning", words, "clock");
        assert_eq!(ran.code, 0, "assertions are corrected for it: {}", ran.out());
    }
}

#[test]
fn a_key_that_is_missing_damaged_or_readable_by_others() {
    let stage = scene(|_| {});
    let key = stage.home.path("config/sfkey/server.key");
    set_mode(&key, 0o644);
    found(&diagnose(&stage), "key", "failed", "others can read", "chmod go=");
    set_mode(&key, 0o600);
    fs::write(&key, "hello").expect("written");
    found(&diagnose(&stage), "key", "failed", "no private key", "openssl");
    fs::remove_file(&key).expect("removed");
    found(
        &diagnose(&stage),
        "key",
        "failed",
        "does not exist",
        "check the path",
    );
    assert_eq!(stage.sim.counters().asked, 0);
}

#[test]
fn a_passphrase_that_does_not_open_the_key() {
    let stage = scene(|_| {});
    stage.home.write("config/sfkey/passphrase", "wrong");
    let ran = diagnose(&stage);
    found(&ran, "key", "failed", "wrong passphrase", "openssl");
    assert!(!ran.out().contains("canary"));
}

#[test]
fn a_consumer_secret_that_is_wrong() {
    let stage = scene(|setup| setup.consumer_secret = "canary of a secret".to_owned());
    let ran = diagnose(&stage);
    found(
        &ran,
        "introspection",
        "failed",
        "consumer secret",
        "--consumer-secret-file",
    );
    assert!(!ran.out().contains("canary"), "{}", ran.out());
}

#[test]
fn introspection_that_calls_a_good_token_dead() {
    let stage = scene_with(
        |config| config.knobs.introspection = IntrospectionMode::AlwaysInactive,
        |_| {},
    );
    found(
        &diagnose(&stage),
        "introspection",
        "warning",
        "inactive",
        "consumer secret",
    );
}

#[test]
fn an_api_that_is_disabled_or_refuses() {
    let stage = scene(|_| {});
    stage.sim.fault(FaultRule {
        path: "/limits".to_owned(),
        ..FaultRule::always(Fault::Canned {
            status: 403,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: r#"[{"errorCode":"API_DISABLED_FOR_ORG","message":"API is not enabled for this Organization or Partner"}]"#
                .to_owned(),
        })
    });
    found(
        &diagnose(&stage),
        "api",
        "failed",
        "API_DISABLED_FOR_ORG",
        "API Enabled",
    );
    for (mode, status, fix) in [
        (RestMode::NotValidForRest, "failed", "scope"),
        (RestMode::NotAttachedToAgent, "failed", "policy"),
        (RestMode::RequestLimitExceeded, "warning", "wait"),
    ] {
        let stage = scene_with(|config| config.knobs.rest = mode, |_| {});
        found(&diagnose(&stage), "api", status, "refuses the token", fix);
    }
}

#[test]
fn a_certificate_that_has_ended() {
    let stage = scene(|setup| setup.certificate = TestKey::of_app().ended_certificate());
    found(
        &diagnose(&stage),
        "certificate",
        "failed",
        "2020-01-01",
        "certificate",
    );
}

#[test]
fn a_configuration_that_is_not_right() {
    let stage = scene(|setup| setup.more = "usernme = \"x\"\n".to_owned());
    found(&diagnose(&stage), "config", "failed", "usernme", "username");
    let stage = scene(|_| {});
    set_mode(&stage.home.path("config/sfkey/config.toml"), 0o666);
    found(
        &diagnose(&stage),
        "config",
        "failed",
        "others may write",
        "chmod go-w",
    );
}

#[test]
fn an_agent_that_is_locked() {
    let stage = scene(|_| {});
    let file = stage.home.write("lock", "a passphrase of the lock");
    let _locked = run(&stage, &["lock", "--passphrase-file", &shown(&file)]).done();
    found(&diagnose(&stage), "lock", "failed", "locked", "sfkey unlock");
}

#[test]
fn an_account_that_is_loaded_otherwise_than_configured() {
    let stage = scene(|_| {});
    let _loaded = run(&stage, &["token", ACCOUNT]).done();
    let mut setup = Setup::of(&stage);
    setup.username = "other@acme.example".to_owned();
    setup.write(&stage.home);
    found(
        &diagnose(&stage),
        "config",
        "warning",
        "another username",
        "--replace",
    );
}

#[test]
fn nothing_is_loaded_and_nothing_configured() {
    let home = Home::new();
    let ran = Sfkey::new(&home, ["doctor", "--json"]).run();
    found(&ran, "agent", "failed", "no agent", "sfkey-agent");
    let stage = Stage::empty();
    let ran = run(&stage, &["doctor", "--json"]);
    found(
        &ran,
        "account",
        "warning",
        "no account is loaded",
        "sfkey add NAME",
    );
}

#[test]
fn a_probe_finds_the_audience_that_works_and_names_the_command() {
    let stage = scene_with(|config| config.knobs.audience = AudienceMode::Classic, |_| {});
    let ran = run(&stage, &["doctor", ACCOUNT, "--probe", "--json"]);
    found(&ran, "audience", "failed", "audience is invalid", "--audience");
    let checks = checks(&ran);
    let probe = checks
        .iter()
        .find(|check| check["id"] == "probe")
        .expect("a probe");
    let fix = format!(
        "sfkey add prod --login-url {} --audience https://login.salesforce.com --replace --save",
        stage.sim.url()
    );
    assert_eq!(probe["fix"], fix, "{probe}");
    assert_eq!(stage.sim.counters().asked, 2, "the first that works is the last");
    let line: Vec<&str> = fix.split(' ').skip(1).collect();
    let _added = run(&stage, &line).done();
    let _token = run(&stage, &["token", ACCOUNT]).done();
}

#[test]
fn a_probe_that_finds_nothing_says_what_was_tried() {
    let stage = scene(|setup| setup.username = "nobody@acme.example".to_owned());
    let ran = run(&stage, &["doctor", ACCOUNT, "--probe", "--json"]);
    let checks = checks(&ran);
    let probe = checks
        .iter()
        .find(|check| check["id"] == "probe")
        .expect("a probe");
    assert_eq!(probe["status"], "failed", "{probe}");
    let detail = probe["detail"].as_str().expect("text");
    assert!(detail.contains("https://test.salesforce.com"), "{detail}");
}

#[test]
fn a_person_is_offered_to_save_what_a_probe_found() {
    let stage = scene_with(|config| config.knobs.audience = AudienceMode::Classic, |_| {});
    let mut terminal = Terminal::open();
    let line = ["doctor", ACCOUNT, "--probe"].map(str::to_owned);
    let child = terminal.sfkey(&stage.home, &line).start();
    terminal.wait_for("[y/N]");
    terminal.type_in("y\n");
    let ran = Ran::of(child);
    assert_eq!(ran.code, 1, "{}", ran.err());
    assert!(ran.out().contains("sfkey add prod --replace"), "{}", ran.out());
    let text = fs::read_to_string(stage.home.path("config/sfkey/config.toml")).expect("there");
    assert!(
        text.contains("audience = \"https://login.salesforce.com\""),
        "{text}"
    );
    let _added = run(&stage, &["add", ACCOUNT, "--replace"]).done();
    let _token = run(&stage, &["token", ACCOUNT]).done();
}
