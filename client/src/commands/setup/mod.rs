//! `sfkey setup`: from nothing to an account for which Salesforce issued a token.
//!
//! ```text
//! interview    questions on the terminal
//! answers      what is known so far, and its file
//! state        what an interrupted setup keeps
//! account      steps 1 and 2: the name, the org and the kind of app
//! org          hosts and audiences                                      (pure)
//! key          step 3: the key pair
//! new_key      a key pair of its own for the account
//! app          step 5: the app, as metadata or as clicks
//! credentials  steps 4 and 6: the user, the consumer key and secret
//! agent        the agent, started where none runs
//! verify       step 7: load, mint, explain, mend
//! mend         what a refusal calls for                                 (pure)
//! keep         the key into the keyring
//! ```
//!
//! Every step passes over what is known already. So an answers file, an interrupted setup and an account that is
//! configured all go the same way, and only what is missing is asked.

mod account;
mod agent;
mod answers;
mod app;
mod credentials;
mod interview;
mod keep;
mod key;
mod mend;
mod new_key;
mod org;
mod state;
mod verify;

use std::{
    cell::OnceCell,
    env,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use sfkey::{
    keyfile::PrivateKey,
    proto::{AccountName, v1::Token},
};

use self::{
    answers::{Answers, Field, NEW_APP},
    interview::Interview,
    state::State,
};
use super::Invocation;
use crate::{
    cli::SetupArgs,
    exit::{Cause, Failure, words},
    hardening, quote,
    secrets::keyring::Unlock,
};

/// Largest file of answers that is read, in bytes.
const MAX_ANSWERS_BYTES: u64 = 64 * 1024;

/// One way through all steps.
struct Walk<'a> {
    invocation: &'a Invocation<'a>,
    /// The person, unless the answers come from a file alone.
    interview: Option<Interview<'a>>,
    answers: Answers,
    /// Where the answers are kept, once the account has a name and somebody is there to be interrupted.
    state: Option<State>,
    /// The working directory.
    here: PathBuf,
    /// The opened key.
    key: Option<PrivateKey>,
    /// Whether an account of this name and another identity may be replaced in the agent.
    replace: bool,
    /// Whether the account was loaded by this setup.
    loaded: bool,
    /// How long to wait for a new app when nobody is there to decide it.
    patience: Duration,
    /// A token that came while waiting.
    waited: Option<Token>,
    /// Whether the terminal can write over a line.
    redraws: bool,
    /// Whether there is a keyring that keeps things for good, once that was asked.
    keyring_lasts: OnceCell<bool>,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: SetupArgs) -> Result<(), Failure> {
    hardening::harden();
    let mut walk = Walk::begin(invocation, &args)?;
    walk.account_and_org(args.name.as_ref())?;
    walk.key_pair()?;
    walk.user()?;
    walk.app()?;
    walk.consumer_key_and_secret()?;
    let agent = walk.agent().await?;
    let token = walk.verified(&agent).await?;
    let token = walk.introspected(&agent, token).await?;
    let spare = match walk.keep_the_key() {
        Ok(spare) => spare,
        Err(failure) => {
            walk.unload(&agent).await;
            return Err(failure);
        }
    };
    let saved = walk.save()?;
    if let Some(state) = &walk.state {
        state.forget()?;
    }
    if let Some(file) = spare {
        walk.offer_removal(&file)?;
    }
    walk.tell(&token, &saved)
}

impl<'a> Walk<'a> {
    fn begin(invocation: &'a Invocation<'a>, args: &SetupArgs) -> Result<Self, Failure> {
        let here = env::current_dir().map_err(|error| {
            Failure::new(
                Cause::Io,
                format!("the working directory is gone: {}", words(&error)),
                "cd to another one",
            )
        })?;
        let answers = match &args.answers {
            Some(path) => read_answers(&here.join(path), invocation)?,
            None => Answers::default(),
        };
        let interview = match args.non_interactive {
            true => None,
            false => Some(
                Interview::open(&invocation.environment, here.clone()).ok_or_else(|| {
                    Failure::new(
                        Cause::Usage,
                        "setup asks questions, and there is no terminal to ask them on",
                        "sfkey setup NAME --non-interactive --answers FILE",
                    )
                })?,
            ),
        };
        let mut walk = Self {
            invocation,
            interview,
            answers,
            state: None,
            here,
            key: None,
            replace: args.replace,
            loaded: false,
            patience: Duration::from_secs(args.wait.unwrap_or(0).into()),
            waited: None,
            redraws: env::var_os("TERM").is_some_and(|terminal| !terminal.is_empty() && terminal != "dumb"),
            keyring_lasts: OnceCell::new(),
        };
        if let Some(name) = &args.name {
            walk.answers.set(Field::Account, name.as_str());
        }
        if walk.interview.is_none() {
            walk.require_enough()?;
        }
        Ok(walk)
    }

