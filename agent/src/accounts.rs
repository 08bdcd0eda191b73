//! The registry: which accounts are loaded, and what may be done with one.
//!
//! A short mutex around handles. Nothing is awaited while it is held.

mod registry;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use sfkey_proto::{
    AccountName,
    v1::{self, AccountSpec, HoldOff, Token, add_account_response::Outcome},
};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::{
    account::{Account, Surrendered, Watch},
    agent::Agent,
    custody::{KeyRejected, SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    limits::MAX_FIELD_BYTES,
    policy::{Control, Permit},
    salesforce::{ExchangeError, UserInfo},
    token::{self, Need, TokenHash},
};

use self::registry::{Checked, Entry, Registry, invalid_name};

/// Longest sleep until an account's end is looked at again. The runtime's timers stand still while the
/// machine is suspended; lifetimes do not.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a check of an account works with, besides its token.
pub struct Subject {
    /// Who it is towards Salesforce.
    pub identity: Arc<Identity>,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// The consumer secret, when one is loaded.
    pub consumer_secret: Option<Arc<SealedSecret>>,
}

/// Every loaded account.
pub struct Accounts {
    agent: Arc<Agent>,
    registry: Mutex<Registry>,
    /// An account was added, which may end before all others.
    added: Notify,
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
        self.ask(&permit, |account, name| account.token(name, need)).await
    }

    /// The next token, for Salesforce refused the one with this hash.
    ///
    /// # Errors
    /// As [`Accounts::token`], and [`Failure::NotTheSession`] when another token would be refused, too.
    pub async fn rejected(&self, permit: Permit, hash: TokenHash) -> Result<Token, Failure> {
        self.agent.counters.token_requests.add();
        self.ask(&permit, |account, name| account.rejected(name, hash))
            .await
    }

    /// Asks the account of the permit; when it is replaced meanwhile, the one that has its name now.
    async fn ask<F>(
        &self,
        permit: &Permit,
        ask: impl Fn(&Account, AccountName) -> F,
    ) -> Result<Token, Failure>
    where
        F: Future<Output = Result<Token, Failure>>,
    {
        let ask = || self.with(permit, |entry| ask(&entry.account, permit.account().clone()));
        match ask()?.await {
            Err(Failure::NotLoaded(_)) => ask()?.await,
            answered => answered,
        }
    }

    /// What a check of the account works with.
    ///
    /// # Errors
    /// [`Failure::NotLoaded`].
    pub fn subject(&self, permit: &Permit) -> Result<Subject, Failure> {
        self.with(permit, |entry| Subject {
            identity: Arc::clone(&entry.identity),
            signer: Arc::clone(&entry.signer),
            consumer_secret: entry.consumer_secret.clone(),
        })
    }

    /// The way to each new token of the account.
    ///
    /// # Errors
    /// [`Failure::NotLoaded`].
    pub fn watch(&self, permit: &Permit) -> Result<Watch, Failure> {
        self.with(permit, |entry| entry.account.watch(permit.account().clone()))
    }

    /// Asks Salesforce whose token it is. A token that Salesforce refuses is reported and the next one tried, once.
    ///
    /// # Errors
    /// As [`Accounts::token`], or what Salesforce answered.
    pub async fn who_am_i(&self, permit: Permit) -> Result<(Token, UserInfo), Failure> {
        let identity = self.with(&permit, |entry| Arc::clone(&entry.identity))?;
        let name = permit.account().clone();
        let need = Need::new(None, false);
        let token = self
            .ask(&permit, |account, name| account.token(name, need))
            .await?;
        let first = self
            .agent
            .endpoint
            .userinfo(&identity.host, &token.access_token)
            .await;
        let error = match first.outcome {
            Ok(user) => return Ok((token, user)),
            Err(error @ ExchangeError::Refused(_)) => error,
            Err(error) => return Err(failure(&name, &identity, error)),
        };
        tracing::info!(account = %name, ?error, "userinfo refused the token");
        let next = self.rejected(permit, token::hash(&token.access_token)).await?;
        let second = self
            .agent
            .endpoint
            .userinfo(&identity.host, &next.access_token)
            .await;
        let user = second.outcome.map_err(|error| failure(&name, &identity, error))?;
        Ok((next, user))
    }

    /// Takes the account's token away and revokes it. Whether there was one.
    ///
    /// # Errors
    /// [`Failure::NotLoaded`], or what kept Salesforce from revoking it; the token is forgotten all the same.
    pub async fn revoke(&self, _: Control, permit: Permit) -> Result<bool, Failure> {
        let surrender = self.with(&permit, |entry| entry.account.surrender(false))?;
        let Some(surrendered) = surrender.await else {
            return Ok(false);
        };
        let answered = self
            .agent
            .endpoint
            .revoke(&surrendered.host, &surrendered.token)
            .await;
        let hash = token::hash(&surrendered.token);
        // Whoever removed the account meanwhile removed what it held.
        self.with(&permit, |entry| entry.account.revoked(hash)).ok();
        tracing::warn!(account = %permit.account(), succeeded = answered.outcome.is_ok(), "token revoked");
        let revoked = answered.outcome.map(|()| true);
        revoked.map_err(|error| Failure::exchange(permit.account(), &surrendered.host, error))
    }

    /// Unloads every account and hands over the tokens that were held.
    pub async fn surrender_all(&self, control: Control) -> Vec<Surrendered> {
        let surrenders: Vec<_> = {
            let registry = self.registry();
            registry
                .entries
                .values()
                .map(|entry| entry.account.surrender(true))
                .collect()
        };
        let surrendered = join_all(surrenders).await;
        self.remove_all(control);
        surrendered.into_iter().flatten().collect()
    }

    /// Failures that are remembered, by account.
    #[must_use]
    pub fn hold_offs(&self) -> Vec<HoldOff> {
        let now = self.agent.clock.now();
        let registry = self.registry();
        let shown = registry.entries.iter().filter_map(|(name, entry)| {
            let held_off = entry.account.view().held_off?;
            (held_off.until > now.boot).then(|| HoldOff {
                account: name.to_string(),
                until: now.wall_at(held_off.until),
                reason: held_off.reason.as_str().to_owned(),
                message: held_off.message,
            })
        });
        shown.collect()
    }

    /// Does something with the entry of the permit, and counts it as a use.
    fn with<T>(&self, permit: &Permit, act: impl FnOnce(&Entry) -> T) -> Result<T, Failure> {
        let mut registry = self.registry();
        let entry = registry.entries.get_mut(permit.account());
        let entry = entry.ok_or_else(|| Failure::NotLoaded(permit.account().clone()))?;
        entry.used = self.agent.clock.now().boot;
        Ok(act(entry))
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

fn key_failure(rejected: KeyRejected) -> Failure {
    match rejected {
        KeyRejected::Locked => Failure::Locked,
        rejected => Failure::Invalid(
            rejected.to_string(),
            "use an RSA key of 2048 to 8192 bits: openssl genrsa -aes256 2048",
        ),
    }
}

fn failure(account: &AccountName, identity: &Identity, error: ExchangeError) -> Failure {
    Failure::exchange(account, &identity.host, error)
}
