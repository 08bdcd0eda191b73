//! Everything about the simulated Salesforce that can be turned while it runs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Which audiences the token endpoint accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudienceMode {
    /// The login host (`https://login.salesforce.com`, for sandboxes `https://test.salesforce.com`), on any token host.
    Classic,
    /// The org's own host only.
    MyDomainOnly,
    /// Either.
    #[default]
    Both,
}

/// What a repeated grant for the same user and app gives. What a live org does is not known for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regrant {
    /// A new token each time.
    #[default]
    New,
    /// The identical token, its session end unmoved.
    SameFixed,
    /// The identical token, its session end moved as if it were new.
    SameExtends,
}

/// The format of access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFormat {
    /// `00D…!…`, with a sliding session.
    #[default]
    Opaque,
    /// A signed JWT with `exp`, of fixed life, refused by SOAP.
    Jwt,
}

/// How the introspection endpoint behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntrospectionMode {
    /// It answers truthfully.
    #[default]
    On,
    /// It refuses everybody.
    Off,
    /// It takes every consumer secret for wrong: 401 `invalid_client`.
    WrongSecret,
    /// It calls working tokens inactive, as has been seen of misconfigured apps.
    AlwaysInactive,
}

/// How the revocation endpoint behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationMode {
    /// It revokes, and answers 400 `invalid_token` for a token it does not know.
    #[default]
    On,
    /// It answers 400 `invalid_token` to all.
    InvalidToken,
    /// It answers 400 `unsupported_token_type` to all.
    UnsupportedTokenType,
}

/// How REST calls with a good token are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestMode {
    /// As they should be.
    #[default]
    Normal,
    /// 401 `INVALID_SESSION_ID`, "Session expired or invalid", even for a token that was just minted.
    SessionInvalid,
    /// 401 "This session is not valid for use with the REST API": a matter of scopes.
    NotValidForRest,
    /// 401 "Connected app is not attached to Agent": a matter of policy.
    NotAttachedToAgent,
    /// 403 `REQUEST_LIMIT_EXCEEDED`.
    RequestLimitExceeded,
}

/// The knobs, with what Salesforce does by default. In TOML and JSON they have these names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Which audiences are accepted. An app may override it.
    pub audience: AudienceMode,
    /// What a repeated grant gives.
    pub regrant: Regrant,
    /// Life of an idle session, in seconds. Activity in its second half extends it. An app may override it.
    pub session_timeout: u64,
    /// Format of access tokens. An app may override it.
    pub token_format: TokenFormat,
    /// Life of a JWT-format access token, in seconds.
    pub jwt_lifetime: u64,
    /// For how many seconds after its creation an app answers `propagation_answer`.
    pub propagation_delay: u64,
    /// What an app that is too young answers.
    pub propagation_answer: Refusal,
    /// Grants per user and hour before the rate limit answers.
    pub logins_per_hour: u32,
    /// How far an assertion's `exp` may be past, in seconds.
    pub leeway: u64,
    /// What a signature that does not match the certificate is answered with.
    pub signature_answer: Refusal,
    /// Refuse parameters beyond the two of the flow. `scope` is refused in any case.
    pub strict_parameters: bool,
    /// Write the second wording of descriptions that have been seen in two.
    pub alternate_texts: bool,
    /// Leave `error_description` out of refusals.
    pub omit_description: bool,
    /// `expires_in` of the answer, in seconds; normally Salesforce sends none.
    pub expires_in: Option<u64>,
    /// Add `token_format`, `api_instance_url`, `issued_at` and `signature` to the answer.
    pub extra_members: bool,
    /// Members to add to the answer of a grant or to replace in it; null removes one.
    pub answer_overrides: Map<String, Value>,
    /// How introspection behaves.
    pub introspection: IntrospectionMode,
    /// Let the `iat` of introspection move with the session's end instead of standing at the token's birth.
    pub introspection_iat_moves: bool,
    /// How revocation behaves.
    pub revocation: RevocationMode,
    /// How REST calls with a good token are answered.
    pub rest: RestMode,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            audience: AudienceMode::default(),
            regrant: Regrant::default(),
            session_timeout: 7200,
            token_format: TokenFormat::default(),
            jwt_lifetime: 1800,
            propagation_delay: 0,
            propagation_answer: Refusal::ConsumerKeyUnknown,
            logins_per_hour: 3600,
            leeway: 180,
            signature_answer: Refusal::InvalidAssertion,
            strict_parameters: true,
            alternate_texts: false,
            omit_description: false,
            expires_in: None,
            extra_members: false,
            answer_overrides: Map::new(),
            introspection: IntrospectionMode::default(),
            introspection_iat_moves: false,
            revocation: RevocationMode::default(),
            rest: RestMode::default(),
        }
    }
}

impl Knobs {
    /// Sets the knob `name` to a value as a person types it: JSON, or a bare word for text.
    ///
    /// # Errors
    /// A sentence that names the knobs there are, or the values this one takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let mut all = serde_json::to_value(&*self).map_err(|cause| cause.to_string())?;
        if let Some(members) = all.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
        *self = serde_json::from_value(all).map_err(|cause| cause.to_string())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Knobs, Regrant};

    #[test]
    fn a_knob_is_set_from_a_number_or_a_bare_word() {
        let mut knobs = Knobs::default();
        knobs.set("session_timeout", "900").expect("a number");
        knobs.set("regrant", "same-fixed").expect("a word");
        assert_eq!((knobs.session_timeout, knobs.regrant), (900, Regrant::SameFixed));
    }

    #[test]
    fn an_unknown_knob_or_value_is_an_error_that_names_the_right_ones() {
        let error = Knobs::default()
            .set("regrantt", "new")
            .expect_err("there is no such knob");
        assert!(error.contains("session_timeout"), "{error}");
        let error = Knobs::default()
            .set("regrant", "sometimes")
            .expect_err("there is no such value");
        assert!(error.contains("same-extends"), "{error}");
    }
}
