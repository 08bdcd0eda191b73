//! An agent that does what a test tells it, on a thread of its own.

use std::{
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use sfkey::proto::{
    PROTOCOL_VERSION, Reason, Refusal,
    v1::{
        Account, AddAccountRequest, AddAccountResponse, CheckAccountRequest, CheckAccountResponse,
        GetSealingKeyRequest, GetSealingKeyResponse, GetStatusRequest, GetStatusResponse, GetTokenRequest,
        GetTokenResponse, ListAccountsRequest, ListAccountsResponse, LockRequest, LockResponse, PanicRequest,
        PanicResponse, RemoveAccountRequest, RemoveAccountResponse, RemoveAllAccountsRequest,
        RemoveAllAccountsResponse, ReportRejectedRequest, ReportRejectedResponse, RevokeTokenRequest,
        RevokeTokenResponse, ShutdownRequest, ShutdownResponse, Token, UnlockRequest, UnlockResponse,
        WatchTokenRequest, WatchTokenResponse, WhoAmIRequest, WhoAmIResponse,
        agent_service_server::{AgentService, AgentServiceServer},
        panic_response::Revocation,
        token_service_server::{TokenService, TokenServiceServer},
    },
};
use sfkey_tests::support::Home;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::{
    Stream,
    wrappers::{UnboundedReceiverStream, UnixListenerStream},
};
use tonic::{Request, Response, Status, transport::Server};

/// Longest wait for something that the client surely does.
const PATIENCE: Duration = Duration::from_secs(30);

type Tokens = mpsc::UnboundedSender<Result<WatchTokenResponse, Status>>;

/// What the agent does besides what it is told later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// The reason with which it refuses every stream.
    pub(crate) refusing: Option<&'static str>,
    /// The account whose token is not revoked in a panic.
    pub(crate) unrevoked: Option<&'static str>,
}

/// A token of the account `prod`.
pub(crate) fn token(access_token: &str, expires_at: i64) -> Token {
    let mut token = Token::default();
    token.account = "prod".to_owned();
    token.access_token = access_token.to_owned();
    token.instance_url = "https://i.example".to_owned();
    token.expires_at = expires_at;
    token
}

/// A refusal with this reason.
pub(crate) fn refusal(reason: &str) -> Status {
    let reason = Reason::parse(reason).expect("a reason of the contract");
    Refusal::new(reason, format!("refused: {}", reason.as_str()), "do something").into()
}

#[derive(Default)]
struct State {
    script: Script,
    current: Option<Token>,
    watchers: Vec<Tokens>,
    watches: usize,
    refused: usize,
    reported: Vec<(String, Vec<u8>)>,
    revoked: Vec<String>,
}

/// The agent, and the way to tell it something.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: std::path::PathBuf,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }

    fn wait_until(&self, reached: impl Fn(&State) -> bool) {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), PATIENCE, |state| !reached(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(reached(&state), "the client did not do what it was waited for");
    }
}

impl Agent {
    /// Starts one at the socket of `home`. When this returns it listens.
    pub(crate) fn start(home: &Home, script: Script) -> Self {
        let directory = home.path("run/sfkey");
        if !directory.exists() {
            home.make_socket_directory();
        }
        let socket = home.socket();
        let shared = Arc::new(Shared::default());
        shared.change(|state| state.script = script);
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        listener.set_nonblocking(true).expect("set");
        let (stop, stopped) = oneshot::channel();
        let served = serve(Scripted(Arc::clone(&shared)), listener, stopped);
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(served);
        });
        Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
            socket,
        }
    }

    /// Ends it, and every connection with it; the socket goes as it does with the real one.
    pub(crate) fn end(self) {
        drop(self);
    }

    /// A new token is there.
    pub(crate) fn push(&self, token: Token) {
        self.shared.change(|state| {
            for watcher in &state.watchers {
                // One that has gone needs no token.
                watcher.send(Ok(sent(token.clone()))).ok();
            }
            state.current = Some(token);
        });
    }

    /// From now on streams are refused, or served again.
    pub(crate) fn refuse(&self, reason: Option<&'static str>) {
        self.shared.change(|state| state.script.refusing = reason);
    }

    /// Ends every stream with a status.
    pub(crate) fn break_streams(&self, status: &Status) {
        self.shared.change(|state| {
            for watcher in state.watchers.drain(..) {
                watcher.send(Err(status.clone())).ok();
            }
        });
    }

    /// Waits until somebody watches.
    pub(crate) fn wait_for_watcher(&self) {
        self.shared.wait_until(|state| state.watches > 0);
    }

    /// Waits until a stream was refused.
    pub(crate) fn wait_for_refused(&self) {
        self.shared.wait_until(|state| state.refused > 0);
    }

    /// What was reported: account and hash.
    pub(crate) fn reported(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.state().reported.clone()
    }

    /// The accounts whose tokens were revoked.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.shared.state().revoked.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the thread has ended already.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        std::fs::remove_file(&self.socket).ok();
    }
}