    /// Without anybody to ask, everything that is missing is named at once.
    fn require_enough(&self) -> Result<(), Failure> {
        let new = self.answers.get(Field::App).is_none_or(|app| app == NEW_APP);
        let makes_a_key = self.answers.get(Field::NewKey).is_some();
        let always = [Field::Account, Field::LoginUrl, Field::Key, Field::Username];
        let for_a_new_app = [
            Field::Certificate,
            Field::ContactEmail,
            Field::PermissionSet,
            Field::MetadataFolder,
        ];
        let made = |field: Field| makes_a_key && matches!(field, Field::Key | Field::Certificate);
        let app_is_there: &[Field] = if new {
            &for_a_new_app
        } else {
            &[Field::ConsumerKey]
        };
        let missing: Vec<&str> = always
            .iter()
            .chain(app_is_there)
            .filter(|field| self.answers.get(**field).is_none() && !made(**field))
            .map(|field| field.key())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let verb = if missing.len() == 1 { "is" } else { "are" };
        Err(Failure::new(
            Cause::Usage,
            format!(
                "the answers are not enough: {} {verb} missing",
                missing.join(", ")
            ),
            "add them to the file of --answers, or leave out --non-interactive",
        ))
    }

    /// The account's name, which step 1 makes sure of.
    fn account(&self) -> Result<AccountName, Failure> {
        let name = self.required(Field::Account)?;
        name.parse().map_err(|error| {
            Failure::new(
                Cause::Usage,
                format!("{name}: {error}"),
                "give the account another name",
            )
        })
    }

    /// Where setup keeps what it makes for the account: keys and secrets.
    fn own_file(&self, folder: &str, suffix: &str) -> Result<PathBuf, Failure> {
        let account = self.account()?;
        let home = self.invocation.environment.config_home.as_ref().ok_or_else(|| {
            Failure::new(
                Cause::Config,
                "where the configuration belongs cannot be told: XDG_CONFIG_HOME and HOME are not set",
                "set HOME",
            )
        })?;
        Ok(home
            .join("sfkey")
            .join(folder)
            .join(format!("{account}.{suffix}")))
    }

    /// A locked keyring may ask whoever answers the questions.
    fn unlock(&self) -> Unlock {
        match self.interview {
            Some(_) => Unlock::Ask,
            None => Unlock::Never,
        }
    }

    /// An answer without which it does not go on.
    fn required(&self, field: Field) -> Result<&str, Failure> {
        self.answers.get(field).ok_or_else(|| self.missing(field))
    }

    #[expect(clippy::unused_self, reason = "it reads as what the walk says")]
    fn missing(&self, field: Field) -> Failure {
        Failure::new(
            Cause::Usage,
            format!("the answers are not enough: {} is missing", field.key()),
            "add it to the file of --answers, or leave out --non-interactive",
        )
    }

    /// Tells what is wrong with an answer and forgets it, so that it is asked for again; without anybody to ask
    /// it is the end.
    fn ask_again(&mut self, failure: Failure, field: Field) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Err(failure);
        };
        for line in failure.lines(false) {
            interview.say(&line);
        }
        self.answers.forget(field);
        Ok(())
    }

    /// Keeps the answers for the case that setup is interrupted.
    fn keep(&self) -> Result<(), Failure> {
        match &self.state {
            Some(state) => state.keep(&self.answers),
            None => Ok(()),
        }
    }

    fn absolute(&self, path: &str) -> String {
        self.here
            .join(self.invocation.environment.expand(path))
            .display()
            .to_string()
    }

    /// Tells what was achieved.
    fn tell(&self, token: &Token, saved: &Path) -> Result<(), Failure> {
        let account = self.account()?;
        let done = Done {
            account: account.as_str(),
            verified: true,
            username: self.required(Field::Username)?,
            instance_url: &token.instance_url,
            expires_at: token.expires_at,
            saved: saved.to_string_lossy().into_owned(),
        };
        let word = quote::word(account.as_str());
        let lines = [
            format!(
                "{account} works: Salesforce issued a token for {} at {}.",
                done.username, done.instance_url
            ),
            format!("Saved in {}. From now on:", done.saved),
            format!(
                "  sfkey token {word} -o header | curl -H @- {}/services/data/",
                done.instance_url
            ),
            format!("  sfkey exec {word} -- sf org display"),
        ];
        self.invocation.output.lines(&lines, &done)
    }
}

/// What `sfkey setup --json` prints.
#[derive(Serialize)]
struct Done<'a> {
    account: &'a str,
    verified: bool,
    username: &'a str,
    instance_url: &'a str,
    expires_at: i64,
    saved: String,
}

fn read_answers(path: &Path, invocation: &Invocation<'_>) -> Result<Answers, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_ANSWERS_BYTES).read_to_string(&mut text));
    read.map_err(|error| {
        let fix = match error.kind() {
            ErrorKind::NotFound => "name the file with the answers",
            _ => "see that it is a text file that you may read",
        };
        Failure::new(
            Cause::Usage,
            format!("cannot read {}: {}", path.display(), words(&error)),
            fix,
        )
    })?;
    Answers::parse(&text, path, &invocation.environment)
}
