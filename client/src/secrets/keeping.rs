//! Keeping a secret in the keyring, so that it is surely there.

use sfkey::{
    Environment,
    keyfile::{KeyFile, PrivateKey},
    proto::AccountName,
};
use zeroize::Zeroizing;

use super::{
    keyring::{Item, Keeper, Keyring, KeyringError, Kind, Unlock},
    keyring_failure,
};
use crate::{
    exit::{Cause, Failure},
    output::Output,
};

/// Where something is kept, and who may be asked on the way.
pub(crate) struct Keeping<'a> {
    pub(crate) account: &'a AccountName,
    /// Whether another key of this account may be written over.
    pub(crate) replace: bool,
    pub(crate) unlock: Unlock,
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a Output,
}

impl Keeping<'_> {
    /// Keeps a key as PKCS#8, which the keyring encrypts, and reads it back over a new connection.
    pub(crate) fn key(&self, key: &PrivateKey) -> Result<Keeper, Failure> {
        let item = Item::new(self.account, Kind::Key);
        let keyring = self.keyring();
        let other = match keyring.read(&item) {
            Ok(found) => !is(key, found.secret),
            Err(KeyringError::NoItem { .. }) => false,
            Err(error) => return Err(keyring_failure(&item, &error)),
        };
        if other && !self.replace {
            let account = self.account;
            return Err(Failure::new(
                Cause::Secret,
                format!("the keyring has another key of {account} ({item})"),
                "say --replace if that one is not needed any more",
            ));
        }
        self.keep(&item, into_bytes(key.to_pem()), |kept| is(key, kept))
    }

    /// Keeps a consumer secret or a passphrase, and reads it back over a new connection.
    pub(crate) fn secret(&self, kind: Kind, secret: &Zeroizing<Vec<u8>>) -> Result<Keeper, Failure> {
        let item = Item::new(self.account, kind);
        self.keep(&item, secret.clone(), |kept| kept == *secret)
    }

    /// Says where it is not kept for good.
    fn keep(
        &self,
        item: &Item,
        secret: Zeroizing<Vec<u8>>,
        is_it: impl Fn(Zeroizing<Vec<u8>>) -> bool,
    ) -> Result<Keeper, Failure> {
        let keyring = self.keyring();
        let failure = |error: &KeyringError| keyring_failure(item, error);
        keyring.write(item, secret).map_err(|error| failure(&error))?;
        let found = keyring.read(item).map_err(|error| failure(&error))?;
        if !is_it(found.secret) {
            let error = KeyringError::Failed("what it gives back is not what was put there".to_owned());
            return Err(failure(&error));
        }
        if let Some(caution) = found.keeper.caution() {
            self.output.warn(&caution);
        }
        Ok(found.keeper)
    }

    fn keyring(&self) -> Keyring<'_> {
        Keyring::of(self.environment, self.unlock, self.output)
    }
}

/// Whether what is kept is this key.
fn is(key: &PrivateKey, kept: Zeroizing<Vec<u8>>) -> bool {
    KeyFile::from_bytes(kept)
        .and_then(|file| file.decode(None))
        .is_ok_and(|kept| *kept.pkcs1_der() == *key.pkcs1_der())
}

fn into_bytes(mut text: Zeroizing<String>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}
