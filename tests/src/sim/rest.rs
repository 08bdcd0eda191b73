//! The REST API: enough of it for clients to log in, ask for limits and run queries.

use serde_json::{Value, json};

use super::answer::Answer;
use super::grant::identity_url;
use super::ids::long_id;
use super::knobs::RestMode;
use super::log::Request;
use super::org::{Org, User};
use super::session::Session;
use super::soql;
use super::world::{Place, State, World};

/// The API versions that are offered: (first, last).
const VERSIONS: (u32, u32) = (31, 66);

/// The token of a request: Salesforce takes `Bearer` and, as of old, `OAuth`.
pub(super) fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    known.then(|| token.trim())
}

/// Answers what lies under `/services/data`. The list of versions needs no token; the rest does.
pub(super) fn data(world: &World, place: Place, request: &Request) -> Answer {
    let path = request
        .path
        .trim_start_matches("/services/data")
        .trim_matches('/');
    if path.is_empty() {
        return Answer::json(200, &versions());
    }
    let (version, resource) = path.split_once('/').unwrap_or((path, ""));
    let mut state = world.state();
    let session = match authorized(world, &mut state, place, request) {
        Ok(session) => session,
        Err(answer) => return answer,
    };
    if !is_version(version) {
        return not_found();
    }
    let Some(org) = state.orgs.iter().find(|org| long_id(&org.id) == session.org_id) else {
        return not_found();
    };
    let call = Call {
        base: world.url_for(org.host()),
        org,
        users: state
            .users
            .iter()
            .filter(|user| belongs(&state, user, org))
            .collect(),
        session: &session,
        request,
        root: format!("/services/data/{version}"),
    };
    call.answer(resource)
        .with_header("sforce-limit-info", "api-usage=1/15000")
}

fn not_found() -> Answer {
    Answer::rest_error(404, "NOT_FOUND", "The requested resource does not exist")
}

