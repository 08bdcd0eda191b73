//! The agent as a Rust tool sees it.

use std::{future::Future, hint::black_box, path::Path, time::Duration};

use sfkey_proto::{
    MAX_REPLY_BYTES, MAX_REQUEST_BYTES, PROTOCOL_VERSION, Refusal,
    sealing::{self, Sealable, Sealed},
    v1::{
        Account, AccountSpec, AddAccountRequest, AddAccountResponse, CheckAccountRequest,
        CheckAccountResponse, GetSealingKeyRequest, GetStatusRequest, GetStatusResponse, GetTokenRequest,
        ListAccountsRequest, LockRequest, LockSpec, PanicRequest, PanicResponse, RemoveAccountRequest,
        RemoveAllAccountsRequest, ReportRejectedRequest, RevokeTokenRequest, ShutdownRequest, Token,
        UnlockRequest, UnlockSpec, WatchTokenRequest, WatchTokenResponse, WhoAmIRequest, WhoAmIResponse,
        agent_service_client::AgentServiceClient, token_service_client::TokenServiceClient,
    },
};
use sha2::{Digest, Sha256};
use tonic::{Code, Response, Status, Streaming, transport::Channel};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    connect::{Connection, Trust, socket_path},
    environment::Environment,
    error::Error,
};

/// For calls that the agent answers from memory.
const PROMPT_ANSWER: Duration = Duration::from_secs(15);

/// For calls behind which the agent may ask Salesforce. It bounds that itself; this only ends the wait for
/// an agent that hangs.
const EXCHANGE_ANSWER: Duration = Duration::from_secs(120);

/// For lock and unlock: a key derivation, and for unlock the wait that wrong passphrases have earned.
const LOCK_ANSWER: Duration = Duration::from_secs(60);

