//! What is loaded, which name is meant, and when it ends. Nothing here waits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use sfkey_proto::{
    AccountName,
    v1::{self, add_account_response::Outcome},
};

use crate::{
    account::Account,
    agent::Agent,
    clock::Now,
    custody::{Fingerprint, SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    limits::MAX_ACCOUNTS,
};

#[derive(Default)]
pub(super) struct Registry {
    pub(super) entries: BTreeMap<AccountName, Entry>,
    pub(super) default: Option<AccountName>,
    /// Removed by hand, the oldest first: not loaded on demand until an explicit add.
    pub(super) removed: VecDeque<AccountName>,
    /// How often everything was removed: an add that began before does not end after it.
    pub(super) sweeps: u64,
}

pub(super) struct Entry {
    pub(super) account: Account,
    pub(super) identity: Arc<Identity>,
    pub(super) signer: Arc<dyn Signer>,
    /// For introspection; the account's own, never shared with another.
    pub(super) consumer_secret: Option<Arc<SealedSecret>>,
    fingerprint: Fingerprint,
    /// Boot time of the last add and of the last use.
    added: Duration,
    pub(super) used: Duration,
}

/// A specification that was checked, with its key in custody.
pub(super) struct Checked {
    pub(super) name: AccountName,
    pub(super) identity: Arc<Identity>,
    pub(super) terms: Terms,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) consumer_secret: Option<SealedSecret>,
}

impl Registry {
    pub(super) fn resolve(
        &self,
        name: &str,
        shown: impl Fn(&AccountName) -> bool,
    ) -> Result<AccountName, Failure> {
        if name.is_empty() {
            return self.meant_among(shown);
        }
        let name: AccountName = name.parse().map_err(invalid_name)?;
        // Whoever may not see it is denied it next, loaded or not.
        if !shown(&name) || self.entries.contains_key(&name) {
            Ok(name)
        } else {
            Err(self.missing(&name))
        }
    }

    /// What an empty name means to somebody who is shown these accounts only.
    fn meant_among(&self, shown: impl Fn(&AccountName) -> bool) -> Result<AccountName, Failure> {
        let among: Vec<_> = self.entries.keys().filter(|name| shown(name)).collect();
        let default = self.default.as_ref().filter(|default| among.contains(default));
        match (default, among.as_slice()) {
            (Some(name), _) => Ok(name.clone()),
            (None, [only]) => Ok((*only).clone()),
            (None, among) => Err(Failure::NoDefault { loaded: among.len() }),
        }
    }

    fn meant_by_default(&self) -> Option<&AccountName> {
        let only = || self.entries.keys().next().filter(|_| self.entries.len() == 1);
        self.default.as_ref().or_else(only)
    }

    pub(super) fn missing(&self, name: &AccountName) -> Failure {
        if self.removed.contains(name) {
            Failure::Removed(name.clone())
        } else {
            Failure::NotLoaded(name.clone())
        }
    }

    pub(super) fn enter(
        &mut self,
        agent: &Arc<Agent>,
        new: Checked,
        replace: bool,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let fingerprint = new.signer.fingerprint();
        let full = self.entries.len() >= MAX_ACCOUNTS;
        let consumer_secret = new.consumer_secret.map(Arc::new);
        let outcome = match self.entries.get_mut(&new.name) {
            Some(entry) if entry.identity == new.identity && entry.fingerprint == fingerprint => {
                entry.account.renew(new.terms, consumer_secret.clone());
                entry.consumer_secret = consumer_secret;
                (entry.added, entry.used) = (now.boot, now.boot);
                return Ok(Outcome::Unchanged);
            }
            Some(_) if !replace => return Err(Failure::Exists(new.name)),
            Some(_) => {
                tracing::warn!(account = %new.name, %fingerprint, "account replaced by another identity or key");
                Outcome::Replaced
            }
            None if full => return Err(Failure::Limit("1,000 accounts; sfkey remove makes room")),
            None => Outcome::Added,
        };
        let account = Account::start(
            agent,
            new.name.clone(),
            Arc::clone(&new.identity),
            Arc::clone(&new.signer),
            new.terms,
            consumer_secret.clone(),
        );
        let entry = Entry {
            account,
            identity: new.identity,
            signer: new.signer,
            consumer_secret,
            fingerprint,
            added: now.boot,
            used: now.boot,
        };
        self.entries.insert(new.name, entry);
        Ok(outcome)
    }

    pub(super) fn remove(&mut self, name: &AccountName) -> Result<(), Failure> {
        if self.entries.remove(name).is_none() {
            return Err(self.missing(name));
        }
        self.forget_default(name);
        // Names are small, but a script may add and remove new ones for months.
        if self.removed.len() >= MAX_ACCOUNTS {
            self.removed.pop_front();
        }
        self.removed.push_back(name.clone());
        Ok(())
    }

    pub(super) fn drop_ended(&mut self, now: Now) {
        // Whoever watches an account uses it.
        for entry in self
            .entries
            .values_mut()
            .filter(|entry| entry.account.is_watched())
        {
            entry.used = now.boot;
        }
        let ended: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.ended(now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            self.entries.remove(&name);
            self.forget_default(&name);
            tracing::info!(account = %name, "account dropped at the end of its lifetime or idle time");
        }
    }

    fn forget_default(&mut self, name: &AccountName) {
        if self.default.as_ref() == Some(name) {
            self.default = None;
        }
    }

    pub(super) fn show(&self, name: &AccountName, now: Now) -> Option<v1::Account> {
        let entry = self.entries.get(name)?;
        let view = entry.account.view();
        let wall = |boot: Duration| now.wall_at(boot);
        Some(v1::Account {
            account: name.to_string(),
            is_default: self.meant_by_default() == Some(name),
            username: entry.identity.username.clone(),
            login_url: entry.identity.host.to_string(),
            audience: entry.identity.audience.to_string(),
            consumer_key: entry.identity.consumer_key.clone(),
            key_fingerprint: entry.fingerprint.to_string(),
            lifetime_ends_at: entry.lifetime_ends().map(wall),
            idle_ends_at: entry.idle_ends().map(wall),
            token: Some(view.token_state(now)),
            last_error: view.last_error,
        })
    }
}

impl Entry {
    fn lifetime_ends(&self) -> Option<Duration> {
        self.account
            .terms()
            .lifetime
            .map(|life| self.added + Duration::from_secs(life.into()))
    }

    fn idle_ends(&self) -> Option<Duration> {
        self.account
            .terms()
            .idle
            .map(|idle| self.used + Duration::from_secs(idle.into()))
    }

    pub(super) fn ends(&self) -> Option<Duration> {
        [self.lifetime_ends(), self.idle_ends()]
            .into_iter()
            .flatten()
            .min()
    }

    fn ended(&self, now: Now) -> bool {
        self.ends().is_some_and(|end| end <= now.boot)
    }
}

pub(super) fn invalid_name(invalid: sfkey_proto::name::InvalidName) -> Failure {
    Failure::Invalid(invalid.to_string(), "choose another name")
}
