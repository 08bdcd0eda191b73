//! Loading, naming, replacing and removing accounts.

use sfkey_proto::{
    Reason,
    v1::{AccountSpec, AddAccountResponse, RemoveAllAccountsRequest, add_account_response::Outcome},
};
use sfkey_tests::support::{
    Calls, Stage, StageSetup, TestKey, refusal,
    stage::ACCOUNT,
    stopwatch::{eventually, unix_now},
};

async fn refused_reason(calls: &Calls, account: &str) -> Reason {
    let refused = calls.refused_token(account).await;
    assert_eq!(refused.reason.exit_code(), 4, "{refused:?}");
    assert!(refused.fix.contains("sfkey"), "a command is named: {refused:?}");
    refused.reason
}

async fn invalid(calls: &Calls, spec: &AccountSpec) -> String {
    let refused = calls.refused_add(spec).await;
    assert_eq!(
        (refused.reason, refused.reason.exit_code()),
        (Reason::Invalid, 2),
        "{refused:?}"
    );
    refused.message
}

fn outcome(added: &AddAccountResponse) -> Outcome {
    added.outcome()
}

#[tokio::test]
async fn a_loaded_account_is_listed_with_its_settings_and_without_its_secrets() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut spec = stage.spec(ACCOUNT);
    spec.consumer_secret = Some("consumer-secret".to_owned());
    let added = calls.add(&spec).await.expect("added");
    assert_eq!(outcome(&added), Outcome::Added);
    let accounts = calls.list().await.expect("a list");
    assert_eq!(accounts, [added.account.expect("the account")]);
    let account = &accounts[0];
    assert_eq!(
        (account.account.as_str(), account.is_default),
        (ACCOUNT, true),
        "the only one is the default"
    );
    assert_eq!(account.username, spec.username);
    assert_eq!(
        (account.login_url.as_str(), account.audience.as_str()),
        (stage.sim.url().as_str(), stage.sim.url().as_str())
    );
    assert_eq!(account.consumer_key, spec.consumer_key);
    assert_eq!(account.key_fingerprint.len(), 64);
    assert_eq!(
        (
            account.lifetime_ends_at,
            account.idle_ends_at,
            account.last_error.as_ref()
        ),
        (None, None, None)
    );
}

#[tokio::test]
async fn adding_the_same_account_again_changes_nothing_and_costs_no_exchange() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let token = calls.token(ACCOUNT).await.expect("a token").access_token.clone();
    let again = calls.add(&stage.spec(ACCOUNT)).await.expect("the same again");
    assert_eq!(outcome(&again), Outcome::Unchanged);
    assert_eq!(calls.token(ACCOUNT).await.expect("a token").access_token, token);
    assert_eq!(stage.sim.counters().asked, 1);
}

#[tokio::test]
async fn an_account_with_another_identity_or_key_is_not_overwritten_unless_asked() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    let token = calls.token(ACCOUNT).await.expect("a token").access_token.clone();
    let mut other_user = stage.spec_of_new_user("another");
    other_user.account = ACCOUNT.to_owned();
    let mut other_key = stage.spec(ACCOUNT);
    other_key.private_key = TestKey::of_nobody().pkcs1_der().to_vec();
    let mut other_app = stage.spec(ACCOUNT);
    other_app.consumer_key = "3MVG9.other".to_owned();
    let mut other_audience = stage.spec(ACCOUNT);
    other_audience.audience = "https://login.salesforce.com".to_owned();
    for spec in [&other_user, &other_key, &other_app, &other_audience] {
        let refused = calls.refused_add(spec).await;
        assert_eq!(
            (refused.reason, refused.reason.exit_code()),
            (Reason::AccountExists, 6)
        );
        assert!(refused.fix.contains("--replace"), "{refused:?}");
    }
    assert_eq!(
        calls.token(ACCOUNT).await.expect("the old one").access_token,
        token
    );
    other_user.replace = true;
    let replaced = calls.add(&other_user).await.expect("replaced");
    assert_eq!(outcome(&replaced), Outcome::Replaced);
    let new = calls.token(ACCOUNT).await.expect("a token of the new one");
    assert_eq!(new.username, other_user.username);
    assert_ne!(new.access_token, token, "no token of another identity");
}

