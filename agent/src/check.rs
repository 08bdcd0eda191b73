//! What is wrong with an account, step by step: `CheckAccount`.
//!
//! ```text
//! host ─▶ tls ─▶ proxy ─▶ clock ─▶ audience ─▶ token ─▶ introspection ─▶ scopes ─▶ api
//!                                     └─ probe: other audiences, only when asked
//! ```
//!
//! A step that another one's failure would only repeat is left out: the first failure is the cause.

mod clues;
mod probe;
mod proxy;

use sfkey_proto::{
    AccountName, Refusal, SalesforceAnswer,
    v1::{CheckAccountResponse, Token, check_account_response::Outcome},
};
use tokio::sync::mpsc;

use crate::{
    accounts::{Accounts, Subject},
    agent::Agent,
    confirm::Confirmer,
    error::Failure,
    peer::Peer,
    policy::{Permit, Unconfirmed},
    salesforce::{Answered, Client, ExchangeError},
    token::Need,
};

/// A clock that is off by more than this many seconds deserves attention. Assertions are corrected for it, other
/// programs are not.
const NOTABLE_SKEW: i64 = 60;

/// Where findings go, as they are found.
pub struct Findings(mpsc::Sender<CheckAccountResponse>);

/// Whoever asked does not wait any more: there is nothing left to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Findings {
    /// A way to the one who asked.
    #[must_use]
    pub fn to(asked: mpsc::Sender<CheckAccountResponse>) -> Self {
        Self(asked)
    }

    async fn add(&self, finding: CheckAccountResponse) -> Result<(), Gone> {
        self.0.send(finding).await.map_err(|_| Gone)
    }
}

/// Checks the account of the permit. With `probe` other pairs of token host and audience are tried after the
/// account's own was refused; each is a failed login more.
///
/// # Errors
/// [`Gone`] as soon as nobody waits for the findings.
pub async fn account(
    agent: &Agent,
    accounts: &Accounts,
    permit: Permit,
    probe: bool,
    to: &Findings,
) -> Result<(), Gone> {
    let name = permit.account().clone();
    let subject = match accounts.subject(&permit) {
        Ok(subject) => subject,
        Err(failure) => return to.add(failed("account", failure)).await,
    };
    let check = Check { agent, name, subject };
    if !check.way(to).await? {
        return Ok(());
    }
    match accounts.token(permit, Need::new(None, false)).await {
        Ok(token) => check.granted(&token, to).await,
        Err(failure) => check.refused(failure, probe, to).await,
    }
}

/// Puts a question to the user that allows nothing.
///
/// # Errors
/// [`Gone`] as soon as nobody waits for the finding.
pub async fn askpass(confirmer: &Confirmer, peer: &Peer, to: &Findings) -> Result<(), Gone> {
    const ID: &str = "askpass";
    const SHOW: &str = "see that its window can come up: DISPLAY or WAYLAND_DISPLAY in the agent's environment, or askpass_environment in agent.toml";
    let (outcome, detail, fix) = match confirmer.rehearse(peer).await {
        Ok(()) => return to.add(ok(ID, "the user was asked, and said yes")).await,
        // A program that cannot show its question says no, too.
        Err(why @ Unconfirmed::Refused) => (Outcome::Warning, why, format!("if you saw no question: {SHOW}")),
        Err(why @ Unconfirmed::NoAskpass) => {
            let fix = "askpass = \"/usr/bin/ssh-askpass\" in agent.toml names one; the agent's log has what speaks against it";
            (Outcome::Failed, why, fix.to_owned())
        }
        Err(why @ Unconfirmed::TooMany) => (Outcome::Failed, why, "answer those first".to_owned()),
        Err(why @ (Unconfirmed::TimedOut | Unconfirmed::Failed)) => (Outcome::Failed, why, SHOW.to_owned()),
    };
    to.add(finding(outcome, ID, detail.to_string(), fix)).await
}

struct Check<'a> {
    agent: &'a Agent,
    name: AccountName,
    subject: Subject,
}

