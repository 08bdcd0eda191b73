//! Answers before they become HTTP: a status, headers and a body that the faults can still spoil.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::refusal::Refusal;

/// The body of an HTTP answer.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// How the body travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    #[default]
    Whole,
    /// So many bytes at a time, with a pause in between.
    Drip { chunk: usize, interval: Duration },
    /// Half of it, then the connection ends.
    Cut,
    /// A JSON text of this length instead.
    Huge(usize),
}

/// An answer in the making.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
}

impl Answer {
    fn of_kind(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            status,
            headers,
            body: body.into(),
            delivery: Delivery::Whole,
        }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::of_kind(status, "application/json;charset=UTF-8", value.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::of_kind(status, "text/plain;charset=UTF-8", body)
    }

    pub(super) fn html(status: u16, body: &str) -> Self {
        Self::of_kind(status, "text/html;charset=UTF-8", body)
    }

    pub(super) fn xml(status: u16, body: &str) -> Self {
        Self::of_kind(status, "text/xml;charset=UTF-8", body)
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            delivery: Delivery::Whole,
        }
    }

    /// The page of an instance in maintenance.
    pub(super) fn maintenance() -> Self {
        Self::html(
            503,
            "<html><head><title>Salesforce</title></head>\n<body><h1>We are down for maintenance.</h1>\n\
             <p>Sorry for the inconvenience. We'll be back shortly.</p></body></html>\n",
        )
    }

    /// An error of the OAuth endpoints.
    pub(super) fn oauth_error(status: u16, error: &str, description: Option<&str>) -> Self {
        let body = match description {
            Some(text) => json!({ "error": error, "error_description": text }),
            None => json!({ "error": error }),
        };
        Self::json(status, &body)
            .with_header("cache-control", "no-store")
            .with_header("pragma", "no-cache")
    }

    /// A refusal of the token endpoint in the wording asked for.
    pub(super) fn refusal(refusal: Refusal, alternate: bool, omit_description: bool) -> Self {
        let description = (!omit_description).then(|| refusal.description(alternate));
        Self::oauth_error(400, refusal.error(), description)
    }

    /// An error of the REST API, which is a list of one.
    pub(super) fn rest_error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!([{ "message": message, "errorCode": code }]))
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(present, _)| present != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The HTTP response, dated `date`. Headers that HTTP does not allow are left out.
    pub(super) fn into_response(self, date: &str) -> Response<Body> {
        let mut answer = self.with_header("date", date);
        let headers = std::mem::take(&mut answer.headers);
        let mut response = Response::new(answer.delivered());
        *response.status_mut() =
            hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    fn delivered(&mut self) -> Body {
        let body = Bytes::from(std::mem::take(&mut self.body));
        match self.delivery {
            Delivery::Whole => Full::new(body).map_err(never).boxed(),
            Delivery::Drip { chunk, interval } => drip(body, chunk.max(1), interval),
            Delivery::Cut => cut(&body),
            Delivery::Huge(length) => huge(length),
        }
    }
}

fn never(impossible: Infallible) -> io::Error {
    match impossible {}
}

fn drip(body: Bytes, chunk: usize, interval: Duration) -> Body {
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        let mut rest = body;
        while !rest.is_empty() {
            let drop = rest.split_to(chunk.min(rest.len()));
            if sender.send_data(drop).await.is_err() {
                return;
            }
            tokio::time::sleep(interval).await;
        }
    });
    channel.boxed()
}

fn cut(body: &Bytes) -> Body {
    let (mut sender, channel) = Channel::new(1);
    let half = body.slice(..body.len() / 2);
    tokio::spawn(async move {
        // The client may be gone already; then there is nobody left to disappoint.
        if sender.send_data(half).await.is_ok() {
            sender.abort(io::Error::from(io::ErrorKind::ConnectionReset));
        }
    });
    channel.boxed()
}

fn huge(length: usize) -> Body {
    const CHUNK: usize = 64 << 10;
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        let opening = Bytes::from_static(b"{\"access_token\":\"");
        let mut left = length.saturating_sub(opening.len());
        let mut sent = sender.send_data(opening).await;
        while sent.is_ok() && left > 0 {
            let chunk = Bytes::from(vec![b'A'; CHUNK.min(left)]);
            left -= chunk.len();
            sent = sender.send_data(chunk).await;
        }
    });
    channel.boxed()
}
