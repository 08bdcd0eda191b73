//! The stream of an account's tokens.

use futures_util::{StreamExt, stream, stream::BoxStream};
use sfkey_proto::{
    PROTOCOL_VERSION,
    v1::{Token, WatchTokenResponse},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Call, Service};
use crate::{
    account::Watch,
    error::Failure,
    token::{self, Need, TokenHash},
};

/// What a watcher has seen.
type Seen = (TokenHash, i64);

/// A watcher's place: while it stands, the account is renewed ahead of time.
pub(super) struct Tokens {
    service: Service,
    /// Keeps the watcher's place among the requests in work.
    call: Call,
    watch: Watch,
    ending: CancellationToken,
    first: Option<Token>,
    seen: Option<Seen>,
}

impl Tokens {
    /// Gets the first token, so that whoever cannot have one is told why.
    pub(super) async fn begin(
        service: Service,
        call: Call,
        watch: Watch,
        ending: CancellationToken,
    ) -> Result<Self, Failure> {
        let first = watch.token(Need::new(None, false)).await?;
        Ok(Self {
            service,
            call,
            watch,
            ending,
            first: Some(first),
            seen: None,
        })
    }

    /// The first token and each new one, until the account goes, the agent is locked or it ends.
    pub(super) fn stream(self) -> BoxStream<'static, Result<WatchTokenResponse, Status>> {
        stream::unfold(Some(self), |tokens| async move {
            let mut tokens = tokens?;
            let delivered = match tokens.next().await? {
                Ok(token) => tokens.service.deliver(&tokens.call, "WatchToken", token).await,
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

    fn is_new(&mut self, token: &Token) -> bool {
        let seen = (token::hash(&token.access_token), token.expires_at);
        self.seen.replace(seen) != Some(seen)
    }
}
