//! The client before an agent that follows a script: tokens that come when the test says so, ends and new starts,
//! answers that the real one gives once in a month.

mod script;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdout},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sfkey_tests::support::{Home, Ran, Sfkey, Terminal};
use sha2::{Digest, Sha256};

use self::script::{Agent, Script, refusal, token};

/// `sfkey watch …` that runs, and the lines that it prints.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(home: &Home, line: &[&str]) -> Self {
        let mut child = Sfkey::new(home, line.iter().copied()).start();
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn access_token(&mut self) -> String {
        let line = self.line();
        let object: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        object["access_token"].as_str().expect("a token").to_owned()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("it runs");
    }

    /// The rest of what it printed, and how it ended.
    fn ended(mut self) -> (String, Ran) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (rest, Ran::of(self.child))
    }

    /// Asks it to end, as systemd does.
    fn end(self) -> (String, Ran) {
        self.signal(Signal::TERM);
        self.ended()
    }
}

#[test]
fn a_refused_token_comes_on_standard_input_and_only_its_hash_is_sent() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!next", 2_000_000_000));
    let ran = Sfkey::new(&home, ["token", "prod", "--rejected", "-"])
        .input("00D!refused\n")
        .run()
        .done();
    assert_eq!(ran.out(), "00D!next\n");
    let expected = ("prod".to_owned(), Sha256::digest("00D!refused").to_vec());
    assert_eq!(agent.reported(), [expected]);
}

#[test]
fn what_is_no_token_is_a_wrong_usage_and_nothing_is_sent() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    for input in ["", "\n", "two words", "a\nb", &"x".repeat(20_000)] {
        let (error, fix) = Sfkey::new(&home, ["token", "--rejected", "-"])
            .input(input)
            .run()
            .failed(2);
        assert!(error.contains("no access token"), "{error}");
        assert!(fix.contains("--rejected -"), "{fix}");
    }
    let canary = "00Dcanary!canary";
    let typed = Sfkey::new(&home, ["token", "--rejected", canary]).run();
    let (error, _) = typed.failed(2);
    assert!(error.contains("standard input"), "{error}");
    assert!(!typed.err().contains(canary), "{}", typed.err());
    let terminal = Terminal::open();
    let asked = Sfkey::new(&home, ["token", "--rejected", "-"]).stdin(terminal.device());
    let (error, _) = asked.run().failed(2);
    assert!(error.contains("terminal"), "{error}");
    assert!(agent.reported().is_empty());
    let _usage = Sfkey::new(&home, ["token", "--rejected", "-", "--fresh"])
        .run()
        .failed(2);
}

#[test]
fn each_token_is_one_object_on_one_line_and_a_signal_ends_the_watch_well() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    for signal in [Signal::TERM, Signal::INT] {
        let mut watching = Watching::start(&home, &["watch", "prod", "--json"]);
        assert!(["00D!one", "00D!two"].contains(&watching.access_token().as_str()));
        agent.push(token("00D!two", 2_000_000_100));
        watching.signal(signal);
        let (_, ran) = watching.ended();
        assert_eq!((ran.code, ran.err().as_str()), (0, ""));
    }
}

#[test]
fn a_token_goes_to_no_terminal_unless_told_to() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let terminal = Terminal::open();
    let ran = Sfkey::new(&home, ["watch"]).stdout(terminal.device()).run();
    assert_eq!(ran.code, 2);
    assert!(
        ran.err().contains("--show") && ran.err().contains("--file"),
        "{}",
        ran.err()
    );
    assert_eq!(terminal.shown_to_the_end(), "");
}

#[test]
fn a_watch_outlives_its_agent_and_prints_no_token_twice() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let mut watching = Watching::start(&home, &["watch", "prod", "-o", "json"]);
    assert_eq!(watching.access_token(), "00D!one");
    agent.end();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    agent.wait_for_watcher();
    agent.push(token("00D!two", 2_000_000_100));
    assert_eq!(watching.access_token(), "00D!two");
    // The same token with a later end is news, for whoever plans by it.
    agent.push(token("00D!two", 2_000_000_900));
    assert_eq!(watching.access_token(), "00D!two");
    let (_, ran) = watching.end();
    let err = ran.err();
    assert_eq!(ran.code, 0, "{err}");
    assert!(
        err.starts_with("warning: ") && err.contains("goes on trying"),
        "{err}"
    );
    assert!(err.ends_with("note: tokens come again\n"), "{err}");
}