impl Check<'_> {
    /// Is there a way to the token host? Whatever it answers, it answers.
    async fn way(&self, to: &Findings) -> Result<bool, Gone> {
        let host = &self.subject.identity.host;
        let proxy = proxy::in_force(host);
        let answered = self.agent.endpoint.versions(&host.to_string()).await;
        if let Some(date) = answered.date {
            self.agent.note_date(host, date);
        }
        match &answered.outcome {
            Err(ExchangeError::Network(what)) if clues::is_tls(what) => {
                to.add(ok("host", format!("{host} is there"))).await?;
                to.add(finding(
                    Outcome::Failed,
                    "tls",
                    what.clone(),
                    clues::tls_fix(what),
                ))
                .await?;
                return Ok(false);
            }
            Err(ExchangeError::Network(what)) => {
                let unreached = match proxy {
                    Some(proxy) => finding(
                        Outcome::Failed,
                        "proxy",
                        format!("{host} is not reached through the proxy {proxy}: {what}"),
                        "check HTTPS_PROXY and NO_PROXY in the environment of the agent, then start it anew",
                    ),
                    None => finding(
                        Outcome::Failed,
                        "host",
                        format!("{host} is not reached: {what}"),
                        "check the login URL, the network and the DNS; behind a proxy the agent needs HTTPS_PROXY",
                    ),
                };
                to.add(unreached).await?;
                return Ok(false);
            }
            _ => to.add(self.answers(&answered)).await?,
        }
        let tls = match host.is_plain() {
            true => "not used: the host is this machine",
            false => "the certificate is trusted",
        };
        to.add(ok("tls", tls)).await?;
        let through = proxy.map_or_else(|| "none".to_owned(), |proxy| format!("through {proxy}"));
        to.add(ok("proxy", through)).await?;
        if let Some(date) = answered.date {
            to.add(clock(self.agent.clock.now().unix.saturating_sub(date)))
                .await?;
        }
        Ok(true)
    }

    fn answers(&self, answered: &Answered<String>) -> CheckAccountResponse {
        let host = &self.subject.identity.host;
        match &answered.outcome {
            Ok(version) => ok("host", format!("{host} answers, with API {version}")),
            Err(ExchangeError::Unavailable(answer)) => finding(
                Outcome::Warning,
                "host",
                format!("{host} answers, but cannot serve now ({})", clues::raw(answer)),
                "try again in a minute; status.salesforce.com tells about maintenance",
            ),
            Err(ExchangeError::Malformed(answer)) => finding(
                Outcome::Warning,
                "host",
                format!(
                    "{host} does not answer as Salesforce does ({})",
                    clues::raw(answer)
                ),
                "check the login URL, and whether a proxy or a captive portal answers in its place",
            ),
            Err(_) => ok("host", format!("{host} answers")),
        }
    }

    /// There is no token. The step that stands for the cause is the one that failed.
    async fn refused(&self, failure: Failure, probe: bool, to: &Findings) -> Result<(), Gone> {
        let answer = failure.refusal_of_salesforce();
        let step = answer.map_or("token", clues::step_of);
        let may_be_another = probe && answer.is_some_and(|answer| probe::may_help(step, answer));
        let mut found = failed(step, failure);
        if step == "audience" && !probe {
            let looked_for = format!(
                "   (sfkey doctor {} --probe looks for the one that works)",
                self.name
            );
            found.fix.push_str(&looked_for);
        }
        to.add(found).await?;
        if may_be_another {
            let tried = probe::other_pairs(self.agent, &self.name, &self.subject).await;
            to.add(tried).await?;
        }
        Ok(())
    }

    /// There is a token. What is it good for?
    async fn granted(&self, token: &Token, to: &Findings) -> Result<(), Gone> {
        let audience = &self.subject.identity.audience;
        to.add(ok("audience", format!("{audience} is accepted"))).await?;
        to.add(self.token(token)).await?;
        to.add(self.introspection(token).await).await?;
        let scopes = scopes(token);
        let lacks_scope = scopes.outcome() == Outcome::Failed;
        to.add(scopes).await?;
        if !lacks_scope {
            to.add(self.api(token).await).await?;
        }
        Ok(())
    }

    fn token(&self, token: &Token) -> CheckAccountResponse {
        let left = token.expires_at.saturating_sub(self.agent.clock.now().unix) / 60;
        let source = token.expiry_source().as_str_name();
        let source = source.trim_start_matches("EXPIRY_SOURCE_").to_lowercase();
        let detail = format!(
            "one is held for {}, good for {left} min (expiry source: {source})",
            token.username
        );
        if token.warnings.iter().any(|warning| warning == "STALE") {
            return finding(
                Outcome::Warning,
                "token",
                format!("{detail}, but its renewal failed"),
                format!("see why: sfkey list   (last error of {})", self.name),
            );
        }
        ok("token", detail)
    }

    async fn introspection(&self, token: &Token) -> CheckAccountResponse {
        let name = &self.name;
        let Some(sealed) = &self.subject.consumer_secret else {
            return ok("introspection", "not used: no consumer secret is loaded");
        };
        let opened = self.agent.custody.open(sealed).ok();
        let Some(secret) = opened
            .as_ref()
            .and_then(|secret| std::str::from_utf8(secret).ok())
        else {
            return failed("introspection", Failure::Locked);
        };
        let client = Client {
            consumer_key: &self.subject.identity.consumer_key,
            consumer_secret: secret,
        };
        let asked = self
            .agent
            .endpoint
            .introspect(&token.instance_url, &token.access_token, client);
        match asked.await.outcome {
            Ok(told) if told.active => ok("introspection", "Salesforce tells when the token ends"),
            Ok(_) => finding(
                Outcome::Warning,
                "introspection",
                "Salesforce calls a token inactive that it has just granted, so its end is not known from there",
                "see whether the consumer secret is that of this app, and allow introspection in the app's settings",
            ),
            Err(ExchangeError::Refused(answer)) => finding(
                Outcome::Failed,
                "introspection",
                format!("the consumer secret is not accepted ({})", clues::raw(&answer)),
                format!("copy it again from the app: sfkey add {name} --consumer-secret-file FILE"),
            ),
            Err(error) => finding(
                Outcome::Warning,
                "introspection",
                format!(
                    "Salesforce did not tell about the token: {}",
                    clues::words(&error)
                ),
                "try again in a minute",
            ),
        }
    }

    /// Does the REST API take the token?
    async fn api(&self, token: &Token) -> CheckAccountResponse {
        let instance = &token.instance_url;
        let version = match self.agent.endpoint.versions(instance).await.outcome {
            Ok(version) => version,
            Err(error) => {
                return finding(
                    Outcome::Failed,
                    "api",
                    format!(
                        "{instance} does not tell its API versions: {}",
                        clues::words(&error)
                    ),
                    "check that the agent may reach the instance, not only the token host",
                );
            }
        };
        let asked = self
            .agent
            .endpoint
            .limits(instance, &version, &token.access_token);
        match asked.await.outcome {
            Ok(()) => ok("api", format!("{instance} takes the token, API {version}")),
            Err(ExchangeError::Refused(answer)) => self.api_refused(&answer),
            Err(error) => finding(
                Outcome::Failed,
                "api",
                format!("{instance} did not answer the call: {}", clues::words(&error)),
                "try again in a minute; status.salesforce.com tells about maintenance",
            ),
        }
    }

    fn api_refused(&self, answer: &SalesforceAnswer) -> CheckAccountResponse {
        let (outcome, fix) = clues::of_api(answer, &self.name);
        finding(
            outcome,
            "api",
            format!("the REST API refuses the token ({})", clues::raw(answer)),
            fix,
        )
    }
}

