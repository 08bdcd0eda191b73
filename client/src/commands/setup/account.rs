//! What the account is called, where it logs in, and through what kind of app.

use sfkey::proto::AccountName;

use super::{
    Walk,
    answers::{Answers, CONNECTED_APP, EXTERNAL_CLIENT_APP, Field, NEW_APP, ORGS},
    org::{self, Refused},
    state::{State, unfinished},
};
use crate::{config::Config, duration, exit::Failure};

/// What an address is checked by.
type Check = fn(&str) -> Result<String, Refused>;

impl Walk<'_> {
    /// Steps 1 and 2.
    pub(super) fn account_and_org(&mut self, named: Option<&AccountName>) -> Result<(), Failure> {
        if let Some(interview) = &self.interview {
            interview.say(
                "sfkey setup links a Salesforce account, and is done when Salesforce has issued a token for it.\n\
                 What you answer is kept (secrets are not): after Ctrl-C, sfkey setup goes on where it stopped.",
            );
            interview.step(1, "The account");
        }
        self.name_the_account(named)?;
        self.go_on_where_it_stopped()?;
        if let Some(interview) = &self.interview {
            interview.step(2, "The org");
        }
        self.ask_for_the_kind()?;
        match self.answers.get(Field::LoginUrl) {
            None => self.ask_for_the_host()?,
            Some(_) => self.settle_the_audience(),
        }
        self.keep()
    }

    fn name_the_account(&mut self, named: Option<&AccountName>) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        if let Some(account) = named
            .map(AccountName::as_str)
            .or(self.answers.get(Field::Account))
        {
            interview.say(account);
            return Ok(());
        }
        let begun = unfinished(&self.invocation.environment);
        let default = match begun.as_slice() {
            [] => "prod".to_owned(),
            names => {
                let list: Vec<&str> = names.iter().map(AccountName::as_str).collect();
                interview.say(&format!("Begun earlier and not finished: {}", list.join(", ")));
                list[0].to_owned()
            }
        };
        interview.say("The account's name is yours to choose: prod, acme-dev, ci.");
        interview.ask(&mut self.answers, Field::Account, "Name", Some(&default))
    }

    /// Takes up an earlier setup of this account, or the account as it is configured.
    fn go_on_where_it_stopped(&mut self) -> Result<(), Failure> {
        let account = self.account()?;
        let environment = &self.invocation.environment;
        let config = Config::read(environment)?;
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let state = State::of(&account, environment);
        if let Some(earlier) = state.read(environment)? {
            if interview.yes(
                &format!("Go on with the setup of {account} that was begun earlier"),
                true,
            )? {
                self.answers.fill(earlier);
            } else {
                state.forget()?;
            }
        } else if let Some(entry) = config.accounts.get(&account) {
            let question =
                format!("{account} is configured already. Verify it, and change what does not work");
            if interview.yes(&question, true)? {
                self.answers.fill(configured(entry));
                self.answers.fill_one(Field::App, EXTERNAL_CLIENT_APP);
            }
        } else if config.accounts.is_empty() {
            // The first account is what is meant when none is named.
            self.answers.fill_one(Field::Default, "yes");
        }
        self.state = Some(state);
        self.keep()
    }

    fn ask_for_the_kind(&mut self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            self.answers.fill_one(Field::App, NEW_APP);
            return Ok(());
        };
        if self.answers.get(Field::LoginUrl).is_none() && self.answers.get(Field::Org).is_none() {
            let kinds = [
                "production (or a Developer Edition)",
                "sandbox",
                "an Experience Cloud site of an org",
                "another host: government or China clouds, salesforce-sim",
            ];
            let chosen = interview.choose("Which kind of org", &kinds, 0)?;
            self.answers.set(Field::Org, ORGS[chosen]);
        }
        if self.answers.get(Field::App).is_none() {
            interview.say("Salesforce lets programs in through an app. Since Spring '26 a new one is an External Client App.");
            let apps = [
                "a new External Client App, which this setup helps to make",
                "an External Client App that is there",
                "a Connected App that is there",
            ];
            let chosen = interview.choose("Which app", &apps, 0)?;
            self.answers
                .set(Field::App, [NEW_APP, EXTERNAL_CLIENT_APP, CONNECTED_APP][chosen]);
        }
        Ok(())
    }

    /// Asks where assertions go: the token host.
    pub(super) fn ask_for_the_host(&mut self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let sandbox = self.answers.is(Field::Org, "sandbox");
        let connected = self.answers.is(Field::App, CONNECTED_APP);
        let (question, default, check): (&str, Option<&str>, Check) = match (
            self.answers.get(Field::Org),
            connected,
        ) {
            (Some("site"), _) => {
                interview.say("The site's address is host and audience, its path included.");
                (
                    "Address of the site, such as https://acme.my.site.com/customers",
                    None,
                    org::site,
                )
            }
            (Some("other"), _) => ("Address that issues the tokens", None, org::url),
            (_, true) => {
                interview.say(
                    "A Connected App is asked through the login host; the My Domain does as well \
                         (and must, where the org forbids logins through login.salesforce.com).",
                );
                (
                    "Login host",
                    Some(if sandbox { org::TEST } else { org::LOGIN }),
                    org::url,
                )
            }
            (_, false) => {
                interview.say(
                        "An External Client App is asked through the org's My Domain, which is its audience too: \
                         login.salesforce.com and test.salesforce.com do not know it. Setup > My Domain shows the name.",
                    );
                let question = match sandbox {
                    true => "My Domain, such as acme--dev.sandbox.my.salesforce.com",
                    false => "My Domain, such as acme.my.salesforce.com",
                };
                (question, None, org::my_domain)
            }
        };
        let address = self.address(question, default, check)?;
        self.answers.set(Field::LoginUrl, address);
        self.settle_the_audience();
        Ok(())
    }

    /// Asks for an address; where a wrong one shows which is right, that one is offered.
    fn address(&self, question: &str, default: Option<&str>, check: Check) -> Result<String, Failure> {
        let interview = self.interview.as_ref().expect("somebody is there");
        let mut default = default.map(str::to_owned);
        loop {
            match interview.line(question, default.as_deref(), |text| Ok(check(text)))? {
                Ok(address) => return Ok(address),
                Err(Refused { why, right }) => {
                    interview.say(&format!("  Not taken: {why}."));
                    if let Some(right) = right {
                        interview.say(&format!("  The right one is {right}"));
                        default = Some(right);
                    }
                }
            }
        }
    }

    /// The audience that goes with the host, said out loud where it is another address.
    fn settle_the_audience(&mut self) {
        let Some(audience) = org::audience(&self.answers) else {
            return;
        };
        self.answers.fill_one(Field::Audience, audience);
        let (Some(interview), Some(login_url)) = (&self.interview, self.answers.get(Field::LoginUrl)) else {
            return;
        };
        let audience = self.answers.get(Field::Audience).unwrap_or(login_url);
        match audience == login_url {
            true => interview.say(&format!("Token host and audience: {login_url}")),
            false => interview.say(&format!("Token host: {login_url}\nAudience:   {audience}")),
        }
        if !org::is_salesforce(login_url) {
            interview
                .say("(That is no address of Salesforce's own. Good for a simulator, and for nothing else.)");
        }
    }
}

/// The answers that the configuration gives.
fn configured(entry: &crate::config::AccountEntry) -> Answers {
    let mut answers = Answers::default();
    let reference =
        |reference: &Option<crate::secrets::Reference>| reference.as_ref().map(ToString::to_string);
    for (field, value) in [
        (Field::LoginUrl, entry.login_url.clone()),
        (Field::Audience, entry.audience.clone()),
        (Field::ConsumerKey, entry.consumer_key.clone()),
        (Field::Username, entry.username.clone()),
        (Field::Key, reference(&entry.key)),
        (Field::Passphrase, reference(&entry.passphrase)),
        (Field::ConsumerSecret, reference(&entry.consumer_secret)),
        (Field::SessionTimeout, entry.session_timeout.map(duration::format)),
    ] {
        if let Some(value) = value {
            answers.set(field, value);
        }
    }
    answers
}