#[test]
fn what_is_in_the_way_of_the_first_token_is_told_at_once() {
    let home = Home::new();
    let _no_agent = Sfkey::new(&home, ["watch", "prod"]).run().failed(3);
    for (reason, code) in [
        ("LOCKED", 5),
        ("REMOVED", 4),
        ("ACCOUNT_NOT_LOADED", 4),
        ("SALESFORCE_REFUSED", 7),
        ("NETWORK", 8),
    ] {
        let script = Script {
            refusing: Some(reason),
            ..Script::default()
        };
        let agent = Agent::start(&home, script);
        let line = ["watch", "prod", "--no-load"];
        let _words = Sfkey::new(&home, line).run().failed(code);
        agent.end();
    }
}

#[test]
fn a_refusal_that_may_pass_is_waited_out_and_a_final_one_ends_the_watch() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let mut watching = Watching::start(&home, &["watch", "prod", "--no-load"]);
    assert_eq!(watching.line(), "00D!one");
    agent.refuse(Some("LOCKED"));
    agent.break_streams(&refusal("LOCKED"));
    agent.wait_for_refused();
    agent.refuse(None);
    agent.push(token("00D!two", 2_000_000_100));
    assert_eq!(watching.line(), "00D!two");
    agent.break_streams(&refusal("REMOVED"));
    let (rest, ran) = watching.ended();
    assert_eq!((rest.as_str(), ran.code), ("", 4));
    assert!(ran.err().contains("error: "), "{}", ran.err());
}

#[test]
fn a_reader_that_goes_ends_the_watch_although_nothing_is_written() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let mut watching = Watching::start(&home, &["watch"]);
    assert_eq!(watching.line(), "00D!one");
    drop(watching.lines);
    let ran = Ran::of(watching.child);
    assert_eq!((ran.code, ran.err().as_str()), (141, ""));
}

#[test]
fn a_file_holds_the_newest_token_for_its_owner_alone_and_the_command_gets_its_name() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let command = r#"cat "$SFKEY_TOKEN_FILE"; echo "$SFKEY_ACCOUNT ${SF_ACCESS_TOKEN-unset}${SF_TARGET_ORG-unset}${SALESFORCE_ACCESS_TOKEN-unset} $SF_ORG_INSTANCE_URL""#;
    let file = home.path("token");
    let path = file.to_str().expect("UTF-8");
    let mut watching = Watching::start(&home, &["watch", "prod", "--file", path, "--exec", command]);
    for secret in ["00D!one", "00D!two"] {
        agent.push(token(secret, 2_000_000_000));
        assert_eq!(watching.line(), secret);
        assert_eq!(watching.line(), "prod unsetunsetunset https://i.example");
        assert_eq!(fs::read_to_string(&file).expect("there"), format!("{secret}\n"));
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (rest, ran) = watching.end();
    assert_eq!((rest.as_str(), ran.code), ("", 0));
}

#[test]
fn a_command_is_run_with_the_token_in_its_environment_and_never_twice_for_one() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let command = r#"echo "$SF_ACCESS_TOKEN ${SFKEY_TOKEN_FILE-none}"; test "$SF_ACCESS_TOKEN" != 00D!two"#;
    let mut watching = Watching::start(&home, &["watch", "--exec", command]);
    assert_eq!(watching.line(), "00D!one none");
    agent.push(token("00D!one", 2_000_009_999));
    agent.push(token("00D!two", 2_000_000_100));
    assert_eq!(watching.line(), "00D!two none");
    // The next run begins when the one before has ended, and was told of if it failed.
    agent.push(token("00D!three", 2_000_000_200));
    assert_eq!(watching.line(), "00D!three none");
    let (rest, ran) = watching.end();
    assert_eq!((rest.as_str(), ran.code), ("", 0));
    assert!(ran.err().contains("the command failed"), "{}", ran.err());
}

#[test]
fn a_command_that_still_runs_is_not_cut_short_and_the_next_token_waits_for_its_end() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let gate = home.path("gate");
    let made = std::process::Command::new("mkfifo")
        .arg(&gate)
        .status()
        .expect("mkfifo runs");
    assert!(made.success());
    // Opening the gate waits for the test to open it, too.
    let command = format!(
        "echo \"$SF_ACCESS_TOKEN\"; read line <'{}'; echo \"$line\"",
        gate.display()
    );
    let line = ["watch", "--exec", &command];
    let mut child = Sfkey::new(&home, line).start();
    let stderr = child.stderr.take().expect("it is piped");
    let lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut watching = Watching { child, lines };
    assert_eq!(watching.line(), "00D!one");
    agent.push(token("00D!two", 2_000_000_100));
    let mut warnings = BufReader::new(stderr).lines();
    let warning = warnings.next().expect("a line").expect("text");
    assert!(warning.contains("still runs"), "{warning}");
    fs::write(&gate, "ended\n").expect("the command reads");
    assert_eq!(watching.line(), "ended");
    assert_eq!(watching.line(), "00D!two");
    // The run that goes on is told to end, too.
    let (_, ran) = watching.end();
    assert_eq!(ran.code, 0);
}

