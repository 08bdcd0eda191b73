//! No secret in any log line, at any level, in any error.

use sfkey_proto::{Reason, sealing::Sealed, v1::LockSpec};
use sfkey_tests::{
    sim::{Fault, FaultRule, Refusal as Row},
    support::{Calls, Canaries, Stage, StageSetup, TestKey, stage::ACCOUNT},
};
use tonic::Status;

const CONSUMER_SECRET: &str = "F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7F00DC0FFEE5EC2E7";
const PASSPHRASE: &str = "correct horse battery staple";

/// Failures in every form that a caller or his logs could see them in.
#[derive(Default)]
struct Statuses(String);

impl Statuses {
    fn keep<T>(&mut self, answer: Result<T, Status>) {
        let status = answer.err().expect("this call must fail");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        self.0 += &format!("{status}\n{status:?}\n{details}\n{:?}\n", status.metadata());
    }
}

/// What an endpoint that means no good, or logs too much, would echo.
fn echoing(status: u16, body: &str) -> Fault {
    Fault::Canned {
        status,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-echo".to_owned(), "{assertion}".to_owned()),
        ],
        body: body.to_owned(),
    }
}

const ECHOES: &[(u16, &str)] = &[
    (
        400,
        r#"{"error":"invalid_grant","error_description":"bad assertion {assertion}"}"#,
    ),
    (400, r#"{"error":"{assertion}","error_description":"x"}"#),
    (400, "<html>you sent {body}</html>"),
    (500, "{body}"),
    (503, "assertion={assertion}&{assertion}"),
    (200, "{assertion}"),
    (
        200,
        r#"{"access_token":"{assertion} {assertion}","instance_url":"https://evil.example"}"#,
    ),
    (
        200,
        r#"{"access_token":"x","instance_url":"https://{assertion}.example"}"#,
    ),
    (404, r#"["{assertion}"]"#),
];

/// Adds, fetches, fails in many ways, removes; returns what is secret of it and all failures.
async fn go_through_everything(stage: &Stage, calls: &Calls) -> (Canaries, Statuses) {
    let mut statuses = Statuses::default();
    let mut spec = stage.spec(ACCOUNT);
    spec.consumer_secret = Some(CONSUMER_SECRET.to_owned());
    calls.add(&spec).await.expect("added");
    let token = calls.token(ACCOUNT).await.expect("a token");
    calls.list().await.expect("a list");
    let mut exists = stage.spec(ACCOUNT);
    exists.consumer_key = "3MVG9.other".to_owned();
    statuses.keep(calls.add(&exists).await);
    for (number, (status, body)) in ECHOES.iter().enumerate() {
        let name = format!("echo-{number}");
        calls.add(&stage.spec_of_new_user(&name)).await.expect("added");
        stage.sim.clear_faults();
        stage.sim.fault(FaultRule::always(echoing(*status, body)));
        statuses.keep(calls.token(&name).await);
    }
    stage.sim.clear_faults();
    stage.sim.fault(FaultRule::always(Fault::TruncatedJson));
    calls
        .add(&stage.spec_of_new_user("truncated"))
        .await
        .expect("added");
    statuses.keep(calls.token("truncated").await);
    stage.sim.clear_faults();
    send_bad_requests(stage, calls, &mut statuses).await;
    lock_and_unlock(calls, &mut statuses).await;
    calls.remove(ACCOUNT).await.expect("removed");
    statuses.keep(calls.token(ACCOUNT).await);
    let exchanges = stage.sim.exchanges();
    let assertions = exchanges
        .iter()
        .filter_map(|exchange| exchange.assertion.as_deref());
    let granted = exchanges
        .iter()
        .filter_map(|exchange| exchange.access_token.as_deref());
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and_key(TestKey::of_nobody())
        .and("consumer secret", CONSUMER_SECRET)
        .and("passphrase", PASSPHRASE)
        .and_token(&token.access_token);
    let canaries = assertions.fold(canaries, Canaries::and_assertion);
    (granted.fold(canaries, Canaries::and_token), statuses)
}

/// Locks, tries a wrong passphrase, and unlocks.
async fn lock_and_unlock(calls: &Calls, statuses: &mut Statuses) {
    calls.lock(PASSPHRASE).await.expect("locked");
    statuses.keep(calls.token(ACCOUNT).await);
    statuses.keep(calls.unlock(&format!("{PASSPHRASE}, nearly")).await);
    calls.unlock(PASSPHRASE).await.expect("unlocked");
}

/// Requests that hold secrets and are refused: garbage, the wrong method, half a key.
async fn send_bad_requests(stage: &Stage, calls: &Calls, statuses: &mut Statuses) {
    let key = TestKey::of_nobody().pkcs1_der();
    let in_the_clear = Sealed {
        enc: key[..32].to_vec(),
        ciphertext: key.to_vec(),
    };
    statuses.keep(calls.add_sealed(in_the_clear.clone()).await);
    let mut unopened = calls.sealed(&stage.spec("unopened")).await.expect("sealed");
    unopened.ciphertext.clone_from(&in_the_clear.ciphertext);
    statuses.keep(calls.add_sealed(unopened).await);
    let lock = LockSpec {
        passphrase: PASSPHRASE.as_bytes().to_vec(),
    };
    let lock = calls.sealed(&lock).await.expect("sealed");
    statuses.keep(calls.add_sealed(lock).await);
    let mut half = stage.spec("half");
    half.private_key.truncate(half.private_key.len() - 100);
    half.consumer_secret = Some(CONSUMER_SECRET.to_owned());
    statuses.keep(calls.add(&half).await);
    let mut misplaced = stage.spec("misplaced");
    misplaced.username = TestKey::of_app().pkcs8_pem().to_owned();
    misplaced.consumer_secret = Some(CONSUMER_SECRET.to_owned());
    statuses.keep(calls.add(&misplaced).await);
}

async fn hunt(format: &str) {
    let setup = StageSetup::default().arguments(["--log-level", "trace", "--log-format", format]);
    let stage = setup.empty();
    let calls = stage.calls().await;
    let (canaries, statuses) = go_through_everything(&stage, &calls).await;
    let log = stage.agent.log();
    log.has("account removed").await;
    canaries.hunt([("log", log.bytes().as_slice()), ("errors", statuses.0.as_bytes())]);
    assert!(log.text().contains("asking Salesforce"), "the level was reached");
    // The control: a log with one line more would not have passed.
    let planted = stage
        .sim
        .last_exchange()
        .and_then(|exchange| exchange.assertion)
        .expect("an assertion");
    let log = [log.bytes(), planted.into_bytes()].concat();
    assert!(!canaries.found_in(&log).is_empty());
}

#[tokio::test]
async fn no_secret_is_in_the_text_log_at_trace_level_or_in_any_error() {
    hunt("text").await;
}

#[tokio::test]
async fn no_secret_is_in_the_json_log_at_trace_level_or_in_any_error() {
    hunt("json").await;
}

#[tokio::test]
async fn no_secret_is_in_the_command_line_or_environment_of_the_agent() {
    let stage = Stage::new().await;
    let token = stage.calls().await.token(ACCOUNT).await.expect("a token");
    let canaries = Canaries::new()
        .and_key(TestKey::of_app())
        .and_token(&token.access_token);
    let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", stage.agent.pid())).unwrap_or_default();
    canaries.hunt([("command line", read("cmdline").as_slice())]);
}

#[tokio::test]
async fn an_echoed_assertion_is_removed_and_the_rest_of_the_text_stays() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    calls.add(&stage.spec(ACCOUNT)).await.expect("added");
    let body = r#"{"error":"invalid_grant","error_description":"what is {assertion} to us"}"#;
    stage.sim.fault(FaultRule::always(echoing(400, body)));
    let refused = calls.refused_token(ACCOUNT).await;
    let text = refused.salesforce.expect("an answer").error_description;
    assert_eq!(
        (refused.reason, text.as_str()),
        (Reason::SalesforceRefused, "what is [removed] to us")
    );
}

#[tokio::test]
async fn the_last_error_of_an_account_shows_no_secret() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let body = r#"{"error":"invalid_grant","error_description":"{body}"}"#;
    stage.sim.fault(FaultRule::always(echoing(400, body)));
    let refused = calls.refused_token(ACCOUNT).await;
    assert_eq!(
        refused.salesforce.expect("an answer").error,
        Row::InvalidAssertion.error()
    );
    let assertion = stage.sim.last_exchange().and_then(|exchange| exchange.assertion);
    let canaries = Canaries::new().and_assertion(&assertion.expect("an assertion"));
    let shown = format!("{:?}", calls.list().await.expect("a list"));
    canaries.hunt([("list", shown.as_bytes())]);
}
