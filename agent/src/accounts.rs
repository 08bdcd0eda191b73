//! The registry: which accounts are loaded, and which one an empty name means.
//!
//! A short mutex around handles. Nothing is awaited while it is held.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sfkey_proto::{
    AccountName,
    v1::{self, AccountSpec, Token, add_account_response::Outcome},
};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::{
    account::Account,
    agent::Agent,
    clock::Now,
    custody::{Fingerprint, KeyRejected, SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    limits::{MAX_ACCOUNTS, MAX_FIELD_BYTES},
    policy::{Control, Permit},
    token::Need,
};

/// Longest sleep until an account's end is looked at again. The runtime's timers stand still while the
/// machine is suspended; lifetimes do not.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Every loaded account.
pub struct Accounts {
    agent: Arc<Agent>,
    registry: Mutex<Registry>,
    /// An account was added, which may end before all others.
    added: Notify,
}

#[derive(Default)]
struct Registry {
    entries: BTreeMap<AccountName, Entry>,
    default: Option<AccountName>,
    /// Removed by hand, the oldest first: not loaded on demand until an explicit add.
    removed: VecDeque<AccountName>,
    /// How often everything was removed: an add that began before does not end after it.
    sweeps: u64,
}

struct Entry {
    account: Account,
    identity: Arc<Identity>,
    fingerprint: Fingerprint,
    /// For introspection; the account's own, never shared.
    consumer_secret: Option<SealedSecret>,
    /// Boot time of the last add and of the last use.
    added: Duration,
    used: Duration,
}

/// A specification that was checked, with its key in custody.
struct Checked {
    name: AccountName,
    identity: Arc<Identity>,
    terms: Terms,
    signer: Arc<dyn Signer>,
    consumer_secret: Option<SealedSecret>,
}

impl Accounts {
    /// An empty registry.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self {
            agent,
            registry: Mutex::default(),
            added: Notify::new(),
        }
    }

    /// Which account a request means of those that `shown` holds for: the one named, else the default, else the
    /// only one. Of a name that is not shown nothing is told, not even whether it is loaded.
    ///
    /// # Errors
    /// [`Failure::Invalid`], [`Failure::NotLoaded`], [`Failure::Removed`] or [`Failure::NoDefault`].
    pub fn resolve(&self, name: &str, shown: impl Fn(&AccountName) -> bool) -> Result<AccountName, Failure> {
        self.registry().resolve(name, shown)
    }

    /// A token for the account of the permit.
    ///
    /// # Errors
    /// Whatever keeps Salesforce from granting one, or [`Failure::NotLoaded`].
    pub async fn token(&self, permit: Permit, need: Need) -> Result<Token, Failure> {
        self.agent.counters.token_requests.add();
        let name = permit.account();
        let reply = {
            let mut registry = self.registry();
            let entry = registry
                .entries
                .get_mut(name)
                .ok_or_else(|| Failure::NotLoaded(name.clone()))?;
            entry.used = self.agent.clock.now().boot;
            entry.account.token(name.clone(), need)
        };
        reply.await
    }

    /// Loads an account.
    ///
    /// # Errors
    /// [`Failure::Invalid`] and [`Failure::Identity`] for what cannot be taken, [`Failure::Exists`] for a
    /// name that means something else, [`Failure::Removed`], [`Failure::Limit`].
    pub async fn add(&self, _: Control, mut spec: AccountSpec) -> Result<(v1::Account, Outcome), Failure> {
        let sweeps = self.registry().sweeps;
        let checked = self.check(&mut spec).await?;
        let name = checked.name.clone();
        let now = self.agent.clock.now();
        let mut registry = self.registry();
        let swept = registry.sweeps != sweeps;
        if swept || (!spec.explicit && registry.removed.contains(&name)) {
            return Err(Failure::Removed(name));
        }
        let outcome = registry.enter(&self.agent, checked, spec.replace, now)?;
        registry.removed.retain(|removed| *removed != name);
        self.added.notify_one();
        if spec.make_default {
            registry.default = Some(name.clone());
        }
        tracing::info!(account = %name, ?outcome, "account added");
        let shown = registry
            .show(&name, now)
            .ok_or(Failure::Internal("an account vanished while it was added"))?;
        Ok((shown, outcome))
    }

    /// Unloads an account.
    ///
    /// # Errors
    /// [`Failure::NotLoaded`], [`Failure::Removed`] or [`Failure::Invalid`].
    pub fn remove(&self, _: Control, name: &str) -> Result<(), Failure> {
        let name: AccountName = name.parse().map_err(invalid_name)?;
        self.registry().remove(&name)?;
        tracing::info!(account = %name, "account removed");
        Ok(())
    }

    /// Unloads every account and tells how many there were.
    pub fn remove_all(&self, _: Control) -> usize {
        let mut registry = self.registry();
        registry.sweeps += 1;
        let names: Vec<_> = registry.entries.keys().cloned().collect();
        for name in &names {
            // Each was there a line ago, and the lock is held since.
            drop(registry.remove(name));
        }
        tracing::info!(accounts = names.len(), "all accounts removed");
        names.len()
    }

    /// Drops accounts as they end, for ever. An agent whose accounts have no end wakes for nothing.
    pub async fn keep_dropping_ended(&self) {
        loop {
            let now = self.agent.clock.now().boot;
            let next = self.registry().entries.values().filter_map(Entry::ends).min();
            match next {
                None => self.added.notified().await,
                Some(end) => {
                    let sleep = end.saturating_sub(now).min(LONGEST_SLEEP);
                    // Whichever comes first, the next turn looks at every end again.
                    drop(tokio::time::timeout(sleep, self.added.notified()).await);
                }
            }
        }
    }

    /// Number of loaded accounts.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry().entries.len()
    }

    /// The accounts that `may` holds for, by name.
    pub fn list(&self, may: impl Fn(AccountName) -> bool) -> Vec<v1::Account> {
        let now = self.agent.clock.now();
        let registry = self.registry();
        let names = registry.entries.keys().filter(|name| may((*name).clone()));
        names.filter_map(|name| registry.show(name, now)).collect()
    }

    async fn check(&self, spec: &mut AccountSpec) -> Result<Checked, Failure> {
        let name = spec.account.parse().map_err(invalid_name)?;
        let identity = Arc::new(Identity::of(spec, &self.agent.trusted)?);
        let terms = Terms::of(spec)?;
        let secret = spec.consumer_secret.take().map(Zeroizing::new);
        if secret
            .as_ref()
            .is_some_and(|secret| secret.is_empty() || secret.len() > MAX_FIELD_BYTES)
        {
            let what = "the consumer secret is empty or longer than 512 bytes".to_owned();
            return Err(Failure::Invalid(
                what,
                "check where the consumer secret comes from",
            ));
        }
        let key = Zeroizing::new(std::mem::take(&mut spec.private_key));
        let custody = Arc::clone(&self.agent.custody);
        // Parsing checks the primes, which takes a large key long enough to delay other callers.
        let imported = tokio::task::spawn_blocking(move || custody.import(&key)).await;
        let signer = imported
            .map_err(|_| Failure::Internal("taking a key into custody panicked"))?
            .map_err(key_failure)?;
        let seal = |secret: Zeroizing<String>| self.agent.custody.seal(secret.as_bytes());
        let consumer_secret = secret.map(seal).transpose().map_err(|_| Failure::Locked)?;
        Ok(Checked {
            name,
            identity,
            terms,
            signer,
            consumer_secret,
        })
    }

    /// Takes the lock and drops what has ended, so that nobody ever sees an account past its time.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.drop_ended(self.agent.clock.now());
        registry
    }
}

