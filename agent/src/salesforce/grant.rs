//! What an answer of the token endpoint is worth.

use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    ExchangeError, Grant, TokenHost, TrustedHosts,
    answer::{OauthError, malformed, not_json, oauth_error},
};

/// Longest access token taken, in bytes. JWT-format ones have about 2 KiB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest identity URL or list of scopes taken, in bytes.
const MAX_LINE_BYTES: usize = 1024;

/// The answer's members that are used; what is unknown is ignored.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<Zeroizing<String>>,
    instance_url: Option<String>,
    id: Option<String>,
    scope: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
}

/// What an answer is worth: a grant that was checked for its form and its `instance_url`, or why there is none.
///
/// Nothing is sent and nothing is read here.
///
/// # Errors
/// [`ExchangeError`], whose text holds neither `assertion` nor whatever else looks like a credential.
pub fn judge(
    host: &TokenHost,
    trusted: &TrustedHosts,
    status: StatusCode,
    body: &[u8],
    assertion: &str,
) -> Result<Grant, ExchangeError> {
    let malformed = |what: &str| malformed(status, what);
    let Ok(parsed) = serde_json::from_slice::<TokenAnswer>(body) else {
        return Err(not_json(status, body, &[assertion]));
    };
    if !status.is_success() {
        let (error, error_description) = (parsed.error, parsed.error_description);
        return Err(oauth_error(
            status,
            &OauthError {
                error,
                error_description,
            },
            &[assertion],
        ));
    }
    let token = parsed.access_token.filter(|token| is_token(token));
    let access_token = token.ok_or_else(|| malformed("200 without a well-formed access_token"))?;
    if parsed
        .token_type
        .is_some_and(|kind| !kind.eq_ignore_ascii_case("Bearer"))
    {
        return Err(malformed("200 with a token_type that is not Bearer"));
    }
    let instance_url = parsed
        .instance_url
        .and_then(|url| host.accepts_instance(&url, trusted))
        .ok_or_else(|| malformed("200 without an instance_url under a Salesforce domain"))?;
    Ok(Grant {
        access_token,
        instance_url,
        id: parsed.id.filter(|id| is_line(id)),
        scope: parsed.scope.filter(|scope| is_line(scope)),
        expires_in: parsed.expires_in.as_ref().and_then(seconds),
    })
}

/// RFC 6749 has a number; servers have been seen to send it as a string. What is neither is ignored: the token
/// beside it is none the worse.
fn seconds(value: &serde_json::Value) -> Option<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .or_else(|| value.as_str()?.parse().ok())
        .filter(|seconds| *seconds > 0)
}

/// Visible ASCII without spaces and quotes: what a header can carry (RFC 6750, section 2.1, and the `!` of
/// Salesforce).
pub(super) fn is_token(token: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\'' && byte != b'\\';
    !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(visible)
}

/// Printable ASCII of a sensible length: an identity URL, or scopes. Anything else is left out.
pub(super) fn is_line(text: &str) -> bool {
    text.len() <= MAX_LINE_BYTES && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Result<Grant, ExchangeError> {
        let host = TokenHost::parse("https://login.salesforce.com").expect("a token host");
        judge(
            &host,
            &TrustedHosts::default(),
            StatusCode::from_u16(status).expect("a status"),
            body.as_bytes(),
            "the.whole.assertion",
        )
    }

    #[test]
    fn a_good_answer_becomes_a_grant() {
        let grant = judged(
            200,
            r#"{"access_token":"00D!x","instance_url":"https://a.my.salesforce.com","id":"https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA",
                "token_type":"Bearer","scope":"api","expires_in":"7200","unknown":[1]}"#,
        );
        let grant = grant.expect("a grant");
        assert_eq!(
            (grant.access_token.as_str(), grant.expires_in),
            ("00D!x", Some(7200))
        );
    }

    #[test]
    fn an_odd_lifetime_is_ignored_and_the_token_is_kept() {
        for odd in ["7200.0", "-1", "0", "99999999999", "\"soon\"", "null", "[]"] {
            let body = format!(
                r#"{{"access_token":"00D!x","instance_url":"https://a.my.salesforce.com","expires_in":{odd}}}"#
            );
            assert_eq!(judged(200, &body).expect("a grant").expires_in, None, "{odd}");
        }
    }

    #[test]
    fn an_identity_or_scope_with_control_characters_is_left_out() {
        let body = r#"{"access_token":"00D!x","instance_url":"https://a.my.salesforce.com","id":"x\u001b[31m","scope":"api\nx"}"#;
        let grant = judged(200, body).expect("a grant");
        assert_eq!((grant.id, grant.scope), (None, None));
    }

    #[test]
    fn a_body_of_a_200_is_never_quoted() {
        for body in [
            r#"{"access_token":"00D!canary"#,
            "canary",
            r#"{"access_token":"00D!canary\n"}"#,
        ] {
            let error = judged(200, body).expect_err("malformed");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            assert!(matches!(error, ExchangeError::Malformed(_)));
        }
    }

    #[test]
    fn an_instance_url_elsewhere_is_a_malformed_answer() {
        let body = r#"{"access_token":"00D!x","instance_url":"https://evil.example"}"#;
        assert!(matches!(judged(200, body), Err(ExchangeError::Malformed(_))));
    }

    #[test]
    fn oauth_errors_are_refusals_and_transient_ones_are_not() {
        let refused = judged(
            400,
            r#"{"error":"invalid_grant","error_description":"x the.whole.assertion"}"#,
        );
        let Err(ExchangeError::Refused(answer)) = refused else {
            panic!("refused")
        };
        assert_eq!(answer.error_description, "x [removed]");
        for (status, body) in [
            (
                400,
                r#"{"error":"server_error","error_description":"retry your request"}"#,
            ),
            (503, "<html>We are down for maintenance</html>"),
            (502, ""),
        ] {
            assert!(
                matches!(judged(status, body), Err(ExchangeError::Unavailable(_))),
                "{status} {body}"
            );
        }
        for (status, body) in [(302, ""), (400, "<html>"), (400, "{}"), (404, "Not found")] {
            assert!(
                matches!(judged(status, body), Err(ExchangeError::Malformed(_))),
                "{status} {body}"
            );
        }
    }
}
