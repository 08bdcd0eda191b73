//! The grant: a session for an approved user, and the answer that tells of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::assertion;
use super::ids;
use super::knobs::{Knobs, Regrant, TokenFormat};
use super::policy::Approved;
use super::session::Session;
use super::world::{State, World};

/// Where the request came in: this decides the URLs of the answer.
pub(super) struct Site<'a> {
    /// The org's URL as the client reaches it.
    pub(super) instance_url: String,
    /// Path of the Experience Cloud site; empty for the org itself.
    pub(super) path: &'a str,
}

/// Opens or finds the session and makes the answer: (answer, access token).
pub(super) fn grant(
    world: &World,
    state: &mut State,
    approved: &Approved,
    site: &Site<'_>,
) -> (Answer, String) {
    let knobs = state.knobs.clone();
    let session = session(world, state, &knobs, approved, site);
    let mut body = members(world, &knobs, approved, site, &session);
    for (name, value) in &knobs.answer_overrides {
        if value.is_null() {
            body.remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    let answer = Answer::json(200, &Value::Object(body))
        .with_header("cache-control", "no-store")
        .with_header("pragma", "no-cache");
    (answer, session.token)
}

fn session(world: &World, state: &mut State, knobs: &Knobs, approved: &Approved, site: &Site<'_>) -> Session {
    let Approved { app, user, org } = approved;
    let now = world.clock.now();
    let format = app.token_format.unwrap_or(knobs.token_format);
    if format == TokenFormat::Opaque
        && knobs.regrant != Regrant::New
        && let Some(held) = state.sessions.of(&user.username, &app.consumer_key, now)
    {
        if knobs.regrant == Regrant::SameExtends {
            held.extended_at = now;
        }
        return held.clone();
    }
    let life = match format {
        TokenFormat::Opaque => app.session_timeout.unwrap_or(knobs.session_timeout),
        TokenFormat::Jwt => knobs.jwt_lifetime,
    };
    let mut session = Session {
        token: String::new(),
        org_id: ids::long_id(&org.id),
        username: user.username.clone(),
        consumer_key: app.consumer_key.clone(),
        scope: app.granted_scope(),
        format,
        issued_at: now,
        extended_at: now,
        timeout: i64::try_from(life).unwrap_or(i64::MAX),
        serial: 0,
    };
    session.token = match format {
        TokenFormat::Opaque => ids::opaque_token(&org.id),
        TokenFormat::Jwt => jwt_token(world, &session, &user.id, &site.instance_url),
    };
    state.sessions.open(session.clone());
    session
}

/// An access token in JWT format, with the claims that Salesforce documents for it.
fn jwt_token(world: &World, session: &Session, user_id: &str, instance_url: &str) -> String {
    let header = json!({
        "alg": "RS256",
        "kid": "CORE_ATJWT.00DSim.1",
        "tnk": format!("core/prod/{}", session.org_id),
        "tty": "sfdc-core-token",
        "typ": "JWT",
        "ver": "1.0",
    });
    let claims = json!({
        "aud": [instance_url],
        "client_id": session.consumer_key,
        "exp": session.ends_at(),
        "hsc": false,
        "iat": session.issued_at,
        "iss": instance_url,
        "jti": ids::random_id("jti"),
        "mty": "oauth",
        "nbf": session.issued_at,
        "roles": [],
        "scp": session.scope,
        "sub": format!("uid:{}", ids::long_id(user_id)),
    });
    assertion::sign(world.jwt_key(), &header, &claims)
}

fn members(
    world: &World,
    knobs: &Knobs,
    approved: &Approved,
    site: &Site<'_>,
    session: &Session,
) -> Map<String, Value> {
    let id = identity_url(&site.instance_url, &session.org_id, &approved.user.id);
    let mut body = json!({
        "access_token": session.token,
        "scope": session.scope,
        "instance_url": site.instance_url,
        "id": id,
        "token_type": "Bearer",
    })
    .as_object()
    .cloned()
    .unwrap_or_default();
    if !site.path.is_empty() {
        body.insert(
            "sfdc_community_url".to_owned(),
            json!(format!("{}{}", site.instance_url, site.path)),
        );
        body.insert("sfdc_community_id".to_owned(), json!(ids::random_id("0DB")));
    }
    if let Some(seconds) = knobs.expires_in {
        body.insert("expires_in".to_owned(), json!(seconds));
    }
    if knobs.extra_members {
        let issued_at = world.clock.now_ms().to_string();
        body.insert(
            "signature".to_owned(),
            json!(signature(&id, &issued_at, approved)),
        );
        body.insert("issued_at".to_owned(), json!(issued_at));
        body.insert("api_instance_url".to_owned(), json!(site.instance_url));
        body.insert("token_format".to_owned(), json!(session.format));
    }
    body
}

/// Base64 of HMAC-SHA256 over `id` and `issued_at` with the consumer secret, as Salesforce documents it.
fn signature(id: &str, issued_at: &str, approved: &Approved) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(
        hmac::HMAC_SHA256,
        approved.app.consumer_secret.expose().as_bytes(),
    );
    STANDARD.encode(hmac::sign(&key, format!("{id}{issued_at}").as_bytes()))
}

/// The identity URL of a user.
pub(super) fn identity_url(instance_url: &str, org_id: &str, user_id: &str) -> String {
    format!(
        "{instance_url}/id/{}/{}",
        ids::long_id(org_id),
        ids::long_id(user_id)
    )
}
