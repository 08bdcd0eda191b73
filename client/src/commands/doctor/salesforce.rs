//! What the agent finds out at Salesforce.

use sfkey::{
    Client, Error,
    proto::{
        AccountName, Reason,
        v1::{CheckAccountResponse, check_account_response::Outcome},
    },
};

use super::Report;
use crate::{
    commands::Invocation,
    config::{AccountEntry, Config},
    exit::Failure,
    output::{Finding, Standing},
    secrets::Terminal,
};

const ASKPASS: &str = "askpass";

pub(super) async fn check(
    invocation: &Invocation<'_>,
    agent: &Client,
    name: &AccountName,
    probe: bool,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let mut found = None;
    let asked = async {
        let mut checks = agent.check(name.as_str(), probe).await?;
        while let Some(finding) = checks.next().await? {
            found = found.take().or_else(|| working_pair(&finding));
            report.add(shown(finding)).map_err(Asked::Printing)?;
        }
        Ok(())
    };
    match asked.await {
        Ok(()) => {}
        Err(Asked::Printing(failure)) => return Err(failure),
        Err(Asked::Agent(Error::Refused(refusal))) if refusal.reason == Reason::Unimplemented => {
            report.add(Finding::warning("salesforce", refusal.message, refusal.fix))?;
        }
        Err(Asked::Agent(error)) => report.fail("salesforce", &error.into())?,
    }
    match found {
        Some(pair) if is_configured(invocation, name) => offer(invocation, name, &pair, report),
        _ => Ok(()),
    }
}

/// Has the agent put a question to the user.
pub(super) async fn check_askpass(agent: &Client, report: &mut Report<'_>) -> Result<(), Failure> {
    let asked = async {
        let mut checks = agent.check_askpass().await?;
        checks.next().await
    };
    match asked.await {
        Ok(Some(finding)) if finding.id == ASKPASS => report.add(shown(finding)),
        Ok(_) => report.add(Finding::failed(
            ASKPASS,
            "this agent does not know that check",
            "install sfkey-agent of the same version, then start the agent anew: sfkey stop",
        )),
        Err(error) => report.fail(ASKPASS, &error.into()),
    }
}

/// Why the findings broke off.
enum Asked {
    Agent(Error),
    Printing(Failure),
}

impl From<Error> for Asked {
    fn from(error: Error) -> Self {
        Self::Agent(error)
    }
}

fn shown(finding: CheckAccountResponse) -> Finding {
    let status = match finding.outcome() {
        Outcome::Ok => Standing::Ok,
        Outcome::Failed => Standing::Failed,
        Outcome::Warning | Outcome::Unspecified => Standing::Warning,
    };
    Finding {
        id: finding.id,
        status,
        detail: finding.detail,
        fix: Some(finding.fix).filter(|fix| !fix.is_empty()),
    }
}

/// Token host and audience that a probe found to work.
struct Pair {
    login_url: String,
    audience: String,
}

fn working_pair(finding: &CheckAccountResponse) -> Option<Pair> {
    Some(Pair {
        login_url: finding.working_login_url.clone()?,
        audience: finding.working_audience.clone()?,
    })
}

/// A pair alone would be no account: it is written to what stands there already.
fn is_configured(invocation: &Invocation<'_>, name: &AccountName) -> bool {
    Config::read(&invocation.environment).is_ok_and(|config| config.accounts.contains_key(name))
}

/// Offers to write the pair down. Without a terminal, and in JSON, the finding's own fix has the command.
fn offer(
    invocation: &Invocation<'_>,
    name: &AccountName,
    pair: &Pair,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let terminal = match invocation.output.is_json() {
        true => None,
        false => Terminal::open(),
    };
    let Some(terminal) = terminal else { return Ok(()) };
    let question = format!(
        "Write login URL {} and audience {} into the configuration of {name}? [y/N] ",
        pair.login_url, pair.audience
    );
    if !terminal.confirm(&crate::exit::escape(&question)).unwrap_or(false) {
        return Ok(());
    }
    let entry = AccountEntry {
        login_url: Some(pair.login_url.clone()),
        audience: Some(pair.audience.clone()),
        ..AccountEntry::default()
    };
    let path = Config::save(&invocation.environment, name, &entry, false)?;
    report.add(Finding::warning(
        "saved",
        format!(
            "the pair is written into {}; the agent still has the old one",
            path.display()
        ),
        format!("sfkey add {name} --replace"),
    ))
}
