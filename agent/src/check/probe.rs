//! Trying other pairs of token host and audience. Each try is a login that fails or a token that nobody needs, so
//! it is done when asked for and never by itself, and ends with the first pair that works.

use std::sync::Arc;

use sfkey_proto::{
    AccountName, SalesforceAnswer,
    v1::{CheckAccountResponse, check_account_response::Outcome},
};

use super::{clues, finding};
use crate::{
    accounts::Subject,
    agent::Agent,
    assertion::{Assertion, Claims},
    identity::Identity,
    salesforce::{Audience, ExchangeError, TokenHost},
};

/// The login hosts of production and of sandboxes, which are also the audiences of Connected Apps.
const PRODUCTION: &str = "https://login.salesforce.com";
const SANDBOX: &str = "https://test.salesforce.com";

/// Whether another pair may be what is missing.
pub(super) fn may_help(step: &str, answer: &SalesforceAnswer) -> bool {
    // Both also stand for "not known on this host".
    let elsewhere = answer.error.eq_ignore_ascii_case("invalid_client_id")
        || answer
            .error_description
            .to_lowercase()
            .contains("user hasn't approved");
    step == "audience" || elsewhere
}

/// Tries them, and tells which one works.
pub(super) async fn other_pairs(
    agent: &Agent,
    name: &AccountName,
    subject: &Subject,
) -> CheckAccountResponse {
    let mut refusals = Vec::new();
    for identity in candidates(agent, &subject.identity) {
        let (host, audience) = (identity.host.to_string(), identity.audience.to_string());
        match try_one(agent, subject, identity).await {
            Ok(()) => return works(name, &host, &audience),
            Err(why) => refusals.push(format!("{host} with {audience}: {why}")),
        }
    }
    finding(
        Outcome::Failed,
        "probe",
        format!(
            "no other pair of login URL and audience works: {}",
            refusals.join("; ")
        ),
        "use the org's My Domain as login URL (Setup, My Domain), and check the consumer key",
    )
}

fn works(name: &AccountName, host: &str, audience: &str) -> CheckAccountResponse {
    CheckAccountResponse {
        working_login_url: Some(host.to_owned()),
        working_audience: Some(audience.to_owned()),
        ..finding(
            Outcome::Warning,
            "probe",
            format!("login URL {host} with audience {audience} works"),
            format!("sfkey add {name} --login-url {host} --audience {audience} --replace --save"),
        )
    }
}

/// The pairs that make sense beside the account's own. An assertion for Salesforce goes to no host that may not
/// have one.
fn candidates(agent: &Agent, own: &Identity) -> Vec<Identity> {
    let mut hosts = vec![own.host.clone()];
    let login_hosts = [PRODUCTION, SANDBOX];
    if login_hosts.contains(&own.host.to_string().as_str()) {
        hosts.extend(
            login_hosts
                .into_iter()
                .filter_map(|host| TokenHost::parse(host).ok()),
        );
    }
    let mut pairs = Vec::new();
    for host in hosts {
        for audience in [host.to_string().as_str(), PRODUCTION, SANDBOX] {
            let Ok(audience) = Audience::parse(audience, &host, &agent.trusted) else {
                continue;
            };
            let pair = own.with_pair(host.clone(), audience);
            if pair != *own && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

async fn try_one(agent: &Agent, subject: &Subject, identity: Identity) -> Result<(), String> {
    let now = agent.clock.now();
    if agent.logins.admit(&identity, now).is_err() {
        return Err("not tried: too many logins".to_owned());
    }
    let utc = agent.logins.utc(&identity.host.to_string(), now);
    agent.counters.exchanges.add();
    let identity = Arc::new(identity);
    let (signed, signer) = (Arc::clone(&identity), Arc::clone(&subject.signer));
    let signing = tokio::task::spawn_blocking(move || Assertion::sign(&Claims::new(&signed, utc), signer));
    let assertion = signing
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| clues::words(&ExchangeError::Signing))?;
    let answered = agent.endpoint.exchange(&identity.host, assertion).await;
    answered.outcome.map(drop).map_err(|error| clues::words(&error))
}
