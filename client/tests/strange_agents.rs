//! The client before agents that are hostile, foreign, too new or silent. A real agent does none of this, so
//! these are stand-ins that answer `GetToken` and nothing else.

use std::{
    future::{Future, pending},
    path::PathBuf,
    pin::Pin,
};

use sfkey::{
    Client, Error,
    proto::{
        PROTOCOL_VERSION, Reason, Refusal,
        v1::{
            AccountSpec, GetTokenRequest, GetTokenResponse, ListAccountsRequest, ListAccountsResponse,
            ReportRejectedRequest, ReportRejectedResponse, Token, WatchTokenRequest, WatchTokenResponse,
            token_service_server::{TokenService, TokenServiceServer},
        },
    },
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

type Answer = Box<dyn Fn() -> Result<GetTokenResponse, Status> + Send + Sync>;

/// Answers every `GetToken` alike.
struct Strange(Answer);

#[tonic::async_trait]
impl TokenService for Strange {
    type WatchTokenStream = Pin<Box<dyn Stream<Item = Result<WatchTokenResponse, Status>> + Send>>;

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        (self.0)().map(Response::new)
    }

    async fn watch_token(
        &self,
        _: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(Status::internal("not asked for here"))
    }

    async fn report_rejected(
        &self,
        _: Request<ReportRejectedRequest>,
    ) -> Result<Response<ReportRejectedResponse>, Status> {
        Err(Status::internal("not asked for here"))
    }

    async fn list_accounts(
        &self,
        _: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        Err(Status::internal("not asked for here"))
    }
}

/// Runs `test` against an agent that answers with `answer`; the socket is listening before the test starts.
fn with_agent<F: Future<Output = ()>>(
    answer: impl Fn() -> Result<GetTokenResponse, Status> + Send + Sync + 'static,
    test: impl FnOnce(PathBuf) -> F,
) {
    let place = TempDir::new().expect("a directory");
    let socket = place.path().join("agent.sock");
    run(async {
        let listener = UnixListener::bind(&socket).expect("bound");
        let serving = Server::builder()
            .add_service(TokenServiceServer::new(Strange(Box::new(answer))))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let serving = tokio::spawn(serving);
        test(socket.clone()).await;
        serving.abort();
    });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

fn reply(access_token: &str, instance_url: &str, protocol_version: u32) -> GetTokenResponse {
    let mut token = Token::default();
    token.account = "prod".to_owned();
    token.access_token = access_token.to_owned();
    token.instance_url = instance_url.to_owned();
    GetTokenResponse {
        token: Some(token),
        protocol_version,
    }
}

async fn token(socket: PathBuf) -> Result<Token, Error> {
    let agent = Client::connect_to(&socket).await.expect("connected");
    agent.token("prod").await
}

#[test]
fn a_sound_answer_is_a_token() {
    with_agent(
        || Ok(reply("00D!x", "https://i.example", PROTOCOL_VERSION)),
        async |socket| assert_eq!(token(socket).await.expect("a token").access_token, "00D!x"),
    );
}

#[test]
fn a_token_that_would_break_out_of_a_header_or_a_terminal_is_refused() {
    for (access_token, instance_url) in [
        ("00D!x\r\nX-Evil: 1", "https://i.example"),
        ("00D!x", "https://i.example\u{1b}[2J"),
        ("00D!x\0", "https://i.example"),
        ("00D! x", "https://i.example"),
        ("", "https://i.example"),
        ("00D!x", ""),
    ] {
        with_agent(
            move || Ok(reply(access_token, instance_url, PROTOCOL_VERSION)),
            async |socket| {
                let error = token(socket).await.expect_err("malformed");
                assert!(matches!(error, Error::Malformed(_)), "{error}");
            },
        );
    }
}

#[test]
fn an_answer_without_a_token_is_malformed_and_not_a_panic() {
    with_agent(
        || {
            Ok(GetTokenResponse {
                token: None,
                protocol_version: PROTOCOL_VERSION,
            })
        },
        async |socket| {
            let error = token(socket).await.expect_err("malformed");
            assert!(matches!(error, Error::Malformed(_)), "{error}");
        },
    );
}

#[test]
fn another_protocol_is_told_with_its_number() {
    with_agent(
        || Ok(reply("00D!x", "https://i.example", PROTOCOL_VERSION + 1)),
        async |socket| {
            let error = token(socket).await.expect_err("another protocol");
            assert!(
                matches!(error, Error::OtherProtocol { agent } if agent == PROTOCOL_VERSION + 1),
                "{error}"
            );
        },
    );
}

#[test]
fn a_refusal_of_the_table_arrives_whole_and_a_foreign_status_is_no_refusal() {
    with_agent(
        || Err(Refusal::new(Reason::Locked, "the agent is locked", "sfkey unlock").into()),
        async |socket| {
            let Err(Error::Refused(refusal)) = token(socket).await else {
                panic!("not refused")
            };
            assert_eq!(
                (refusal.reason, refusal.fix.as_str()),
                (Reason::Locked, "sfkey unlock")
            );
        },
    );
    with_agent(
        || Err(Status::permission_denied("go away")),
        async |socket| {
            let error = token(socket).await.expect_err("foreign");
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
        },
    );
}

#[test]
fn a_socket_that_serves_tokens_only_says_so_and_gets_no_key() {
    with_agent(
        || Err(Status::internal("not asked")),
        async |socket| {
            let agent = Client::connect_to(&socket).await.expect("connected");
            for error in [
                agent.status().await.expect_err("not served"),
                agent.add(AccountSpec::default()).await.expect_err("not served"),
            ] {
                assert!(matches!(error, Error::NotServed { .. }), "{error}");
            }
        },
    );
}

#[test]
fn no_key_is_sent_through_a_directory_that_others_can_write() {
    use std::os::unix::fs::PermissionsExt;
    with_agent(
        || Err(Status::internal("not asked")),
        async |socket| {
            let directory = socket.parent().expect("a parent");
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o770)).expect("mode set");
            let agent = Client::connect_to(&socket).await.expect("connected");
            let error = agent.add(AccountSpec::default()).await.expect_err("not trusted");
            assert!(matches!(error, Error::Untrusted { .. }), "{error}");
        },
    );
}

#[test]
fn an_agent_that_speaks_no_http2_breaks_the_connection_and_one_that_has_ended_is_unreachable() {
    let place = TempDir::new().expect("a directory");
    let socket = place.path().join("agent.sock");
    run(async {
        let listener = UnixListener::bind(&socket).expect("bound");
        let babbling = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepted");
            stream.writable().await.expect("writable");
            stream
                .try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .expect("written");
            pending::<()>().await;
        });
        let error = match Client::connect_to(&socket).await {
            Ok(agent) => agent.token("").await.expect_err("no agent"),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Broken { .. }), "{error}");
        babbling.abort();
        assert!(babbling.await.expect_err("aborted").is_cancelled());
        let error = Client::connect_to(&socket).await.expect_err("ended");
        assert!(error.to_string().contains("left over"), "{error}");
    });
}
