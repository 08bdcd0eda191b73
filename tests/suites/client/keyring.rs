//! Secrets in the keyring: a real gnome-keyring over a real D-Bus, and every way to have none.

use std::{fs, os::unix::net::UnixListener, path::Path, time::Duration};

use linux_keyutils::{KeyRing, KeyRingIdentifier};
use rustix::process::{Pid, Signal, kill_process};
use sfkey_tests::support::{
    Canaries, Ran, Stage, Stopwatch, Terminal, TestKey, stage::ACCOUNT, stranger::skipped,
};

use crate::{
    bench::{PASSPHRASE, add_line, configure, encrypted_key, granted, key_file, run, shown, words},
    desktop::{self, Bus, Desktop},
};

/// The longest that a command with a keyring that does not answer may take: 10 s, and what a busy machine needs.
const IN_TIME: Duration = Duration::from_secs(20);

/// What is common to all: a stage, and a desktop in the same place.
fn scene(test: &str) -> Option<(Stage, Desktop)> {
    desktop::is_possible(test).then(|| {
        let stage = Stage::empty();
        let desktop = Desktop::start(&stage.home);
        (stage, desktop)
    })
}

fn saved(stage: &Stage) -> String {
    fs::read_to_string(stage.home.path("config/sfkey/config.toml")).expect("saved")
}

fn storing(stage: &Stage, key: &str, more: &[&str]) -> Vec<String> {
    let mut line = add_line(stage, ACCOUNT, key);
    line.extend(words(&["--store-key", "keyring"]));
    line.extend(words(more));
    line
}

/// The reason in a failure's JSON object.
fn reason(ran: &Ran) -> String {
    let object: serde_json::Value = serde_json::from_str(&ran.err()).expect("one object");
    object["error"]["reason"].as_str().expect("a reason").to_owned()
}

#[test]
fn a_key_its_passphrase_and_the_consumer_secret_are_read_from_the_keyring() {
    let Some((stage, desktop)) =
        scene("a_key_its_passphrase_and_the_consumer_secret_are_read_from_the_keyring")
    else {
        return;
    };
    desktop.put("prod/key", &fs::read(encrypted_key(&stage)).expect("readable"));
    // As `echo … | secret-tool store` leaves it.
    desktop.put("prod/passphrase", format!("{PASSPHRASE}\n").as_bytes());
    desktop.put(
        "prod/consumer_secret",
        stage.sim.app(0).consumer_secret.expose().as_bytes(),
    );
    configure(
        &stage,
        "keyring",
        "passphrase = \"keyring\"\nconsumer_secret = \"keyring\"",
    );
    let token = desktop
        .bus
        .sfkey(&stage, ["token", ACCOUNT, "--json"])
        .run()
        .done()
        .json();
    assert_eq!(token["access_token"], granted(&stage));
    assert_eq!(token["expiry_source"], "introspection");
    let checked = desktop.bus.sfkey(&stage, ["config", "check"]).run();
    assert!(checked.out().contains("it opens the key"), "{checked:?}");
}

#[test]
fn a_key_is_kept_in_the_keyring_from_which_it_is_loaded_afterwards() {
    let Some((stage, desktop)) = scene("a_key_is_kept_in_the_keyring_from_which_it_is_loaded_afterwards")
    else {
        return;
    };
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let key = encrypted_key(&stage);
    configure(&stage, "elsewhere.key", "passphrase = \"file:elsewhere\"");
    let line = storing(&stage, &key, &["--passphrase-file", &passphrase, "--save"]);
    let added = desktop.bus.sfkey(&stage, line).run().done();
    let kept = desktop.secret("prod/key").expect("kept");
    assert_eq!(kept, TestKey::of_app().pkcs8_pem().as_bytes());
    let config = saved(&stage);
    assert!(
        config.contains("key = \"keyring\"") && !config.contains("passphrase"),
        "{config}"
    );
    assert!(Path::new(&key).exists(), "nobody was there to say that it may go");
    let _removed = run(&stage, &["remove", ACCOUNT]).done();
    assert!(
        desktop.secret("prod/key").is_some(),
        "removing an account leaves the keyring alone"
    );
    let again = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run().done();
    assert!(again.out().starts_with("Added prod: "), "{}", again.out());
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and("passphrase", PASSPHRASE);
    let log = stage.agent.log().bytes();
    canaries.hunt([
        ("standard output", added.stdout.as_slice()),
        ("configuration", config.as_bytes()),
        ("log", &log),
    ]);
}

