//! `sfkey doctor`: find out what is wrong, and name one thing to do about each.
//!
//! ```text
//! agent ─▶ setup (configuration, account) ─▶ key (and certificate) ─▶ salesforce (the agent asks)
//! ```
//!
//! A check that another one's failure would only repeat is left out, so that the first failure is the cause.

mod agent;
mod key;
mod salesforce;
mod setup;

use sfkey::proto::v1::Account;

use super::Invocation;
use crate::{
    cli::DoctorArgs,
    exit::Failure,
    output::{Finding, Output, Standing},
};

pub(super) async fn run(invocation: &Invocation<'_>, args: DoctorArgs) -> Result<(), Failure> {
    let named = invocation.account(args.name.as_ref())?;
    let mut report = Report::new(invocation.output);
    let agent = agent::check(invocation, &mut report).await?;
    if args.askpass {
        if let Some(agent) = agent.filter(|agent| agent.serves) {
            salesforce::check_askpass(&agent.client, &mut report).await?;
        }
        return report.end();
    }
    let setup = setup::check(invocation, &named, agent.as_ref(), &mut report).await?;
    key::check(invocation, &setup, &mut report)?;
    if let (Some(agent), Some(name)) = (agent.filter(|agent| agent.serves), setup.name.as_ref()) {
        let ready = setup::load(invocation, &agent, &setup, name, &mut report).await?;
        if let Some(client) = ready {
            salesforce::check(invocation, &client, name, args.probe, &mut report).await?;
        }
    }
    report.end()
}

/// The agent that answered.
struct Found {
    client: sfkey::Client,
    /// Whether it is one that checks can be asked of: the main socket, not locked, of this protocol.
    serves: bool,
    accounts: Vec<Account>,
}

/// The findings so far. For people each is written when it is found: some take a while.
struct Report<'a> {
    output: &'a Output,
    checks: Vec<Finding>,
}

impl<'a> Report<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            checks: Vec::new(),
        }
    }

    fn add(&mut self, check: Finding) -> Result<(), Failure> {
        self.output.check(&check)?;
        self.checks.push(check);
        Ok(())
    }

    /// A check that a failure of the client stands for.
    fn fail(&mut self, id: &str, failure: &Failure) -> Result<(), Failure> {
        self.add(Finding::failed(id, failure.message.clone(), failure.fix.clone()))
    }

    fn has_failed(&self, id: &str) -> bool {
        let failed = |check: &&Finding| check.id == id && check.status == Standing::Failed;
        self.checks.iter().any(|check| failed(&check))
    }

    fn end(self) -> Result<(), Failure> {
        self.output.checks(&self.checks)?;
        let failed = self.checks.iter().any(|check| check.status == Standing::Failed);
        if failed { Err(Failure::printed()) } else { Ok(()) }
    }
}
