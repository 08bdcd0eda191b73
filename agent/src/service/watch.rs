//! The stream of an account's tokens.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};
use sfkey_proto::{
    AccountName, PROTOCOL_VERSION,
    v1::{Token, WatchTokenResponse},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Call, Service};
use crate::{
    account::Watch,
    error::Failure,
    policy::Rules,
    settings::Confirm,
    token::{self, Need, TokenHash},
};

/// As the audit trail names it.
const METHOD: &str = "WatchToken";

/// What a watcher has seen.
type Seen = (TokenHash, i64);

/// A watcher's place: while it stands, the account is renewed ahead of time.
pub(super) struct Tokens {
    service: Service,
    /// Keeps the watcher's place among the requests in work.
    call: Call,
    account: AccountName,
    watch: Watch,
    ending: CancellationToken,
    rules: watch::Receiver<Arc<Rules>>,
    /// What the user was asked about when it began.
    agreed: Option<Confirm>,
    first: Option<Token>,
    seen: Option<Seen>,
}

impl Tokens {
    /// Gets the first token, so that whoever cannot have one is told why.
    pub(super) async fn begin(service: Service, call: Call, name: &str) -> Result<Self, Failure> {
        let (policy, ending) = (&service.0.policy, service.0.ending.clone());
        let mut rules = policy.changes();
        rules.mark_unchanged();
        let permit = service.permit(&call, METHOD, name).await?;
        let account = permit.account().clone();
        let watch = service.0.accounts.watch(&permit)?;
        let agreed = policy.confirm(&account);
        let first = watch.token(Need::new(None, false)).await?;
        Ok(Self {
            account,
            watch,
            ending,
            rules,
            agreed,
            service,
            call,
            first: Some(first),
            seen: None,
        })
    }

    /// The first token and each new one, until the account goes, the agent is locked or it ends.
    pub(super) fn stream(self) -> BoxStream<'static, Result<WatchTokenResponse, Status>> {
        stream::unfold(Some(self), |tokens| async move {
            let mut tokens = tokens?;
            let delivered = match tokens.next().await? {
                Ok(token) => tokens.deliver(token).await,
                Err(failure) => Err(failure),
            };
            match delivered {
                Ok(token) => {
                    let response = WatchTokenResponse {
                        token: Some(token),
                        protocol_version: PROTOCOL_VERSION,
                    };
                    Some((Ok(response), Some(tokens)))
                }
                Err(failure) => Some((Err(failure.into()), None)),
            }
        })
        .boxed()
    }

    /// `None`: the agent ends, and its streams with it.
    async fn next(&mut self) -> Option<Result<Token, Failure>> {
        loop {
            if let Some(token) = self.first.take()
                && self.is_new(&token)
            {
                return Some(Ok(token));
            }
            let changed = tokio::select! {
                () = self.ending.cancelled() => return None,
                Ok(()) = self.rules.changed() => match self.check().await {
                    Ok(()) => continue,
                    Err(failure) => return Some(Err(failure)),
                },
                changed = self.watch.changed() => changed,
            };
            // Whatever is held now will do: it was renewed ahead of time.
            match self.watch.token(Need::new(Some(0), false)).await {
                Ok(token) => self.first = Some(token),
                Err(failure @ (Failure::Locked | Failure::NotLoaded(_))) => return Some(Err(failure)),
                Err(failure) if !changed => return Some(Err(failure)),
                // It failed for now, and the stream goes on when a token comes.
                Err(_) => {}
            }
        }
    }

    /// The rules, and the process at the other end, may have changed since it began.
    async fn check(&mut self) -> Result<(), Failure> {
        let agreed = self.service.0.policy.confirm(&self.account);
        self.service
            .still_permit(&self.call, METHOD, &self.account, self.agreed)
            .await?;
        self.agreed = agreed;
        Ok(())
    }

    async fn deliver(&mut self, token: Token) -> Result<Token, Failure> {
        self.check().await?;
        self.service.deliver(&self.call, METHOD, token).await
    }

    fn is_new(&mut self, token: &Token) -> bool {
        let seen = (token::hash(&token.access_token), token.expires_at);
        self.seen.replace(seen) != Some(seen)
    }
}