fn clock(skew: i64) -> CheckAccountResponse {
    if skew.abs() <= NOTABLE_SKEW {
        return ok("clock", "this machine's clock agrees with Salesforce's");
    }
    let which = if skew > 0 { "ahead of" } else { "behind" };
    finding(
        Outcome::Warning,
        "clock",
        format!(
            "this machine's clock is {} s {which} Salesforce's; assertions are corrected for it",
            skew.abs()
        ),
        "set the clock: timedatectl set-ntp true",
    )
}

fn scopes(token: &Token) -> CheckAccountResponse {
    let Some(scope) = &token.scope else {
        return ok("scopes", "Salesforce does not say which were granted");
    };
    if scope.split(' ').any(|scope| matches!(scope, "api" | "full")) {
        return ok("scopes", scope.clone());
    }
    finding(
        Outcome::Failed,
        "scopes",
        format!("the token may not use the API: it has \"{scope}\", and api is missing"),
        "add the scope \"Manage user data via APIs (api)\" to the app, then get a new token: sfkey token --fresh",
    )
}

fn ok(id: &str, detail: impl Into<String>) -> CheckAccountResponse {
    finding(Outcome::Ok, id, detail, "")
}

fn failed(id: &str, failure: Failure) -> CheckAccountResponse {
    let refusal = Refusal::from(failure);
    let told = match refusal.salesforce.as_ref() {
        Some(answer) => format!("{} ({})", refusal.message, clues::raw(answer)),
        None => refusal.message,
    };
    finding(Outcome::Failed, id, told, refusal.fix)
}

fn finding(
    outcome: Outcome,
    id: &str,
    detail: impl Into<String>,
    fix: impl Into<String>,
) -> CheckAccountResponse {
    CheckAccountResponse {
        id: id.to_owned(),
        outcome: outcome.into(),
        detail: detail.into(),
        fix: fix.into(),
        ..CheckAccountResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_with_its_direction_when_it_is_off_by_more_than_a_minute() {
        assert_eq!(clock(60).outcome(), Outcome::Ok);
        assert_eq!(clock(-60).outcome(), Outcome::Ok);
        for (skew, words) in [(601, "601 s ahead of"), (-600, "600 s behind")] {
            let told = clock(skew);
            assert_eq!(told.outcome(), Outcome::Warning);
            assert!(told.detail.contains(words), "{}", told.detail);
        }
    }

    #[test]
    fn a_token_without_the_scope_for_the_api_fails_and_one_of_unknown_scopes_does_not() {
        let with = |scope: Option<&str>| {
            let mut token = Token::default();
            token.scope = scope.map(str::to_owned);
            scopes(&token).outcome()
        };
        assert_eq!(with(Some("web api")), Outcome::Ok);
        assert_eq!(with(Some("full")), Outcome::Ok);
        assert_eq!(with(None), Outcome::Ok);
        assert_eq!(with(Some("web chatter_api")), Outcome::Failed);
        assert_eq!(with(Some("")), Outcome::Failed);
    }
}
