//! The private half of a sealing key: in one place while it is pending, and nowhere afterwards.

use sfkey_proto::{
    sealing::{Sealed, seal},
    v1::GetSealingKeyRequest,
};
use sfkey_tests::support::Calls;

use crate::{
    hunt::x25519_private_key,
    scene::{Scene, may_search, none},
};

/// A pending key of this connection: public half, and the private half as it lies in the agent's memory.
async fn pending(scene: &Scene, calls: &Calls) -> (Vec<u8>, [u8; 32], Vec<u8>) {
    let reply = calls.agent().get_sealing_key(GetSealingKeyRequest {}).await;
    let reply = reply.expect("a sealing key").into_inner();
    scene.asleep().await;
    let private = x25519_private_key(&scene.memory(), &reply.public_key);
    let private = private.expect("a pending key lies in memory: the search finds it");
    let hits = scene.hunt("a pending key", &scene.quarry("HPKE private key", private));
    assert_eq!(hits.len(), 1, "one copy, and it is the pending one: {hits:#?}");
    (reply.public_key, private, reply.instance_id)
}

#[tokio::test]
async fn a_sealing_key_is_gone_once_it_was_used() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let calls = scene.calls().await;
    let (public, private, instance) = pending(&scene, &calls).await;
    let sealed = seal(&scene.spec("one"), &public, &instance).expect("sealed");
    calls.add_sealed(sealed).await.expect("added");
    scene.asleep().await;
    let quarry = scene.quarry("HPKE private key", private);
    none(&scene.hunt("after its use, still connected", &quarry));
    drop(calls);
    scene.quiet().await;
    none(&scene.hunt("after its use", &quarry));
}

#[tokio::test]
async fn a_sealing_key_is_gone_after_a_message_that_did_not_open() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let calls = scene.calls().await;
    let (_, private, _) = pending(&scene, &calls).await;
    let garbage = Sealed {
        enc: vec![7; 32],
        ciphertext: vec![7; 300],
    };
    calls.add_sealed(garbage).await.expect_err("refused");
    scene.asleep().await;
    none(&scene.hunt("after it failed", &scene.quarry("HPKE private key", private)));
}

#[tokio::test]
async fn a_sealing_key_goes_with_its_connection() {
    if !may_search() {
        return;
    }
    let scene = Scene::readable();
    let calls = scene.calls().await;
    let (_, private, _) = pending(&scene, &calls).await;
    drop(calls);
    scene.quiet().await;
    none(&scene.hunt("disconnected", &scene.quarry("HPKE private key", private)));
}
