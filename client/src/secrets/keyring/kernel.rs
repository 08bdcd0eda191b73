//! The kernel's key retention service, keyrings(7): memory of the kernel, one persistent keyring a user.

use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

use super::{Found, Item, Keeper, KeyringError, SERVICE};

/// ENOSYS, for which the crate has no name.
const NO_SUCH_CALL: i32 = 38;

/// Reads an item. `why` is why it is not the Secret Service that is asked.
pub(super) fn read(item: &Item, why: String) -> Result<Found, KeyringError> {
    match find(item).and_then(|key| key.read_to_vec()) {
        Ok(secret) => Ok(Found {
            secret: Zeroizing::new(secret),
            keeper: Keeper::Kernel(why),
        }),
        Err(error) if is_missing(error) => Err(KeyringError::NoItem {
            place: format!("there is no Secret Service ({why}), and the kernel's keyring"),
            item: item.to_string(),
        }),
        Err(error) => Err(refused(error, why)),
    }
}

/// Writes an item, over one of the same name.
pub(super) fn write(item: &Item, secret: &[u8], why: String) -> Result<Keeper, KeyringError> {
    // Where the kernel has no persistent keyrings, that of the login session is all there is.
    let keyring = persistent().or_else(|_| session());
    match keyring.and_then(|keyring| keyring.add_key(&description(item), secret)) {
        Ok(_) => Ok(Keeper::Kernel(why)),
        Err(error) => Err(refused(error, why)),
    }
}

/// The item of the persistent keyring, else what the login session has under this name.
fn find(item: &Item) -> Result<Key, KeyError> {
    let description = description(item);
    let kept = persistent().and_then(|keyring| keyring.search(&description));
    kept.or_else(|error| {
        let of_the_session = session().and_then(|keyring| keyring.search(&description));
        of_the_session.map_err(|other| if is_missing(other) { error } else { other })
    })
}

/// The keyring of this user that outlives login sessions. A process has a right to its keys only by a keyring of
/// its own in which it is linked; this thread's does, and goes with the thread. Services and cron jobs, which belong to
/// no session, come to it like this too.
fn persistent() -> Result<KeyRing, KeyError> {
    let _own = KeyRing::from_special_id(KeyRingIdentifier::Thread, true)?;
    KeyRing::get_persistent(KeyRingIdentifier::Thread)
}

fn session() -> Result<KeyRing, KeyError> {
    KeyRing::from_special_id(KeyRingIdentifier::Session, false)
}

/// As the other programs that keep secrets by service and user call it.
fn description(item: &Item) -> String {
    format!("keyring:{}@{SERVICE}", item.user)
}

/// Whether the kernel says that it has none: there is one error for each way in which a key can be gone.
fn is_missing(error: KeyError) -> bool {
    matches!(
        error,
        KeyError::KeyDoesNotExist | KeyError::KeyRevoked | KeyError::KeyExpired
    )
}

fn refused(error: KeyError, service: String) -> KeyringError {
    let kernel = match error {
        KeyError::PermissionDenied => "not permitted, as in many containers".to_owned(),
        KeyError::AccessDenied => "permission denied".to_owned(),
        KeyError::QuotaExceeded => "the quota of this user is used up, see /proc/key-users".to_owned(),
        KeyError::OperationNotSupported | KeyError::Unknown(NO_SUCH_CALL) => {
            "this system has none".to_owned()
        }
        other => other.to_string(),
    };
    KeyringError::Absent { service, kernel }
}
