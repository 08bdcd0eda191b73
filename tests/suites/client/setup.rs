//! `sfkey setup` as a first-time user meets it: on a terminal, with the simulator as the org.

use std::{fs, os::unix::fs::PermissionsExt, process::Child};

use sfkey_tests::{
    sim::{AppKind, AudienceMode},
    support::{Canaries, Line, Ran, Stage, StageSetup, Terminal, TestKey, stage::ACCOUNT},
};

use crate::{
    bench::{PASSPHRASE, encrypted_key, granted, key_file, run, shown, words},
    desktop::{self, Desktop},
};

const CONSUMER_SECRET: &str = "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7";
/// A person who answers questions.
struct Dialogue {
    terminal: Terminal,
    child: Child,
}

impl Dialogue {
    fn begin(stage: &Stage, line: &[&str]) -> Self {
        Self::begin_with(stage, line, &[])
    }

    /// With these variables in its environment.
    fn begin_with(stage: &Stage, line: &[&str], variables: &[(&str, &str)]) -> Self {
        let terminal = Terminal::open();
        let mut command = terminal.sfkey(&stage.home, &words(line));
        for (name, value) in variables {
            command = command.variable(name, *value);
        }
        let child = command.start();
        Self { terminal, child }
    }

    /// Waits for a question, and answers it. What was said before it.
    fn answer(&mut self, question: &str, text: &str) -> String {
        let said = self.wait_for(question);
        self.terminal.wait_for_next(": ");
        self.terminal.type_in(&format!("{text}\n"));
        said
    }

    /// What was said before `text`, with a space for every line end and indentation.
    fn wait_for(&mut self, text: &str) -> String {
        let said = self.terminal.wait_for_next(text);
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Answers everything up to the proof, for the app and user that the simulator has.
    fn answer_all(&mut self, stage: &Stage, changes: &[(&str, &str)]) {
        let app = stage.sim.app(0);
        let key = key_file(stage);
        let defaults = [
            ("Name", ACCOUNT.to_owned()),
            ("Which kind of org", "1".to_owned()),
            ("Which app", "2".to_owned()),
            ("My Domain, such as", stage.sim.url()),
            ("Which key", "1".to_owned()),
            ("Private key (a file)", key),
            ("The certificate that the app has", String::new()),
            ("Username", stage.sim.user(0).username),
            ("Consumer key", app.consumer_key),
            ("Give it", "1".to_owned()),
            ("Session timeout", "2h".to_owned()),
        ];
        for (question, text) in defaults {
            let changed = changes.iter().find(|(changed, _)| *changed == question);
            self.answer(question, changed.map_or(text.as_str(), |(_, text)| *text));
        }
    }

    /// Waits for the end, which is a good one.
    fn ends_well(self) -> (Ran, String) {
        let ran = Ran::of(self.child).done();
        (ran, self.terminal.shown_to_the_end())
    }
}

/// An org whose app is an External Client App.
pub(crate) fn org() -> StageSetup {
    StageSetup::default().config(|config| config.apps[0].kind = AppKind::ExternalClientApp)
}

/// The account is there, and gives the token that Salesforce issued.
fn verified(stage: &Stage) {
    let token = run(stage, &["token", ACCOUNT]).done();
    assert_eq!(token.out().trim_end(), granted(stage));
    let left = stage.home.path("state/sfkey/setup/prod.toml");
    assert!(!left.exists(), "nothing is kept of a setup that is done");
}

#[test]
fn from_nothing_to_a_verified_account() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[]);
    let (ran, shown) = dialogue.ends_well();
    assert!(
        ran.out().starts_with(
            "prod works: Salesforce issued a token for integration@acme.example at https://localhost:"
        ),
        "{}",
        ran.out()
    );
    assert!(!shown.contains("error: "), "{shown}");
    verified(&stage);
    let config = stage.home.path("config/sfkey/config.toml");
    let text = fs::read_to_string(&config).expect("written");
    assert!(text.starts_with("default_account = \"prod\"\n"), "{text}");
    assert!(text.contains("session_timeout = \"2h\""), "{text}");
    assert!(!text.contains("audience"), "it is the login URL: {text}");
    assert_eq!(
        fs::metadata(&config).expect("there").permissions().mode() & 0o7777,
        0o600
    );
    // And in a new agent, from what was saved alone.
    for line in [&["remove", ACCOUNT], &["add", ACCOUNT]] {
        assert_eq!(run(&stage, line).code, 0, "{line:?}");
    }
}