/// Serves until told to stop; the connections end with the runtime.
async fn serve(
    service: Scripted,
    listener: std::os::unix::net::UnixListener,
    stopped: oneshot::Receiver<()>,
) {
    let listener = UnixListener::from_std(listener).expect("inside a runtime");
    let serving = Server::builder()
        .add_service(TokenServiceServer::new(service.clone()))
        .add_service(AgentServiceServer::new(service))
        .serve_with_incoming(UnixListenerStream::new(listener));
    tokio::select! {
        ended = serving => ended.expect("it serves"),
        _ = stopped => {}
    }
}

fn sent(token: Token) -> WatchTokenResponse {
    WatchTokenResponse {
        token: Some(token),
        protocol_version: PROTOCOL_VERSION,
    }
}

#[derive(Clone)]
struct Scripted(Arc<Shared>);

fn not_scripted<T>() -> Result<Response<T>, Status> {
    Err(refusal("UNIMPLEMENTED"))
}

#[tonic::async_trait]
impl TokenService for Scripted {
    type WatchTokenStream = Pin<Box<dyn Stream<Item = Result<WatchTokenResponse, Status>> + Send>>;

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        not_scripted()
    }

    async fn watch_token(
        &self,
        _: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        self.0.change(|state| {
            if let Some(reason) = state.script.refusing {
                state.refused += 1;
                return Err(refusal(reason));
            }
            let (tokens, stream) = mpsc::unbounded_channel();
            if let Some(token) = state.current.clone() {
                tokens.send(Ok(sent(token))).ok();
            }
            state.watchers.push(tokens);
            state.watches += 1;
            let stream: Self::WatchTokenStream = Box::pin(UnboundedReceiverStream::new(stream));
            Ok(Response::new(stream))
        })
    }

    async fn report_rejected(
        &self,
        request: Request<ReportRejectedRequest>,
    ) -> Result<Response<ReportRejectedResponse>, Status> {
        let ReportRejectedRequest {
            account,
            token_sha256,
        } = request.into_inner();
        let token = self.0.change(|state| {
            state.reported.push((account, token_sha256));
            state.current.clone()
        });
        Ok(Response::new(ReportRejectedResponse {
            token,
            protocol_version: PROTOCOL_VERSION,
        }))
    }

    async fn list_accounts(
        &self,
        _: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let account = Account {
            account: "prod".to_owned(),
            is_default: true,
            username: "ci@acme.example".to_owned(),
            consumer_key: "3MVG9x".to_owned(),
            ..Account::default()
        };
        Ok(Response::new(ListAccountsResponse {
            accounts: vec![account],
            protocol_version: PROTOCOL_VERSION,
        }))
    }
}

#[tonic::async_trait]
impl AgentService for Scripted {
    type CheckAccountStream = Pin<Box<dyn Stream<Item = Result<CheckAccountResponse, Status>> + Send>>;

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse {
            protocol_version: PROTOCOL_VERSION,
            ..GetStatusResponse::default()
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        self.0
            .change(|state| state.revoked.push(request.into_inner().account));
        Ok(Response::new(RevokeTokenResponse { revoked: true }))
    }

    async fn who_am_i(&self, _: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        Ok(Response::new(WhoAmIResponse {
            account: "prod".to_owned(),
            user_id: "005000000000001".to_owned(),
            org_id: "00D000000000001".to_owned(),
            username: "ci@acme.example".to_owned(),
            name: Some("CI".to_owned()),
            email: None,
            instance_url: "https://i.example".to_owned(),
        }))
    }

    async fn panic(&self, _: Request<PanicRequest>) -> Result<Response<PanicResponse>, Status> {
        let unrevoked = self.0.state().script.unrevoked;
        let revocation = |account: &str| Revocation {
            account: account.to_owned(),
            revoked: unrevoked != Some(account),
            detail: match unrevoked == Some(account) {
                true => "no answer in time".to_owned(),
                false => String::new(),
            },
        };
        Ok(Response::new(PanicResponse {
            revocations: vec![revocation("a"), revocation("b")],
        }))
    }

    async fn get_sealing_key(
        &self,
        _: Request<GetSealingKeyRequest>,
    ) -> Result<Response<GetSealingKeyResponse>, Status> {
        not_scripted()
    }

    async fn add_account(
        &self,
        _: Request<AddAccountRequest>,
    ) -> Result<Response<AddAccountResponse>, Status> {
        not_scripted()
    }

    async fn remove_account(
        &self,
        _: Request<RemoveAccountRequest>,
    ) -> Result<Response<RemoveAccountResponse>, Status> {
        not_scripted()
    }

    async fn remove_all_accounts(
        &self,
        _: Request<RemoveAllAccountsRequest>,
    ) -> Result<Response<RemoveAllAccountsResponse>, Status> {
        not_scripted()
    }

    async fn check_account(
        &self,
        _: Request<CheckAccountRequest>,
    ) -> Result<Response<Self::CheckAccountStream>, Status> {
        not_scripted()
    }

    async fn lock(&self, _: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        not_scripted()
    }

    async fn unlock(&self, _: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        not_scripted()
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        not_scripted()
    }
}