/// Stores the key before a person who answers the offer like this. Says what was shown, and whether the file is left.
fn offered(stage: &Stage, desktop: &Desktop, answer: &str) -> (String, bool) {
    let key = key_file(stage);
    let mut terminal = Terminal::open();
    let line = storing(stage, &key, &["--save"]);
    let child = terminal
        .sfkey(&stage.home, &line)
        .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
        .start();
    terminal.wait_for("Remove that file? [no]: ");
    terminal.type_in(answer);
    let _added = Ran::of(child).done();
    (terminal.shown_to_the_end(), Path::new(&key).exists())
}

#[test]
fn the_file_of_a_kept_key_is_removed_by_whoever_says_so_after_a_token_was_issued() {
    let Some((stage, desktop)) =
        scene("the_file_of_a_kept_key_is_removed_by_whoever_says_so_after_a_token_was_issued")
    else {
        return;
    };
    let (shown, is_left) = offered(&stage, &desktop, "y\n");
    assert!(shown.contains("Salesforce issued a token"), "{shown}");
    assert_eq!((stage.sim.counters().asked, is_left), (1, false));
    let _removed = run(&stage, &["remove", ACCOUNT]).done();
    let _added = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run().done();
}

#[test]
fn the_file_of_a_kept_key_stays_unless_somebody_wants_it_removed() {
    let Some((stage, desktop)) = scene("the_file_of_a_kept_key_stays_unless_somebody_wants_it_removed")
    else {
        return;
    };
    assert!(offered(&stage, &desktop, "\n").1);
}

#[test]
fn no_removal_is_offered_of_a_key_that_gets_no_token_or_that_another_account_needs() {
    let Some((stage, desktop)) =
        scene("no_removal_is_offered_of_a_key_that_gets_no_token_or_that_another_account_needs")
    else {
        return;
    };
    let key = key_file(&stage);
    let stays = |line: &[String]| {
        let mut terminal = Terminal::open();
        let command = terminal.sfkey(&stage.home, line);
        let child = command
            .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
            .start();
        terminal.wait_for("stays");
        assert_eq!(Ran::of(child).code, 0);
        let shown = terminal.shown_to_the_end();
        assert!(!shown.contains("Remove that file"), "{shown}");
        assert!(Path::new(&key).exists());
        shown
    };
    let other = format!("[accounts.other]\nkey = \"{key}\"");
    configure(&stage, &key, &other);
    let shown = stays(&storing(&stage, &key, &["--save"]));
    assert!(shown.contains("the key of other"), "{shown}");
    configure(&stage, &key, "");
    let unsaved = stays(&storing(&stage, &key, &[]));
    assert!(unsaved.contains("the key of prod. With --save"), "{unsaved}");
    let mut refused = storing(&stage, &key, &["--save", "--replace"]);
    let username = refused
        .iter()
        .position(|word| word == "--username")
        .expect("it is there");
    "nobody@acme.example".clone_into(&mut refused[username + 1]);
    let shown = stays(&refused);
    assert!(shown.contains("no token with this key"), "{shown}");
}

#[test]
fn another_key_in_the_keyring_is_not_written_over_unless_told_to() {
    let Some((stage, desktop)) = scene("another_key_in_the_keyring_is_not_written_over_unless_told_to")
    else {
        return;
    };
    let other = TestKey::of_nobody().pkcs8_pem();
    desktop.put("prod/key", other.as_bytes());
    let key = key_file(&stage);
    let (error, fix) = desktop
        .bus
        .sfkey(&stage, storing(&stage, &key, &[]))
        .run()
        .failed(1);
    assert!(error.contains("has another key of prod"), "{error}");
    assert!(fix.contains("--replace"), "{fix}");
    assert_eq!(desktop.secret("prod/key").expect("still there"), other.as_bytes());
    let _replaced = desktop
        .bus
        .sfkey(&stage, storing(&stage, &key, &["--replace"]))
        .run()
        .done();
    assert_ne!(desktop.secret("prod/key").expect("replaced"), other.as_bytes());
}