#[test]
fn a_new_app_is_written_as_metadata_with_its_certificate_and_the_way_into_the_org() {
    let stage = org().empty();
    let certificate = &TestKey::of_app().app_key().certificate_pem;
    stage.home.write("server.crt", certificate);
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    for (question, text) in [
        ("Which kind of org", "1".to_owned()),
        ("Which app", "1".to_owned()),
        ("My Domain, such as", stage.sim.url()),
        ("Which key", "1".to_owned()),
        ("Private key (a file)", key_file(&stage)),
        // server.crt stands beside server.key.
        ("Its certificate (a file)", String::new()),
        ("Username", stage.sim.user(0).username),
        ("How is it made", "1".to_owned()),
        ("API name of the app", String::new()),
        (
            "E-mail of whoever looks after the app",
            "admin@acme.example".to_owned(),
        ),
        ("API name of the permission set", "Integration".to_owned()),
        ("New folder for the metadata", String::new()),
    ] {
        dialogue.answer(question, &text);
    }
    let said = dialogue.answer("Press Enter when that is done", "");
    let folder = stage.home.path("prod-app");
    assert!(
        said.contains("sf project deploy start --manifest package.xml --target-org admin")
            && said
                .contains("sf org assign permset --name Integration --on-behalf-of integration@acme.example"),
        "{said}"
    );
    let settings =
        "force-app/main/default/extlClntAppGlobalOauthSets/sfkey_prod_glbloauth.ecaGlblOauth-meta.xml";
    let text = fs::read_to_string(folder.join(settings)).expect("written");
    assert!(text.contains(certificate.trim()), "{text}");
    dialogue.answer("Consumer key", &stage.sim.app(0).consumer_key);
    dialogue.answer("Give it", "1");
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn a_new_key_is_made_on_the_way_and_its_certificate_is_what_the_app_gets() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    for (question, text) in [
        ("Which kind of org", "1"),
        ("Which app", "1"),
        ("My Domain, such as", &stage.sim.url()),
        ("Which key [2]", ""),
        ("File for it", ""),
        ("New passphrase for the new key", PASSPHRASE),
        ("The same again", PASSPHRASE),
        ("Username", &stage.sim.user(0).username),
        ("How is it made", "2"),
        ("API name of the app", ""),
        ("E-mail of whoever looks after the app", "admin@acme.example"),
        ("API name of the permission set", "Integration"),
    ] {
        dialogue.answer(question, text);
    }
    let certificate = stage.home.path("config/sfkey/keys/prod.crt");
    let said = dialogue.answer("Press Enter when that is done", "");
    assert!(said.contains(&shown(&certificate)), "{said}");
    // The administrator uploads it.
    let app = stage.sim.app(0).consumer_key;
    let pem = fs::read_to_string(certificate).expect("made");
    stage.sim.with_app(&app, |app| app.certificate = Some(pem));
    dialogue.answer("Consumer key", &app);
    dialogue.answer("Give it", "1");
    dialogue.answer("Session timeout", "");
    dialogue.ends_well();
    verified(&stage);
    let key = stage.home.path("config/sfkey/keys/prod.key");
    let text = fs::read_to_string(&key).expect("made");
    assert!(text.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    assert_eq!(
        fs::metadata(&key).expect("there").permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn a_key_without_a_certificate_gets_one() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    for (question, text) in [
        ("Which kind of org", "1"),
        ("Which app", "1"),
        ("My Domain, such as", &stage.sim.url()),
        ("Which key", "1"),
        ("Private key (a file)", &key_file(&stage)),
        ("Make a certificate for it", "yes"),
    ] {
        dialogue.answer(question, text);
    }
    dialogue.terminal.wait_for_next("Username: ");
    let pem = fs::read_to_string(stage.home.path("server.crt")).expect("made");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    dialogue.terminal.type_in("\u{4}");
    assert_eq!(Ran::of(dialogue.child).code, 1);
}

#[test]
fn the_clicks_are_told_with_every_value_to_paste() {
    let stage = org().empty();
    let certificate = stage
        .home
        .write("server.crt", &TestKey::of_app().app_key().certificate_pem);
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    for (question, text) in [
        ("Which kind of org", "1".to_owned()),
        ("Which app", "1".to_owned()),
        ("My Domain, such as", stage.sim.url()),
        ("Which key", "1".to_owned()),
        ("Private key (a file)", key_file(&stage)),
        ("Its certificate (a file)", String::new()),
        ("Username", stage.sim.user(0).username),
        ("How is it made", "2".to_owned()),
        ("API name of the app", "Sf_Key".to_owned()),
        (
            "E-mail of whoever looks after the app",
            "admin@acme.example".to_owned(),
        ),
        ("API name of the permission set", "Integration".to_owned()),
    ] {
        dialogue.answer(question, &text);
    }
    let said = dialogue.answer("Press Enter when that is done", "");
    for value in [
        "API Name Sf_Key",
        "Contact Email admin@acme.example",
        "http://localhost:1717/OauthRedirect",
        "Perform requests at any time (refresh_token, offline_access)",
        "Admin approved users are pre-authorized",
        "Integration",
        "Users > integration@acme.example",
        shown(&certificate).as_str(),
    ] {
        assert!(said.contains(value), "{value}: {said}");
    }
    dialogue.answer("Consumer key", &stage.sim.app(0).consumer_key);
    dialogue.answer("Give it", "1");
    dialogue.answer("Session timeout", "");
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn a_wrong_audience_is_explained_and_mended_in_place() {
    let stage = StageSetup::default()
        .config(|config| config.apps[0].audience = Some(AudienceMode::Classic))
        .empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[]);
    let said = dialogue.answer("What now", "");
    assert!(said.contains("audience is invalid"), "{said}");
    assert!(said.contains("1 give another audience"), "{said}");
    dialogue.answer("Audience", "2");
    dialogue.ends_well();
    verified(&stage);
    let text = fs::read_to_string(stage.home.path("config/sfkey/config.toml")).expect("written");
    assert!(
        text.contains("audience = \"https://login.salesforce.com\""),
        "{text}"
    );
}

#[test]
fn a_wrong_user_is_explained_and_mended_in_place() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[("Username", "somebody@acme.example")]);
    let said = dialogue.answer("What now", "1");
    assert!(
        said.contains("user hasn't approved this consumer")
            && said.contains("the username is not one of this org"),
        "{said}"
    );
    dialogue.answer("Username [somebody@acme.example]", &stage.sim.user(0).username);
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn a_setup_that_is_killed_at_a_question_leaves_no_account_that_does_not_work() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[("Username", "somebody@acme.example")]);
    dialogue.wait_for("What now");
    dialogue.child.kill().expect("it runs");
    dialogue.child.wait().expect("it is a child of this process");
    let list = run(&stage, &["list", "--json"]).done().json();
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn whoever_mends_it_late_finds_the_agent_all_the_same() {
    let stage = org().empty();
    let line = Line::to(&stage.home);
    let mut dialogue = Dialogue::begin(&stage, &["--socket", &shown(line.path()), "setup"]);
    dialogue.answer_all(&stage, &[("Username", "somebody@acme.example")]);
    dialogue.answer("What now", "1");
    dialogue.wait_for("Username [somebody@acme.example]: ");
    line.cut();
    let username = stage.sim.user(0).username;
    dialogue.terminal.type_in(&format!("{username}\n"));
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn a_missing_scope_is_explained_and_mended_in_place() {
    let stage = org()
        .config(|config| config.apps[0].scopes = vec!["api".to_owned()])
        .empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[]);
    let said = dialogue.wait_for("What now [2]: ");
    assert!(
        said.contains("refresh_token scope is required") && said.contains("add the scope > Save"),
        "{said}"
    );
    let app = stage.sim.app(0).consumer_key;
    stage.sim.with_app(&app, |app| {
        app.scopes = vec!["api".to_owned(), "refresh_token".to_owned()];
    });
    dialogue.terminal.type_in("\n");
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn another_certificate_is_explained_and_mended_in_place() {
    let other = TestKey::of_nobody().app_key().certificate_pem.clone();
    let stage = org()
        .config(|config| config.apps[0].certificate = Some(other))
        .empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[]);
    let said = dialogue.wait_for("What now [2]: ");
    assert!(
        said.contains("invalid assertion") && said.contains("upload the certificate again"),
        "{said}"
    );
    let app = stage.sim.app(0).consumer_key;
    stage.sim.with_app(&app, |app| {
        app.certificate = Some(TestKey::of_app().app_key().certificate_pem.clone());
    });
    dialogue.terminal.type_in("\n");
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn an_unknown_consumer_key_is_explained_and_mended_in_place() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[("Consumer key", "3MVG9nobody")]);
    let said = dialogue.answer("What now [1]", "");
    assert!(
        said.contains("client identifier invalid") && said.contains("1 give another consumer key"),
        "{said}"
    );
    dialogue.answer("Consumer key [3MVG9nobody]", &stage.sim.app(0).consumer_key);
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn a_certificate_of_another_key_is_found_before_salesforce_is_asked() {
    let stage = org().empty();
    let other = &TestKey::of_nobody().app_key().certificate_pem;
    let other = shown(&stage.home.write("other.crt", other));
    let right = &TestKey::of_app().app_key().certificate_pem;
    let right = shown(&stage.home.write("right.crt", right));
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    dialogue.answer("Which kind of org", "1");
    dialogue.answer("Which app", "2");
    dialogue.answer("My Domain, such as", &stage.sim.url());
    dialogue.answer("Which key", "1");
    dialogue.answer("Private key (a file)", &key_file(&stage));
    dialogue.answer("The certificate that the app has", &other);
    let said = dialogue.answer("The certificate that the app has", &right);
    assert!(said.contains("it belongs to another key"), "{said}");
    dialogue.terminal.wait_for_next("Username: ");
    assert_eq!(stage.sim.counters().asked, 0);
    dialogue.terminal.type_in("\u{4}");
    assert_eq!(Ran::of(dialogue.child).code, 1);
}

