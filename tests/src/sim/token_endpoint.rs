//! The token endpoint: the order of its checks is grant type, shape, `iss`, host, signature, audience, `exp`,
//! replay, and then what `policy` checks.

use std::net::IpAddr;

use super::answer::Answer;
use super::app::{App, AppKind};
use super::assertion::{Assertion, Expiry};
use super::grant::{self, Site};
use super::knobs::AudienceMode;
use super::log::{Exchange, Outcome, Request};
use super::policy::{self, Approved};
use super::refusal::Refusal;
use super::world::{Place, State, World};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A token request: what the router found out about it.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// `host:port` as the client wrote it.
    pub(super) authority: &'a str,
    pub(super) place: Place,
    /// Path of the Experience Cloud site; empty for the org itself.
    pub(super) site: &'a str,
    pub(super) caller: IpAddr,
}

/// The record of a token request that has just arrived.
pub(super) fn arrived(request: &Request) -> Exchange {
    let assertion = request.parameter("assertion");
    let decoded = assertion.as_deref().and_then(Assertion::parse);
    let (header, claims) = decoded
        .map(|parts| (parts.header, parts.claims))
        .unwrap_or_default();
    Exchange {
        number: 0,
        request: request.clone(),
        assertion,
        header,
        claims,
        outcome: Outcome::Pending,
        access_token: None,
    }
}

/// Grants or refuses.
pub(super) fn exchange(world: &World, call: &Call<'_>) -> (Answer, Outcome, Option<String>) {
    let mut state = world.state();
    let (alternate, omit) = (state.knobs.alternate_texts, state.knobs.omit_description);
    match approved(world, &mut state, call) {
        Ok(approved) => {
            let site = Site {
                instance_url: instance_url(world, call, &approved),
                path: call.site,
            };
            let (answer, token) = grant::grant(world, &mut state, &approved, &site);
            (answer, Outcome::Granted, Some(token))
        }
        Err(refusal) => {
            let outcome = Outcome::Refused(
                refusal.error().to_owned(),
                refusal.description(alternate).to_owned(),
            );
            (Answer::refusal(refusal, alternate, omit), outcome, None)
        }
    }
}

/// On its own host an org is named as the client reached it; a login host names the org's My Domain.
fn instance_url(world: &World, call: &Call<'_>, approved: &Approved) -> String {
    match call.place {
        Place::Org(_) => format!("{}://{}", world.scheme, call.authority),
        Place::Login | Place::Test => world.url_for(approved.org.host()),
    }
}

fn approved(world: &World, state: &mut State, call: &Call<'_>) -> Result<Approved, Refusal> {
    let compact = parameters(state, call.request)?;
    let assertion = Assertion::parse(&compact).ok_or(Refusal::InvalidAssertion)?;
    if !assertion.is_rs256() {
        return Err(Refusal::InvalidAssertion);
    }
    let consumer_key = assertion.claim("iss").ok_or(Refusal::ConsumerKeyUnknown)?;
    let (app, orgs) = known_app(world, state, call.place, consumer_key)?;
    if !app
        .certificate
        .as_deref()
        .is_some_and(|certificate| assertion.is_signed_by(certificate))
    {
        return Err(state.knobs.signature_answer);
    }
    audience(world, state, call, &app, &orgs, &assertion)?;
    let now = world.clock.now();
    fresh(state, &assertion, now)?;
    first_use(state, consumer_key, &assertion)?;
    let username = assertion.claim("sub").ok_or(Refusal::InvalidAssertion)?;
    policy::approve(state, &app, &orgs, username, call.caller, now)
}

/// The assertion, out of exactly the two parameters that the flow has.
fn parameters(state: &State, request: &Request) -> Result<String, Refusal> {
    if request.method != "POST" {
        return Err(Refusal::MustUsePost);
    }
    let form = request.form();
    let value = |name: &str| {
        form.iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.clone())
    };
    if value("grant_type").as_deref() != Some(GRANT_TYPE) {
        return Err(Refusal::GrantTypeNotSupported);
    }
    if value("scope").is_some() {
        return Err(Refusal::ScopeNotSupported);
    }
    // An assertion in a query string ends up in logs, so it is never taken from there.
    if state.knobs.strict_parameters && (form.len() > 2 || !request.query.is_empty()) {
        return Err(Refusal::UnexpectedParameter);
    }
    value("assertion").ok_or(Refusal::InvalidAssertion)
}

