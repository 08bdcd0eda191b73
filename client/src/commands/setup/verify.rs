//! The proof: load the account, let Salesforce issue a token, and mend what it does not like.

use std::{path::PathBuf, time::Duration};

use sfkey::{
    Client,
    proto::v1::{AccountSpec, ExpirySource, GetTokenRequest, Token},
};

use super::{
    Walk,
    answers::{ASK, Field, NONE},
    interview::{Interview, stopped},
    mend::{self, Remedy},
    org,
};
use crate::{
    config::{AccountEntry, Config},
    duration,
    exit::{Cause, Failure},
    secrets::{self, Purpose},
};

/// How long a new app may take until Salesforce knows it everywhere.
const PROPAGATION: Duration = Duration::from_secs(10 * 60);

/// Between two tries while a new app spreads. Failed logins count: twenty in ten minutes are no storm.
const BETWEEN_TRIES: Duration = Duration::from_secs(30);

/// How often the time that is left is shown.
const TICK: Duration = Duration::from_secs(1);

impl Walk<'_> {
    /// Step 7: loads the account, and tries until Salesforce issues a token or the user has had enough.
    ///
    /// Somebody may think or look something up for long between two tries, so each step connects anew to `agent`.
    pub(super) async fn verified(&mut self, agent: &Client) -> Result<Token, Failure> {
        if let Some(interview) = &self.interview {
            interview.step(7, "The proof");
        }
        loop {
            let failure = match self.attempt(agent).await {
                Ok(token) => return Ok(token),
                Err(failure) if failure.is_stopped() => return Err(failure),
                Err(failure) => failure,
            };
            if self.interview.is_none() {
                return self.without_anybody(agent, failure).await;
            }
            self.mend(agent, failure).await?;
            self.keep()?;
            if let Some(token) = self.waited.take() {
                return Ok(token);
            }
        }
    }

    /// A consumer secret that is of no use is told, and can be mended: with the right one Salesforce says how long the
    /// token lives.
    pub(super) async fn introspected(&mut self, agent: &Client, token: Token) -> Result<Token, Failure> {
        const WHY: &str = "Salesforce did not tell how long the token lives, though there is a consumer secret: it is not \
                           this app's, or the app may not introspect. So the session timeout is taken for it.";
        let mut token = token;
        loop {
            let is_told = !matches!(
                token.expiry_source(),
                ExpirySource::SessionTimeout | ExpirySource::Assumed | ExpirySource::Unspecified
            );
            if is_told || self.reference(Field::ConsumerSecret)?.is_none() {
                return Ok(token);
            }
            let Some(interview) = &self.interview else {
                self.invocation.output.warn(WHY);
                return Ok(token);
            };
            interview.say(&format!("\n{WHY}"));
            if !interview.yes("Change the consumer secret", true)? {
                return Ok(token);
            }
            self.change(Field::ConsumerSecret)?;
            self.keep()?;
            token = self.verified(agent).await?;
        }
    }

    /// Nobody is there to mend anything; waiting may still be of use.
    async fn without_anybody(&mut self, agent: &Client, failure: Failure) -> Result<Token, Failure> {
        let (_, may_be_young) = mend::remedy(&failure);
        if self.patience.is_zero() || !may_be_young {
            return Err(failure);
        }
        let mut left = self.patience;
        let mut last = failure;
        while !left.is_zero() {
            let pause = BETWEEN_TRIES.min(left);
            tokio::time::sleep(pause).await;
            left = left.saturating_sub(pause);
            last = match self.attempt(agent).await {
                Ok(token) => return Ok(token),
                Err(failure) => failure,
            };
        }
        Err(last)
    }

    /// Loads the account as it is known now, and asks for a token.
    async fn attempt(&mut self, agent: &Client) -> Result<Token, Failure> {
        let account = self.account()?.to_string();
        // What the agent knows of an earlier try goes with the account, the token that came without introspection too.
        self.unload(agent).await;
        self.load(agent).await?;
        let request = GetTokenRequest {
            account,
            ..GetTokenRequest::default()
        };
        if let Some(interview) = &self.interview {
            interview.say("Asking Salesforce for a token.");
        }
        let asked = agent.again().await?.request_token(request).await;
        if asked.is_err() {
            // Whatever ends setup from here on, while somebody thinks or Salesforce is waited for, leaves nothing
            // in the agent that does not work.
            self.unload(agent).await;
        }
        Ok(asked?)
    }

    /// Loads the account; in the place of another one of its name only when that is said.
    async fn load(&mut self, agent: &Client) -> Result<(), Failure> {
        let spec = self.spec()?;
        let loaded = agent.again().await?.add(spec).await.map_err(Failure::from);
        match (loaded, &self.interview) {
            (Err(failure), Some(interview)) if failure.is_of_another_account() => {
                interview.say(&format!(
                    "\n{}",
                    failure.lines(false).first().map_or("", String::as_str)
                ));
                if !interview.yes("Replace the one that is loaded", false)? {
                    return Err(stopped());
                }
                self.replace = true;
                let spec = self.spec()?;
                agent.again().await?.add(spec).await?;
            }
            (loaded, _) => drop(loaded?),
        }
        self.loaded = true;
        Ok(())
    }

    /// An account that does not work is of no use to anybody.
    pub(super) async fn unload(&mut self, agent: &Client) {
        if !self.loaded {
            return;
        }
        if let Ok(account) = self.account() {
            // Gone already is gone.
            if let Ok(agent) = agent.again().await {
                drop(agent.remove(account.as_str()).await);
            }
        }
        self.loaded = false;
    }

    fn spec(&self) -> Result<AccountSpec, Failure> {
        let text = |field: Field| self.answers.get(field).unwrap_or_default().to_owned();
        let key = self.key.as_ref().expect("the key was opened before");
        let mut spec = AccountSpec::default();
        spec.account = self.account()?.to_string();
        spec.login_url = self.required(Field::LoginUrl)?.to_owned();
        spec.audience = text(Field::Audience);
        spec.consumer_key = self.required(Field::ConsumerKey)?.to_owned();
        spec.username = self.required(Field::Username)?.to_owned();
        spec.private_key = key.pkcs1_der().to_vec();
        spec.consumer_secret = self.consumer_secret()?;
        spec.session_timeout_seconds = self.session_timeout();
        spec.make_default = self.answers.is(Field::Default, "yes");
        spec.replace = self.replace;
        spec.explicit = true;
        Ok(spec)
    }

    fn session_timeout(&self) -> Option<u32> {
        let text = self.answers.get(Field::SessionTimeout)?;
        duration::parse(text).ok()
    }

    fn consumer_secret(&self) -> Result<Option<String>, Failure> {
        let Some(reference) = self.reference(Field::ConsumerSecret)? else {
            return Ok(None);
        };
        let account = self.account()?;
        let environment = &self.invocation.environment;
        let secret = secrets::read(
            &reference,
            Purpose::ConsumerSecret(&account),
            self.unlock(),
            environment,
            self.invocation.output,
        )?;
        match std::str::from_utf8(&secret) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Failure::new(
                Cause::Secret,
                format!("the consumer secret is no text: {reference}"),
                "copy it again from the app's settings in Salesforce",
            )),
        }
    }

    /// Explains a failure, and lets the user mend what it is about.
    async fn mend(&mut self, agent: &Client, failure: Failure) -> Result<(), Failure> {
        let (remedy, may_be_young) = mend::remedy(&failure);
        let interview = self.interview.as_ref().expect("somebody is there");
        interview.say("");
        for line in failure.lines(false) {
            interview.say(&line);
        }
        if let Remedy::InSalesforce(what, _) = remedy {
            interview.say(&format!("\n{what}"));
        }
        interview.say("");
        let suspect = match remedy {
            Remedy::Change(field) | Remedy::InSalesforce(_, field) => field,
            Remedy::TryAgain => Field::LoginUrl,
        };
        let change = format!("give another {}", title(suspect));
        let again = match remedy {
            Remedy::InSalesforce(..) => "it is mended in Salesforce now: try again",
            _ => "try again with the same answers",
        };
        let waiting = if may_be_young {
            "the app is new: wait, and try again by itself for ten minutes"
        } else {
            "wait, and try again by itself for ten minutes"
        };
        let options = [
            change.as_str(),
            again,
            waiting,
            "change something else that was answered",
            "stop here; what was answered is kept",
        ];
        let default = match remedy {
            Remedy::Change(_) => 0,
            Remedy::InSalesforce(..) | Remedy::TryAgain => 1,
        };
        match interview.choose("What now", &options, default)? {
            0 => self.change(suspect),
            1 => Ok(()),
            2 => self.wait_for_the_app(agent, remedy).await,
            3 => self.change_something(),
            _ => Err(stopped()),
        }
    }

    fn change_something(&mut self) -> Result<(), Failure> {
        const FIELDS: [Field; 6] = [
            Field::LoginUrl,
            Field::Audience,
            Field::ConsumerKey,
            Field::Username,
            Field::Key,
            Field::ConsumerSecret,
        ];
        let interview = self.interview.as_ref().expect("somebody is there");
        let titles = FIELDS.map(|field| {
            let now = self.answers.get(field).unwrap_or("not set");
            format!("{}: {now}", title(field))
        });
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let chosen = interview.choose("Which", &titles, 0)?;
        self.change(FIELDS[chosen])
    }

    /// Asks for one answer again.
    pub(super) fn change(&mut self, field: Field) -> Result<(), Failure> {
        let before = self.answers.forget(field);
        match field {
            Field::Key => {
                self.answers.forget(Field::Passphrase);
                self.answers.forget(Field::Certificate);
                self.answers.forget(Field::NewKey);
                self.key = None;
                self.key_pair()
            }
            Field::ConsumerSecret => self.ask_for_the_consumer_secret(),
            Field::Audience => self.ask_for_the_audience(),
            Field::LoginUrl => {
                self.answers.forget(Field::Audience);
                self.ask_for_the_host()
            }
            field => {
                let interview = self.interview.as_ref().expect("somebody is there");
                let before = before.as_deref();
                interview.ask(&mut self.answers, field, &capital(title(field)), before)
            }
        }
    }

    fn ask_for_the_audience(&mut self) -> Result<(), Failure> {
        let interview = self.interview.as_ref().expect("somebody is there");
        let login_url = self.answers.get(Field::LoginUrl).unwrap_or(org::LOGIN).to_owned();
        let mut sensible = vec![login_url];
        for host in [org::LOGIN, org::TEST] {
            if !sensible.iter().any(|known| known == host) {
                sensible.push(host.to_owned());
            }
        }
        interview.say(
            "An External Client App wants the My Domain, a Connected App https://login.salesforce.com (sandboxes: \
             https://test.salesforce.com), a site its own address.",
        );
        let mut options: Vec<&str> = sensible.iter().map(String::as_str).collect();
        options.push("another");
        let chosen = interview.choose("Audience", &options, 0)?;
        match sensible.get(chosen) {
            Some(audience) => self.answers.set(Field::Audience, audience.clone()),
            None => interview.ask(&mut self.answers, Field::Audience, "Audience", None)?,
        }
        Ok(())
    }

    /// Tries again until it works, something else is wrong, or the time is over.
    async fn wait_for_the_app(&mut self, agent: &Client, same: Remedy) -> Result<(), Failure> {
        let mut waited = Duration::ZERO;
        while waited < PROPAGATION {
            waited += self.wait_for_the_next_try(waited)?;
            match self.attempt(agent).await {
                Ok(token) => {
                    self.waited = Some(token);
                    return Ok(());
                }
                Err(failure) if mend::remedy(&failure).0 == same => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Shows how the time goes until the next try; Enter makes it now. Returns how long it was.
    fn wait_for_the_next_try(&self, waited: Duration) -> Result<Duration, Failure> {
        let interview = self.interview.as_ref().expect("somebody is there");
        let mut pause = Duration::ZERO;
        if !self.redraws {
            interview.say(&format!(
                "Waiting {} s (Enter: try now, Ctrl-C: stop).",
                BETWEEN_TRIES.as_secs()
            ));
        }
        while pause < BETWEEN_TRIES {
            if self.redraws {
                show_waiting(interview, waited + pause, BETWEEN_TRIES.saturating_sub(pause));
            }
            if interview.enter_within(TICK)? {
                break;
            }
            pause += TICK;
        }
        if self.redraws {
            interview.progress("\n");
        }
        Ok(pause.max(TICK))
    }

    /// Writes the account into the configuration.
    pub(super) fn save(&self) -> Result<PathBuf, Failure> {
        let text = |field: Field| self.answers.get(field).map(str::to_owned);
        let login_url = self.answers.get(Field::LoginUrl);
        let entry = AccountEntry {
            login_url: text(Field::LoginUrl),
            audience: text(Field::Audience).filter(|audience| Some(audience.as_str()) != login_url),
            consumer_key: text(Field::ConsumerKey),
            username: text(Field::Username),
            key: self.reference(Field::Key)?,
            passphrase: self.reference(Field::Passphrase)?,
            consumer_secret: self.reference(Field::ConsumerSecret)?,
            certificate: text(Field::Certificate)
                .filter(|path| path != NONE)
                .map(PathBuf::from),
            session_timeout: self.session_timeout(),
            ..AccountEntry::default()
        };
        let default = self.answers.is(Field::Default, "yes");
        Config::save(&self.invocation.environment, &self.account()?, &entry, default)
    }

    /// Where the secret of a field is kept; nothing for `ask` and `none`.
    pub(super) fn reference(&self, field: Field) -> Result<Option<secrets::Reference>, Failure> {
        match self.answers.get(field) {
            None | Some(ASK | NONE) => Ok(None),
            Some(text) => secrets::Reference::parse_key(text, &self.here, &self.invocation.environment)
                .map(Some)
                .map_err(|error| {
                    Failure::new(Cause::Usage, format!("{} {error}", field.key()), "correct it")
                }),
        }
    }
}

/// A minute and a half of waiting, on the line where it stands.
fn show_waiting(interview: &Interview<'_>, waited: Duration, next: Duration) {
    let (minutes, seconds) = (waited.as_secs() / 60, waited.as_secs() % 60);
    interview.progress(&format!(
        "\rWaiting for Salesforce: {minutes}:{seconds:02}, next try in {:2} s (Enter: now, Ctrl-C: stop) ",
        next.as_secs()
    ));
}

/// What a field is called in a sentence.
fn title(field: Field) -> &'static str {
    match field {
        Field::LoginUrl => "login URL",
        Field::Audience => "audience",
        Field::ConsumerKey => "consumer key",
        Field::Username => "username",
        Field::Key => "key",
        Field::ConsumerSecret => "consumer secret",
        other => other.key(),
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