#[test]
fn a_new_app_is_waited_for() {
    let stage = org()
        .config(|config| config.knobs.propagation_delay = 3600)
        .empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[]);
    dialogue.answer("What now", "3");
    dialogue.terminal.wait_for_next("Enter: try now");
    stage.sim.knobs(|knobs| knobs.propagation_delay = 0);
    dialogue.terminal.type_in("\n");
    dialogue.ends_well();
    verified(&stage);
}

#[test]
fn an_interrupted_setup_goes_on_where_it_stopped_and_keeps_no_secret() {
    let stage = org().empty();
    let key = encrypted_key(&stage);
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    dialogue.answer("Which kind of org", "1");
    dialogue.answer("Which app", "2");
    dialogue.answer("My Domain, such as", &stage.sim.url());
    dialogue.answer("Which key", "1");
    dialogue.answer("Private key (a file)", &key);
    dialogue.answer("Passphrase of", PASSPHRASE);
    dialogue.answer("The certificate that the app has", "");
    dialogue.answer("Username", &stage.sim.user(0).username);
    dialogue.answer("Consumer key", &stage.sim.app(0).consumer_key);
    dialogue.answer("Give it", "2");
    dialogue.answer("Consumer secret", CONSUMER_SECRET);
    dialogue.answer("Change the consumer secret [yes]", "no");
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and("consumer secret", CONSUMER_SECRET)
        .and("passphrase", PASSPHRASE);
    let (_, first) = dialogue.ends_well();
    canaries.hunt([("the screen", first.as_bytes())]);
    verified(&stage);

    // The same again, stopped in the middle.
    let mut dialogue = Dialogue::begin(&stage, &["setup", "other"]);
    dialogue.answer("Which kind of org", "1");
    dialogue.answer("Which app", "2");
    dialogue.answer("My Domain, such as", &stage.sim.url());
    dialogue.answer("Which key", "1");
    dialogue.answer("Private key (a file)", &key);
    dialogue.answer("Passphrase of", PASSPHRASE);
    dialogue.answer("The certificate that the app has", "");
    dialogue.terminal.wait_for_next("Username: ");
    dialogue.terminal.type_in("\u{3}");
    assert_eq!(Ran::of(dialogue.child).code, 130, "as by the signal");
    let state = stage.home.path("state/sfkey/setup/other.toml");
    let kept = fs::read(&state).expect("kept");
    canaries.hunt([("the state", kept.as_slice())]);
    assert_eq!(
        fs::metadata(&state).expect("there").permissions().mode() & 0o7777,
        0o600
    );

    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    let said = dialogue.answer("Name [other]", "");
    assert!(said.contains("Begun earlier and not finished: other"), "{said}");
    dialogue.answer("Go on with the setup of other", "");
    dialogue.answer("Passphrase of", PASSPHRASE);
    dialogue.answer("Username", &stage.sim.user(0).username);
    dialogue.terminal.wait_for_next("Consumer key");
    dialogue.terminal.type_in("\u{4}");
    let ran = Ran::of(dialogue.child);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err().contains("setup was stopped; what was answered is kept"),
        "{}",
        ran.err()
    );
}

