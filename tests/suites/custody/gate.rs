//! A locked agent: every method of the contract that is not named here answers LOCKED.

use http::{Request, Response};
use prost::Message;
use prost_types::FileDescriptorSet;
use sfkey_proto::{FILE_DESCRIPTOR_SET, Reason, Refusal};
use sfkey_tests::support::{Calls, Stage, stage::ACCOUNT};
use tonic::{Status, body::Body};
use tower::ServiceExt;

use crate::locked::PASSPHRASE;

/// What answers, in an order in which none spoils the next.
const OPEN: [&str; 7] = [
    "AgentService/GetStatus",
    "AgentService/GetSealingKey",
    "AgentService/Unlock",
    "AgentService/RemoveAccount",
    "AgentService/RemoveAllAccounts",
    "AgentService/Panic",
    "AgentService/Shutdown",
];

/// What is served besides the contract.
const BESIDES: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The methods of the contract, as it was compiled into the agent.
fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
        .expect("the contract")
        .file;
    let services = files
        .iter()
        .filter(|file| file.package() == "sfkey.agent.v1")
        .flat_map(|file| &file.service);
    let named = services.flat_map(|service| {
        let methods = service.method.iter();
        methods.map(|method| format!("{}/{}", service.name(), method.name()))
    });
    named.collect()
}

/// Calls a method with an empty message and returns its refusal, if it is one.
async fn refusal(calls: &Calls, path: &str) -> Option<Refusal> {
    const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::from(EMPTY_MESSAGE)))
        .expect("a request");
    let response: Response<Body> = calls.channel().oneshot(request).await.expect("an answer");
    let status = Status::from_header_map(response.headers());
    status.and_then(|status| Refusal::from_status(&status))
}

#[tokio::test]
async fn every_method_that_is_not_named_answers_locked() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    calls.token(ACCOUNT).await.expect("a token");
    calls.lock(PASSPHRASE).await.expect("locked");
    let methods = methods();
    assert!(methods.len() >= 16, "{methods:?}");
    let closed = methods.iter().filter(|method| !OPEN.contains(&method.as_str()));
    let closed = closed.map(|method| format!("/sfkey.agent.v1.{method}"));
    for path in closed.chain(BESIDES.map(str::to_owned)) {
        let refusal = refusal(&calls, &path).await;
        assert_eq!(
            refusal.map(|refusal| refusal.reason),
            Some(Reason::Locked),
            "{path}"
        );
    }
    for path in [
        "/sfkey.agent.v1.AgentService/NoSuchMethod",
        "/no.such.Service/Method",
    ] {
        let refusal = refusal(&calls, path).await;
        assert_eq!(
            refusal.map(|refusal| refusal.reason),
            Some(Reason::Locked),
            "{path}"
        );
    }
    let health = refusal(&calls, "/grpc.health.v1.Health/Check").await;
    assert_eq!(health, None);
    assert_eq!(
        calls.status().await.expect("a status").account_count,
        1,
        "still loaded"
    );
    for method in OPEN {
        assert!(methods.contains(&method.to_owned()), "{method} is no method");
        let refusal = refusal(&calls, &format!("/sfkey.agent.v1.{method}")).await;
        let reason = refusal.map(|refusal| refusal.reason);
        assert_ne!(reason, Some(Reason::Locked), "{method}");
    }
    assert_eq!(
        stage.sim.counters().asked,
        1,
        "Salesforce is not asked while locked"
    );
}

#[tokio::test]
async fn lock_closes_every_other_connection_and_unlock_brings_everything_back() {
    let stage = Stage::new().await;
    let (calls, other) = (stage.calls().await, stage.calls().await);
    let first = other.token(ACCOUNT).await.expect("a token");
    calls.lock(PASSPHRASE).await.expect("locked");
    assert_eq!(calls.status().await.expect("a status").connections, 1);
    let before = calls.refused_token(ACCOUNT).await;
    assert_eq!((before.reason, before.reason.exit_code()), (Reason::Locked, 5));
    let wrong = calls.unlock("another passphrase").await.expect_err("wrong");
    let wrong = sfkey_tests::support::refusal(&wrong);
    assert_eq!(
        (wrong.reason, wrong.reason.exit_code()),
        (Reason::WrongPassphrase, 6)
    );
    calls.unlock(PASSPHRASE).await.expect("unlocked");
    let second = calls.token(ACCOUNT).await.expect("a token, as before");
    assert_ne!(
        first.access_token, second.access_token,
        "the lock wiped the first one"
    );
    assert_eq!(calls.list().await.expect("a list").len(), 1);
}