impl Registry {
    fn resolve(&self, name: &str, shown: impl Fn(&AccountName) -> bool) -> Result<AccountName, Failure> {
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

    fn missing(&self, name: &AccountName) -> Failure {
        if self.removed.contains(name) {
            Failure::Removed(name.clone())
        } else {
            Failure::NotLoaded(name.clone())
        }
    }

    fn enter(
        &mut self,
        agent: &Arc<Agent>,
        new: Checked,
        replace: bool,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let fingerprint = new.signer.fingerprint();
        let full = self.entries.len() >= MAX_ACCOUNTS;
        let outcome = match self.entries.get_mut(&new.name) {
            Some(entry) if entry.identity == new.identity && entry.fingerprint == fingerprint => {
                entry.account.set_terms(new.terms);
                entry.consumer_secret = new.consumer_secret;
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
            new.signer,
            new.terms,
        );
        let entry = Entry {
            account,
            identity: new.identity,
            fingerprint,
            consumer_secret: new.consumer_secret,
            added: now.boot,
            used: now.boot,
        };
        self.entries.insert(new.name, entry);
        Ok(outcome)
    }

    fn remove(&mut self, name: &AccountName) -> Result<(), Failure> {
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

    fn drop_ended(&mut self, now: Now) {
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

    fn show(&self, name: &AccountName, now: Now) -> Option<v1::Account> {
        let entry = self.entries.get(name)?;
        let view = entry.account.view();
        let wall = |boot: Duration| now.unix + seconds(boot) - seconds(now.boot);
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
            token: Some(view.token_state(now.unix)),
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

    fn ends(&self) -> Option<Duration> {
        [self.lifetime_ends(), self.idle_ends()]
            .into_iter()
            .flatten()
            .min()
    }

    fn ended(&self, now: Now) -> bool {
        self.ends().is_some_and(|end| end <= now.boot)
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn key_failure(rejected: KeyRejected) -> Failure {
    match rejected {
        KeyRejected::Locked => Failure::Locked,
        rejected => Failure::Invalid(
            rejected.to_string(),
            "use an RSA key of 2048 to 8192 bits: openssl genrsa -aes256 2048",
        ),
    }
}

fn invalid_name(invalid: sfkey_proto::name::InvalidName) -> Failure {
    Failure::Invalid(invalid.to_string(), "choose another name")
}
