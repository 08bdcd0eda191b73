//! A token as a caller gets it.

use sfkey_proto::v1::Token;
use zeroize::Zeroizing;

use super::{life::Warning, task::Task};
use crate::{
    clock::Now,
    custody::{CustodyError, SealedSecret},
    error::Failure,
    token,
};

/// A skew above this many seconds is worth a warning.
const WARN_OF_SKEW: i64 = 60;

impl Task {
    pub(super) fn open(&self, sealed: &SealedSecret) -> Result<Zeroizing<String>, Failure> {
        let mut secret = self.agent.custody.open(sealed).map_err(failure_of)?;
        let text = String::from_utf8(std::mem::take(&mut *secret));
        Ok(Zeroizing::new(
            text.map_err(|_| Failure::Internal("a token is not text"))?,
        ))
    }

    pub(super) fn served(&self, warning: Option<Warning>, now: Now) -> Result<Token, Failure> {
        let held = self.held.as_ref().zip(self.life.validity());
        let (held, validity) = held.ok_or(Failure::Internal("a token was served that is not held"))?;
        let mut access_token = self.open(&held.token)?;
        let (org_id, user_id) = held.id.as_deref().map_or((None, None), token::ids);
        let skew = self.agent.logins.skew(&self.own.identity.host.to_string(), now);
        let skewed = skew.is_some_and(|skew| skew.abs() > WARN_OF_SKEW);
        let warnings = warning.map(Warning::code).into_iter();
        let warnings = warnings.chain(skewed.then_some("CLOCK_SKEW"));
        Ok(Token {
            account: self.own.name.to_string(),
            access_token: std::mem::take(&mut *access_token),
            token_type: "Bearer".to_owned(),
            instance_url: held.instance_url.clone(),
            expires_at: validity.expires_at,
            expiry_source: validity.source.into(),
            issued_at: validity.issued_at,
            scope: held.scope.clone(),
            id: held.id.clone(),
            org_id,
            user_id,
            username: self.own.identity.username.clone(),
            warnings: warnings.map(str::to_owned).collect(),
        })
    }
}

impl Warning {
    fn code(self) -> &'static str {
        match self {
            Self::MinValidCapped => "MIN_VALID_CAPPED",
            Self::FreshLimited => "FRESH_LIMITED",
            Self::Stale => "STALE",
        }
    }
}

fn failure_of(error: CustodyError) -> Failure {
    match error {
        CustodyError::Locked => Failure::Locked,
        CustodyError::DoesNotOpen => Failure::Internal("a sealed token does not open"),
    }
}
