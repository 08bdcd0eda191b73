//! Where the key is kept from now on, once it is known that it works.

use std::path::{Path, PathBuf};

use super::{
    Walk,
    answers::{Field, KEYRING},
};
use crate::{
    commands::store_key,
    exit::Failure,
    secrets::{Keeping, Reference, keyring::Keyring},
};

impl Walk<'_> {
    /// Puts the key into the keyring, if that is wanted. Returns the file that holds it as well, where that may go.
    pub(super) fn keep_the_key(&mut self) -> Result<Option<PathBuf>, Failure> {
        let reference = self.reference(Field::Key)?;
        if reference == Some(Reference::Keyring) || !self.wants_the_keyring()? {
            return Ok(None);
        }
        let key = self.key.as_ref().expect("the key was opened before");
        let account = self.account()?;
        let keeper = match (self.keeping(&account, self.replace).key(key), &self.interview) {
            (Ok(keeper), _) => keeper,
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(interview)) => {
                for line in failure.lines(false) {
                    interview.say(&line);
                }
                interview.say("It stays where it is.");
                return Ok(None);
            }
        };
        self.answers.set(Field::Key, KEYRING);
        self.answers.forget(Field::Passphrase);
        self.keep()?;
        Ok(match reference {
            Some(Reference::File(file)) if keeper.is_persistent() => Some(file),
            _ => None,
        })
    }

    fn wants_the_keyring(&self) -> Result<bool, Failure> {
        match (self.answers.get(Field::StoreKey), &self.interview) {
            (Some(place), _) => Ok(place == KEYRING),
            (None, Some(interview)) if self.keyring_lasts() => {
                interview.say(
                    "\nThe key works. Your desktop's keyring can keep it: then nothing is asked when it is loaded, and no \
                     file need stay.",
                );
                interview.yes("Keep it there", false)
            }
            (None, _) => Ok(false),
        }
    }

    /// Offers to remove the file, now that Salesforce has issued a token for the key and the account is saved.
    pub(super) fn offer_removal(&self, file: &Path) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let shown = file.display();
        if let Some(user) = store_key::still_used_by(self.invocation, file)? {
            interview.say(&format!(
                "{shown} stays: the configuration names it as the key of {user}."
            ));
            return Ok(());
        }
        if !store_key::is_plain_file(file) {
            return Ok(());
        }
        interview.say(&format!(
            "The key was read back from the keyring. {shown} still holds it too."
        ));
        if interview.yes("Remove that file", false)? {
            store_key::remove(file)?;
            interview.say("Removed.");
        }
        Ok(())
    }

    /// Whether there is a keyring that keeps things for good. It is asked once.
    pub(super) fn keyring_lasts(&self) -> bool {
        *self.keyring_lasts.get_or_init(|| {
            let environment = &self.invocation.environment;
            Keyring::of(environment, self.unlock(), self.invocation.output).is_lasting()
        })
    }

    /// How secrets of the account get into the keyring.
    pub(super) fn keeping<'a>(
        &'a self,
        account: &'a sfkey::proto::AccountName,
        replace: bool,
    ) -> Keeping<'a> {
        Keeping {
            account,
            replace,
            unlock: self.unlock(),
            environment: &self.invocation.environment,
            output: self.invocation.output,
        }
    }
}
