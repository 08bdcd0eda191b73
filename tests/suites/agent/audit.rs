//! The audit log: what is in it, when, and what happens when it cannot be written.

use std::{
    fs,
    io::Read,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::Signal;
use serde_json::Value;
use sfkey_proto::Reason;
use sfkey_tests::support::{
    Agent, Home, Launch, Sfkey, Stage, StageSetup, home,
    stranger::{self, act_as, is_possible, skipped},
};
use tokio::task::JoinSet;

/// An agent with an audit log below its home, and these arguments besides.
async fn audited(home: Home, arguments: &[&str]) -> (Stage, PathBuf) {
    fs::create_dir(home.path("log")).expect("created");
    home::set_mode(&home.path("log"), 0o700);
    let log = home.path("log/audit.log");
    let shown = log.display().to_string();
    let arguments = ["--audit-log", &shown]
        .into_iter()
        .chain(arguments.iter().copied());
    let setup = StageSetup::default()
        .home(home)
        .arguments(arguments.collect::<Vec<_>>());
    (setup.ready().await, log)
}

fn records(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).expect("it is there");
    let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    records.collect()
}

fn fingerprint(token: &str) -> String {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_grant_is_in_the_log_before_the_token_arrives_and_the_token_is_not() {
    let (stage, log) = audited(Home::new(), &[]).await;
    let calls = stage.calls().await;
    let token = calls.token("prod").await.expect("a token");
    let [record] = &records(&log)[..] else {
        panic!("not one record")
    };
    let keys: Vec<_> = record.as_object().expect("an object").keys().cloned().collect();
    let documented = "account count decision exe fingerprint method pid reason time uid unit";
    assert_eq!(keys, documented.split(' ').collect::<Vec<_>>());
    assert_eq!(record["decision"], "granted");
    assert_eq!(record["account"], "prod");
    assert_eq!(record["method"], "GetToken");
    assert_eq!(record["pid"], std::process::id());
    assert_eq!(record["uid"], rustix::process::geteuid().as_raw());
    let own = std::env::current_exe().expect("known").display().to_string();
    assert_eq!(record["exe"], own);
    assert_eq!(record["reason"], Value::Null);
    assert_eq!(record["fingerprint"], fingerprint(&token.access_token));
    assert_eq!(record["count"], 1);
    let text = fs::read_to_string(&log).expect("readable");
    assert!(!text.contains(&token.access_token[15..]), "{text}");
    let status = calls.status().await.expect("a status");
    assert_eq!(status.audit_log, Some(log.display().to_string()));
    assert_eq!(
        (status.audit_records, status.audit_failures, status.denials),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn the_same_again_is_counted_and_told_at_the_latest_when_the_agent_ends() {
    let (stage, log) = audited(Home::new(), &[]).await;
    let calls = stage.calls().await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let calls = calls.clone();
        requests.spawn(async move { calls.token("prod").await.expect("a token") });
    }
    assert_eq!(requests.join_all().await.len(), 50);
    stage.agent.signal(Signal::TERM);
    assert_eq!(stage.agent.has_ended().await.code, Some(0));
    let counts: Vec<_> = records(&log)
        .iter()
        .map(|record| record["count"].as_u64().expect("a number"))
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 50, "{counts:?}");
    assert_eq!(counts[0], 1);
    // A machine under load may take longer than one window for fifty requests.
    assert!(counts.len() <= 5, "{counts:?}");
}

#[tokio::test]
async fn denials_and_refused_connections_and_replacements_are_recorded() {
    let test = "denials_and_refused_connections_and_replacements_are_recorded";
    if !is_possible(test) {
        return;
    }
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nunits = []\n[accounts.asked.policy]\nconfirm = \"always\"\n");
    let (stage, log) = audited(home, &[]).await;
    let calls = stage.calls().await;
    assert_eq!(calls.refused_token("prod").await.reason, Reason::PolicyDenied);
    calls.add(&stage.spec("asked")).await.expect("loaded");
    assert_eq!(calls.refused_token("asked").await.reason, Reason::ConfirmDenied);
    let mut replacement = stage.spec_of_new_user("asked");
    replacement.replace = true;
    calls.add(&replacement).await.expect("replaced");
    stage.home.let_everybody_in();
    let path = stage.home.socket();
    // Not by a gRPC client: whether that one connects once or twice is a matter of who is faster.
    act_as(stranger::UID, &[], move || {
        let mut refused = UnixStream::connect(path).expect("the kernel lets it in");
        // Closed, be it in order or not.
        refused.read_to_end(&mut Vec::new()).ok();
    });
    stage.agent.signal(Signal::TERM);
    assert_eq!(stage.agent.has_ended().await.code, Some(0));
    let told: Vec<_> = records(&log)
        .iter()
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or("-").to_owned();
            [
                text("decision"),
                text("method"),
                text("account"),
                text("reason"),
                record["uid"].to_string(),
            ]
            .join(" ")
        })
        .collect();
    let expected = [
        "denied GetToken prod POLICY_DENIED 0",
        "denied GetToken asked CONFIRM_DENIED 0",
        "granted AddAccount asked REPLACED 0",
        "denied Connect - PEER_DENIED 61923",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn when_the_log_cannot_be_written_a_token_is_delivered_unless_records_are_required() {
    for (arguments, delivered) in [(&[][..], true), (&["--audit-required"][..], false)] {
        let (stage, log) = audited(Home::new(), arguments).await;
        let calls = stage.calls().await;
        let directory = log.parent().expect("a directory").to_path_buf();
        fs::remove_dir_all(&directory).expect("removed under its feet");
        let answer = calls.token("prod").await;
        assert_eq!(answer.is_ok(), delivered, "{arguments:?}");
        if !delivered {
            let refused = calls.refused_token("prod").await;
            assert_eq!(refused.reason, Reason::PolicyDenied);
            assert!(refused.message.contains("--audit-required"), "{refused:?}");
        }
        assert!(calls.status().await.expect("a status").audit_failures > 0);
        fs::create_dir(&directory).expect("created");
        home::set_mode(&directory, 0o700);
        calls.token("prod").await.expect("it is written again");
        let last = records(&log).pop().expect("a record");
        assert_eq!(last["decision"], "granted");
    }
}

/// A small file system that is full, unmounted when dropped.
struct FullDisk(PathBuf);

impl FullDisk {
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("created");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(path.to_path_buf()))
    }

    fn fill(&self) {
        // However much fits: the end is an error.
        fs::write(self.0.join("filler"), vec![0; 1 << 20]).expect_err("it is full");
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filler")).expect("removed");
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_full_disk_is_survived_and_no_record_is_torn_when_there_is_room_again() {
    let test = "a_full_disk_is_survived_and_no_record_is_torn_when_there_is_room_again";
    let home = Home::new();
    let Some(disk) = FullDisk::at(&home.path("disk")) else {
        return skipped(test, "file systems cannot be mounted here");
    };
    let log = home.path("disk/audit.log").display().to_string();
    let setup = StageSetup::default()
        .home(home)
        .arguments(["--audit-log", &log, "--audit-required"]);
    let stage = setup.ready().await;
    disk.fill();
    let refused = stage.calls().await.refused_token("prod").await;
    assert_eq!(refused.reason, Reason::PolicyDenied);
    disk.clear();
    stage.calls().await.token("prod").await.expect("there is room");
    assert_eq!(records(Path::new(&log)).len(), 1);
    drop(stage);
    drop(disk);
}

#[tokio::test]
async fn sighup_opens_the_log_anew_when_it_was_moved_away() {
    let (stage, log) = audited(Home::new(), &[]).await;
    let calls = stage.calls().await;
    calls.token("prod").await.expect("a token");
    let moved = log.with_extension("log.1");
    fs::rename(&log, &moved).expect("moved");
    stage.agent.signal(Signal::HUP);
    stage.agent.log().has("the audit log was opened anew").await;
    calls.add(&stage.spec_of_new_user("ci")).await.expect("loaded");
    calls.token("ci").await.expect("a token");
    let accounts = |log: &Path| -> Vec<_> {
        records(log)
            .iter()
            .map(|record| record["account"].clone())
            .collect()
    };
    assert_eq!(accounts(&moved), ["prod"]);
    assert_eq!(accounts(&log), ["ci"]);
}

#[tokio::test]
async fn the_agents_own_log_has_the_records_when_it_is_asked_for() {
    let stage = StageSetup::default().arguments(["--audit-journal"]).ready().await;
    stage.calls().await.token("prod").await.expect("a token");
    stage.agent.log().has("audit: audit decision=\"granted\"").await;
}

#[test]
fn a_log_that_others_can_read_or_that_is_a_link_is_refused_at_start() {
    let home = Home::new();
    let path = home.write("audit.log", "");
    let start = || {
        let launch = Launch::default().arguments(["--audit-log", &path.display().to_string()]);
        let ended = Agent::start_in_vain(&home, &launch);
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        home.redact(&ended.output)
    };
    home::set_mode(&path, 0o644);
    let words = start();
    assert!(
        words.ends_with(
            "error: the audit log HOME/audit.log is open to others (mode 0644)\ntry: chmod 0600 HOME/audit.log\n"
        ),
        "{words}"
    );
    fs::rename(&path, home.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(home.path("elsewhere"), &path).expect("linked");
    assert!(start().contains("error: the audit log HOME/audit.log cannot be opened"));
}

#[tokio::test]
async fn sfkey_audit_shows_and_filters_the_log() {
    let home = Home::new();
    home.settings("[accounts.closed.policy]\nunits = []\n");
    let (stage, log) = audited(home, &[]).await;
    let calls = stage.calls().await;
    calls
        .add(&stage.spec_of_new_user("closed"))
        .await
        .expect("loaded");
    let token = calls.token("prod").await.expect("a token");
    calls.refused_token("closed").await;
    let shown = |arguments: &[&str]| -> String {
        let line = ["audit"].into_iter().chain(arguments.iter().copied());
        stage.sfkey(line.collect::<Vec<_>>()).run().done().out()
    };
    let all = shown(&[]);
    for told in [
        "granted",
        "denied",
        "prod",
        "closed",
        "POLICY_DENIED",
        "GetToken",
        &fingerprint(&token.access_token),
    ] {
        assert!(all.contains(told), "{told}:\n{all}");
    }
    assert!(!shown(&["--account", "prod"]).contains("closed"));
    assert!(!shown(&["--decision", "denied"]).contains("granted"));
    assert_eq!(shown(&["--since", "1h"]), all);
    let json: Value = serde_json::from_str(&shown(&["--json", "--account", "prod"])).expect("JSON");
    assert_eq!(json["records"].as_array().expect("records").len(), 1);
    assert_eq!(
        json["records"][0]["fingerprint"],
        fingerprint(&token.access_token)
    );
    // A line of somebody else's, cut off or hostile, is told of and does no harm.
    let mut text = fs::read_to_string(&log).expect("readable");
    text.push_str("{\"time\":1,\"decision\":\"gra\n{\"time\":2,\"decision\":\"granted\",\"uid\":0,\"pid\":1,\"exe\":\"\\u001b[2Jx\",\"unit\":null,\"account\":\"old\",\"method\":\"GetToken\",\"reason\":null,\"fingerprint\":null,\"count\":1}\n");
    fs::write(&log, text).expect("written");
    let ran = stage.sfkey(["audit"]).run();
    assert_eq!(ran.code, 0);
    assert!(ran.err().contains("1 line"), "{}", ran.err());
    assert!(
        !ran.out().contains('\u{1b}') && ran.out().contains("old"),
        "{}",
        ran.out()
    );
    assert!(!shown_since(&stage, "1h").contains("old"));
}

fn shown_since(stage: &Stage, since: &str) -> String {
    stage.sfkey(["audit", "--since", since]).run().out()
}

#[test]
fn sfkey_audit_says_where_to_begin_when_there_is_no_log() {
    let stage = Stage::empty();
    let (error, fix) = stage.sfkey(["audit"]).run().failed(2);
    assert_eq!(error, "the agent keeps no audit log");
    assert!(fix.contains("--audit-log"), "{fix}");
    let arguments = ["audit", "--file", "/nonexistent/audit.log"];
    let (error, _) = Sfkey::new(&stage.home, arguments).run().failed(1);
    assert!(error.contains("/nonexistent/audit.log"), "{error}");
}