#[tokio::test]
async fn a_removed_account_comes_back_by_hand_only() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.remove(ACCOUNT).await.expect("removed");
    assert_eq!(refused_reason(&calls, ACCOUNT).await, Reason::Removed);
    assert_eq!(calls.list().await.expect("a list"), []);
    let mut on_demand = stage.spec(ACCOUNT);
    on_demand.explicit = false;
    assert_eq!(calls.refused_add(&on_demand).await.reason, Reason::Removed);
    let by_hand = calls.add(&stage.spec(ACCOUNT)).await.expect("added by hand");
    assert_eq!(outcome(&by_hand), Outcome::Added);
    calls.token(ACCOUNT).await.expect("a token");
    assert_eq!(
        outcome(&calls.add(&on_demand).await.expect("allowed again")),
        Outcome::Unchanged
    );
}

#[tokio::test]
async fn an_account_that_was_never_removed_may_be_loaded_on_demand() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut on_demand = stage.spec(ACCOUNT);
    on_demand.explicit = false;
    assert_eq!(
        outcome(&calls.add(&on_demand).await.expect("added")),
        Outcome::Added
    );
}

#[tokio::test]
async fn removing_all_accounts_tells_how_many_there_were() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.add(&stage.spec_of_new_user("other")).await.expect("added");
    let remove_all = async || {
        let reply = calls
            .agent()
            .remove_all_accounts(RemoveAllAccountsRequest {})
            .await;
        reply.expect("removed").into_inner().removed
    };
    assert_eq!(remove_all().await, 2);
    assert_eq!(remove_all().await, 0);
    for name in [ACCOUNT, "other"] {
        assert_eq!(refused_reason(&calls, name).await, Reason::Removed);
    }
}

#[tokio::test]
async fn what_is_not_loaded_cannot_be_used_or_removed() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    assert_eq!(refused_reason(&calls, "nobody").await, Reason::AccountNotLoaded);
    let status = calls.remove("nobody").await.expect_err("nothing to remove");
    assert_eq!(refusal(&status).reason, Reason::AccountNotLoaded);
    for bad in ["-x", "a b", "a/b", "\u{1b}[0m", &"a".repeat(81)] {
        assert_eq!(calls.refused_token(bad).await.reason, Reason::Invalid, "{bad:?}");
    }
}

#[tokio::test]
async fn an_empty_name_means_the_default_else_the_only_account() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    assert_eq!(refused_reason(&calls, "").await, Reason::NoDefaultAccount);
    calls.add(&stage.spec(ACCOUNT)).await.expect("added");
    assert_eq!(calls.token("").await.expect("the only one").account, ACCOUNT);
    let mut other = stage.spec_of_new_user("other");
    calls.add(&other).await.expect("added");
    assert_eq!(refused_reason(&calls, "").await, Reason::NoDefaultAccount);
    other.make_default = true;
    calls.add(&other).await.expect("made the default");
    assert_eq!(calls.token("").await.expect("the default").account, "other");
    let accounts = calls.list().await.expect("a list");
    let defaults: Vec<_> = accounts
        .iter()
        .map(|account| (account.account.as_str(), account.is_default))
        .collect();
    assert_eq!(defaults, [("other", true), (ACCOUNT, false)]);
    calls.remove("other").await.expect("removed");
    assert_eq!(calls.token("").await.expect("the only one left").account, ACCOUNT);
}

#[tokio::test]
async fn an_account_ends_with_its_lifetime_even_while_it_is_used() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut spec = stage.spec(ACCOUNT);
    spec.lifetime_seconds = Some(2);
    let before = unix_now();
    let account = calls
        .add(&spec)
        .await
        .expect("added")
        .account
        .expect("an account");
    let ends_at = account.lifetime_ends_at.expect("an end");
    assert!(
        (before + 1..=unix_now() + 3).contains(&ends_at),
        "{before} {ends_at}"
    );
    calls.token(ACCOUNT).await.expect("a token until then");
    let status = eventually(async || calls.token(ACCOUNT).await.err()).await;
    assert_eq!(
        refusal(&status).reason,
        Reason::AccountNotLoaded,
        "not REMOVED: nobody removed it"
    );
    assert!(unix_now() > before, "not before its time");
    assert_eq!(calls.status().await.expect("a status").account_count, 0);
}

