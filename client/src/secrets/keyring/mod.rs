//! Secrets in the keyring: that of the desktop, or the kernel's where there is none.
//!
//! ```text
//! service   the Secret Service (GNOME Keyring, KWallet, KeePassXC …) over D-Bus
//! kernel    the kernel's key retention service, for machines without a desktop
//! ```
//!
//! Whatever a keyring does, or fails to do, the caller has its answer in time: it is asked on a thread of its own,
//! on a connection of its own, under a deadline.

mod kernel;
mod service;

use std::{
    fmt,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use sfkey::{Environment, proto::AccountName};
use zeroize::Zeroizing;

use crate::output::Output;

/// The service that all items belong to.
const SERVICE: &str = "sfkey";

/// How long the keyring may take. What answers at all answers within a fraction of a second.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an unlock prompt may stay open: somebody has to see it and to type a password.
const PROMPT: Duration = Duration::from_secs(30);

/// What ends a work that cannot be ended by its own deadline, such as a connect(2) that blocks.
const GRACE: Duration = Duration::from_secs(1);

/// What an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Passphrase,
    ConsumerSecret,
}

/// A secret of an account, by the name under which keyrings have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// `NAME/key`, `NAME/passphrase`, `NAME/consumer_secret`.
    user: String,
}

impl Item {
    pub(crate) fn new(account: &AccountName, kind: Kind) -> Self {
        let kind = match kind {
            Kind::Key => "key",
            Kind::Passphrase => "passphrase",
            Kind::ConsumerSecret => "consumer_secret",
        };
        Self {
            user: format!("{account}/{kind}"),
        }
    }

    /// What the desktop's programs call it.
    fn label(&self) -> String {
        format!("{SERVICE} {}", self.user)
    }

    /// How it gets into the keyring.
    pub(crate) fn store_command(&self) -> String {
        match self.user.rsplit_once('/') {
            Some((account, "key")) => format!("sfkey add {account} --key FILE --store-key keyring --save"),
            _ => format!(
                "secret-tool store --label='{}' service {SERVICE} username {}",
                self.label(),
                self.user
            ),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {SERVICE}, user {}", self.user)
    }
}

/// Where an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// A collection of the Secret Service that is stored, encrypted.
    Collection,
    /// Its session collection, which is memory.
    Session,
    /// The kernel's keyring, because there is no Secret Service, and why there is none.
    Kernel(String),
}

impl Keeper {
    /// Whether it is still there after a reboot.
    pub(crate) fn is_persistent(&self) -> bool {
        *self == Self::Collection
    }

    /// What there is to say of it; nothing of a keyring as it should be.
    pub(crate) fn caution(&self) -> Option<String> {
        match self {
            Self::Collection => None,
            Self::Session => Some("the keyring has only its session collection: lost at reboot".to_owned()),
            Self::Kernel(why) => Some(format!(
                "no Secret Service can be used ({why}), so the kernel's keyring is: lost at reboot"
            )),
        }
    }
}

/// Whether a locked keyring may ask its user for the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unlock {
    /// It may, where there is somebody and a window can be shown.
    Ask,
    /// It is an error.
    #[default]
    Never,
}

/// Why a keyring is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyringError {
    /// It is locked, and nobody may be asked.
    #[error("the keyring is locked")]
    Locked,
    /// Its unlock prompt was closed, or could not be shown.
    #[error("the keyring is locked, and its prompt was dismissed or could not be shown")]
    Dismissed,
    /// Its unlock prompt was not answered.
    #[error("the keyring is locked, and its prompt was not answered within {} s", PROMPT.as_secs())]
    Unanswered,
    /// It does not answer.
    #[error("the keyring did not answer within {} s", ANSWER.as_secs())]
    Silent,
    /// It does not have the item.
    #[error("{place} has no item of this account ({item})")]
    NoItem {
        /// Which keyring was asked.
        place: String,
        /// What was looked for.
        item: String,
    },
    /// Several items are meant by the same name.
    #[error("the keyring has {count} items of this name ({item})")]
    Several {
        /// How many.
        count: usize,
        /// What was looked for.
        item: String,
    },
    /// Neither keyring can be used.
    #[error("there is no keyring: no Secret Service ({service}), and the kernel's refuses ({kernel})")]
    Absent {
        /// Why not the Secret Service.
        service: String,
        /// Why not the kernel's keyring.
        kernel: String,
    },
    /// Anything else that a keyring says.
    #[error("the keyring failed: {0}")]
    Failed(String),
}

