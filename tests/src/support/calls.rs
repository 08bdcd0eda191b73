//! gRPC over the agent's socket, without any code of the client.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use hyper_util::rt::TokioIo;
use sfkey_proto::{
    Refusal,
    sealing::{Sealable, Sealed, seal},
    v1::{
        Account, AccountSpec, AddAccountRequest, AddAccountResponse, GetSealingKeyRequest, GetStatusRequest,
        GetStatusResponse, GetTokenRequest, ListAccountsRequest, LockRequest, LockSpec, RemoveAccountRequest,
        ReportRejectedRequest, ShutdownRequest, Token, UnlockRequest, UnlockSpec,
        agent_service_client::AgentServiceClient, token_service_client::TokenServiceClient,
    },
};
use tokio::net::UnixStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Error},
};

/// One connection to an agent. Clones share it.
#[derive(Clone, Debug)]
pub struct Calls {
    channel: Channel,
}

impl Calls {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When nobody listens, or the connection is closed at once.
    pub async fn try_to(path: &Path) -> Result<Self, Error> {
        let path: PathBuf = path.to_path_buf();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    /// The same, waiting where a queue of others is full, as sfkey does.
    ///
    /// # Errors
    /// When nobody listens, or the connection is closed at once.
    pub async fn queue_to(path: &Path) -> Result<Self, Error> {
        let path: PathBuf = path.to_path_buf();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                let connect = move || std::os::unix::net::UnixStream::connect(path);
                let stream = tokio::task::spawn_blocking(connect).await??;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream).map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    /// The same, of an agent that surely listens.
    pub async fn to(path: &Path) -> Self {
        Self::try_to(path).await.expect("the agent listens")
    }

    /// The connection, for clients of other services.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// `TokenService`.
    #[must_use]
    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel())
    }

    /// `AgentService`.
    #[must_use]
    pub fn agent(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel())
    }

    /// GetToken.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn token(&self, account: &str) -> Result<Token, Status> {
        let account = account.to_owned();
        self.request_token(GetTokenRequest {
            account,
            ..GetTokenRequest::default()
        })
        .await
    }

    /// GetToken with more than a name.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn request_token(&self, request: GetTokenRequest) -> Result<Token, Status> {
        let reply = self.tokens().get_token(request).await?.into_inner();
        assert_eq!(reply.protocol_version, sfkey_proto::PROTOCOL_VERSION);
        Ok(reply.token.expect("a reply without an error has a token"))
    }

    /// GetToken that must fail.
    ///
    /// # Panics
    /// When there is a token, or the failure is not one of the contract.
    pub async fn refused_token(&self, account: &str) -> Refusal {
        refusal(&self.token(account).await.expect_err("no token"))
    }

    /// ReportRejected of this token.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn report(&self, account: &str, token: &Token) -> Result<Token, Status> {
        let hash = digest::digest(&digest::SHA256, token.access_token.as_bytes());
        let request = ReportRejectedRequest {
            account: account.to_owned(),
            token_sha256: hash.as_ref().to_vec(),
        };
        let reply = self.tokens().report_rejected(request).await?.into_inner();
        Ok(reply.token.expect("a reply without an error has a token"))
    }

    /// GetStatus.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn status(&self) -> Result<GetStatusResponse, Status> {
        let reply = self.agent().get_status(GetStatusRequest {}).await?;
        Ok(reply.into_inner())
    }

    /// ListAccounts.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn list(&self) -> Result<Vec<Account>, Status> {
        let reply = self.tokens().list_accounts(ListAccountsRequest {}).await?;
        Ok(reply.into_inner().accounts)
    }

    /// `inner`, sealed with a fresh key of this connection.
    ///
    /// # Errors
    /// The status of GetSealingKey.
    pub async fn sealed<M: Sealable>(&self, inner: &M) -> Result<Sealed, Status> {
        let key = self.agent().get_sealing_key(GetSealingKeyRequest {}).await?;
        let key = key.into_inner();
        Ok(seal(inner, &key.public_key, &key.instance_id).expect("the agent's key is well-formed"))
    }

    /// AddAccount of what is sealed already.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn add_sealed(&self, sealed: Sealed) -> Result<AddAccountResponse, Status> {
        let Sealed { enc, ciphertext } = sealed;
        let reply = self
            .agent()
            .add_account(AddAccountRequest { enc, ciphertext })
            .await?;
        Ok(reply.into_inner())
    }

    /// Seals and adds an account.
    ///
    /// # Errors
    /// The status of either call.
    pub async fn add(&self, spec: &AccountSpec) -> Result<AddAccountResponse, Status> {
        let sealed = self.sealed(spec).await?;
        self.add_sealed(sealed).await
    }

    /// AddAccount that must fail.
    ///
    /// # Panics
    /// When it does not, or the failure is not one of the contract.
    pub async fn refused_add(&self, spec: &AccountSpec) -> Refusal {
        refusal(&self.add(spec).await.expect_err("not added"))
    }

    /// RemoveAccount.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn remove(&self, account: &str) -> Result<(), Status> {
        let account = account.to_owned();
        self.agent()
            .remove_account(RemoveAccountRequest { account })
            .await
            .map(drop)
    }

    /// Seals a passphrase and locks.
    ///
    /// # Errors
    /// The status of either call.
    pub async fn lock(&self, passphrase: &str) -> Result<(), Status> {
        let passphrase = passphrase.as_bytes().to_vec();
        let Sealed { enc, ciphertext } = self.sealed(&LockSpec { passphrase }).await?;
        self.agent().lock(LockRequest { enc, ciphertext }).await.map(drop)
    }

    /// Seals a passphrase and unlocks.
    ///
    /// # Errors
    /// The status of either call.
    pub async fn unlock(&self, passphrase: &str) -> Result<(), Status> {
        let passphrase = passphrase.as_bytes().to_vec();
        let Sealed { enc, ciphertext } = self.sealed(&UnlockSpec { passphrase }).await?;
        self.agent()
            .unlock(UnlockRequest { enc, ciphertext })
            .await
            .map(drop)
    }

    /// Shutdown.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn shut_down(&self) -> Result<(), Status> {
        self.agent().shutdown(ShutdownRequest {}).await.map(drop)
    }
}

/// Largest status that common clients surely take, in bytes of header names and values.
const MAX_STATUS_BYTES: usize = 4096;

/// The failure that a status carries, held to what every failure of the agent must be: an `ErrorInfo` of the
/// domain, the gRPC code of its reason, one line, and few enough bytes.
///
/// # Panics
/// When it is not.
#[must_use]
pub fn refusal(status: &Status) -> Refusal {
    let refusal = Refusal::from_status(status)
        .unwrap_or_else(|| panic!("a status without an ErrorInfo of the domain: {status:?}"));
    assert_eq!(status.code(), refusal.reason.code(), "{refusal:?}");
    assert!(
        !refusal.message.is_empty() && !refusal.message.contains('\n'),
        "{refusal:?}"
    );
    let bytes = status_bytes(status);
    assert!(bytes < MAX_STATUS_BYTES, "{bytes} bytes: {refusal:?}");
    refusal
}

fn status_bytes(status: &Status) -> usize {
    let headers = status.clone().into_http::<()>().into_parts().0.headers;
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}
