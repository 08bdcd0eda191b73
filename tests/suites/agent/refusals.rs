//! What Salesforce refuses arrives at the caller as Salesforce said it.

use sfkey_proto::{Reason, Refusal, v1::AccountSpec};
use sfkey_tests::{
    sim::{App, AppKind, Fault, FaultRule, IpPolicy, OrgStatus, Refusal as Row, User},
    support::{Calls, Stage, TestKey},
};

/// What Salesforce asks to try again later; the others are final.
const TRANSIENT: [Row; 2] = [Row::ServerError, Row::UnknownError];

/// What only a broken client is told; there is no guidance to give.
const UNLISTED: [Row; 3] = [Row::ScopeNotSupported, Row::UnexpectedParameter, Row::MustUsePost];

/// Asks for a token of an account whose user never asked before, while every exchange is refused like this.
async fn refused_with(stage: &Stage, calls: &Calls, name: &str, fault: Fault) -> Refusal {
    calls.add(&stage.spec_of_new_user(name)).await.expect("added");
    stage.sim.clear_faults();
    stage.sim.fault(FaultRule::always(fault));
    calls.refused_token(name).await
}

fn assert_row(refused: &Refusal, row: Row, description: &str) {
    let answer = refused.salesforce.as_ref().expect("Salesforce answered");
    assert_eq!(
        (answer.error.as_str(), answer.http_status),
        (row.error(), 400),
        "{row:?}"
    );
    assert_eq!(answer.error_description, description, "{row:?}");
    let transient = TRANSIENT.contains(&row);
    let reason = if transient {
        Reason::SalesforceUnavailable
    } else {
        Reason::SalesforceRefused
    };
    assert_eq!(refused.reason, reason, "{row:?}");
    assert_eq!(
        refused.reason.exit_code(),
        if transient { 8 } else { 7 },
        "{row:?}"
    );
    assert_eq!(
        refused.fix.is_empty(),
        UNLISTED.contains(&row),
        "{row:?}: {}",
        refused.fix
    );
}

#[tokio::test]
async fn every_refusal_of_salesforce_arrives_with_its_raw_text_reason_and_fix() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for (index, row) in Row::ALL.into_iter().enumerate() {
        let name = format!("row-{index}");
        let refused = refused_with(&stage, &calls, &name, Fault::Refuse { refusal: row }).await;
        assert_row(&refused, row, row.description(false));
        let accounts = calls.list().await.expect("a list");
        let shown = accounts.iter().find(|account| account.account == name);
        let last_error = shown.and_then(|account| account.last_error.clone());
        let last_error = last_error.expect("the failure is shown");
        assert!(last_error.contains(row.description(false)), "{last_error}");
    }
}

#[tokio::test]
async fn every_refusal_is_recognised_in_its_other_wording() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    stage.sim.knobs(|knobs| knobs.alternate_texts = true);
    for (index, row) in Row::ALL.into_iter().enumerate() {
        let name = format!("row-{index}");
        let refused = refused_with(&stage, &calls, &name, Fault::Refuse { refusal: row }).await;
        assert_row(&refused, row, row.description(true));
    }
}

#[tokio::test]
async fn a_refusal_without_a_description_is_still_a_refusal() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    stage.sim.knobs(|knobs| knobs.omit_description = true);
    let fault = Fault::Refuse {
        refusal: Row::InvalidAssertion,
    };
    let refused = refused_with(&stage, &calls, "silent", fault).await;
    let answer = refused.salesforce.expect("Salesforce answered");
    assert_eq!(refused.reason, Reason::SalesforceRefused);
    assert_eq!(
        (answer.error.as_str(), answer.error_description.as_str()),
        ("invalid_grant", "")
    );
    assert_eq!(refused.fix, "", "one error with many causes gets no guess");
}

#[tokio::test]
async fn a_refusal_that_is_not_known_gets_its_raw_text_and_no_guess() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let fault = Fault::Canned {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"error":"invalid_grant","error_description":"something quite new"}"#.to_owned(),
    };
    let refused = refused_with(&stage, &calls, "new", fault).await;
    assert_eq!(refused.reason, Reason::SalesforceRefused);
    assert_eq!(refused.fix, "");
    assert_eq!(
        refused.salesforce.expect("an answer").error_description,
        "something quite new"
    );
}

