//! What is done with a token that is there: report it, follow it, end it, ask whose it is.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout},
};

use rustix::process::{Pid, Signal, kill_process};
use sfkey_tests::support::{Agent, Launch, Ran, Stage, stage::ACCOUNT};

use crate::bench::{configure, granted, key_file, loaded, run, shown};

/// `sfkey watch prod` that runs.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(stage: &Stage) -> Self {
        let mut child = stage.sfkey(["watch", ACCOUNT]).start();
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn token(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Asks it to end, and reads on until it has: a reader that goes is another end.
    fn end(mut self) -> Ran {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::TERM).expect("it runs");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "", "no token was left unread");
        Ran::of(self.child)
    }
}

#[test]
fn a_reported_token_is_replaced_once_and_whoever_watches_gets_the_next_one() {
    let stage = loaded();
    let mut watching = Watching::start(&stage);
    let dead = watching.token();
    assert_eq!(dead, granted(&stage));
    stage.sim.expire_sessions();
    let report = || {
        stage
            .sfkey(["token", ACCOUNT, "--rejected", "-"])
            .input(dead.as_str())
    };
    let next = report().run().done().out().trim_end().to_owned();
    assert_ne!(next, dead);
    assert_eq!(next, granted(&stage));
    assert_eq!(watching.token(), next);
    assert_eq!(
        report().run().done().out().trim_end(),
        next,
        "it is long replaced"
    );
    assert_eq!(stage.sim.counters().asked, 2);
    let ended = watching.end();
    assert_eq!((ended.code, ended.err().as_str()), (0, ""));
}

#[test]
fn a_watch_goes_on_with_the_next_agent_and_loads_its_account_again() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    configure(&stage, &key, "");
    let mut watching = Watching::start(&stage);
    let first = watching.token();
    assert_eq!(first, granted(&stage));
    assert_eq!(run(&stage, &["stop"]).code, 0);
    let Stage { agent, sim, home } = stage;
    assert_eq!(agent.ended().code, Some(0));
    let launch = Launch::default().trusting(home.path("ca.pem"));
    let stage = Stage {
        agent: Agent::start(&home, &launch),
        sim,
        home,
    };
    let next = watching.token();
    assert_ne!(next, first);
    assert_eq!(next, granted(&stage));
    let ended = watching.end();
    assert_eq!(ended.code, 0);
    assert!(ended.err().contains("tokens come again"), "{}", ended.err());
}

#[test]
fn a_watch_ends_when_its_account_is_removed() {
    let stage = Stage::empty();
    let key = key_file(&stage);
    configure(&stage, &key, "");
    let mut watching = Watching::start(&stage);
    let _first = watching.token();
    let _removed = run(&stage, &["remove", ACCOUNT]).done();
    let ran = Ran::of(watching.child);
    assert_eq!(ran.code, 4, "{}", ran.err());
    assert!(ran.err().contains("removed"), "{}", ran.err());
}

#[test]
fn a_revoked_token_is_dead_and_the_next_one_is_another() {
    let stage = loaded();
    let token = run(&stage, &["token"]).done().out().trim_end().to_owned();
    let ran = run(&stage, &["revoke", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.err());
    assert!(ran.err().contains("logged out"), "{}", ran.err());
    assert_eq!(stage.sim.session_expiry(&token), None, "its session has ended");
    let next = run(&stage, &["token"]).done().out().trim_end().to_owned();
    assert_ne!(next, token);
    let _again = run(&stage, &["revoke", ACCOUNT, "--yes"]);
    let none = run(&stage, &["revoke", ACCOUNT, "--yes", "--json"]);
    assert_eq!(
        none.json(),
        serde_json::json!({"account": ACCOUNT, "revoked": false})
    );
}

#[test]
fn whose_a_token_is_says_salesforce() {
    let stage = loaded();
    let object = run(&stage, &["whoami", "--json"]).done().json();
    assert_eq!(object["account"], ACCOUNT);
    assert_eq!(object["username"], stage.sim.user(0).username.as_str());
    assert!(
        object["org_id"].as_str().is_some_and(|id| id.starts_with("00D")),
        "{object}"
    );
    assert!(
        run(&stage, &["whoami", ACCOUNT])
            .done()
            .out()
            .contains("organization")
    );
    let _refused = run(&stage, &["whoami", "other"]).failed(4);
}

#[test]
fn a_panic_wipes_and_revokes_even_when_the_agent_is_locked() {
    let stage = loaded();
    let token = run(&stage, &["token"]).done().out().trim_end().to_owned();
    let ran = run(&stage, &["panic", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err());
    let expected = serde_json::json!({
        "wiped": true, "revocations": [{"account": ACCOUNT, "revoked": true, "detail": null}],
    });
    assert_eq!(ran.json(), expected);
    assert_eq!(stage.sim.session_expiry(&token), None);
    assert_eq!(run(&stage, &["token", ACCOUNT]).code, 4, "nothing is loaded");
    let stage = loaded();
    let file = stage.home.write("lock", "a passphrase of the lock");
    let _locked = run(&stage, &["lock", "--passphrase-file", &shown(&file)]).done();
    let ran = run(&stage, &["panic"]);
    assert_eq!(ran.code, 0, "{}", ran.err());
    assert!(ran.out().contains("no token to revoke"), "{}", ran.out());
}
