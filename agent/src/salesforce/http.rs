//! The token endpoint over HTTPS.
//!
//! Redirects are not followed: an assertion goes to the host that the user named and to no other. No
//! connection is kept between exchanges, so that nothing of a request lies in idle buffers.

use std::time::Duration;

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, DATE},
    redirect::Policy,
};
use serde::Deserialize;
use sfkey_proto::SalesforceAnswer;
use zeroize::Zeroizing;

use super::{ExchangeError, Grant, TokenEndpoint, TokenHost, TrustedHosts, endpoint::BoxFuture, raw};
use crate::{
    assertion::Assertion,
    limits::{CONNECT_TIME, EXCHANGE_TIME, MAX_ANSWER_BYTES, READ_TIME},
};

/// The grant type of RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Longest access token taken, in bytes. JWT-format ones have about 2 KiB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest identity URL or list of scopes taken, in bytes.
const MAX_LINE_BYTES: usize = 1024;

/// Time limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS.
    pub connect: Duration,
    /// Longest silence.
    pub read: Duration,
    /// All together.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIME,
            read: READ_TIME,
            total: EXCHANGE_TIME,
        }
    }
}

/// Salesforce over HTTPS.
pub struct HttpEndpoint {
    client: Client,
    /// For plain http to this machine: a proxy would be sent the assertion in the clear.
    direct: Client,
    trusted: TrustedHosts,
    total: Duration,
}

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

impl HttpEndpoint {
    /// Sets the client up. `SSL_CERT_FILE`, `SSL_CERT_DIR` and the proxy variables are read here.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(timeouts: Timeouts, trusted: TrustedHosts) -> Result<Self, reqwest::Error> {
        let client = || {
            Client::builder()
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(timeouts.connect)
                .read_timeout(timeouts.read)
                .timeout(timeouts.total)
                .pool_max_idle_per_host(0)
                .user_agent(concat!("sfkey-agent/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            client: client().build()?,
            direct: client().no_proxy().build()?,
            trusted,
            total: timeouts.total,
        })
    }

    async fn ask(&self, host: &TokenHost, assertion: Assertion) -> Result<Grant, ExchangeError> {
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
        let client = if host.is_plain() {
            &self.direct
        } else {
            &self.client
        };
        let request = client
            .post(host.service("services/oauth2/token"))
            .header(ACCEPT, "application/json")
            .form(&form);
        let response = request.send().await.map_err(|error| network(&error))?;
        let (status, date) = (response.status(), date_of(&response));
        if status.is_success() && !is_called_json(&response) {
            let what = format!("{} that is not called JSON", status.as_u16());
            return Err(ExchangeError::Malformed(answer(status, "", &what)));
        }
        let body = read_bounded(response).await?;
        judge(host, &self.trusted, status, date, &body, assertion.expose())
    }
}

impl TokenEndpoint for HttpEndpoint {
    fn exchange<'a>(
        &'a self,
        host: &'a TokenHost,
        assertion: Assertion,
    ) -> BoxFuture<'a, Result<Grant, ExchangeError>> {
        Box::pin(async move {
            // reqwest's own limit ends with the headers of a body that is read piece by piece.
            let asked = tokio::time::timeout(self.total, self.ask(host, assertion)).await;
            asked.unwrap_or_else(|_| Err(ExchangeError::Network("no answer in time".to_owned())))
        })
    }
}

/// What an answer is worth: a grant that was checked for its form and its `instance_url`, or why there is none.
///
/// `date` is the answer's `Date` in UTC epoch seconds, and goes into the grant as it is. Nothing is sent and
/// nothing is read here.
///
/// # Errors
/// [`ExchangeError`], whose text holds neither `assertion` nor whatever else looks like a credential.
pub fn judge(
    host: &TokenHost,
    trusted: &TrustedHosts,
    status: StatusCode,
    date: Option<i64>,
    body: &[u8],
    assertion: &str,
) -> Result<Grant, ExchangeError> {
    let malformed = |what: &str| ExchangeError::Malformed(answer(status, "", what));
    let Ok(parsed) = serde_json::from_slice::<TokenAnswer>(body) else {
        return Err(not_json(status, body, assertion));
    };
    if !status.is_success() {
        return Err(oauth_error(status, &parsed, assertion));
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
        date,
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
fn is_token(token: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\'' && byte != b'\\';
    !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(visible)
}

/// Printable ASCII of a sensible length: an identity URL, or scopes. Anything else is left out.
fn is_line(text: &str) -> bool {
    text.len() <= MAX_LINE_BYTES && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

async fn read_bounded(mut response: Response) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
    let status = response.status();
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| broken_off(status, &error))?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ExchangeError::Malformed(answer(
                status,
                "",
                "the answer is longer than 64 KiB",
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A limit of time that is reached is the network's fault, a body that ends early is the answer's.
fn broken_off(status: StatusCode, error: &reqwest::Error) -> ExchangeError {
    if error.is_timeout() {
        return ExchangeError::Network("the answer stalled".to_owned());
    }
    ExchangeError::Malformed(answer(status, "", "the answer broke off"))
}

fn oauth_error(status: StatusCode, parsed: &TokenAnswer, assertion: &str) -> ExchangeError {
    let shown = |text: &Option<String>| raw::shown(text.as_deref().unwrap_or_default(), &[assertion]);
    let answer = answer(status, &shown(&parsed.error), &shown(&parsed.error_description));
    let transient = matches!(answer.error.as_str(), "server_error" | "unknown_error");
    match status.as_u16() {
        _ if answer.error.is_empty() => not_oauth(status, answer),
        429 | 500.. => ExchangeError::Unavailable(answer),
        _ if transient => ExchangeError::Unavailable(answer),
        _ => ExchangeError::Refused(answer),
    }
}

fn not_json(status: StatusCode, body: &[u8], assertion: &str) -> ExchangeError {
    // The body of a 200 may hold a token that was cut off: it is described, never quoted.
    let what = if status.is_success() {
        format!("{} with {} bytes that are not JSON", status.as_u16(), body.len())
    } else if body.is_empty() {
        format!("{} with an empty body", status.as_u16())
    } else {
        raw::shown(&String::from_utf8_lossy(body), &[assertion])
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

fn answer(status: StatusCode, error: &str, description: &str) -> SalesforceAnswer {
    SalesforceAnswer {
        error: error.to_owned(),
        error_description: description.to_owned(),
        http_status: status.as_u16(),
    }
}

/// RFC 6749, section 5.1: a token comes as application/json. Whatever else a portal or a proxy has put there is
/// no token, however it may look.
fn is_called_json(response: &Response) -> bool {
    let named = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|name| name.to_str().ok())
        .unwrap_or_default();
    named
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn date_of(response: &Response) -> Option<i64> {
    let text = response.headers().get(DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// The innermost cause says most: "Connection refused", "certificate has expired", "Name or service not
/// known". The URL is left out, for the caller knows the host.
fn network(error: &reqwest::Error) -> ExchangeError {
    if error.is_timeout() {
        return ExchangeError::Network("no answer in time".to_owned());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else {
        "the request failed"
    };
    ExchangeError::Network(raw::shown(&format!("{what}: {cause}"), &[]))
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
            None,
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
