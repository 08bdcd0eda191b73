//! The user, the consumer key, and the consumer secret.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    Walk,
    answers::{CONNECTED_APP, Field, METADATA, NEW_APP, NONE},
};
use crate::{
    exit::{Cause, Failure, words},
    secrets::{Reference, keyring::Kind},
};

impl Walk<'_> {
    /// Step 4: as whom to log in.
    pub(super) fn user(&mut self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        interview.step(4, "The user");
        if self.answers.get(Field::Username).is_none() {
            interview.say(
                "Tokens are issued for one user, by its username in Setup > Users. Best is a user of its own: revoking a \
                 token logs out everybody who shares user and app.",
            );
            interview.ask(&mut self.answers, Field::Username, "Username", None)?;
        }
        interview.say(&format!(
            "Logs in as {}",
            self.answers.get(Field::Username).unwrap_or_default()
        ));
        self.keep()
    }

    /// Step 6: what Salesforce calls the app, and its secret.
    pub(super) fn consumer_key_and_secret(&mut self) -> Result<(), Failure> {
        if self.interview.is_none() && self.answers.get(Field::ConsumerKey).is_none() {
            return Err(self.deploy_first());
        }
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        interview.step(6, "Consumer key and secret");
        if self.answers.get(Field::ConsumerKey).is_none() {
            interview.say(match self.answers.is(Field::App, CONNECTED_APP) {
                true => "In Setup: App Manager > the app > View > Manage Consumer Details.",
                false => {
                    "In Setup: External Client App Manager > the app > Settings > OAuth Settings > Consumer Key and Secret.\n\
                     Salesforce sends a code by e-mail before it shows them."
                }
            });
            interview.ask(&mut self.answers, Field::ConsumerKey, "Consumer key", None)?;
        }
        self.keep()?;
        if self.answers.get(Field::ConsumerSecret).is_none() {
            self.ask_for_the_consumer_secret()?;
        }
        self.keep()
    }

    /// Without anybody there, the metadata is written and the rest has to wait for its deployment.
    fn deploy_first(&self) -> Failure {
        let folder = PathBuf::from(self.answers.get(Field::MetadataFolder).unwrap_or("."));
        let made = self.answers.is(Field::App, NEW_APP) && self.answers.is(Field::Create, METADATA);
        let lines = self.deploy_lines(&folder).unwrap_or_default();
        if made && !lines.is_empty() {
            Failure::new(
                Cause::Usage,
                format!(
                    "the app's metadata is in {}; its consumer key is known once it is deployed",
                    folder.display()
                ),
                format!(
                    "{}; then add consumer_key to the answers and run it again",
                    lines.join("; ")
                ),
            )
        } else {
            self.missing(Field::ConsumerKey)
        }
    }

    /// The secret is for one thing only, and most do without it.
    pub(super) fn ask_for_the_consumer_secret(&mut self) -> Result<(), Failure> {
        let path = self.own_file("secrets", "consumer_secret")?;
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        interview.say(
            "The consumer secret is optional. With it the agent can ask Salesforce how long a token really lives; without \
             it, it goes by the session timeout. No token needs it.",
        );
        let in_file = format!("yes, in a file that only you can read: {}", path.display());
        let mut ways = vec!["no", &in_file];
        if self.keyring_lasts() {
            ways.push("yes, in the keyring");
        }
        let chosen = interview.choose("Give it", &ways, 0)?;
        if chosen == 0 {
            self.answers.set(Field::ConsumerSecret, NONE);
            return self.ask_for_the_session_timeout();
        }
        let Some(secret) = interview.secret("Consumer secret (not shown): ")? else {
            interview.say("Nothing was typed; it goes on without.");
            self.answers.set(Field::ConsumerSecret, NONE);
            return Ok(());
        };
        let kept = Zeroizing::new(secret.trim_ascii().to_vec());
        let reference = match chosen {
            1 => secret_into_file(path, &kept),
            _ => self.secret_into_keyring(&kept),
        };
        match reference {
            Ok(reference) => self.answers.set(Field::ConsumerSecret, reference.to_string()),
            Err(failure) => {
                for line in failure.lines(false) {
                    interview.say(&line);
                }
                return self.ask_for_the_consumer_secret();
            }
        }
        Ok(())
    }

    fn secret_into_keyring(&self, secret: &Zeroizing<Vec<u8>>) -> Result<Reference, Failure> {
        let account = self.account()?;
        self.keeping(&account, true)
            .secret(Kind::ConsumerSecret, secret)?;
        Ok(Reference::Keyring)
    }

    fn ask_for_the_session_timeout(&mut self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        if self.answers.get(Field::SessionTimeout).is_some() {
            return Ok(());
        }
        loop {
            let question = "Session timeout of the app's policy or the profile, such as 2h (Enter: not known, 15m is assumed)";
            let Some(typed) = interview.optional(question)? else {
                return Ok(());
            };
            match Field::SessionTimeout.check(&typed, &self.here, &self.invocation.environment) {
                Ok(timeout) => {
                    self.answers.set(Field::SessionTimeout, timeout);
                    return Ok(());
                }
                Err(why) => interview.say(&format!("  Not taken: {why}.")),
            }
        }
    }
}

fn secret_into_file(path: PathBuf, secret: &[u8]) -> Result<Reference, Failure> {
    match write_secret(&path, secret) {
        Ok(()) => Ok(Reference::File(path)),
        Err(error) => Err(Failure::new(
            Cause::Io,
            format!(
                "cannot keep the consumer secret in {}: {}",
                path.display(),
                words(&error)
            ),
            "see that the directory is yours and can be written to",
        )),
    }
}

/// Writes a secret that its owner alone can read, in the place of one that was there.
fn write_secret(path: &Path, secret: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = path.with_extension("new");
    drop(std::fs::remove_file(&beside));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