#[tokio::test]
async fn an_account_that_nobody_uses_ends_with_its_idle_time() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut spec = stage.spec(ACCOUNT);
    spec.idle_seconds = Some(1);
    let account = calls
        .add(&spec)
        .await
        .expect("added")
        .account
        .expect("an account");
    assert!(account.idle_ends_at.is_some());
    eventually(async || calls.list().await.expect("a list").is_empty().then_some(())).await;
    assert_eq!(refused_reason(&calls, ACCOUNT).await, Reason::AccountNotLoaded);
}

#[tokio::test]
async fn an_assertion_for_salesforce_is_not_made_for_an_unknown_host() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut spec = stage.spec(ACCOUNT);
    spec.login_url = "https://proxy.example.net".to_owned();
    spec.audience = "https://login.salesforce.com".to_owned();
    let words = invalid(&calls, &spec).await;
    assert!(
        words.contains("login.salesforce.com") && words.contains("proxy.example.net"),
        "{words}"
    );
    let trusting = StageSetup::default()
        .arguments(["--trust-host", "proxy.example.net"])
        .empty();
    let calls = trusting.calls().await;
    assert_eq!(
        outcome(&calls.add(&spec).await.expect("the operator trusts it")),
        Outcome::Added
    );
    spec.login_url = "https://evil.proxy.example.net".to_owned();
    spec.account = "other".to_owned();
    invalid(&calls, &spec).await;
}

#[tokio::test]
async fn a_lightning_address_is_refused_with_the_my_domain_it_belongs_to() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut spec = stage.spec(ACCOUNT);
    for (lightning, my_domain) in [
        (
            "https://acme.lightning.force.com",
            "https://acme.my.salesforce.com",
        ),
        (
            "https://acme--dev.sandbox.lightning.force.com/",
            "https://acme--dev.sandbox.my.salesforce.com",
        ),
    ] {
        spec.login_url = lightning.to_owned();
        let words = invalid(&calls, &spec).await;
        assert!(words.contains(my_domain), "{words}");
    }
}

#[tokio::test]
async fn a_specification_that_is_not_well_formed_is_refused_field_by_field() {
    type Spoil = fn(&mut AccountSpec);
    let cases: [(&str, Spoil, &str); 14] = [
        ("no name", |spec| spec.account.clear(), "name"),
        ("a bad name", |spec| spec.account = "../x".to_owned(), "name"),
        ("no login URL", |spec| spec.login_url.clear(), "login URL"),
        (
            "http elsewhere",
            |spec| spec.login_url = "http://login.salesforce.com".to_owned(),
            "http",
        ),
        (
            "another scheme",
            |spec| spec.login_url = "file:///etc/passwd".to_owned(),
            "login URL",
        ),
        (
            "a query",
            |spec| spec.login_url = "https://login.salesforce.com/?x".to_owned(),
            "login URL",
        ),
        (
            "a user",
            |spec| spec.login_url = "https://u:p@login.salesforce.com".to_owned(),
            "login URL",
        ),
        (
            "no consumer key",
            |spec| spec.consumer_key.clear(),
            "consumer key",
        ),
        (
            "a username with a line end",
            |spec| spec.username = "a@b\r\nc".to_owned(),
            "username",
        ),
        ("no key", |spec| spec.private_key.clear(), "private key"),
        ("half a key", |spec| spec.private_key.truncate(600), "private key"),
        (
            "an empty secret",
            |spec| spec.consumer_secret = Some(String::new()),
            "consumer secret",
        ),
        ("no lifetime", |spec| spec.lifetime_seconds = Some(0), "lifetime"),
        (
            "a short session",
            |spec| spec.session_timeout_seconds = Some(60),
            "session timeout",
        ),
    ];
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for (name, spoil, named) in cases {
        let mut spec = stage.spec(ACCOUNT);
        spoil(&mut spec);
        let words = invalid(&calls, &spec).await;
        assert!(words.contains(named), "{name}: {words}");
    }
    assert_eq!(calls.list().await.expect("a list"), []);
}
