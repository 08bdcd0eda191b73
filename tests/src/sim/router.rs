//! Brings a request to where it belongs, through the faults that lie in wait for it.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::answer::{Answer, Body, Delivery};
use super::faults::Fault;
use super::log::{Outcome, Request};
use super::refusal::Refusal;
use super::token_endpoint::{self, Call};
use super::world::{Place, World};
use super::{identity, introspect, rest, soap};

/// Longer requests than this are none that a client of this API sends.
const MAX_REQUEST: usize = 4 << 20;

/// What became of a request.
pub(super) enum Handled {
    Answered(hyper::Response<Body>),
    /// The connection is to be reset.
    Reset,
}

/// Answers one request.
pub(super) async fn handle(world: &World, caller: IpAddr, request: hyper::Request<Incoming>) -> Handled {
    let authority = authority(&request);
    let Some(request) = read(world, &authority, request).await else {
        return Handled::Reset;
    };
    world.remember(&request);
    let exchange = is_token_path(&request.path).then(|| world.begin(token_endpoint::arrived(&request)));
    let fault = world.fault(&request.host, &request.path);
    if matches!(fault, Some(Fault::Stall)) {
        world.stall().await;
    }
    if let Some(Fault::Refuse { refusal }) = fault {
        return Handled::Answered(refused(world, refusal, exchange).into_response(&date(world)));
    }
    let replaced = fault.as_ref().and_then(|fault| replacement(fault, &request));
    if let (Some(number), true) = (exchange, replaced.is_some() || fault == Some(Fault::Reset)) {
        world.end(number, &Outcome::Faulted, None);
    }
    if fault == Some(Fault::Reset) {
        return Handled::Reset;
    }
    let answer = replaced.unwrap_or_else(|| genuine(world, caller, &authority, &request, exchange));
    let answer = match &fault {
        Some(fault) => spoiled(answer, fault),
        None => answer,
    };
    Handled::Answered(answer.into_response(&date(world)))
}

/// `host:port` as the client wrote it: HTTP/2 has it in the URI, HTTP/1.1 in a header.
fn authority(request: &hyper::Request<Incoming>) -> String {
    let header = || {
        request
            .headers()
            .get("host")
            .and_then(|host| host.to_str().ok())
            .map(str::to_owned)
    };
    request
        .uri()
        .authority()
        .map(ToString::to_string)
        .or_else(header)
        .unwrap_or_default()
        .to_lowercase()
}

fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// The whole request, or nothing if the client gave up or sent too much.
async fn read(world: &World, authority: &str, request: hyper::Request<Incoming>) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await.ok()?.to_bytes();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Some(Request {
        at: world.clock.now(),
        method: parts.method.to_string(),
        host: host(authority).to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        version: format!("{:?}", parts.version),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: body.to_vec(),
    })
}

fn is_token_path(path: &str) -> bool {
    path.ends_with("/services/oauth2/token")
}

fn date(world: &World) -> String {
    let now = u64::try_from(world.clock.now()).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now))
}

/// The answer that Salesforce would give.
fn genuine(
    world: &World,
    caller: IpAddr,
    authority: &str,
    request: &Request,
    exchange: Option<u64>,
) -> Answer {
    let (place, site, path) = {
        let state = world.state();
        let place = world.place(&state, &request.host);
        let (site, path) = match place {
            Place::Org(index) => state.orgs[index].split_site(&request.path),
            Place::Login | Place::Test => ("", request.path.as_str()),
        };
        (place, site.to_owned(), path.to_owned())
    };
    match (exchange, path.as_str()) {
        (Some(number), "/services/oauth2/token") => {
            let call = Call {
                request,
                authority,
                place,
                site: &site,
                caller,
            };
            let (answer, outcome, token) = token_endpoint::exchange(world, &call);
            world.end(number, &outcome, token.as_deref());
            answer
        }
        (_, "/services/oauth2/introspect") => introspect::introspect(world, request),
        (_, "/services/oauth2/revoke") => introspect::revoke(world, request),
        (_, "/services/oauth2/userinfo") => identity::userinfo(world, request),
        (_, path) if path.starts_with("/id/") => identity::identity(world, request),
        (_, path) if path == "/services/data" || path.starts_with("/services/data/") => {
            rest::data(world, place, request)
        }
        (_, path) if path.starts_with("/services/Soap/") => soap::soap(world, request),
        _ => Answer::html(404, "<html><body><h1>URL No Longer Exists</h1></body></html>\n"),
    }
}

/// The answer of a fault that needs no genuine one.
fn replacement(fault: &Fault, request: &Request) -> Option<Answer> {
    let answer = match fault {
        Fault::Maintenance => Answer::maintenance(),
        Fault::BadGateway => Answer::html(502, "<html><body><h1>502 Bad Gateway</h1></body></html>\n"),
        Fault::EmptyBody => Answer::empty(200),
        Fault::HtmlOk => Answer::html(
            200,
            "<html><body><h1>Please sign in to the network</h1></body></html>\n",
        ),
        Fault::Redirect { location, status } => Answer::empty(*status).with_header("location", location),
        Fault::HugeBody { bytes } => Answer {
            delivery: Delivery::Huge(*bytes),
            ..Answer::json(200, &Value::Null)
        },
        Fault::Canned {
            status,
            headers,
            body,
        } => canned(*status, headers, body, request),
        Fault::Refuse { .. }
        | Fault::TruncatedJson
        | Fault::WrongContentType
        | Fault::SlowBody { .. }
        | Fault::CutBody
        | Fault::Stall
        | Fault::Reset
        | Fault::HugeHeaders { .. } => return None,
    };
    Some(answer)
}

/// A refusal that was asked for by name.
fn refused(world: &World, refusal: Refusal, exchange: Option<u64>) -> Answer {
    let (alternate, omit) = {
        let knobs = &world.state().knobs;
        (knobs.alternate_texts, knobs.omit_description)
    };
    if let Some(number) = exchange {
        let description = refusal.description(alternate).to_owned();
        world.end(
            number,
            &Outcome::Refused(refusal.error().to_owned(), description),
            None,
        );
    }
    Answer::refusal(refusal, alternate, omit)
}

fn canned(status: u16, headers: &[(String, String)], body: &str, request: &Request) -> Answer {
    let assertion = request.parameter("assertion").unwrap_or_default();
    let sent = String::from_utf8_lossy(&request.body);
    let filled = |text: &str| text.replace("{assertion}", &assertion).replace("{body}", &sent);
    let mut answer = Answer::empty(status);
    for (name, value) in headers {
        answer = answer.with_header(&name.to_lowercase(), filled(value));
    }
    answer.body = filled(body).into_bytes();
    answer
}

/// The genuine answer, spoiled.
fn spoiled(mut answer: Answer, fault: &Fault) -> Answer {
    match fault {
        Fault::TruncatedJson => answer.body.truncate(answer.body.len() / 2),
        Fault::WrongContentType => answer = answer.with_header("content-type", "text/plain"),
        Fault::SlowBody { chunk, interval_ms } => {
            let interval = Duration::from_millis(*interval_ms);
            answer.delivery = Delivery::Drip {
                chunk: *chunk,
                interval,
            };
        }
        Fault::CutBody => answer.delivery = Delivery::Cut,
        Fault::HugeHeaders { bytes } => answer = answer.with_header("x-padding", "A".repeat(*bytes)),
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_host_is_found_with_and_without_a_port() {
        assert_eq!(host("localhost:8443"), "localhost");
        assert_eq!(host("localhost"), "localhost");
        assert_eq!(host("[::1]:8443"), "::1");
    }
}