/// A connection to the agent.
///
/// ```no_run
/// # async fn example() -> Result<(), sfkey::Error> {
/// let agent = sfkey::Client::connect().await?;
/// let token = agent.token("prod").await?;
/// println!("{} until {}", token.instance_url, token.expires_at);
/// # Ok(())
/// # }
/// ```
///
/// Ask for the token again before each use: the agent answers from memory in a fraction of a millisecond,
/// and renews the token in time. When the agent has ended, calls fail with [`Error::Broken`]; connect again.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to the agent that the environment of this process names.
    ///
    /// # Errors
    /// [`Error::NoPlace`], [`Error::Unreachable`], [`Error::Broken`].
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(&socket_path(None, &Environment::of_process())?).await
    }

    /// Connects to the agent that listens at `socket`.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Broken`].
    pub async fn connect_to(socket: &Path) -> Result<Self, Error> {
        let connection = Connection::open(socket, Trust::NotNeeded).await?;
        Ok(Self { connection })
    }

    /// The same, for whoever is about to send a secret: an agent that may not have it is sent no byte at all.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Broken`], [`Error::Untrusted`].
    pub async fn connect_trusted(socket: &Path) -> Result<Self, Error> {
        let connection = Connection::open(socket, Trust::Required).await?;
        Ok(Self { connection })
    }

    /// Connects anew, to the same socket and on the same terms: for whoever had to wait for a person. The agent
    /// closes a connection whose other end does not answer its pings, which a blocked thread does not.
    ///
    /// # Errors
    /// As the call that made this client.
    pub async fn again(&self) -> Result<Self, Error> {
        let connection = self.connection.again().await?;
        Ok(Self { connection })
    }

    /// The socket that this client is connected to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.connection.socket
    }

    /// A token of `account` that stays valid for a minute at least; an empty name means the default
    /// account, else the only one loaded.
    ///
    /// # Errors
    /// [`Error::Refused`] with the agent's reason, or a failure of the connection.
    pub async fn token(&self, account: &str) -> Result<Token, Error> {
        self.request_token(GetTokenRequest {
            account: account.to_owned(),
            ..GetTokenRequest::default()
        })
        .await
    }

    /// A token as `request` describes it.
    ///
    /// # Errors
    /// As [`Client::token`], and [`Error::Malformed`] for a token that no header or variable can hold.
    pub async fn request_token(&self, request: GetTokenRequest) -> Result<Token, Error> {
        let mut service = self.token_service();
        let reply = self.call(EXCHANGE_ANSWER, service.get_token(request)).await?;
        served(reply.token, reply.protocol_version)
    }

    /// Tells the agent that Salesforce refused a token of `account` with 401, and returns the next one. The
    /// agent looks into it once; only the SHA-256 of the token is sent.
    ///
    /// # Errors
    /// As [`Client::request_token`].
    pub async fn report_rejected(&self, account: &str, token: &[u8]) -> Result<Token, Error> {
        let request = ReportRejectedRequest {
            account: account.to_owned(),
            token_sha256: Sha256::digest(token).to_vec(),
        };
        let mut service = self.token_service();
        let reply = self
            .call(EXCHANGE_ANSWER, service.report_rejected(request))
            .await?;
        served(reply.token, reply.protocol_version)
    }

    /// The current token of `account`, and every new one as the agent renews it.
    ///
    /// # Errors
    /// As [`Client::request_token`]. Whoever wants to go on after an error connects again.
    pub async fn watch(&self, account: &str) -> Result<Watch, Error> {
        let request = WatchTokenRequest {
            account: account.to_owned(),
        };
        let mut service = self.token_service();
        let tokens = self.call(EXCHANGE_ANSWER, service.watch_token(request)).await?;
        Ok(Watch {
            client: self.clone(),
            tokens,
        })
    }

    /// The loaded accounts that this process may use, sorted by name.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut service = self.token_service();
        let reply = self
            .call(PROMPT_ANSWER, service.list_accounts(ListAccountsRequest {}))
            .await?;
        same_protocol(reply.protocol_version)?;
        Ok(reply.accounts)
    }

    /// Version, protection level and counters of the agent. A locked agent answers too.
    ///
    /// # Errors
    /// [`Error::NotServed`] on a restricted socket, a refusal, or a failure of the connection.
    pub async fn status(&self) -> Result<GetStatusResponse, Error> {
        let mut service = self.agent_service();
        self.call(PROMPT_ANSWER, service.get_status(GetStatusRequest {}))
            .await
    }

    /// Requires that a secret may be sent to this agent. [`Client::add`] does so itself; asking earlier
    /// spares the user a passphrase prompt that leads nowhere.
    ///
    /// # Errors
    /// [`Error::Untrusted`].
    pub fn require_trust(&self) -> Result<(), Error> {
        self.connection.require_trust()
    }

    /// Loads an account. The specification travels sealed, and only to an agent of the same user; nothing of
    /// it is left in this process while the agent works.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Sealing`], a refusal, or a failure of the connection.
    pub async fn add(&self, spec: AccountSpec) -> Result<AddAccountResponse, Error> {
        let Sealed { enc, ciphertext } = self.seal(&spec).await?;
        drop(spec);
        wipe_stack();
        let request = AddAccountRequest { enc, ciphertext };
        self.call(PROMPT_ANSWER, self.agent_service().add_account(request))
            .await
    }

    /// Locks the agent. The passphrase travels sealed, and only to an agent of the same user.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Sealing`], a refusal, or a failure of the connection.
    pub async fn lock(&self, mut passphrase: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        let spec = LockSpec {
            passphrase: std::mem::take(&mut passphrase),
        };
        let Sealed { enc, ciphertext } = self.seal(&spec).await?;
        drop(spec);
        wipe_stack();
        let request = LockRequest { enc, ciphertext };
        self.call(LOCK_ANSWER, self.agent_service().lock(request))
            .await
            .map(drop)
    }

    /// Unlocks the agent. After wrong passphrases it takes its time, ten seconds at most.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Sealing`], a refusal, or a failure of the connection.
    pub async fn unlock(&self, mut passphrase: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        let spec = UnlockSpec {
            passphrase: std::mem::take(&mut passphrase),
        };
        let Sealed { enc, ciphertext } = self.seal(&spec).await?;
        drop(spec);
        wipe_stack();
        let request = UnlockRequest { enc, ciphertext };
        self.call(LOCK_ANSWER, self.agent_service().unlock(request))
            .await
            .map(drop)
    }

    /// Seals a request for this connection's agent, and for no agent that is not trusted.
    async fn seal(&self, inner: &impl Sealable) -> Result<Sealed, Error> {
        self.require_trust()?;
        let mut service = self.agent_service();
        let key = self
            .call(PROMPT_ANSWER, service.get_sealing_key(GetSealingKeyRequest {}))
            .await?;
        Ok(sealing::seal(inner, &key.public_key, &key.instance_id)?)
    }

    /// Unloads one account.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn remove(&self, account: &str) -> Result<(), Error> {
        let mut service = self.agent_service();
        let account = account.to_owned();
        self.call(
            PROMPT_ANSWER,
            service.remove_account(RemoveAccountRequest { account }),
        )
        .await
        .map(drop)
    }

    /// Unloads every account and tells how many there were.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn remove_all(&self) -> Result<u32, Error> {
        let mut service = self.agent_service();
        let call = service.remove_all_accounts(RemoveAllAccountsRequest {});
        Ok(self.call(PROMPT_ANSWER, call).await?.removed)
    }

    /// Revokes the token of `account` at Salesforce, and tells whether one was held. Everyone who shares its
    /// user and app is logged out.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn revoke(&self, account: &str) -> Result<bool, Error> {
        let mut service = self.agent_service();
        let account = account.to_owned();
        let call = service.revoke_token(RevokeTokenRequest { account });
        Ok(self.call(EXCHANGE_ANSWER, call).await?.revoked)
    }

    /// Has the agent wipe everything at once, and then try to revoke every token. A locked agent does it too.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn panic(&self) -> Result<PanicResponse, Error> {
        let mut service = self.agent_service();
        self.call(EXCHANGE_ANSWER, service.panic(PanicRequest {})).await
    }

    /// Who the token of `account` belongs to, as Salesforce says.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn who_am_i(&self, account: &str) -> Result<WhoAmIResponse, Error> {
        let mut service = self.agent_service();
        let account = account.to_owned();
        self.call(EXCHANGE_ANSWER, service.who_am_i(WhoAmIRequest { account }))
            .await
    }

    /// Has the agent check `account` step by step. With `probe` it tries other audiences too, which count as
    /// failed logins.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn check(&self, account: &str, probe: bool) -> Result<Checks, Error> {
        self.checks(CheckAccountRequest {
            account: account.to_owned(),
            probe,
            askpass: false,
        })
        .await
    }

    /// Has the agent put a question to its user that allows nothing.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn check_askpass(&self) -> Result<Checks, Error> {
        self.checks(CheckAccountRequest {
            askpass: true,
            ..CheckAccountRequest::default()
        })
        .await
    }

    async fn checks(&self, request: CheckAccountRequest) -> Result<Checks, Error> {
        let mut service = self.agent_service();
        let findings = self.call(EXCHANGE_ANSWER, service.check_account(request)).await?;
        Ok(Checks {
            client: self.clone(),
            findings,
        })
    }

    /// Asks the agent to stop.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let mut service = self.agent_service();
        self.call(PROMPT_ANSWER, service.shutdown(ShutdownRequest {}))
            .await
            .map(drop)
    }

    fn token_service(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.connection.channel.clone())
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(MAX_REQUEST_BYTES)
    }

    fn agent_service(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.connection.channel.clone())
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .max_encoding_message_size(MAX_REQUEST_BYTES)
    }

    async fn call<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(Error::NoAnswer {
                socket: self.connection.socket.clone(),
                waited: patience,
            }),
        }
    }

    fn failure(&self, status: &Status) -> Error {
        if let Some(refusal) = Refusal::from_status(status) {
            return Error::Refused(refusal);
        }
        let socket = self.connection.socket.clone();
        match (status.code(), std::error::Error::source(status)) {
            // A status made on this side carries the transport's error; one that came over the wire does not.
            (_, Some(source)) => self.connection.broken(source),
            (Code::Unimplemented, None) => Error::NotServed { socket },
            (code, None) => Error::Foreign {
                socket,
                detail: format!("{code:?}: {}", status.message()),
            },
        }
    }
}

