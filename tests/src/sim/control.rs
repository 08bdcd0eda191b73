//! The control interface: JSON over plain HTTP on loopback, to turn everything while the simulator runs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::answer::{Answer, Body};
use super::app::App;
use super::assertion::public_key;
use super::config::StartError;
use super::faults::FaultRule;
use super::log::Exchange;
use super::org::User;
use super::world::World;

/// No command is longer than this; a certificate has at most 4 KB.
const MAX_COMMAND: usize = 1 << 20;

/// What the interface offers, for those who ask for `/`.
const COMMANDS: &[&str] = &[
    "GET /                      this list, the URL and the simulated time",
    "GET /counters              requests, exchanges, grants",
    "GET /exchanges             the latest token requests, decoded",
    "GET /knobs                 all knobs",
    "PATCH /knobs               change some: {\"session_timeout\": 900, \"regrant\": \"same-fixed\"}",
    "GET /faults                the faults that wait",
    "POST /faults               add one: {\"kind\": \"maintenance\", \"times\": 2, \"path\": \"/services/oauth2/token\"}",
    "DELETE /faults             take all away",
    "POST /release              let stalled requests go on",
    "POST /clock                {\"advance\": 3600} or {\"offset\": -300}, in seconds",
    "DELETE /sessions           end all sessions",
    "GET /apps, /users, /orgs   the registry, without secrets",
    "POST /apps, /users         add one",
    "PATCH /apps/KEY            change an app by its consumer key",
    "PATCH /users/NAME          change a user by username",
    "PATCH /orgs/NAME           change an org by name",
];

/// Binds the interface.
pub(super) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let failed = |cause| StartError::Listen(address, cause);
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves the interface for ever.
pub(super) async fn serve(world: Arc<World>, listener: TcpListener) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let world = Arc::clone(&world);
                async move { Ok::<_, Infallible>(handle(&world, request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            // Errors on a connection are the client's affair.
            builder.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn handle(world: &World, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH);
    if let Err(answer) = from_this_machine(&request) {
        return answer.into_response(&date);
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let body = match Limited::new(request.into_body(), MAX_COMMAND).collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) => return refused(413, &cause.to_string()).into_response(&date),
    };
    let body = if body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_slice(&body)
    };
    let answer = match body {
        Ok(body) => command(world, &method, &path, body),
        Err(cause) => refused(400, &format!("the body is not JSON: {cause}")),
    };
    answer.into_response(&date)
}

/// A web page that the user happens to visit must not turn knobs: browsers send `Origin`, and a name that was
/// rebound to loopback shows in `Host`.
fn from_this_machine(request: &hyper::Request<Incoming>) -> Result<(), Answer> {
    let host = request
        .headers()
        .get("host")
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .map_or(host, |(name, _)| name)
        .trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if local && !request.headers().contains_key("origin") {
        return Ok(());
    }
    Err(refused(
        403,
        "the control interface answers programs on this machine only, and no browser",
    ))
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": message }))
}

fn command(world: &World, method: &str, path: &str, body: Value) -> Answer {
    let (head, name) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((path.trim_matches('/'), ""));
    let name = decoded(name);
    let result = match (method, head, name.as_str()) {
        ("GET", _, "") => return read(world, head),
        ("PATCH", "knobs", "") => patch(&mut world.state().knobs, &body),
        ("POST", "faults", "") => parse::<FaultRule>(body).map(|rule| world.state().faults.push(rule)),
        ("DELETE", "faults", "") => {
            world.state().faults.clear();
            Ok(())
        }
        ("POST", "release", "") => {
            world.release_stalled();
            Ok(())
        }
        ("POST", "clock", "") => clock(world, &body),
        ("DELETE", "sessions", "") => {
            world.state().sessions.clear();
            Ok(())
        }
        ("POST", "apps", "") => add_app(world, body),
        ("POST", "users", "") => parse::<User>(body).map(|user| world.state().users.push(user)),
        ("PATCH", "apps" | "users" | "orgs", name) => return change(world, head, name, &body),
        _ => return refused(404, "there is no such command; GET / lists them"),
    };
    match result {
        Ok(()) => Answer::json(200, &json!({ "ok": true })),
        Err(cause) => refused(400, &cause),
    }
}

