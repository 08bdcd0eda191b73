//! What is left in memory when the agent is locked: nothing that signs.

use crate::{
    hunt::{chacha_schedule, wrapping_key},
    scene::{Scene, may_search, none},
};

/// Longer than the shortest run that the search tells from chance.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple, and some more of it";

async fn loaded(scene: &Scene) {
    let calls = scene.calls().await;
    calls.add(&scene.spec("one")).await.expect("added");
    calls.token("one").await.expect("a token");
}

#[tokio::test]
async fn lock_and_unlock_leave_neither_passphrase_nor_secrets_behind() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    loaded(&scene).await;
    let secrets = || scene.secrets().and("lock passphrase", PASSPHRASE);
    scene.calls().await.lock(PASSPHRASE).await.expect("locked");
    scene.quiet().await;
    assert_eq!(scene.master_page(), None, "the page is gone");
    none(&scene.hunt("locked", &secrets()));
    scene.calls().await.unlock(PASSPHRASE).await.expect("unlocked");
    scene.quiet().await;
    assert!(scene.master_page().is_some(), "and back");
    none(&scene.hunt("unlocked", &secrets()));
    let calls = scene.calls().await;
    calls.lock(PASSPHRASE).await.expect("locked");
    calls
        .unlock("a wrong passphrase, as long as it")
        .await
        .expect_err("wrong");
    drop(calls);
    scene.quiet().await;
    let wrong = secrets().and("wrong passphrase", "a wrong passphrase, as long as it");
    none(&scene.hunt("locked, after a wrong passphrase", &wrong));
}

#[tokio::test]
async fn the_whole_memory_of_a_locked_agent_is_not_enough_to_open_what_it_keeps() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    loaded(&scene).await;
    scene.calls().await.lock(PASSPHRASE).await.expect("locked");
    scene.quiet().await;
    let master = scene.master_secret();
    let key = wrapping_key(&scene.memory(), PASSPHRASE.as_bytes(), &master);
    let key = key.expect("with the passphrase, what lies in memory opens");
    let quarry = scene.quarry("wrapping key", key).and_all(chacha_schedule(&key));
    none(&scene.hunt("locked, the key from the passphrase", &quarry));
}

#[tokio::test]
async fn a_locked_agent_has_no_protected_page() {
    if !may_search() {
        return;
    }
    let scene = Scene::protected();
    loaded(&scene).await;
    assert_eq!(scene.secret_mappings().len(), 1);
    scene.calls().await.lock(PASSPHRASE).await.expect("locked");
    assert_eq!(scene.secret_mappings(), []);
    scene.quiet().await;
    none(&scene.hunt(
        "locked, memfd_secret",
        &scene.secrets().and("lock passphrase", PASSPHRASE),
    ));
    scene.calls().await.unlock(PASSPHRASE).await.expect("unlocked");
    assert_eq!(scene.secret_mappings().len(), 1);
    let calls = scene.calls().await;
    calls
        .token("one")
        .await
        .expect("a token: keys and accounts are as before");
}