/// Tokens of one account, as the agent renews them.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    tokens: Streaming<WatchTokenResponse>,
}

impl Watch {
    /// Waits for the next token, however long that takes; `None` when the agent has no more to send.
    ///
    /// # Errors
    /// As [`Client::request_token`]; nothing comes after an error.
    pub async fn next(&mut self) -> Result<Option<Token>, Error> {
        let next = self.tokens.message().await;
        match next.map_err(|status| self.client.failure(&status))? {
            Some(reply) => served(reply.token, reply.protocol_version).map(Some),
            None => Ok(None),
        }
    }
}

/// What the agent finds out about one account, as it finds it out.
#[derive(Debug)]
pub struct Checks {
    client: Client,
    findings: Streaming<CheckAccountResponse>,
}

impl Checks {
    /// Waits for the next finding; `None` after the last one.
    ///
    /// # Errors
    /// A refusal, or a failure of the connection.
    pub async fn next(&mut self) -> Result<Option<CheckAccountResponse>, Error> {
        let next = async { self.findings.message().await.map(Response::new) };
        self.client.call(EXCHANGE_ANSWER, next).await
    }
}

/// The token of a reply, when it is one that can be used.
///
/// The far end of a restricted socket is not ours. What it sends goes into headers, variables and shells, where
/// a line end or an escape would be more than a token.
fn served(token: Option<Token>, protocol_version: u32) -> Result<Token, Error> {
    same_protocol(protocol_version)?;
    let token = token.ok_or(Error::Malformed("it holds no token"))?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain(&token.access_token) && plain(&token.instance_url) {
        Ok(token)
    } else {
        Err(Error::Malformed(
            "the token or its instance URL holds control characters",
        ))
    }
}

fn same_protocol(agent: u32) -> Result<(), Error> {
    if agent == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(Error::OtherProtocol { agent })
    }
}

/// Wipes what reading a key, deriving from a passphrase and sealing have left on the stack below: no function
/// does that when it returns.
#[inline(never)]
fn wipe_stack() {
    // In words of 8 bytes: 128 KiB, more than the deepest of those calls was measured to need.
    const DEPTH: usize = 16 * 1024;
    let mut below = [0_u64; DEPTH];
    below.zeroize();
    black_box(&below);
}
