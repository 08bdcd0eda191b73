//! The contract as a stranger's tool meets it: health, reflection, and a reason for every failure.

use std::collections::BTreeSet;

use sfkey_proto::{
    PROTOCOL_VERSION, Reason,
    v1::{
        CheckAccountRequest, LockRequest, PanicRequest, ReportRejectedRequest, RevokeTokenRequest,
        UnlockRequest, WatchTokenRequest, WhoAmIRequest,
    },
};
use sfkey_tests::support::{Stage, refusal};
use tonic::{Code, Request, Status, metadata::MetadataValue};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SERVICES: [&str; 2] = ["sfkey.agent.v1.TokenService", "sfkey.agent.v1.AgentService"];

#[tokio::test]
async fn health_is_told_of_the_whole_and_of_both_services() {
    let stage = Stage::empty();
    let mut health = HealthClient::new(stage.calls().await.channel());
    for service in ["", SERVICES[0], SERVICES[1]] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let reply = health.check(request).await.expect("an answer").into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest {
        service: "sfkey.agent.v1.Nothing".to_owned(),
    };
    assert_eq!(
        health.check(unknown).await.expect_err("unknown").code(),
        Code::NotFound
    );
}

/// Lists the services and asks for the file of each, in one version of the reflection protocol.
macro_rules! reflect {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let files = SERVICES.map(|name| ask(MessageRequest::FileContainingSymbol(name.to_owned())));
        let requests = [
            vec![ask(MessageRequest::ListServices(String::new()))],
            files.to_vec(),
        ]
        .concat();
        let mut client = ServerReflectionClient::new($channel);
        let replies = client.server_reflection_info(tokio_stream::iter(requests)).await;
        let mut replies = replies.expect("reflection is served").into_inner();
        let mut services = BTreeSet::new();
        let mut files = 0;
        while let Some(reply) = replies.message().await.expect("an answer") {
            match reply.message_response.expect("a message") {
                MessageResponse::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                MessageResponse::FileDescriptorResponse(found) => files += found.file_descriptor_proto.len(),
                other => panic!("{other:?}"),
            }
        }
        (services, files)
    }};
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_of_its_versions() {
    let stage = Stage::empty();
    let channel = stage.calls().await.channel();
    for (services, files) in [reflect!(v1, channel.clone()), reflect!(v1alpha, channel.clone())] {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(services.contains(service), "{service} is not in {services:?}");
        }
        assert!(files >= 2, "each service's file can be had");
    }
}

#[tokio::test]
async fn every_reply_of_the_token_service_tells_the_version_of_the_contract() {
    let stage = Stage::new().await;
    let calls = stage.calls().await;
    // Calls::token checks it of GetToken.
    calls.token("prod").await.expect("a token");
    let list = calls
        .tokens()
        .list_accounts(sfkey_proto::v1::ListAccountsRequest {})
        .await;
    assert_eq!(
        list.expect("a list").into_inner().protocol_version,
        PROTOCOL_VERSION
    );
    let status = calls.status().await.expect("a status");
    assert_eq!(status.protocol_version, PROTOCOL_VERSION);
    assert!(!status.version.is_empty());
}

/// A method that fails says why in the contract's words; one that is not there yet says just that.
fn assert_told<T>(method: &str, answer: Result<T, Status>) {
    let Err(status) = answer else { return };
    let refused = refusal(&status);
    let unimplemented = status.code() == Code::Unimplemented;
    assert_eq!(refused.reason == Reason::Unimplemented, unimplemented, "{method}");
    if unimplemented {
        assert!(
            refused.message.contains(method) && !refused.fix.is_empty(),
            "{method}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn every_failure_of_every_method_carries_a_reason() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let account = || "nobody".to_owned();
    let (enc, ciphertext) = (vec![1; 32], vec![2; 100]);
    let (mut tokens, mut agent) = (calls.tokens(), calls.agent());
    assert_told(
        "WatchToken",
        tokens.watch_token(WatchTokenRequest { account: account() }).await,
    );
    let token_sha256 = vec![0; 32];
    let rejected = ReportRejectedRequest {
        account: account(),
        token_sha256,
    };
    assert_told("ReportRejected", tokens.report_rejected(rejected).await);
    assert_told(
        "RevokeToken",
        agent
            .revoke_token(RevokeTokenRequest { account: account() })
            .await,
    );
    assert_told(
        "WhoAmI",
        agent.who_am_i(WhoAmIRequest { account: account() }).await,
    );
    let check = CheckAccountRequest {
        account: account(),
        probe: false,
        askpass: false,
    };
    assert_told("CheckAccount", agent.check_account(check).await);
    let lock = LockRequest {
        enc: enc.clone(),
        ciphertext: ciphertext.clone(),
    };
    assert_told("Lock", agent.lock(lock).await);
    assert_told("Unlock", agent.unlock(UnlockRequest { enc, ciphertext }).await);
    assert_told("Panic", agent.panic(PanicRequest {}).await);
}

#[tokio::test]
async fn a_deadline_of_the_caller_is_kept() {
    use sfkey_proto::v1::GetTokenRequest;
    use sfkey_tests::sim::{Fault, FaultRule};

    let stage = Stage::new().await;
    stage.sim.fault(FaultRule::always(Fault::Stall));
    let mut request = Request::new(GetTokenRequest::default());
    let deadline = MetadataValue::from_static("200m");
    request.metadata_mut().insert("grpc-timeout", deadline);
    let calls = stage.calls().await;
    let status = calls
        .tokens()
        .get_token(request)
        .await
        .expect_err("no token in time");
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status:?}"
    );
    calls.status().await.expect("the agent goes on");
}
