//! Introspection (RFC 7662) and revocation (RFC 7009) as Salesforce has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::answer::Answer;
use super::app::App;
use super::grant::identity_url;
use super::ids::long_id;
use super::knobs::{IntrospectionMode, RevocationMode};
use super::log::Request;
use super::session::Session;
use super::world::{State, World};

/// Answers `POST /services/oauth2/introspect`.
pub(super) fn introspect(world: &World, request: &Request) -> Answer {
    world.count(|counters| counters.introspections += 1);
    let state = world.state();
    let bad_client = || Answer::oauth_error(401, "invalid_client", Some("invalid client credentials"));
    let mode = state.knobs.introspection;
    if request.method != "POST" {
        return Answer::oauth_error(400, "invalid_request", Some("must use HTTP POST"));
    }
    if mode == IntrospectionMode::Off {
        return Answer::oauth_error(403, "access_denied", Some("token introspection is disabled"));
    }
    let Some(app) = client(&state, request).filter(|_| mode != IntrospectionMode::WrongSecret) else {
        return bad_client();
    };
    let Some(token) = request.parameter("token") else {
        return Answer::oauth_error(400, "invalid_request", Some("token is required"));
    };
    let session = state.sessions.live(&token, world.clock.now());
    let session = session.filter(|session| may_introspect(&state, app, session));
    match session {
        Some(session) if mode != IntrospectionMode::AlwaysInactive => active(world, &state, session),
        _ => Answer::json(200, &json!({ "active": false })),
    }
}

/// An app may ask about its own tokens; with "Introspect all Tokens" about every token of an org that has it.
fn may_introspect(state: &State, app: &App, session: &Session) -> bool {
    let shares_org = || {
        let org = state
            .orgs
            .iter()
            .position(|org| long_id(&org.id) == session.org_id);
        org.is_some_and(|index| {
            if app.orgs.is_empty() {
                index == 0
            } else {
                app.orgs.contains(&state.orgs[index].name)
            }
        })
    };
    session.consumer_key == app.consumer_key || (app.introspect_all && shares_org())
}

fn active(world: &World, state: &State, session: &Session) -> Answer {
    let user = state.users.iter().find(|user| user.username == session.username);
    let org = state.orgs.iter().find(|org| long_id(&org.id) == session.org_id);
    let base = org.map(|org| world.url_for(org.host())).unwrap_or_default();
    let user_id = user.map(|user| user.id.as_str()).unwrap_or_default();
    let moving = state.knobs.introspection_iat_moves;
    let born = if moving {
        session.extended_at
    } else {
        session.issued_at
    };
    Answer::json(
        200,
        &json!({
            "active": true,
            "scope": session.scope,
            "client_id": session.consumer_key,
            "username": session.username,
            "sub": identity_url(&base, &session.org_id, user_id),
            "token_type": "access_token",
            "exp": session.ends_at(),
            "iat": born,
            "nbf": born,
        }),
    )
    .with_header("cache-control", "no-store")
}

/// The app whose key and secret the request carries, as HTTP Basic or in the body.
fn client<'a>(state: &'a State, request: &Request) -> Option<&'a App> {
    let (key, secret) = match request.header("authorization") {
        Some(header) => basic(header)?,
        None => (
            request.parameter("client_id")?,
            request.parameter("client_secret")?,
        ),
    };
    let app = state.apps.iter().find(|app| app.consumer_key == key)?;
    (app.consumer_secret.expose() == secret).then_some(app)
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (key, secret) = text.split_once(':')?;
    Some((key.to_owned(), secret.to_owned()))
}

/// Answers `/services/oauth2/revoke`, which takes `token` in the body or, with GET, in the query.
pub(super) fn revoke(world: &World, request: &Request) -> Answer {
    world.count(|counters| counters.revocations += 1);
    let mut state = world.state();
    let unsupported = "this token type is not supported";
    match state.knobs.revocation {
        RevocationMode::UnsupportedTokenType => {
            return Answer::oauth_error(400, "unsupported_token_type", Some(unsupported));
        }
        RevocationMode::InvalidToken => {
            return Answer::oauth_error(400, "invalid_token", Some("invalid token"));
        }
        RevocationMode::On => {}
    }
    let query = || url::form_urlencoded::parse(request.query.as_bytes()).find(|(name, _)| name == "token");
    let token = request
        .parameter("token")
        .or_else(|| query().map(|(_, value)| value.into_owned()));
    let known = token.is_some_and(|token| {
        state.sessions.live(&token, world.clock.now()).is_some() && state.sessions.revoke(&token)
    });
    if known {
        Answer::empty(200)
    } else {
        Answer::oauth_error(400, "invalid_token", Some("invalid token"))
    }
}
