//! Salesforce over HTTPS: what is sent, and within which bounds an answer is read.
//!
//! Redirects are not followed: an assertion goes to the host that the user named and to no other. No
//! connection is kept between requests, so that nothing of one lies in idle buffers.

use std::time::Duration;

use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, DATE},
    redirect::Policy,
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Answered, Client, ExchangeError, Grant, Introspection, TokenEndpoint, TokenHost, TrustedHosts, UserInfo,
    answer::malformed, endpoint::BoxFuture, grant, raw, session,
};
use crate::{
    assertion::Assertion,
    limits::{CONNECT_TIME, EXCHANGE_TIME, MAX_ANSWER_BYTES, READ_TIME},
};

/// The grant type of RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Time limits of one request.
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
    client: reqwest::Client,
    /// For plain http to this machine: a proxy would be sent the assertion in the clear.
    direct: reqwest::Client,
    trusted: TrustedHosts,
    total: Duration,
}

/// An answer that was read whole.
struct Reply {
    status: StatusCode,
    is_json: bool,
    body: Zeroizing<Vec<u8>>,
}

impl HttpEndpoint {
    /// Sets the client up. `SSL_CERT_FILE`, `SSL_CERT_DIR` and the proxy variables are read here.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(timeouts: Timeouts, trusted: TrustedHosts) -> Result<Self, reqwest::Error> {
        let client = || {
            reqwest::Client::builder()
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

    fn client(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "http" {
            &self.direct
        } else {
            &self.client
        }
    }

    fn post(&self, url: Url) -> RequestBuilder {
        self.client(&url).post(url).header(ACCEPT, "application/json")
    }

    fn get(&self, url: Url) -> RequestBuilder {
        self.client(&url).get(url).header(ACCEPT, "application/json")
    }

    /// Sends the request and lets `judge` say what its answer is worth.
    async fn ask<T>(
        &self,
        request: RequestBuilder,
        judge: impl FnOnce(Reply) -> Result<T, ExchangeError>,
    ) -> Answered<T> {
        let mut date = None;
        // reqwest's own limit ends with the headers of a body that is read piece by piece.
        let read = tokio::time::timeout(self.total, read(request, &mut date)).await;
        let read = read.unwrap_or_else(|_| Err(ExchangeError::Network("no answer in time".to_owned())));
        Answered {
            outcome: read.and_then(judge),
            date,
        }
    }
}

impl TokenEndpoint for HttpEndpoint {
    fn exchange<'a>(&'a self, host: &'a TokenHost, assertion: Assertion) -> BoxFuture<'a, Answered<Grant>> {
        Box::pin(async move {
            let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
            let request = self.post(host.service("services/oauth2/token")).form(&form);
            let judge = |reply: Reply| {
                if reply.status.is_success() && !reply.is_json {
                    let what = format!("{} that is not called JSON", reply.status.as_u16());
                    return Err(malformed(reply.status, &what));
                }
                grant::judge(host, &self.trusted, reply.status, &reply.body, assertion.expose())
            };
            self.ask(request, judge).await
        })
    }

    fn introspect<'a>(
        &'a self,
        instance_url: &'a str,
        token: &'a str,
        client: Client<'a>,
    ) -> BoxFuture<'a, Answered<Introspection>> {
        Box::pin(async move {
            let Some(url) = session::url(instance_url, "services/oauth2/introspect") else {
                return Answered::undated(Err(ExchangeError::Internal));
            };
            let form = [("token", token), ("token_type_hint", "access_token")];
            let request = self
                .post(url)
                .basic_auth(client.consumer_key, Some(client.consumer_secret))
                .form(&form);
            let judge = |reply: Reply| {
                session::introspection(reply.status, &reply.body, &[token, client.consumer_secret])
            };
            self.ask(request, judge).await
        })
    }

    fn revoke<'a>(&'a self, host: &'a TokenHost, token: &'a str) -> BoxFuture<'a, Answered<()>> {
        Box::pin(async move {
            let request = self
                .post(host.service("services/oauth2/revoke"))
                .form(&[("token", token)]);
            let judge = |reply: Reply| session::revocation(reply.status, &reply.body, token);
            self.ask(request, judge).await
        })
    }

    fn userinfo<'a>(&'a self, host: &'a TokenHost, token: &'a str) -> BoxFuture<'a, Answered<UserInfo>> {
        Box::pin(async move {
            let request = self
                .get(host.service("services/oauth2/userinfo"))
                .bearer_auth(token);
            let judge = |reply: Reply| session::user_info(reply.status, &reply.body, token);
            self.ask(request, judge).await
        })
    }

    fn versions<'a>(&'a self, instance_url: &'a str) -> BoxFuture<'a, Answered<String>> {
        Box::pin(async move {
            let Some(url) = session::url(instance_url, "services/data/") else {
                return Answered::undated(Err(ExchangeError::Internal));
            };
            let judge = |reply: Reply| session::newest_version(reply.status, &reply.body);
            self.ask(self.get(url), judge).await
        })
    }

    fn limits<'a>(
        &'a self,
        instance_url: &'a str,
        version: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Answered<()>> {
        Box::pin(async move {
            let Some(url) = session::url(instance_url, &format!("services/data/v{version}/limits")) else {
                return Answered::undated(Err(ExchangeError::Internal));
            };
            let judge = |reply: Reply| session::api(reply.status, &reply.body, token);
            self.ask(self.get(url).bearer_auth(token), judge).await
        })
    }
}

async fn read(request: RequestBuilder, date: &mut Option<i64>) -> Result<Reply, ExchangeError> {
    let response = request.send().await.map_err(|error| network(&error))?;
    *date = date_of(&response);
    Ok(Reply {
        status: response.status(),
        is_json: is_called_json(&response),
        body: read_bounded(response).await?,
    })
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
            return Err(malformed(status, "the answer is longer than 64 KiB"));
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
    malformed(status, "the answer broke off")
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
