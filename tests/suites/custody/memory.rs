//! The agent's memory, read from outside as root.

use std::sync::Arc;

use rustix::process::Signal;
use sfkey_proto::{Reason, v1::ExpirySource};
use sfkey_tests::support::{Calls, stopwatch::in_time};
use tokio::task::JoinSet;

use crate::{
    hunt::{basic_credentials, secret_flags},
    scene::{Scene, may_search, none, secret_part},
};

/// Accounts that sign at once; each makes one signature.
const CROWD: usize = 200;

/// Loads accounts, fetches a token for each, and leaves.
async fn busy(scene: &Scene, names: &[&str]) {
    let calls = scene.calls().await;
    for name in names {
        calls.add(&scene.spec(name)).await.expect("added");
        calls.token(name).await.expect("a token");
    }
}

/// Many clients at once, each with an account of its own.
async fn crowded(scene: &Arc<Scene>) {
    let mut callers = JoinSet::new();
    for number in 0..CROWD {
        let scene = Arc::clone(scene);
        callers.spawn(async move { busy(&scene, &[&format!("account-{number}")]).await });
    }
    in_time(callers.join_all()).await;
}

#[tokio::test]
async fn an_idle_agent_with_keys_and_tokens_shows_none_of_them() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    busy(&scene, &["one", "two"]).await;
    scene.quiet().await;
    scene.assert_found("username", &scene.stage.sim.user(0).username);
    none(&scene.hunt("idle", &scene.secrets()));
}

#[tokio::test]
async fn hundreds_of_signatures_on_several_threads_leave_nothing_behind() {
    if !may_search() {
        return;
    }
    let scene = Arc::new(Scene::readable());
    crowded(&scene).await;
    let calls = scene.calls().await;
    for number in 0..CROWD / 10 {
        let mut other = scene.spec(&format!("account-{number}"));
        other.consumer_key = "3MVG9.another".to_owned();
        other.replace = true;
        calls.add(&other).await.expect("replaced");
        calls.token(&other.account).await.expect_err("no such app");
    }
    drop(calls);
    scene.quiet().await;
    scene.assert_found("username", &scene.stage.sim.user(0).username);
    none(&scene.hunt("after 220 signatures", &scene.secrets()));
}

#[tokio::test]
async fn an_agent_that_has_introspected_keeps_neither_the_consumer_secret_nor_its_basic_form() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let app = scene.stage.sim.app(0);
    let secret = app.consumer_secret.expose().to_owned();
    let basic = basic_credentials(&app.consumer_key, &secret);
    let calls = scene.calls().await;
    let mut spec = scene.spec("one");
    spec.consumer_secret = Some(secret.clone());
    calls.add(&spec).await.expect("added");
    let token = calls.token("one").await.expect("a token");
    assert_eq!(token.expiry_source(), ExpirySource::Introspection, "it was sent");
    drop((calls, token));
    scene.quiet().await;
    scene.assert_found("username", &scene.stage.sim.user(0).username);
    let sent = scene.secrets().and("consumer secret that was sent", secret);
    let sent = sent.and("consumer secret that was sent, as Basic has it", basic);
    none(&scene.hunt("after introspection", &sent));
}

#[tokio::test]
async fn with_memfd_secret_the_search_finds_nothing_either_and_the_page_is_closed_to_root() {
    if !may_search() {
        return;
    }
    let scene = Scene::protected();
    let pages = scene.secret_mappings();
    assert_eq!(pages.len(), 1, "one page, mapped once: {pages:?}");
    scene.assert_closed_to_root(&pages[0]);
    let [flags] = &secret_flags(scene.stage.agent.pid())[..] else {
        panic!("one page")
    };
    for (flag, what) in [("lo", "locked"), ("dd", "in no dump"), ("dc", "in no child")] {
        assert!(flags.contains(flag), "not {what}: {flags}");
    }
    busy(&scene, &["one"]).await;
    scene.quiet().await;
    none(&scene.hunt("idle, memfd_secret", &scene.secrets()));
}

#[tokio::test]
async fn an_open_connection_holds_at_most_the_token_that_it_delivered() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    busy(&scene, &["other"]).await;
    let others = scene.secrets();
    let calls = scene.calls().await;
    calls.add(&scene.spec("one")).await.expect("added");
    let delivered = calls.token("one").await.expect("a token").access_token.clone();
    scene.asleep().await;
    none(&scene.hunt("connected, what others were given", &others));
    let hits = scene.hunt("connected, everything", &scene.secrets());
    let own = scene.quarry("token", secret_part(&delivered));
    let at_home = scene.hunt("connected, its own token", &own);
    let elsewhere = hits
        .into_iter()
        .filter(|hit| at_home.iter().all(|home| home.address != hit.address));
    none(&elsewhere.collect::<Vec<_>>());
    drop(calls);
    scene.quiet().await;
    none(&scene.hunt("and gone", &scene.secrets()));
}

#[tokio::test]
async fn nothing_is_left_after_accounts_were_removed() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    busy(&scene, &["one", "two", "three"]).await;
    let secrets = scene.secrets();
    let calls = scene.calls().await;
    calls.remove("one").await.expect("removed");
    drop(calls);
    scene.quiet().await;
    none(&scene.hunt("after remove", &secrets));
    let (calls, reader) = (scene.calls().await, scene.calls().await);
    reader.token("two").await.expect("a token");
    remove_all(&calls).await;
    scene.asleep().await;
    none(&scene.hunt("after remove --all, its caller still connected", &secrets));
    reader.token("two").await.expect_err("its connection is closed");
    drop((calls, reader));
    scene.quiet().await;
    none(&scene.hunt("after remove --all", &secrets));
}

async fn remove_all(calls: &Calls) {
    let request = sfkey_proto::v1::RemoveAllAccountsRequest {};
    let removed = calls.agent().remove_all_accounts(request).await.expect("removed");
    assert_eq!(removed.into_inner().removed, 2);
}

#[tokio::test]
async fn sigusr1_drops_every_key_and_every_connection() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let calls = scene.calls().await;
    calls.add(&scene.spec("one")).await.expect("added");
    calls.token("one").await.expect("a token");
    scene.stage.agent.signal(Signal::USR1);
    scene.stage.agent.log().has("all accounts removed").await;
    scene.quiet().await;
    none(&scene.hunt("after SIGUSR1", &scene.secrets()));
    let calls = scene.calls().await;
    assert_eq!(calls.list().await.expect("a list"), []);
    assert_eq!(calls.refused_token("one").await.reason, Reason::Removed);
}

#[tokio::test]
async fn nothing_is_left_of_an_account_whose_lifetime_ended() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let calls = scene.calls().await;
    let mut spec = scene.spec("short");
    spec.lifetime_seconds = Some(1);
    calls.add(&spec).await.expect("added");
    calls.token("short").await.expect("a token");
    drop(calls);
    scene
        .stage
        .agent
        .log()
        .has("account dropped at the end of its lifetime")
        .await;
    scene.quiet().await;
    none(&scene.hunt("after the lifetime", &scene.secrets()));
}