fn decoded(name: &str) -> String {
    // A form's `+` means a blank, but in a path it is itself.
    let name = format!("name={}", name.replace('+', "%2B"));
    let value = url::form_urlencoded::parse(name.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned());
    value.unwrap_or_default()
}

fn read(world: &World, what: &str) -> Answer {
    let state = world.state();
    let body = match what {
        "" => json!({
            "commands": COMMANDS,
            "url": world.url_for(state.orgs[0].host()),
            "now": world.clock.now(),
            "clock_offset": world.clock.offset(),
            "sessions": state.sessions.count(world.clock.now()),
        }),
        "counters" => json!(*world.counters().borrow()),
        "exchanges" => state.exchanges.iter().map(shown).collect(),
        "knobs" => json!(state.knobs),
        "faults" => json!(state.faults),
        "apps" => state.apps.iter().map(without_secret).collect(),
        "users" => json!(state.users),
        "orgs" => json!(state.orgs),
        _ => return refused(404, "there is no such thing to read; GET / lists them"),
    };
    Answer::json(200, &body)
}

/// An exchange without the assertion and the token, which are credentials.
fn shown(exchange: &Exchange) -> Value {
    json!({
        "number": exchange.number,
        "at": exchange.request.at,
        "host": exchange.request.host,
        "path": exchange.request.path,
        "version": exchange.request.version,
        "header": exchange.header,
        "claims": exchange.claims,
        "outcome": exchange.outcome,
    })
}

fn without_secret(app: &App) -> Value {
    let mut value = json!(app);
    if let Some(members) = value.as_object_mut() {
        members.remove("consumer_secret");
    }
    value
}

fn clock(world: &World, body: &Value) -> Result<(), String> {
    match (
        body.get("advance").and_then(Value::as_i64),
        body.get("offset").and_then(Value::as_i64),
    ) {
        (Some(seconds), None) => world.clock.advance_ms(seconds.saturating_mul(1000)),
        (None, Some(seconds)) => world.clock.set_offset(seconds),
        _ => return Err("give either \"advance\" or \"offset\", in whole seconds".to_owned()),
    }
    Ok(())
}

fn add_app(world: &World, body: Value) -> Result<(), String> {
    let mut app: App = parse(body)?;
    usable(&app)?;
    app.created_at.get_or_insert(world.clock.now());
    world.state().apps.push(app);
    Ok(())
}

fn usable(app: &App) -> Result<(), String> {
    let certificate = app.certificate.as_deref();
    certificate.map_or(Ok(()), |text| {
        public_key(text)
            .map(drop)
            .map_err(|cause| format!("the certificate: {cause}"))
    })
}

fn change(world: &World, kind: &str, name: &str, body: &Value) -> Answer {
    let mut state = world.state();
    let result = match kind {
        "apps" => state
            .apps
            .iter_mut()
            .find(|app| app.consumer_key == name)
            .map(|app| {
                let mut changed = app.clone();
                patch(&mut changed, body)?;
                usable(&changed)?;
                *app = changed;
                Ok(())
            }),
        "users" => state
            .users
            .iter_mut()
            .find(|user| user.username == name)
            .map(|user| patch(user, body)),
        _ => state
            .orgs
            .iter_mut()
            .find(|org| org.name == name)
            .map(|org| patch(org, body)),
    };
    match result {
        None => refused(404, &format!("there is none called {name}")),
        Some(Ok(())) => Answer::json(200, &json!({ "ok": true })),
        Some(Err(cause)) => refused(400, &cause),
    }
}

fn parse<T: DeserializeOwned>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|cause: serde_json::Error| cause.to_string())
}

/// Changes those members of `target` that `change` names; a name that `target` does not have is an error.
fn patch<T: Serialize + DeserializeOwned>(target: &mut T, change: &Value) -> Result<(), String> {
    let mut value = serde_json::to_value(&*target).map_err(|cause| cause.to_string())?;
    let (Some(members), Some(changes)) = (value.as_object_mut(), change.as_object()) else {
        return Err("the body must be a JSON object".to_owned());
    };
    for (name, new) in changes {
        members.insert(name.clone(), new.clone());
    }
    *target = parse(value)?;
    Ok(())
}
