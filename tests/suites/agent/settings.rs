//! `agent.toml` as its owner meets it: errors at start, what it says, and reading it again.

use std::{fs, os::unix::fs::chown};

use rustix::process::Signal;
use sfkey_proto::{
    Reason,
    v1::{WatchTokenRequest, WatchTokenResponse},
};
use sfkey_tests::support::{
    Agent, Calls, Home, Launch, StageSetup,
    home::set_mode,
    refusal,
    stopwatch::in_time,
    stranger::{self, is_possible},
};

/// Starts an agent that must refuse, and returns its words.
fn refused(home: &Home, launch: &Launch) -> String {
    let ended = Agent::start_in_vain(home, launch);
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(!home.socket().exists(), "no socket was made");
    home.redact(&ended.output)
}

#[test]
fn a_mistyped_key_is_told_with_its_line_and_the_right_one() {
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nunit = [\"nightly.service\"]\n");
    assert_eq!(
        refused(&home, &Launch::default()),
        "error: HOME/config/sfkey/agent.toml: line 2: unknown field `unit`, expected one of `units`, \
         `executables`, `confirm`\n\
         try: did you mean units?\n"
    );
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let home = Home::new();
    set_mode(&home.settings(""), 0o666);
    assert_eq!(
        refused(&home, &Launch::default()),
        "error: others may write to HOME/config/sfkey/agent.toml (mode 0666)\n\
         try: chmod go-w HOME/config/sfkey/agent.toml\n"
    );
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !is_possible("a_file_of_another_user_is_refused") {
        return;
    }
    let home = Home::new();
    chown(home.settings(""), Some(stranger::UID), None).expect("root may give files away");
    assert_eq!(
        refused(&home, &Launch::default()),
        "error: HOME/config/sfkey/agent.toml belongs to another user (uid 61923)\n\
         try: chown 0 HOME/config/sfkey/agent.toml\n"
    );
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let home = Home::new();
    let path = home.path("none.toml").display().to_string();
    let words = refused(&home, &Launch::default().arguments(["--config", &path]));
    assert_eq!(
        words,
        "error: cannot read HOME/none.toml: No such file or directory (os error 2)\n\
         try: look at it: ls -l HOME/none.toml\n"
    );
}

#[test]
fn check_config_says_what_follows_and_starts_nothing() {
    let home = Home::new();
    home.settings(
        "[token_socket]\nuids = [1001]\naccounts = [\"ci\"]\n\
         [accounts.prod.policy]\nunits = [\"nightly.service\"]\nconfirm = \"15m\"\n",
    );
    let ended = Agent::start_in_vain(&home, &Launch::default().arguments(["--check-config"]));
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        home.redact(&ended.output),
        format!(
            "HOME/config/sfkey/agent.toml: good\n\
             restricted socket HOME/run/sfkey-token/token.sock: accounts ci; user {}, besides users [1001], \
             groups []\n\
             account prod: callers in nightly.service; the user is asked, once in 15m\n",
            rustix::process::geteuid().as_raw()
        )
    );
    assert!(!home.socket().exists());
}

#[tokio::test]
async fn sighup_makes_rules_stricter_at_once_and_leaves_what_would_allow_more_to_a_restart() {
    let home = Home::new();
    home.settings("[token_socket]\naccounts = [\"prod\", \"ci\"]\n");
    let stage = StageSetup::default().home(home).ready().await;
    let restricted = Calls::to(&stage.home.token_socket()).await;
    restricted.token("prod").await.expect("a token");

    stage
        .home
        .settings("[token_socket]\naccounts = [\"ci\", \"dev\"]\n");
    stage.agent.signal(Signal::HUP);
    stage.agent.log().has("agent.toml was read again").await;
    let denied = restricted.refused_token("prod").await;
    assert_eq!(
        denied.reason,
        Reason::PolicyDenied,
        "on the connection that was open, too"
    );
    assert_eq!(restricted.refused_token("dev").await.reason, Reason::PolicyDenied);
    let log = stage.agent.log().text();
    assert!(
        log.contains("restart the agent for it what=\"[token_socket] accounts has new entries\""),
        "{log}"
    );

    stage.home.settings("");
    stage.agent.signal(Signal::HUP);
    stage.agent.log().has("waiting_for_restart=0").await;
    restricted
        .token("ci")
        .await
        .expect_err("nobody is answered there any more");
    stage
        .calls()
        .await
        .token("prod")
        .await
        .expect("the main socket as ever");
}

