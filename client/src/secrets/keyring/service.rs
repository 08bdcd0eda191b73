//! The Secret Service over D-Bus.
//!
//! Nothing here opens a prompt unless it is allowed to, which the layer above this crate, `keyring`, would do.

use std::{collections::HashMap, future::Future};

use secret_service::{Collection, EncryptionType, Error, Item as StoredItem, SecretService};
use sfkey::Environment;
use tokio::{
    runtime,
    time::{Instant, timeout_at},
};
use zbus::{Connection, connection};
use zeroize::Zeroizing;

use super::{ANSWER, Found, Item, Keeper, KeyringError, PROMPT, SERVICE, Unlock};
use crate::exit::words;

/// All that is kept is text: PEM, passphrases, consumer secrets.
const CONTENT_TYPE: &str = "text/plain";

/// Where the session collection of every Secret Service is, besides its alias.
const SESSION_COLLECTION: &str = "/org/freedesktop/secrets/collection/session";

/// Why the Secret Service did not do it.
pub(super) enum Trouble {
    /// There is none, and why.
    Absent(String),
    /// There is one, and this is the matter.
    Known(KeyringError),
}

impl From<KeyringError> for Trouble {
    fn from(error: KeyringError) -> Self {
        Self::Known(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let told = match &error {
            Error::Unavailable => return Self::Absent("no session bus".to_owned()),
            Error::Locked => return KeyringError::Locked.into(),
            Error::Prompt | Error::PromptDisconnected => return KeyringError::Dismissed.into(),
            Error::Zbus(error) => told(error),
            Error::ZbusFdo(error) => told(&zbus::Error::FDO(Box::new(error.clone()))),
            _ => None,
        };
        let Some((name, message)) = told else {
            return KeyringError::Failed(error.to_string()).into();
        };
        match name.strip_prefix("org.freedesktop.").unwrap_or(&name) {
            "DBus.Error.ServiceUnknown" | "DBus.Error.NameHasNoOwner" => {
                Self::Absent("nobody serves it on the session bus".to_owned())
            }
            spawn if spawn.starts_with("DBus.Error.Spawn.") => Self::Absent(message),
            "DBus.Error.NoReply" | "DBus.Error.TimedOut" | "DBus.Error.Timeout" => {
                KeyringError::Silent.into()
            }
            "Secret.Error.IsLocked" => KeyringError::Locked.into(),
            _ => KeyringError::Failed(message).into(),
        }
    }
}

/// The name and the words of an error that came as an answer.
fn told(error: &zbus::Error) -> Option<(String, String)> {
    use zbus::DBusError;
    match error {
        zbus::Error::MethodError(name, message, _) => Some((
            name.to_string(),
            message.clone().unwrap_or_else(|| name.to_string()),
        )),
        zbus::Error::FDO(error) => match &**error {
            zbus::fdo::Error::ZBus(inner) => told(inner),
            error => {
                let name = error.name().to_string();
                let message = error.description().unwrap_or(&name).to_owned();
                Some((name, message))
            }
        },
        _ => None,
    }
}

/// The session bus on this machine, or why there is none that may be used: `tcp:` would open a connection to
/// another machine, and `unixexec:` would run a program.
pub(super) fn address(environment: &Environment) -> Result<String, String> {
    let Some(addresses) = &environment.session_bus else {
        return Err("no session bus".to_owned());
    };
    addresses
        .split(';')
        .find(|address| address.starts_with("unix:"))
        .map(str::to_owned)
        .ok_or_else(|| "the session bus is not a socket on this machine".to_owned())
}

/// Whether the default collection is one that is stored.
pub(super) fn is_lasting(bus: &str) -> Result<bool, Trouble> {
    block_on(async {
        let visit = Visit::begin(Unlock::Never, &|| {});
        let service = visit.service(bus).await?;
        let collection = visit.collection(&service).await?;
        let keeper = visit.keeper(&service, &collection.collection_path).await?;
        Ok(keeper == Keeper::Collection)
    })
}

/// Reads an item. `prompting` is called when the user is shown a prompt.
pub(super) fn read(bus: &str, item: &Item, unlock: Unlock, prompting: &dyn Fn()) -> Result<Found, Trouble> {
    block_on(async {
        let mut visit = Visit::begin(unlock, prompting);
        let service = visit.service(bus).await?;
        visit.read(&service, item).await
    })
}

/// Writes an item, over one of the same name.
pub(super) fn write(
    bus: &str,
    item: &Item,
    secret: &[u8],
    unlock: Unlock,
    prompting: &dyn Fn(),
) -> Result<Keeper, Trouble> {
    block_on(async {
        let mut visit = Visit::begin(unlock, prompting);
        let service = visit.service(bus).await?;
        visit.write(&service, item, secret).await
    })
}

/// On a runtime of its own, for the thread has none.
fn block_on<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| KeyringError::Failed(error.to_string()))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

/// One visit: it has until its deadline, and a prompt in between sets a new one.
struct Visit<'a> {
    deadline: Instant,
    unlock: Unlock,
    prompting: &'a dyn Fn(),
}

impl<'a> Visit<'a> {
    fn begin(unlock: Unlock, prompting: &'a dyn Fn()) -> Self {
        Self {
            deadline: Instant::now() + ANSWER,
            unlock,
            prompting,
        }
    }