/// The session of the request's token, or the answer that it deserves.
fn authorized(world: &World, state: &mut State, place: Place, request: &Request) -> Result<Session, Answer> {
    let dead = || Answer::rest_error(401, "INVALID_SESSION_ID", "Session expired or invalid");
    let token = bearer(request)
        .ok_or_else(|| Answer::rest_error(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"))?;
    let session = state.sessions.used(token, world.clock.now()).ok_or_else(dead)?;
    // A token is good on its own org's hosts only.
    if let Place::Org(index) = place
        && long_id(&state.orgs[index].id) != session.org_id
    {
        return Err(dead());
    }
    match state.knobs.rest {
        RestMode::Normal => Ok(session),
        RestMode::SessionInvalid => Err(dead()),
        RestMode::NotValidForRest => Err(Answer::rest_error(
            401,
            "INVALID_SESSION_ID",
            "This session is not valid for use with the REST API",
        )),
        RestMode::NotAttachedToAgent => Err(Answer::rest_error(
            401,
            "INVALID_SESSION_ID",
            "Connected app is not attached to Agent",
        )),
        RestMode::RequestLimitExceeded => Err(Answer::rest_error(
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        )),
    }
}

/// A call with a good token, seen from the org that the token belongs to.
struct Call<'a> {
    base: String,
    org: &'a Org,
    users: Vec<&'a User>,
    session: &'a Session,
    request: &'a Request,
    /// `/services/data/vNN.0`.
    root: String,
}

impl Call<'_> {
    fn answer(&self, resource: &str) -> Answer {
        let (head, rest) = resource.split_once('/').unwrap_or((resource, ""));
        match (head, rest.trim_end_matches('/')) {
            ("", _) => Answer::json(200, &self.resources()),
            ("limits", "") => Answer::json(200, &limits()),
            ("query" | "queryAll", "") | ("tooling", "query") => self.query(),
            ("sobjects", "") => Answer::json(200, &soql::objects(self.org, &self.users)),
            ("sobjects", one) => self.sobject(one),
            _ => not_found(),
        }
    }

    fn query(&self) -> Answer {
        let parameter = |wanted: &str| {
            let mut pairs = url::form_urlencoded::parse(self.request.query.as_bytes());
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let Some(text) = parameter("q") else {
            return Answer::rest_error(400, "MALFORMED_QUERY", "unexpected token: <EOF>");
        };
        let columns = parameter("columns").is_some_and(|value| value == "true");
        let result = soql::Query::parse(&text).and_then(|query| {
            if columns {
                query.columns(self.org, &self.users)
            } else {
                query.run(self.org, &self.users, &self.root)
            }
        });
        match result {
            Ok(body) => Answer::json(200, &body),
            Err(error) => Answer::rest_error(400, error.code, &error.message),
        }
    }

    /// `sobjects/<name>`, `sobjects/<name>/describe` and `sobjects/<name>/<id>`.
    fn sobject(&self, path: &str) -> Answer {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let found = match rest {
            "" | "describe" => soql::describe(self.org, &self.users, name),
            id => soql::record(self.org, &self.users, &self.root, name, id),
        };
        found.map_or_else(not_found, |body| Answer::json(200, &body))
    }

    fn resources(&self) -> Value {
        let root = &self.root;
        let user = self
            .users
            .iter()
            .find(|user| user.username == self.session.username);
        let user_id = user.map(|user| user.id.as_str()).unwrap_or_default();
        json!({
            "identity": identity_url(&self.base, &self.org.id, user_id),
            "limits": format!("{root}/limits"),
            "query": format!("{root}/query"),
            "queryAll": format!("{root}/queryAll"),
            "sobjects": format!("{root}/sobjects"),
            "tooling": format!("{root}/tooling"),
        })
    }
}

fn belongs(state: &State, user: &User, org: &Org) -> bool {
    match &user.org {
        Some(name) => *name == org.name,
        None => state.orgs.first().is_some_and(|first| first.name == org.name),
    }
}

fn is_version(version: &str) -> bool {
    let number = version.strip_prefix('v').and_then(|text| text.strip_suffix(".0"));
    number
        .and_then(|text| text.parse().ok())
        .is_some_and(|n: u32| (VERSIONS.0..=VERSIONS.1).contains(&n))
}

/// Salesforce has three releases a year; version 60 was Spring '24.
fn versions() -> Value {
    let entry = |version: u32| {
        let releases = version + 72 - 60;
        let (season, year) = match releases % 3 {
            0 => ("Spring", releases / 3),
            1 => ("Summer", releases / 3),
            _ => ("Winter", releases / 3 + 1),
        };
        json!({
            "label": format!("{season} '{year:02}"),
            "url": format!("/services/data/v{version}.0"),
            "version": format!("{version}.0"),
        })
    };
    Value::Array((VERSIONS.0..=VERSIONS.1).map(entry).collect())
}

fn limits() -> Value {
    let of = |max: u32, remaining: u32| json!({ "Max": max, "Remaining": remaining });
    json!({
        "DailyApiRequests": of(15_000, 14_999),
        "DailyAsyncApexExecutions": of(250_000, 250_000),
        "DailyBulkApiBatches": of(15_000, 15_000),
        "DailyBulkV2QueryJobs": of(10_000, 10_000),
        "DataStorageMB": of(5, 5),
        "FileStorageMB": of(20, 20),
        "HourlyTimeBasedWorkflow": of(50, 50),
        "SingleEmail": of(15, 15),
    })
}

#[cfg(test)]
mod tests {
    use super::{is_version, versions};

    #[test]
    fn versions_are_labelled_with_their_releases() {
        let list = versions();
        let label = |version: &str| {
            let entry = list
                .as_array()?
                .iter()
                .find(|entry| entry["version"] == version)?;
            entry["label"].as_str().map(str::to_owned)
        };
        assert_eq!(label("60.0").as_deref(), Some("Spring '24"));
        assert_eq!(label("61.0").as_deref(), Some("Summer '24"));
        assert_eq!(label("62.0").as_deref(), Some("Winter '25"));
        assert_eq!(label("66.0").as_deref(), Some("Spring '26"));
    }

    #[test]
    fn a_version_out_of_range_is_none() {
        assert!(is_version("v60.0"));
        assert!(!is_version("v99.0"));
        assert!(!is_version("60.0"));
    }
}