#[tokio::test]
async fn an_agent_toml_that_came_after_the_start_makes_rules_stricter_on_sighup() {
    let stage = StageSetup::default().ready().await;
    let (calls, log) = (stage.calls().await, stage.agent.log());
    stage.agent.signal(Signal::HUP);
    log.has("SIGHUP: there is no agent.toml").await;
    stage.home.settings("[accounts.prod.policy\n");
    stage.agent.signal(Signal::HUP);
    log.has("agent.toml is not right; the rules stay as they are")
        .await;
    calls.token("prod").await.expect("a token");
    let file = stage.home.settings(
        "[token_socket]\naccounts = [\"prod\"]\n[accounts.prod.policy]\nunits = [\"nightly.service\"]\n",
    );
    stage.agent.signal(Signal::HUP);
    log.has("agent.toml was read again").await;
    log.has("restart the agent for it what=\"[token_socket] is new\"")
        .await;
    assert_eq!(calls.refused_token("prod").await.reason, Reason::PolicyDenied);
    let status = calls.status().await.expect("a status");
    assert_eq!(status.settings_file, Some(file.display().to_string()));
    // It is the agent's file from now on.
    fs::remove_file(file).expect("removed");
    stage.agent.signal(Signal::HUP);
    log.has("cannot read ").await;
    assert_eq!(calls.refused_token("prod").await.reason, Reason::PolicyDenied);
}

async fn watch(calls: &Calls, account: &str) -> tonic::Streaming<WatchTokenResponse> {
    let account = account.to_owned();
    let mut stream = calls
        .tokens()
        .watch_token(WatchTokenRequest { account })
        .await
        .expect("a stream")
        .into_inner();
    let first = stream.message().await.expect("no failure");
    assert!(first.is_some(), "a token");
    stream
}

#[tokio::test]
async fn rules_that_sighup_makes_stricter_end_the_streams_that_they_forbid_and_no_others() {
    let home = Home::new();
    home.settings("");
    let stage = StageSetup::default().home(home).ready().await;
    let calls = stage.calls().await;
    calls.add(&stage.spec_of_new_user("other")).await.expect("loaded");
    let (mut forbidden, mut allowed) = (watch(&calls, "prod").await, watch(&calls, "other").await);
    stage
        .home
        .settings("[accounts.prod.policy]\nunits = [\"nightly.service\"]\n");
    stage.agent.signal(Signal::HUP);
    let denied = in_time(forbidden.message()).await.expect_err("it ends at once");
    assert_eq!(refusal(&denied).reason, Reason::PolicyDenied);
    calls.remove("other").await.expect("removed");
    let ended = in_time(allowed.message()).await.expect_err("it stood until now");
    assert_eq!(refusal(&ended).reason, Reason::AccountNotLoaded);
}

#[tokio::test]
async fn a_stream_goes_on_after_sighup_only_if_the_user_allows_what_is_to_be_confirmed_now() {
    let home = Home::new();
    home.settings("");
    let stage = StageSetup::default().home(home).ready().await;
    let mut stream = watch(&stage.calls().await, "prod").await;
    // There is nobody to ask, and so it is denied.
    stage
        .home
        .settings("[accounts.prod.policy]\nconfirm = \"always\"\n");
    stage.agent.signal(Signal::HUP);
    let denied = in_time(stream.message()).await.expect_err("it ends at once");
    assert_eq!(refusal(&denied).reason, Reason::ConfirmDenied);
}

#[tokio::test]
async fn a_file_that_is_not_right_changes_nothing_on_sighup() {
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nunits = []\n");
    let stage = StageSetup::default().home(home).ready().await;
    for (text, told) in [
        (
            "[accounts.prod.policy\n",
            "agent.toml is not right; the rules stay as they are",
        ),
        ("", "[accounts.prod.policy] units is gone"),
    ] {
        stage.home.settings(text);
        stage.agent.signal(Signal::HUP);
        stage.agent.log().has(told).await;
        assert_eq!(
            stage.calls().await.refused_token("prod").await.reason,
            Reason::PolicyDenied
        );
    }
}

#[tokio::test]
async fn status_tells_which_file_and_which_restricted_socket_there_are() {
    let home = Home::new();
    let file = home.settings("[token_socket]\naccounts = [\"prod\"]\n");
    let stage = StageSetup::default().home(home).ready().await;
    let _restricted = Calls::to(&stage.home.token_socket())
        .await
        .token("prod")
        .await
        .expect("a token");
    let status = stage.calls().await.status().await.expect("a status");
    assert_eq!(status.settings_file, Some(file.display().to_string()));
    assert_eq!(
        status.token_socket,
        Some(stage.home.token_socket().display().to_string())
    );
}