    /// What the keyring answers before the deadline.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        match timeout_at(self.deadline, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(KeyringError::Silent.into()),
        }
    }

    async fn service(&self, bus: &str) -> Result<SecretService<'static>, Trouble> {
        let connecting = async { connection::Builder::address(bus)?.build().await };
        let connection: Connection = match timeout_at(self.deadline, connecting).await {
            Err(_) => return Err(KeyringError::Silent.into()),
            // A bus that nobody can talk to serves nothing.
            Ok(Err(error)) => return Err(Trouble::Absent(unreachable(&error))),
            Ok(Ok(connection)) => connection,
        };
        // Encrypted on its way through the bus, whose buffers nobody wipes.
        let session = SecretService::connect_with_existing(EncryptionType::Dh, connection);
        self.in_time(session).await
    }

    async fn read(&mut self, service: &SecretService<'_>, item: &Item) -> Result<Found, Trouble> {
        let stored = self.find(service, item).await?;
        let secret = Zeroizing::new(self.in_time(stored.get_secret()).await?);
        let (collection, _) = stored.item_path.rsplit_once('/').unwrap_or_default();
        let keeper = self.keeper(service, collection).await?;
        Ok(Found { secret, keeper })
    }

    /// The one item that is meant, unlocked.
    async fn find<'s>(
        &mut self,
        service: &'s SecretService<'_>,
        item: &Item,
    ) -> Result<StoredItem<'s>, Trouble> {
        let found = self.in_time(service.search_items(attributes(item))).await?;
        if found.unlocked.is_empty()
            && let Some(locked) = found.locked.first()
        {
            self.unlocking(locked.unlock()).await?;
        } else if found.unlocked.is_empty()
            && let Ok(default) = self.in_time(service.get_default_collection()).await
            && self.in_time(default.is_locked()).await?
        {
            // A locked collection need not tell what is in it.
            self.unlocking(default.unlock()).await?;
        } else {
            return self.only(found.unlocked, item);
        }
        let found = self.in_time(service.search_items(attributes(item))).await?;
        self.only(found.unlocked, item)
    }

    #[expect(clippy::unused_self, reason = "it reads as a step of the visit")]
    fn only<'s>(&self, mut items: Vec<StoredItem<'s>>, item: &Item) -> Result<StoredItem<'s>, Trouble> {
        match (items.pop(), items.len()) {
            (Some(only), 0) => Ok(only),
            (Some(_), more) => Err(KeyringError::Several {
                count: more + 1,
                item: item.to_string(),
            }
            .into()),
            (None, _) => Err(KeyringError::NoItem {
                place: "the keyring".to_owned(),
                item: item.to_string(),
            }
            .into()),
        }
    }

    async fn write(
        &mut self,
        service: &SecretService<'_>,
        item: &Item,
        secret: &[u8],
    ) -> Result<Keeper, Trouble> {
        let collection = self.collection(service).await?;
        if self.in_time(collection.is_locked()).await? {
            self.unlocking(collection.unlock()).await?;
        }
        let there = self.in_time(collection.search_items(attributes(item))).await?;
        match self.only(there, item) {
            Ok(there) => self.in_time(there.set_secret(secret, CONTENT_TYPE)).await?,
            Err(Trouble::Known(KeyringError::NoItem { .. })) => {
                let label = item.label();
                let created = collection.create_item(&label, attributes(item), secret, true, CONTENT_TYPE);
                drop(self.in_time(created).await?);
            }
            Err(several) => return Err(several),
        }
        self.keeper(service, &collection.collection_path).await
    }

    /// The default collection; where there is none, the session's.
    async fn collection<'s>(&self, service: &'s SecretService<'_>) -> Result<Collection<'s>, Trouble> {
        let default = async {
            match service.get_default_collection().await {
                Err(Error::NoResult) => service.get_collection_by_alias("session").await,
                default => default,
            }
        };
        self.in_time(default).await
    }

    /// What kind of collection is at this path.
    async fn keeper(&self, service: &SecretService<'_>, collection: &str) -> Result<Keeper, Trouble> {
        if collection == SESSION_COLLECTION {
            return Ok(Keeper::Session);
        }
        match self.in_time(service.get_collection_by_alias("session")).await {
            Ok(session) if session.collection_path.as_str() == collection => Ok(Keeper::Session),
            Err(Trouble::Known(KeyringError::Silent)) => Err(KeyringError::Silent.into()),
            // Not every keyring has a session collection.
            _ => Ok(Keeper::Collection),
        }
    }

    /// Lets the keyring ask its user, if that is allowed.
    async fn unlocking(&mut self, unlock: impl Future<Output = Result<(), Error>>) -> Result<(), Trouble> {
        if self.unlock == Unlock::Never {
            return Err(KeyringError::Locked.into());
        }
        (self.prompting)();
        let unlocked = timeout_at(Instant::now() + PROMPT, unlock).await;
        self.deadline = Instant::now() + ANSWER;
        match unlocked {
            Err(_) => Err(KeyringError::Unanswered.into()),
            Ok(Err(Error::Zbus(_) | Error::ZbusFdo(_))) => Err(KeyringError::Dismissed.into()),
            Ok(unlocked) => Ok(unlocked?),
        }
    }
}

/// The names by which `keyring`, and so other programs, find an item.
fn attributes(item: &Item) -> HashMap<&str, &str> {
    HashMap::from([("service", SERVICE), ("username", item.user.as_str())])
}

fn unreachable(error: &zbus::Error) -> String {
    let detail = match error {
        zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _) => words(error),
        error => error.to_string(),
    };
    format!("no session bus: {detail}")
}