#[test]
fn the_address_of_a_page_is_refused_with_the_right_one() {
    let stage = org().empty();
    let mut dialogue = Dialogue::begin(&stage, &["setup", ACCOUNT]);
    dialogue.answer("Which kind of org", "1");
    dialogue.answer("Which app", "2");
    dialogue.answer(
        "My Domain, such as",
        "https://acme.lightning.force.com/lightning/page/home",
    );
    let said = dialogue.answer("[https://acme.my.salesforce.com]", "login.salesforce.com");
    assert!(said.contains("the user interface"), "{said}");
    let said = dialogue.answer("[https://acme.my.salesforce.com]", "");
    assert!(said.contains("not installed in this org"), "{said}");
    dialogue
        .terminal
        .wait_for_next("Token host and audience: https://acme.my.salesforce.com");
    dialogue.terminal.type_in("\u{3}");
    assert_eq!(Ran::of(dialogue.child).code, 130);
}

/// Answers for an app that is there, as a script has them.
pub(crate) fn answers(stage: &Stage) -> String {
    format!(
        "account = \"ci\"\napp = \"external-client-app\"\nlogin_url = \"{}\"\nkey = \"{}\"\nusername = \"{}\"\n\
         consumer_key = \"{}\"\n",
        stage.sim.url(),
        key_file(stage),
        stage.sim.user(0).username,
        stage.sim.app(0).consumer_key
    )
}

