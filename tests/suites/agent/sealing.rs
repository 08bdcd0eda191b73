//! Sealed requests: one key, one message, one method, one connection.

use sfkey_proto::{
    Reason,
    sealing::{KEY_LIFETIME_SECONDS, Sealable, Sealed, seal},
    v1::{AccountSpec, GetSealingKeyRequest, GetSealingKeyResponse, LockSpec},
};
use sfkey_tests::support::{Calls, Stage, refusal};

async fn sealing_key(calls: &Calls) -> GetSealingKeyResponse {
    let reply = calls.agent().get_sealing_key(GetSealingKeyRequest {}).await;
    reply.expect("a sealing key").into_inner()
}

fn sealed_with<M: Sealable>(key: &GetSealingKeyResponse, inner: &M) -> Sealed {
    seal(inner, &key.public_key, &key.instance_id).expect("a good key")
}

/// Sends what is sealed as AddAccount, which must be refused as invalid, and returns the next step.
async fn refused_add(calls: &Calls, sealed: Sealed) -> String {
    let refused = refusal(&calls.add_sealed(sealed).await.expect_err("refused"));
    assert_eq!((refused.reason, refused.reason.exit_code()), (Reason::Invalid, 2));
    refused.fix
}

#[tokio::test]
async fn a_sealing_key_is_fresh_each_time_and_bound_to_this_agent() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let (first, second) = (sealing_key(&calls).await, sealing_key(&calls).await);
    assert_ne!(first.public_key, second.public_key);
    assert_eq!(
        (first.public_key.len(), first.valid_for_seconds),
        (32, KEY_LIFETIME_SECONDS)
    );
    let status = calls.status().await.expect("a status");
    assert_eq!(first.instance_id, status.instance_id);
}

#[tokio::test]
async fn a_sealing_key_opens_one_message_only() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let sealed = calls.sealed(&stage.spec("one")).await.expect("sealed");
    calls.add_sealed(sealed.clone()).await.expect("added");
    let fix = refused_add(&calls, sealed).await;
    assert!(fix.contains("GetSealingKey"), "{fix}");
}

#[tokio::test]
async fn a_sealing_key_is_gone_after_a_message_that_does_not_open() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let sealed = calls.sealed(&stage.spec("one")).await.expect("sealed");
    let mut changed = sealed.clone();
    changed.ciphertext[0] ^= 1;
    refused_add(&calls, changed).await;
    refused_add(&calls, sealed).await;
    assert_eq!(calls.list().await.expect("a list"), []);
}

#[tokio::test]
async fn a_newer_sealing_key_takes_the_place_of_an_unused_one() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let old = sealing_key(&calls).await;
    let _new = sealing_key(&calls).await;
    refused_add(&calls, sealed_with(&old, &stage.spec("one"))).await;
}

#[tokio::test]
async fn a_message_without_a_sealing_key_is_refused() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let garbage = Sealed {
        enc: vec![7; 32],
        ciphertext: vec![7; 300],
    };
    refused_add(&calls, garbage).await;
}

#[tokio::test]
async fn the_sealing_key_of_another_connection_opens_nothing() {
    let stage = Stage::empty();
    let (calls, other) = (stage.calls().await, stage.calls().await);
    let sealed = calls.sealed(&stage.spec("one")).await.expect("sealed");
    let _own = sealing_key(&other).await;
    refused_add(&other, sealed.clone()).await;
    calls
        .add_sealed(sealed)
        .await
        .expect("its own connection opens it");
}

#[tokio::test]
async fn the_sealing_key_of_another_agent_opens_nothing() {
    let (stage, other) = (Stage::empty(), Stage::empty());
    let calls = stage.calls().await;
    let foreign = other.calls().await.status().await.expect("a status").instance_id;
    let key = sealing_key(&calls).await;
    let sealed = seal(&stage.spec("one"), &key.public_key, &foreign).expect("sealed");
    refused_add(&calls, sealed).await;
}

#[tokio::test]
async fn a_message_that_was_sealed_for_another_method_does_not_open() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let lock = LockSpec {
        passphrase: b"a passphrase".to_vec(),
    };
    let key = sealing_key(&calls).await;
    refused_add(&calls, sealed_with(&key, &lock)).await;
}

/// What a client without a specification would send: sealed like one, and no message at all.
#[derive(Clone, PartialEq, prost::Message)]
struct NoSpec {
    #[prost(bytes = "vec", tag = "1")]
    account: Vec<u8>,
}

impl Sealable for NoSpec {
    const INFO: &'static [u8] = AccountSpec::INFO;
}

#[tokio::test]
async fn what_opens_but_is_no_specification_is_refused() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for account in [vec![0xff, 0xfe], Vec::new(), b"only-a-name".to_vec()] {
        let key = sealing_key(&calls).await;
        refused_add(&calls, sealed_with(&key, &NoSpec { account })).await;
    }
}