#[test]
fn a_file_that_cannot_be_written_is_told_with_its_place() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    agent.push(token("00D!one", 2_000_000_000));
    let path = home.path("no/token").display().to_string();
    let (error, fix) = Sfkey::new(&home, ["watch", "--file", &path]).run().failed(1);
    assert!(error.contains("no/token"), "{error}");
    assert!(fix.starts_with("ls -ld "), "{fix}");
}

#[test]
fn a_revocation_says_who_is_logged_out_and_wants_a_yes() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    let (error, fix) = Sfkey::program(
        "/usr/bin/setsid".into(),
        &home,
        wait_for_sfkey(&["revoke", "prod"]),
    )
    .run()
    .failed(2);
    assert!(error.contains("everyone who shares ci@acme.example"), "{error}");
    assert_eq!(fix, "sfkey revoke prod --yes");
    assert!(agent.revoked().is_empty());
    let ran = Sfkey::new(&home, ["revoke", "--yes", "--json"]).run();
    assert_eq!(ran.code, 0, "{}", ran.err());
    assert!(
        ran.err().contains("everyone who shares ci@acme.example"),
        "{}",
        ran.err()
    );
    assert_eq!(
        ran.json(),
        serde_json::json!({"account": "prod", "revoked": true})
    );
    assert_eq!(agent.revoked(), ["prod"]);
    let (error, _) = Sfkey::new(&home, ["revoke", "other", "--yes"]).run().failed(4);
    assert!(error.contains("other"), "{error}");
}

#[test]
fn a_person_is_asked_before_a_revocation_and_anything_but_yes_is_no() {
    let home = Home::new();
    let agent = Agent::start(&home, Script::default());
    for (typed, code, revoked) in [("\n", 1, 0), ("n\n", 1, 0), ("y\n", 0, 1)] {
        let mut terminal = Terminal::open();
        let line = ["revoke", "prod"].map(str::to_owned);
        let child = terminal.sfkey(&home, &line).start();
        terminal.wait_for("[y/N]");
        terminal.type_in(typed);
        let ran = Ran::of(child);
        assert_eq!(ran.code, code, "{typed:?}: {}", ran.err());
        assert_eq!(agent.revoked().len(), revoked, "{typed:?}");
        drop(terminal);
    }
}

#[test]
fn a_panic_asks_nothing_and_tells_what_became_of_each_token() {
    let home = Home::new();
    let agent = Agent::start(
        &home,
        Script {
            unrevoked: Some("b"),
            ..Script::default()
        },
    );
    let ran = Sfkey::new(&home, ["panic"]).run();
    assert_eq!(ran.code, 1);
    assert!(ran.out().contains("a: its token is revoked\n"), "{}", ran.out());
    assert!(
        ran.out().contains("b: its token was NOT revoked: no answer"),
        "{}",
        ran.out()
    );
    assert!(ran.err().contains("logged out"), "{}", ran.err());
    let json = Sfkey::new(&home, ["panic", "--json"]).run();
    assert_eq!(json.json()["revocations"][1]["revoked"], false);
    agent.end();
    let agent = Agent::start(&home, Script::default());
    let ran = Sfkey::new(&home, ["panic", "--json"]).run();
    assert_eq!((ran.code, &ran.json()["wiped"]), (0, &Value::Bool(true)));
    agent.end();
    let _no_agent = Sfkey::new(&home, ["panic"]).run().failed(3);
}

#[test]
fn who_a_token_belongs_to_is_told_in_both_forms() {
    let home = Home::new();
    let _agent = Agent::start(&home, Script::default());
    let text = Sfkey::new(&home, ["whoami", "prod"]).run().done().out();
    assert!(
        text.contains("username") && text.contains("ci@acme.example"),
        "{text}"
    );
    assert!(!text.contains("e-mail"), "what is not known is left out: {text}");
    let object = Sfkey::new(&home, ["whoami", "--json"]).run().done().json();
    assert_eq!(
        (&object["org_id"], &object["email"]),
        (&"00D000000000001".into(), &Value::Null)
    );
}

/// `setsid --wait sfkey …`: without a terminal to ask on.
fn wait_for_sfkey(line: &[&str]) -> Vec<String> {
    let program = sfkey_tests::support::binaries::built("sfkey")
        .display()
        .to_string();
    let own = ["--wait".to_owned(), program];
    own.into_iter()
        .chain(line.iter().map(|word| (*word).to_owned()))
        .collect()
}