#[test]
fn a_script_needs_a_file_of_answers_and_no_terminal() {
    let stage = org().empty();
    let file = shown(&stage.home.write("answers.toml", answers(&stage)));
    let line = ["setup", "--answers", &file, "--non-interactive", "--json"];
    let done = run(&stage, &line).done().json();
    assert_eq!(
        (&done["account"], &done["verified"]),
        (&"ci".into(), &true.into())
    );
    assert!(done.get("access_token").is_none());
    let again = run(&stage, &line).done();
    assert_eq!(again.json()["verified"], true, "the second run is no failure");
    let token = run(&stage, &["token", "ci"]).done();
    assert_eq!(token.out().trim_end(), granted(&stage));
}

#[test]
fn a_script_can_have_its_key_made() {
    let stage = org().empty();
    stage.home.write("passphrase", PASSPHRASE);
    let new = format!(
        "account = \"ci\"\napp = \"new\"\nlogin_url = \"{}\"\nusername = \"{}\"\nnew_key = \"ci.key\"\n\
         contact_email = \"admin@acme.example\"\npermission_set = \"Integration\"\nmetadata_folder = \"ci-app\"\n",
        stage.sim.url(),
        stage.sim.user(0).username
    );
    let file = shown(&stage.home.write("answers.toml", &new));
    let line = ["setup", "--answers", &file, "--non-interactive"];
    let (error, _) = run(&stage, &line).failed(2);
    assert!(error.contains("nothing of the new key's passphrase"), "{error}");
    stage
        .home
        .write("answers.toml", new.clone() + "passphrase = \"file:passphrase\"\n");
    for time in ["the first time", "again"] {
        let (error, _) = run(&stage, &line).failed(2);
        assert!(error.contains("once it is deployed"), "{time}: {error}");
    }
    let pem = fs::read_to_string(stage.home.path("ci.crt")).expect("made");
    let app = stage.sim.app(0).consumer_key;
    stage.sim.with_app(&app, |app| app.certificate = Some(pem));
    let answers = format!("{new}passphrase = \"file:passphrase\"\nconsumer_key = \"{app}\"\n");
    stage.home.write(
        "answers.toml",
        answers.replace("\"new\"", "\"external-client-app\""),
    );
    assert_eq!(run(&stage, &line).code, 0);
    assert_eq!(run(&stage, &["token", "ci"]).out().trim_end(), granted(&stage));
}