#[tokio::test]
async fn control_characters_of_an_answer_do_not_reach_the_caller() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let long = "x ".repeat(4000);
    let fault = Fault::Canned {
        status: 400,
        headers: Vec::new(),
        body: format!(r#"{{"error":"invalid_grant","error_description":"a\u001b[2J\r\nb\u202e{long}"}}"#),
    };
    let refused = refused_with(&stage, &calls, "rude", fault).await;
    let text = refused.salesforce.expect("an answer").error_description;
    assert!(text.starts_with("a\\u{1b}[2J\\r\\nb\\u{202e}x x"), "{text}");
    assert!(text.len() <= 1024, "{}", text.len());
}

/// A way to be refused: what is wrong, who makes it so, and the row that comes of it.
type Cause = (&'static str, fn(&mut App, &mut User, &mut AccountSpec), Row);

const CAUSES: &[Cause] = &[
    ("inactive", |_, user, _| user.active = false, Row::UserInactive),
    ("frozen", |_, user, _| user.frozen = true, Row::UserInactive),
    (
        "unknown-user",
        |_, _, spec| spec.username = "nobody@acme.example".to_owned(),
        Row::UserNotApproved,
    ),
    (
        "no-profile",
        |app, _, _| app.profiles.clear(),
        Row::NotAdminApproved,
    ),
    (
        "no-scope",
        |app, _, _| app.scopes = vec!["api".to_owned()],
        Row::RefreshScopeMissing,
    ),
    (
        "wrong-key",
        |_, _, spec| spec.private_key = TestKey::of_nobody().pkcs1_der().to_vec(),
        Row::InvalidAssertion,
    ),
    (
        "no-certificate",
        |app, _, _| app.certificate = None,
        Row::InvalidAssertion,
    ),
    (
        "audience",
        |_, _, spec| spec.audience = "https://elsewhere.example".to_owned(),
        Row::AudienceInvalid,
    ),
    (
        "unknown-app",
        |_, _, spec| spec.consumer_key = "3MVG9.nobody".to_owned(),
        Row::ConsumerKeyUnknown,
    ),
    (
        "not-installed",
        |app, _, _| (app.kind, app.installed) = (AppKind::ExternalClientApp, false),
        Row::AppNotInstalled,
    ),
    (
        "address",
        |app, _, _| app.ip_policy = IpPolicy::Enforce(vec!["10.0.0.0/8".to_owned()]),
        Row::IpRestricted,
    ),
    (
        "hours",
        |_, user, _| user.outside_login_hours = true,
        Row::IpRestricted,
    ),
    (
        "no-api",
        |_, user, _| user.api_enabled = false,
        Row::AuthenticationFailure,
    ),
    (
        "flow-off",
        |app, _, _| app.jwt_bearer = false,
        Row::GrantTypeNotSupported,
    ),
    ("blocked", |app, _, _| app.blocked = true, Row::AppBlocked),
];

/// Registers an app and a user of their own, made wrong, and asks for a token.
async fn refused_because(stage: &Stage, calls: &Calls, (name, spoil, row): &Cause) {
    let mut app = App {
        certificate: Some(TestKey::of_app().app_key().certificate_pem.clone()),
        ..App::default()
    };
    let mut user = User {
        username: format!("{name}@acme.example"),
        ..User::default()
    };
    let mut spec = stage.spec(name);
    spec.consumer_key.clone_from(&app.consumer_key);
    spec.username.clone_from(&user.username);
    spoil(&mut app, &mut user, &mut spec);
    stage.sim.add_app(app);
    stage.sim.add_user(user);
    calls.add(&spec).await.expect("added");
    let refused = calls.refused_token(name).await;
    let answer = refused.salesforce.as_ref().expect("Salesforce answered");
    assert_eq!(
        (answer.error.as_str(), refused.reason),
        (row.error(), Reason::SalesforceRefused),
        "{name}"
    );
    assert_row(&refused, *row, row.description(false));
}

#[tokio::test]
async fn what_is_really_wrong_with_user_app_or_key_is_told_as_such() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for cause in CAUSES {
        refused_because(&stage, &calls, cause).await;
    }
    stage.sim.knobs(|knobs| knobs.logins_per_hour = 0);
    refused_because(&stage, &calls, &("rate", |_, _, _| {}, Row::LoginRateExceeded)).await;
    stage.sim.with_org("main", |org| org.status = OrgStatus::Locked);
    refused_because(&stage, &calls, &("locked-org", |_, _, _| {}, Row::OrgInactive)).await;
}
