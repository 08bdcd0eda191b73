//! Sealed requests, tried hard: beyond what one changed byte or another connection shows (the agent's own suite).

use sfkey_proto::{
    Reason,
    sealing::Sealed,
    v1::{LockRequest, LockSpec, UnlockRequest, UnlockSpec},
};
use sfkey_tests::support::{Calls, Stage, refusal, stage::ACCOUNT};
use tonic::Status;

use crate::locked::PASSPHRASE;

fn reason(status: &Status) -> Reason {
    refusal(status).reason
}

async fn refused_add(calls: &Calls, sealed: Sealed) -> Reason {
    reason(&calls.add_sealed(sealed).await.expect_err("refused"))
}

#[tokio::test]
async fn a_message_cut_off_anywhere_does_not_open() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let length = calls
        .sealed(&stage.spec(ACCOUNT))
        .await
        .expect("sealed")
        .ciphertext
        .len();
    let lengths = [0, 1, 15, 16, 17, length / 2, length - 17, length - 16, length - 1];
    for length in lengths {
        let mut cut = calls.sealed(&stage.spec(ACCOUNT)).await.expect("sealed");
        cut.ciphertext.truncate(length);
        assert_eq!(refused_add(&calls, cut).await, Reason::Invalid, "{length} bytes");
    }
    for length in [0, 1, 31, 33, 1000] {
        let mut cut = calls.sealed(&stage.spec(ACCOUNT)).await.expect("sealed");
        cut.enc.resize(length, 7);
        assert_eq!(
            refused_add(&calls, cut).await,
            Reason::Invalid,
            "{length} bytes of key"
        );
    }
    assert_eq!(calls.list().await.expect("a list"), []);
}

#[tokio::test]
async fn parts_of_two_good_messages_do_not_open_together() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    for _ in 0..2 {
        let one = calls.sealed(&stage.spec("one")).await.expect("sealed");
        let two = calls.sealed(&stage.spec("two")).await.expect("sealed");
        let swapped = Sealed {
            enc: one.enc,
            ciphertext: two.ciphertext,
        };
        assert_eq!(refused_add(&calls, swapped).await, Reason::Invalid);
    }
    let mut longer = calls.sealed(&stage.spec("one")).await.expect("sealed");
    longer.ciphertext.push(0);
    assert_eq!(refused_add(&calls, longer).await, Reason::Invalid);
    assert_eq!(calls.list().await.expect("a list"), []);
}

#[tokio::test]
async fn a_recorded_request_is_worth_nothing_on_any_connection() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let recorded = calls.sealed(&stage.spec(ACCOUNT)).await.expect("sealed");
    calls.add_sealed(recorded.clone()).await.expect("added");
    calls.remove(ACCOUNT).await.expect("removed");
    for calls in [calls, stage.calls().await] {
        assert_eq!(refused_add(&calls, recorded.clone()).await, Reason::Invalid);
        let _fresh = calls.sealed(&stage.spec(ACCOUNT)).await.expect("a fresh key");
        assert_eq!(refused_add(&calls, recorded.clone()).await, Reason::Invalid);
        assert_eq!(calls.list().await.expect("a list"), []);
    }
}

#[tokio::test]
async fn a_message_for_one_method_of_the_lock_does_not_open_for_another() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let passphrase = PASSPHRASE.as_bytes().to_vec();
    let spec = UnlockSpec {
        passphrase: passphrase.clone(),
    };
    let Sealed { enc, ciphertext } = calls.sealed(&spec).await.expect("sealed");
    let refused = calls.agent().lock(LockRequest { enc, ciphertext }).await;
    assert_eq!(reason(&refused.expect_err("sealed for Unlock")), Reason::Invalid);
    assert!(!calls.status().await.expect("a status").locked);
    calls.lock(PASSPHRASE).await.expect("locked");
    let Sealed { enc, ciphertext } = calls.sealed(&LockSpec { passphrase }).await.expect("sealed");
    let refused = calls.agent().unlock(UnlockRequest { enc, ciphertext }).await;
    assert_eq!(reason(&refused.expect_err("sealed for Lock")), Reason::Invalid);
    assert!(calls.status().await.expect("a status").locked);
}

#[tokio::test]
async fn a_locked_agent_takes_no_account_and_its_sealing_key_is_not_used_up() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    calls.lock(PASSPHRASE).await.expect("locked");
    let sealed = calls
        .sealed(&stage.spec(ACCOUNT))
        .await
        .expect("a locked agent gives sealing keys");
    assert_eq!(refused_add(&calls, sealed).await, Reason::Locked);
    calls.unlock(PASSPHRASE).await.expect("unlocked");
    assert_eq!(calls.list().await.expect("a list"), []);
    calls.add(&stage.spec(ACCOUNT)).await.expect("added");
}
