//! What an answer that brings nothing says: an OAuth error, or that it is none of Salesforce's.

use reqwest::StatusCode;
use serde::Deserialize;
use sfkey_proto::SalesforceAnswer;

use super::{ExchangeError, raw};

/// The members of an OAuth error (RFC 6749, section 5.2).
#[derive(Default, Deserialize)]
pub(super) struct OauthError {
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
}

/// One error of the REST API; its answers are lists of them.
#[derive(Deserialize)]
struct ApiError {
    #[serde(rename = "errorCode")]
    code: Option<String>,
    message: Option<String>,
}

/// An OAuth error, with `secrets` taken out of its text.
pub(super) fn oauth_error(status: StatusCode, parsed: &OauthError, secrets: &[&str]) -> ExchangeError {
    let shown = |text: &Option<String>| raw::shown(text.as_deref().unwrap_or_default(), secrets);
    let answer = answer(status, &shown(&parsed.error), &shown(&parsed.error_description));
    let transient = matches!(answer.error.as_str(), "server_error" | "unknown_error");
    match status.as_u16() {
        _ if answer.error.is_empty() => not_oauth(status, answer),
        429 | 500.. => ExchangeError::Unavailable(answer),
        _ if transient => ExchangeError::Unavailable(answer),
        _ => ExchangeError::Refused(answer),
    }
}

/// An error in whatever form the services beside the token endpoint have: an OAuth error, a list of errors of the
/// API, or plain text.
pub(super) fn other_error(status: StatusCode, body: &[u8], secrets: &[&str]) -> ExchangeError {
    if let Ok(parsed) = serde_json::from_slice::<OauthError>(body) {
        return oauth_error(status, &parsed, secrets);
    }
    let first = serde_json::from_slice::<Vec<ApiError>>(body)
        .ok()
        .and_then(|errors| errors.into_iter().next());
    if let Some(ApiError { code, message }) = first {
        let error = code.or_else(|| Some("unknown".to_owned()));
        let parsed = OauthError {
            error,
            error_description: message,
        };
        return oauth_error(status, &parsed, secrets);
    }
    let refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refusal && body.len() <= MAX_CODE_BYTES && !body.is_empty() {
        // Bad_OAuth_Token, as plain text.
        let code = raw::shown(&String::from_utf8_lossy(body), secrets);
        return ExchangeError::Refused(answer(status, &code, ""));
    }
    not_json(status, body, secrets)
}

/// Longest plain text that is taken for an error code, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// An answer that is no JSON.
pub(super) fn not_json(status: StatusCode, body: &[u8], secrets: &[&str]) -> ExchangeError {
    // The body of a 200 may hold a token that was cut off: it is described, never quoted.
    let what = if status.is_success() {
        format!("{} with {} bytes that are not JSON", status.as_u16(), body.len())
    } else if body.is_empty() {
        format!("{} with an empty body", status.as_u16())
    } else {
        raw::shown(&String::from_utf8_lossy(body), secrets)
    };
    not_oauth(status, answer(status, "", &what))
}

fn not_oauth(status: StatusCode, answer: SalesforceAnswer) -> ExchangeError {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        ExchangeError::Unavailable(answer)
    } else {
        ExchangeError::Malformed(answer)
    }
}

/// An answer that is not what was asked for, and `what` it is.
pub(super) fn malformed(status: StatusCode, what: &str) -> ExchangeError {
    ExchangeError::Malformed(answer(status, "", what))
}

fn answer(status: StatusCode, error: &str, description: &str) -> SalesforceAnswer {
    SalesforceAnswer {
        error: error.to_owned(),
        error_description: description.to_owned(),
        http_status: status.as_u16(),
    }
}
