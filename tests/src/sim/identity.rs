//! Who a token belongs to: the identity URL and the OpenID Connect `userinfo` endpoint.

use serde_json::{Value, json};

use super::answer::Answer;
use super::grant::identity_url;
use super::ids::long_id;
use super::log::Request;
use super::org::{Org, User};
use super::rest::bearer;
use super::world::World;

/// Answers `GET /services/oauth2/userinfo`. A bad token is told off in plain text, with 403 and not 401.
pub(super) fn userinfo(world: &World, request: &Request) -> Answer {
    match owner(world, request) {
        Ok((user, org)) => Answer::json(200, &profile(world, &user, &org)),
        Err(answer) => answer,
    }
}

/// Answers `GET /id/<org>/<user>`, which `id` of a grant names.
pub(super) fn identity(world: &World, request: &Request) -> Answer {
    let (user, org) = match owner(world, request) {
        Ok(owner) => owner,
        Err(answer) => return answer,
    };
    let path = request.path.trim_start_matches("/id/");
    if path.split('/').next().map(long_id) != Some(long_id(&org.id)) {
        return Answer::text(403, "Wrong_Org");
    }
    let mut body = profile(world, &user, &org);
    for (name, value) in [
        (
            "id",
            json!(identity_url(&world.url_for(org.host()), &org.id, &user.id)),
        ),
        ("asserted_user", json!(true)),
        ("username", json!(user.username)),
        ("nick_name", json!(user.name)),
        ("display_name", json!(user.name)),
    ] {
        body[name] = value;
    }
    Answer::json(200, &body)
}

fn owner(world: &World, request: &Request) -> Result<(User, Org), Answer> {
    let token = bearer(request).ok_or_else(|| Answer::text(403, "Missing_OAuth_Token"))?;
    let mut state = world.state();
    let session = state.sessions.used(token, world.clock.now());
    let session = session.ok_or_else(|| Answer::text(403, "Bad_OAuth_Token"))?;
    let user = state
        .users
        .iter()
        .find(|user| user.username == session.username)
        .cloned();
    let org = state
        .orgs
        .iter()
        .find(|org| long_id(&org.id) == session.org_id)
        .cloned();
    user.zip(org).ok_or_else(|| Answer::text(403, "Bad_OAuth_Token"))
}

fn profile(world: &World, user: &User, org: &Org) -> Value {
    let base = world.url_for(org.host());
    let data = format!("{base}/services/data/v{{version}}/");
    json!({
        "sub": identity_url(&base, &org.id, &user.id),
        "user_id": long_id(&user.id),
        "organization_id": long_id(&org.id),
        "preferred_username": user.username,
        "nickname": user.name,
        "name": user.name,
        "email": user.email,
        "email_verified": true,
        "active": user.active,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": "en_US",
        "zoneinfo": "Europe/London",
        "utcOffset": 0,
        "urls": {
            "rest": data,
            "query": format!("{data}query/"),
            "sobjects": format!("{data}sobjects/"),
            "custom_domain": base,
        },
    })
}