#[test]
fn a_locked_keyring_is_an_error_of_its_own_and_nobody_is_prompted() {
    let Some((stage, desktop)) = scene("a_locked_keyring_is_an_error_of_its_own_and_nobody_is_prompted")
    else {
        return;
    };
    desktop.put("prod/key", TestKey::of_app().pkcs8_pem().as_bytes());
    desktop.lock();
    configure(&stage, "keyring", "");
    let watch = Stopwatch::start();
    let ran = desktop.bus.sfkey(&stage, ["token", ACCOUNT, "--json"]).run();
    assert_eq!(
        (ran.code, reason(&ran).as_str()),
        (1, "KEYRING_LOCKED"),
        "{ran:?}"
    );
    let (error, fix) = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run().failed(1);
    assert!(
        error.contains("locked") && fix.contains("unlock"),
        "{error}\n{fix}"
    );
    let key = key_file(&stage);
    let (error, _) = desktop
        .bus
        .sfkey(&stage, storing(&stage, &key, &[]))
        .run()
        .failed(1);
    assert!(error.contains("the keyring is locked"), "{error}");
    let passed_over = desktop.bus.sfkey(&stage, ["add", "--all", "--no-prompt"]).run();
    assert_eq!(passed_over.code, 0, "{passed_over:?}");
    assert!(
        passed_over
            .err()
            .contains("prod is passed over: the keyring is locked"),
        "{passed_over:?}"
    );
    assert!(watch.elapsed() < IN_TIME, "nothing waited for a prompt");
}

#[test]
fn an_unlock_prompt_that_cannot_be_shown_is_an_error_in_time() {
    let test = "an_unlock_prompt_that_cannot_be_shown_is_an_error_in_time";
    if !desktop::is_possible(test) {
        return;
    }
    let stage = Stage::empty();
    // Its window never opens, as on a display that is gone.
    let prompter = "[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\nExec=/bin/sleep 1000\n";
    let desktop = Desktop::with(&stage.home, &["--unlock"], &[prompter]);
    desktop.put("prod/key", TestKey::of_app().pkcs8_pem().as_bytes());
    desktop.lock();
    configure(&stage, "keyring", "");
    let watch = Stopwatch::start();
    let terminal = Terminal::open();
    let ran = terminal
        .sfkey(&stage.home, &words(&["add", ACCOUNT]))
        .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
        .variable("DISPLAY", ":77")
        .run();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err().contains("its own window asks"), "{ran:?}");
    assert!(
        ran.err()
            .contains("error: the keyring is locked, and its prompt was"),
        "{ran:?}"
    );
    assert!(watch.elapsed() < IN_TIME + Duration::from_secs(30));
}

#[test]
fn a_keyring_that_does_not_answer_is_an_error_in_time() {
    let Some((stage, desktop)) = scene("a_keyring_that_does_not_answer_is_an_error_in_time") else {
        return;
    };
    desktop.put("prod/key", TestKey::of_app().pkcs8_pem().as_bytes());
    configure(&stage, "keyring", "");
    let id = i32::try_from(desktop.pid())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(id, Signal::STOP).expect("it is running");
    let watch = Stopwatch::start();
    let ran = desktop.bus.sfkey(&stage, ["token", ACCOUNT, "--json"]).run();
    assert!(watch.elapsed() < IN_TIME);
    assert_eq!((ran.code, reason(&ran).as_str()), (1, "KEYRING"), "{ran:?}");
    assert!(ran.err().contains("did not answer within 10 s"), "{ran:?}");
}

#[test]
fn a_bus_that_does_not_answer_is_an_error_in_time() {
    let stage = Stage::empty();
    configure(&stage, "keyring", "");
    let path = stage.home.path("silent.socket");
    let _silent = UnixListener::bind(&path).expect("bound");
    let watch = Stopwatch::start();
    let ran = stage
        .sfkey(["token", ACCOUNT, "--json"])
        .variable(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={}", path.display()),
        )
        .run();
    assert!(watch.elapsed() < IN_TIME);
    assert_eq!((ran.code, reason(&ran).as_str()), (1, "KEYRING"), "{ran:?}");
}

/// A name in the kernel's keyring that is this test's own, for that keyring is everybody's who runs as this user.
struct OwnName(String);

impl OwnName {
    fn new(name: &str) -> Self {
        Self(format!("{name}-{}", std::process::id()))
    }
}

impl Drop for OwnName {
    fn drop(&mut self) {
        let _own = KeyRing::from_special_id(KeyRingIdentifier::Thread, true);
        let keyring = KeyRing::get_persistent(KeyRingIdentifier::Thread);
        let key = keyring.and_then(|keyring| keyring.search(&format!("keyring:{}/key@sfkey", self.0)));
        // There may be none, and the kernel may have refused.
        key.and_then(|key| key.invalidate()).ok();
    }
}