/// The app with this consumer key, and those orgs behind this host that have it.
fn known_app(
    world: &World,
    state: &State,
    place: Place,
    consumer_key: &str,
) -> Result<(App, Vec<usize>), Refusal> {
    let app = state.apps.iter().find(|app| app.consumer_key == consumer_key);
    let app = app.ok_or(Refusal::ConsumerKeyUnknown)?.clone();
    let age = world.clock.now() - app.created_at.unwrap_or(i64::MIN / 2);
    if age < i64::try_from(state.knobs.propagation_delay).unwrap_or(i64::MAX) {
        return Err(state.knobs.propagation_answer);
    }
    let here = |index: usize| match place {
        Place::Org(home) => home == index,
        Place::Login => !state.orgs[index].sandbox,
        Place::Test => state.orgs[index].sandbox,
    };
    let has_app = |index: usize| {
        if app.orgs.is_empty() {
            index == 0
        } else {
            app.orgs.contains(&state.orgs[index].name)
        }
    };
    let external = app.kind == AppKind::ExternalClientApp;
    if (external && !matches!(place, Place::Org(_))) || !app.installed {
        return Err(Refusal::AppNotInstalled);
    }
    let orgs: Vec<usize> = (0..state.orgs.len())
        .filter(|index| here(*index) && has_app(*index))
        .collect();
    if orgs.is_empty() {
        return Err(Refusal::ConsumerKeyUnknown);
    }
    if app.jwt_bearer {
        Ok((app, orgs))
    } else {
        Err(Refusal::GrantTypeNotSupported)
    }
}

/// `aud` must be, letter by letter, one of the URLs that stand for this place.
fn audience(
    world: &World,
    state: &State,
    call: &Call<'_>,
    app: &App,
    orgs: &[usize],
    assertion: &Assertion<'_>,
) -> Result<(), Refusal> {
    let seen = format!("{}://{}", world.scheme, call.authority);
    let mut accepted = Vec::new();
    if call.site.is_empty() {
        let mode = app.audience_mode(state.knobs.audience);
        for org in orgs.iter().map(|index| &state.orgs[*index]) {
            if mode != AudienceMode::Classic {
                accepted.extend(org.hosts.iter().map(|host| world.url_for(host)));
            }
            if mode != AudienceMode::MyDomainOnly {
                let login = if org.sandbox {
                    &world.test_hosts
                } else {
                    &world.login_hosts
                };
                accepted.extend(login.iter().map(|host| world.url_for(host)));
                let name = if org.sandbox { "test" } else { "login" };
                accepted.push(format!("https://{name}.salesforce.com"));
            }
        }
        let own = matches!(call.place, Place::Org(_));
        let seen_is_accepted = if own {
            mode != AudienceMode::Classic
        } else {
            mode != AudienceMode::MyDomainOnly
        };
        accepted.extend(seen_is_accepted.then_some(seen));
    } else {
        accepted.push(format!("{seen}{}", call.site));
    }
    let fits = assertion
        .audiences()
        .iter()
        .any(|aud| accepted.iter().any(|one| one == aud));
    if fits {
        Ok(())
    } else {
        Err(Refusal::AudienceInvalid)
    }
}

/// `exp` may be past by the leeway; it may be as far ahead as one likes (sf sends milliseconds).
fn fresh(state: &State, assertion: &Assertion<'_>, now: i64) -> Result<(), Refusal> {
    let Expiry::At(exp) = assertion.expiry() else {
        return Err(Refusal::InvalidAssertion);
    };
    // Both are far below 2^52, where the conversion would begin to round.
    let earliest = now as f64 - state.knobs.leeway as f64;
    if exp >= earliest {
        Ok(())
    } else {
        Err(Refusal::AssertionExpired)
    }
}

fn first_use(state: &mut State, consumer_key: &str, assertion: &Assertion<'_>) -> Result<(), Refusal> {
    let Some(jti) = assertion.claim("jti") else {
        return Ok(());
    };
    let new = state.replayed.insert((consumer_key.to_owned(), jti.to_owned()));
    if new {
        Ok(())
    } else {
        Err(Refusal::InvalidAssertion)
    }
}
