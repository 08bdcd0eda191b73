//! What an interrupted setup keeps: the answers, without any secret, until the account is verified.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sfkey::{Environment, proto::AccountName};

use super::answers::Answers;
use crate::{
    config,
    exit::{Cause, Failure, words},
};

/// The file of one account that is being set up.
pub(super) struct State(Option<PathBuf>);

impl State {
    /// That of `account`. Without a home there is none, and an interrupted setup begins anew.
    pub(super) fn of(account: &AccountName, environment: &Environment) -> Self {
        Self(directory(environment).map(|directory| directory.join(format!("{account}.toml"))))
    }

    /// What was kept; nothing when there was no earlier setup.
    pub(super) fn read(&self, environment: &Environment) -> Result<Option<Answers>, Failure> {
        let Some(path) = &self.0 else { return Ok(None) };
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(path, "read", &error)),
            Ok(text) => Answers::parse(&text, path, environment).map(Some),
        }
    }

    /// Keeps the answers there are, readable by their owner alone.
    pub(super) fn keep(&self, answers: &Answers) -> Result<(), Failure> {
        let Some(path) = &self.0 else { return Ok(()) };
        config::replace(path, &answers.to_toml()).map_err(|error| failure(path, "write", &error))
    }

    /// The account is set up, or the user begins anew.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        let Some(path) = &self.0 else { return Ok(()) };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure(path, "remove", &error)),
            _ => Ok(()),
        }
    }
}

/// The accounts whose setup was interrupted, sorted by name.
pub(super) fn unfinished(environment: &Environment) -> Vec<AccountName> {
    let entries = directory(environment).and_then(|directory| fs::read_dir(directory).ok());
    let name_of = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_suffix(".toml")?.parse().ok()
    };
    let mut names: Vec<AccountName> = entries.into_iter().flatten().filter_map(name_of).collect();
    names.sort();
    names
}

fn directory(environment: &Environment) -> Option<PathBuf> {
    environment
        .state_home
        .as_ref()
        .map(|home| home.join("sfkey/setup"))
}

fn failure(path: &Path, verb: &str, error: &io::Error) -> Failure {
    Failure::new(
        Cause::Io,
        format!(
            "cannot {verb} what setup keeps in {}: {}",
            path.display(),
            words(error)
        ),
        "see that the directory is yours and can be written to",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::{super::answers::Field, *};

    #[test]
    fn what_is_kept_is_private_read_back_and_gone_at_the_end() {
        let place = tempfile::tempdir().expect("a directory");
        let environment = Environment {
            state_home: Some(place.path().to_path_buf()),
            ..Environment::default()
        };
        let account = "prod".parse().expect("a name");
        let state = State::of(&account, &environment);
        assert_eq!(state.read(&environment).expect("nothing there"), None);
        let mut answers = Answers::default();
        answers.set(Field::Username, "ci@acme.com");
        state.keep(&answers).expect("kept");
        let path = place.path().join("sfkey/setup/prod.toml");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(state.read(&environment).expect("read"), Some(answers));
        assert_eq!(unfinished(&environment), [account]);
        state.forget().expect("removed");
        state.forget().expect("nothing to remove");
        assert!(unfinished(&environment).is_empty() && !path.exists());
    }
}
