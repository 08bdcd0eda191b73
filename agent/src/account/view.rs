//! What may be shown of an account.

use std::time::Duration;

use sfkey_proto::{
    Reason, Refusal,
    refusal::{MAX_RAW_BYTES, clip},
    v1::{ExpirySource, TokenState, token_state::State},
};

use crate::{clock::Now, token::Validity};

/// What may be shown of an account's token and of the tries to get one.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The token held, or the last one.
    pub validity: Option<Validity>,
    /// The last failure since the last success.
    pub last_error: Option<String>,
    /// A failure that is remembered, and until when.
    pub held_off: Option<HeldOff>,
}

/// A failure that callers are told without asking Salesforce again.
#[derive(Clone, Debug)]
pub struct HeldOff {
    /// Boot time at which Salesforce may be asked again.
    pub until: Duration,
    /// Why it failed.
    pub reason: Reason,
    /// What callers are told.
    pub message: String,
}

impl View {
    /// Where the token ended up, as the contract names it.
    #[must_use]
    pub fn token_state(&self, now: Now) -> TokenState {
        let state = match (self.validity, &self.last_error) {
            (Some(validity), _) if validity.is_live(now) => State::Live,
            (_, Some(_)) => State::Failing,
            (Some(_), None) => State::Expired,
            (None, None) => State::None,
        };
        TokenState {
            state: state.into(),
            expires_at: self.validity.map(|validity| validity.expires_at),
            expiry_source: self
                .validity
                .map_or(ExpirySource::Unspecified, |validity| validity.source)
                .into(),
        }
    }
}

/// A failure in one line, with the words of Salesforce.
pub(super) fn describe(refusal: &Refusal) -> String {
    let text = match &refusal.salesforce {
        Some(answer) if !answer.error.is_empty() => {
            format!(
                "{} ({}: {})",
                refusal.message, answer.error, answer.error_description
            )
        }
        _ => refusal.message.clone(),
    };
    clip(text, MAX_RAW_BYTES)
}