/// What was found in a keyring.
pub(crate) struct Found {
    pub(crate) secret: Zeroizing<Vec<u8>>,
    pub(crate) keeper: Keeper,
}

/// What the thread that asks tells the one that waits.
enum Word<T> {
    /// The user sees a prompt now.
    Prompting,
    Done(Result<T, KeyringError>),
}

/// The keyring of this user. Each call is a connection of its own.
pub(crate) struct Keyring<'a> {
    /// The session bus, as D-Bus writes addresses.
    bus: Result<String, String>,
    unlock: Unlock,
    output: &'a Output,
}

impl<'a> Keyring<'a> {
    pub(crate) fn of(environment: &Environment, unlock: Unlock, output: &'a Output) -> Self {
        Self {
            bus: service::address(environment),
            // A prompt is a window; where none can be shown it would hang in the air.
            unlock: match environment.has_display {
                true => unlock,
                false => Unlock::Never,
            },
            output,
        }
    }

    /// Whether there is a Secret Service with a collection that is stored, locked or not.
    pub(crate) fn is_lasting(&self) -> bool {
        let asked = self.in_time(|bus, _, _| match bus.map(|bus| service::is_lasting(&bus)) {
            Ok(Ok(lasting)) => Ok(lasting),
            Ok(Err(service::Trouble::Known(error))) => Err(error),
            Ok(Err(service::Trouble::Absent(_))) | Err(_) => Ok(false),
        });
        asked.unwrap_or(false)
    }

    /// Reads an item.
    pub(crate) fn read(&self, item: &Item) -> Result<Found, KeyringError> {
        let item = item.clone();
        self.in_time(move |bus, unlock, prompting| {
            let why = match bus {
                Err(why) => why,
                Ok(bus) => match service::read(&bus, &item, unlock, prompting) {
                    Err(service::Trouble::Absent(why)) => why,
                    Err(service::Trouble::Known(error)) => return Err(error),
                    Ok(found) => return Ok(found),
                },
            };
            kernel::read(&item, why)
        })
    }

    /// Writes an item, over one of the same name.
    pub(crate) fn write(&self, item: &Item, secret: Zeroizing<Vec<u8>>) -> Result<Keeper, KeyringError> {
        let item = item.clone();
        self.in_time(move |bus, unlock, prompting| {
            let why = match bus {
                Err(why) => why,
                Ok(bus) => match service::write(&bus, &item, &secret, unlock, prompting) {
                    Err(service::Trouble::Absent(why)) => why,
                    Err(service::Trouble::Known(error)) => return Err(error),
                    Ok(keeper) => return Ok(keeper),
                },
            };
            kernel::write(&item, &secret, why)
        })
    }

    /// The work's result, on a thread of its own; an error when it takes too long. That thread is left to itself
    /// then, and ends with the process.
    fn in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce(Result<String, String>, Unlock, &dyn Fn()) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let (bus, unlock) = (self.bus.clone(), self.unlock);
        let (tell, told): (Sender<Word<T>>, _) = mpsc::channel();
        let asking = thread::Builder::new().name("keyring".to_owned()).spawn(move || {
            let prompting = || drop(tell.send(Word::Prompting));
            let done = work(bus, unlock, &prompting);
            drop(tell.send(Word::Done(done)));
        });
        match asking {
            Ok(_) => self.wait(&told),
            Err(error) => Err(KeyringError::Failed(error.to_string())),
        }
    }

    fn wait<T>(&self, told: &Receiver<Word<T>>) -> Result<T, KeyringError> {
        let mut patience = ANSWER + GRACE;
        loop {
            match told.recv_timeout(patience) {
                Ok(Word::Done(done)) => return done,
                Ok(Word::Prompting) => {
                    self.output
                        .tell("the keyring is locked; its own window asks for the password");
                    patience = PROMPT + ANSWER + GRACE;
                }
                Err(RecvTimeoutError::Timeout) => return Err(KeyringError::Silent),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(KeyringError::Failed("what asks it has crashed".to_owned()));
                }
            }
        }
    }
}