#[test]
fn a_script_whose_answers_are_not_enough_is_told_all_that_is_missing() {
    let stage = org().empty();
    let file = shown(&stage.home.write("answers.toml", "account = \"ci\"\n"));
    let ran = run(&stage, &["setup", "--answers", &file, "--non-interactive"]);
    let (error, _) = ran.failed(2);
    assert_eq!(
        error,
        "the answers are not enough: login_url, key, username, certificate, contact_email, permission_set, \
         metadata_folder are missing"
    );
    let (_, fix) = run(&stage, &["setup"]).failed(2);
    assert!(fix.contains("--non-interactive"), "without a terminal: {fix}");
}

#[test]
fn a_script_makes_the_metadata_first_and_verifies_once_the_consumer_key_is_known() {
    let stage = org().empty();
    let certificate = &TestKey::of_app().app_key().certificate_pem;
    let certificate = shown(&stage.home.write("ci.crt", certificate));
    let new = answers(&stage)
        .replace("external-client-app", "new")
        .lines()
        .filter(|line| !line.starts_with("consumer_key"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        + &format!(
            "certificate = \"{certificate}\"\ncontact_email = \"admin@acme.example\"\npermission_set = \"Integration\"\n\
             metadata_folder = \"ci-app\"\n"
        );
    let file = shown(&stage.home.write("answers.toml", &new));
    let line = ["setup", "--answers", &file, "--non-interactive"];
    for time in ["the first time", "again"] {
        let (error, fix) = run(&stage, &line).failed(2);
        assert!(
            error.contains("its consumer key is known once it is deployed"),
            "{time}: {error}"
        );
        assert!(
            fix.contains("sf project deploy start") && fix.contains("add consumer_key"),
            "{fix}"
        );
    }
    assert!(stage.home.path("ci-app/package.xml").exists());
    // What has another content now is not overwritten.
    fs::write(stage.home.path("ci-app/package.xml"), "mine").expect("written");
    let (error, _) = run(&stage, &line).failed(1);
    assert!(error.contains("nothing was overwritten"), "{error}");
}

#[test]
fn a_script_is_told_what_salesforce_says_and_leaves_no_account_behind() {
    let stage = org().empty();
    let wrong = answers(&stage).replace(&stage.sim.user(0).username, "nobody@acme.example");
    let file = shown(&stage.home.write("answers.toml", wrong));
    let ran = run(&stage, &["setup", "--answers", &file, "--non-interactive"]);
    let (error, _) = ran.failed(7);
    assert!(error.contains("user hasn't approved this consumer"), "{error}");
    let list = run(&stage, &["list", "--json"]).done().json();
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(0));
    assert!(
        !stage.home.path("config/sfkey/config.toml").exists(),
        "nothing is saved"
    );
}

/// What setup has saved.
fn saved(stage: &Stage) -> String {
    fs::read_to_string(stage.home.path("config/sfkey/config.toml")).expect("written")
}

#[test]
fn key_and_secret_go_into_the_keyring_of_whoever_wants_that_and_no_file_is_left() {
    let test = "key_and_secret_go_into_the_keyring_of_whoever_wants_that_and_no_file_is_left";
    if !desktop::is_possible(test) {
        return;
    }
    let stage = org().empty();
    let desktop = Desktop::start(&stage.home);
    let bus = ("DBUS_SESSION_BUS_ADDRESS", desktop.bus.address.as_str());
    let mut dialogue = Dialogue::begin_with(&stage, &["setup"], &[bus]);
    let app = stage.sim.app(0);
    let key = key_file(&stage);
    for (question, text) in [
        ("Name", ACCOUNT),
        ("Which kind of org", "1"),
        ("Which app", "2"),
        ("My Domain, such as", &stage.sim.url()),
        ("Which key", "1"),
        ("Private key (a file)", &key),
        ("The certificate that the app has", ""),
        ("Username", &stage.sim.user(0).username),
        ("Consumer key", &app.consumer_key),
        // First another secret than the app's, which only introspection brings to light.
        ("Give it", "3"),
        ("Consumer secret (not shown)", CONSUMER_SECRET),
        ("Change the consumer secret [yes]", ""),
        ("Give it", "3"),
        ("Consumer secret (not shown)", app.consumer_secret.expose()),
        ("Keep it there [no]", "yes"),
        ("Remove that file [no]", "yes"),
    ] {
        dialogue.answer(question, text);
    }
    dialogue.ends_well();
    let config = saved(&stage);
    assert!(
        config.contains("key = \"keyring\"") && config.contains("consumer_secret = \"keyring\""),
        "{config}"
    );
    let kept = |user: &str| desktop.secret(user).expect("kept");
    assert_eq!(kept("prod/key"), TestKey::of_app().pkcs8_pem().as_bytes());
    assert_eq!(
        kept("prod/consumer_secret"),
        app.consumer_secret.expose().as_bytes()
    );
    assert!(!std::path::Path::new(&key).exists());
    let token = run(&stage, &["token", ACCOUNT, "--json"]).done().json();
    assert_eq!(token["expiry_source"], "introspection");
    for line in [["remove", ACCOUNT], ["add", ACCOUNT]] {
        let ran = desktop.bus.sfkey(&stage, line).run();
        assert_eq!(ran.code, 0, "{line:?}: {ran:?}");
    }
}

#[test]
fn a_certificate_that_was_compared_is_saved_so_that_its_end_is_told_in_time() {
    let stage = org().empty();
    let certificate = shown(
        &stage
            .home
            .write("app.crt", &TestKey::of_app().app_key().certificate_pem),
    );
    let mut dialogue = Dialogue::begin(&stage, &["setup"]);
    dialogue.answer_all(&stage, &[("The certificate that the app has", &certificate)]);
    dialogue.ends_well();
    assert!(
        saved(&stage).contains(&format!("certificate = \"{certificate}\"")),
        "{}",
        saved(&stage)
    );
}

#[test]
fn an_agent_is_started_for_whoever_has_none() {
    let stage = org().empty();
    let socket = shown(&stage.home.path("run/another/agent.sock"));
    let more = "certificate = \"none\"\nconsumer_secret = \"none\"\ndefault = \"yes\"\n";
    let file = shown(&stage.home.write("answers.toml", answers(&stage) + more));
    let ca_file = shown(&stage.home.path("ca.pem"));
    let line = ["--socket", &socket, "setup", "--answers", &file];
    let mut dialogue = Dialogue::begin_with(&stage, &line, &[("SSL_CERT_FILE", &ca_file)]);
    dialogue.answer("Start one now, which stays (sfkey-agent --daemon) [yes]", "");
    dialogue.ends_well();
    let token = run(&stage, &["--socket", &socket, "token", "ci"]).done();
    assert_eq!(token.out().trim_end(), granted(&stage));
    assert_eq!(run(&stage, &["--socket", &socket, "stop"]).code, 0);
}

#[test]
fn a_script_keeps_its_key_in_the_keyring_and_hears_of_a_secret_that_is_of_no_use() {
    let test = "a_script_keeps_its_key_in_the_keyring_and_hears_of_a_secret_that_is_of_no_use";
    if !desktop::is_possible(test) {
        return;
    }
    let stage = org().empty();
    let desktop = Desktop::start(&stage.home);
    stage.home.write("secret", CONSUMER_SECRET);
    let more = "store_key = \"keyring\"\nconsumer_secret = \"file:secret\"\n";
    let file = shown(&stage.home.write("answers.toml", answers(&stage) + more));
    let line = ["setup", "--answers", &file, "--non-interactive"];
    let ran = desktop.bus.sfkey(&stage, line).run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err()
            .contains("Salesforce did not tell how long the token lives"),
        "{ran:?}"
    );
    assert!(saved(&stage).contains("key = \"keyring\""), "{}", saved(&stage));
    assert_eq!(
        desktop.secret("ci/key").expect("kept"),
        TestKey::of_app().pkcs8_pem().as_bytes()
    );
    assert!(
        stage.home.path("server.key").exists(),
        "nobody said that it may go"
    );
    desktop.lock();
    let locked = desktop.bus.sfkey(&stage, line).run();
    assert_eq!(locked.code, 1, "{locked:?}");
    assert!(
        locked.err().contains("error: the keyring is locked"),
        "{locked:?}"
    );
    assert_eq!(
        run(&stage, &["list", "--json"]).json()["accounts"],
        serde_json::json!([])
    );
}