/// Stores the key of an account by `name` where there is no Secret Service for the reason `why`, and loads it anew.
fn through_the_kernel(test: &str, stage: &Stage, bus: Option<&str>, name: &OwnName, why: &str) {
    let key = key_file(stage);
    let name = name.0.as_str();
    let mut line = add_line(stage, name, &key);
    line.extend(words(&["--store-key", "keyring", "--save"]));
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    // Should there be an offer after all, it is answered and does not wait for ever.
    terminal.type_in("\n\n");
    let sfkey = |line: &[String]| {
        let command = terminal.sfkey(&stage.home, line);
        match bus {
            Some(bus) => command.variable("DBUS_SESSION_BUS_ADDRESS", bus).run(),
            None => command.run(),
        }
    };
    let stored = sfkey(&line);
    assert!(stored.err().contains(why), "{stored:?}");
    if stored.code != 0 {
        assert!(stored.err().contains("there is no keyring"), "{stored:?}");
        return skipped(test, "the kernel's keyring may not be used here");
    }
    assert!(stored.err().contains("lost at reboot"), "{stored:?}");
    let _removed = run(stage, &["remove", name]).done();
    let loaded = sfkey(&words(&["add", name]));
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert!(loaded.err().contains("lost at reboot"), "{loaded:?}");
    assert!(Path::new(&key).exists());
    drop(keeps_it_open);
    let shown = terminal.shown_to_the_end();
    assert!(
        !shown.contains("Remove"),
        "a key that a reboot takes keeps its file: {shown}"
    );
}

#[test]
fn without_any_bus_the_kernel_keeps_the_key_and_that_is_said() {
    let stage = Stage::empty();
    let test = "without_any_bus_the_kernel_keeps_the_key_and_that_is_said";
    through_the_kernel(test, &stage, None, &OwnName::new("busless"), "no session bus");
}

#[test]
fn a_bus_on_another_machine_is_not_asked() {
    let stage = Stage::empty();
    let test = "a_bus_on_another_machine_is_not_asked";
    let bus = "tcp:host=bus.example,port=1";
    let why = "the session bus is not a socket on this machine";
    through_the_kernel(test, &stage, Some(bus), &OwnName::new("remote"), why);
}

#[test]
fn on_a_bus_without_a_keyring_the_kernel_keeps_the_key_and_that_is_said() {
    let test = "on_a_bus_without_a_keyring_the_kernel_keeps_the_key_and_that_is_said";
    if !desktop::is_possible(test) {
        return;
    }
    let stage = Stage::empty();
    let bus = Bus::start(&stage.home, &[]);
    let why = "nobody serves it on the session bus";
    through_the_kernel(test, &stage, Some(&bus.address), &OwnName::new("bare"), why);
}

#[test]
fn a_keyring_with_nothing_but_its_session_collection_forgets_and_that_is_said() {
    let test = "a_keyring_with_nothing_but_its_session_collection_forgets_and_that_is_said";
    if !desktop::is_possible(test) {
        return;
    }
    let stage = Stage::empty();
    // Nobody has logged in: there is no login keyring, and none is the default.
    let desktop = Desktop::with(&stage.home, &[], &[]);
    let key = key_file(&stage);
    let mut terminal = Terminal::open();
    let keeps_it_open = terminal.device();
    terminal.type_in("\n");
    let stored = terminal
        .sfkey(&stage.home, &storing(&stage, &key, &["--save"]))
        .variable("DBUS_SESSION_BUS_ADDRESS", &desktop.bus.address)
        .run();
    assert_eq!(stored.code, 0, "{stored:?}");
    assert!(
        stored.err().contains("session collection: lost at reboot"),
        "{stored:?}"
    );
    assert!(Path::new(&key).exists());
    drop(keeps_it_open);
    let shown = terminal.shown_to_the_end();
    assert!(
        !shown.contains("Remove"),
        "a key that a logout takes keeps its file: {shown}"
    );
    let _removed = run(&stage, &["remove", ACCOUNT]).done();
    let loaded = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run();
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert!(loaded.err().contains("lost at reboot"), "{loaded:?}");
}

#[test]
fn what_the_keyring_does_not_have_is_named_with_the_line_that_puts_it_there() {
    let Some((stage, desktop)) =
        scene("what_the_keyring_does_not_have_is_named_with_the_line_that_puts_it_there")
    else {
        return;
    };
    configure(&stage, "keyring", "");
    let (error, fix) = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run().failed(1);
    assert!(error.contains("service sfkey, user prod/key"), "{error}");
    assert!(
        fix.contains("sfkey add prod --key FILE --store-key keyring"),
        "{fix}"
    );
    let key = key_file(&stage);
    configure(&stage, &key, "consumer_secret = \"keyring\"");
    let (_, fix) = desktop.bus.sfkey(&stage, ["add", ACCOUNT]).run().failed(1);
    assert!(
        fix.contains("service sfkey username prod/consumer_secret"),
        "{fix}"
    );
}
