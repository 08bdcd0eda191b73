//! The revocation of tokens that were taken away.

use futures_util::future::join_all;
use sfkey_proto::{Refusal, v1::panic_response::Revocation};

use crate::{
    account::Surrendered,
    error::Failure,
    limits::REVOCATION_TIME,
    salesforce::{Answered, ExchangeError, TokenEndpoint},
};

/// Tries to revoke all at the same time and tells what became of each. None takes longer than
/// [`REVOCATION_TIME`].
pub(super) async fn revoke_all(endpoint: &dyn TokenEndpoint, tokens: Vec<Surrendered>) -> Vec<Revocation> {
    join_all(tokens.into_iter().map(|token| revoke(endpoint, token))).await
}

async fn revoke(endpoint: &dyn TokenEndpoint, surrendered: Surrendered) -> Revocation {
    let Surrendered { account, host, token } = surrendered;
    let asked = tokio::time::timeout(REVOCATION_TIME, endpoint.revoke(&host, &token)).await;
    let answered = asked
        .unwrap_or_else(|_| Answered::undated(Err(ExchangeError::Network("no answer in time".to_owned()))));
    let detail = match &answered.outcome {
        Ok(()) => String::new(),
        Err(error) => {
            let failure = Failure::exchange(&account, &host, error.clone());
            Refusal::from(failure).message
        }
    };
    Revocation {
        account: account.to_string(),
        revoked: answered.outcome.is_ok(),
        detail,
    }
}
