//! Custody: secrets at rest and the keys that sign.
//!
//! Everything secret that the agent keeps (private keys, consumer secrets, access tokens) is sealed with
//! ChaCha20-Poly1305 under a master secret that lives in a protected page. A signature unseals, parses,
//! signs and wipes. Keys are used, never fetched: there is no way from a [`Signer`] to key bytes.

pub mod child;
pub mod descriptors;
pub mod heap;
mod key;
mod lock;
mod page;
pub mod sockopt;
mod traces;

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use sfkey_proto::v1::MemoryProtection;
use zeroize::Zeroizing;

use self::traces::without_traces;
use crate::clock::Clock;

pub use lock::MAX_PASSPHRASE_BYTES;

pub use key::{Fingerprint, KeyRejected, SignError, Signer};

/// The vault: the master secret and what is done with it.
pub struct Custody {
    master: RwLock<Master>,
    keys: key::KeyRing,
}

enum Master {
    Open(page::SecretPage),
    Locked(lock::WrappedSecret),
}

/// A secret as it is kept: useless without the [`Custody`] that sealed it.
pub struct SealedSecret {
    nonce: [u8; NONCE_LEN],
    ciphertext: Vec<u8>,
}

/// Why custody does not seal or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustodyError {
    /// The master secret is not in memory.
    #[error("the agent is locked")]
    Locked,
    /// The sealed bytes were sealed by another custody, or memory is damaged.
    #[error("a sealed secret does not open")]
    DoesNotOpen,
}

/// Why the lock did not turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It is locked already.
    #[error("the agent is locked already")]
    Locked,
    /// It is not locked.
    #[error("the agent is not locked")]
    NotLocked,
    /// Another passphrase locked it.
    #[error("the passphrase does not unlock the agent")]
    WrongPassphrase,
    /// The system no longer grants the protection that the secret had.
    #[error("the master secret cannot be protected as it was before")]
    LessProtection,
}

/// A level of protection, as the contract's JSON names it.
#[must_use]
pub fn protection_name(protection: MemoryProtection) -> &'static str {
    match protection {
        MemoryProtection::MemfdSecret => "memfd_secret",
        MemoryProtection::Mlock => "mlock",
        MemoryProtection::None | MemoryProtection::Unspecified => "none",
    }
}

impl Custody {
    /// Makes a vault with a fresh master secret.
    ///
    /// # Errors
    /// When no memory can be mapped or the system's random source fails.
    pub fn new() -> io::Result<Arc<Self>> {
        let master = RwLock::new(Master::Open(page::SecretPage::random()?));
        Ok(Arc::new(Self {
            master,
            keys: key::KeyRing::default(),
        }))
    }

    /// How the master secret is protected; while locked, how it was, and will have to be again.
    #[must_use]
    pub fn protection(&self) -> MemoryProtection {
        match &*self.master.read().unwrap_or_else(PoisonError::into_inner) {
            Master::Open(page) => page.protection(),
            Master::Locked(wrapped) => wrapped.protection(),
        }
    }

    /// Seals a copy of `secret`; the caller wipes the original.
    ///
    /// # Errors
    /// [`CustodyError::Locked`].
    pub fn seal(&self, secret: &[u8]) -> Result<SealedSecret, CustodyError> {
        without_traces(|| self.seal_leaving_traces(secret))
    }

    fn seal_leaving_traces(&self, secret: &[u8]) -> Result<SealedSecret, CustodyError> {
        // 96 random bits: at one secret a second a collision is not to be expected within a million years.
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the kernel's random source answered when custody was made");
        let cipher = self.cipher()?;
        let mut ciphertext = Vec::with_capacity(secret.len() + CHACHA20_POLY1305.tag_len());
        ciphertext.extend_from_slice(secret);
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut ciphertext)
            .expect("secrets are far shorter than the cipher's limit of 256 GiB");
        Ok(SealedSecret { nonce, ciphertext })
    }

    /// Opens what [`Custody::seal`] sealed, into memory that is wiped on drop.
    ///
    /// # Errors
    /// [`CustodyError`].
    pub fn open(&self, sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        without_traces(|| self.open_leaving_traces(sealed))
    }

    fn open_leaving_traces(&self, sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let cipher = self.cipher()?;
        let mut buffer = Zeroizing::new(sealed.ciphertext.clone());
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let opened = cipher.open_in_place(nonce, Aad::empty(), &mut buffer);
        let length = opened.map_err(|_| CustodyError::DoesNotOpen)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Takes an RSA private key (PKCS#1 DER) into custody and returns its signer. The same key taken twice
    /// is kept once; it is wiped when its last signer goes.
    ///
    /// # Errors
    /// [`KeyRejected`] when the bytes are no sound RSA key of 2048 to 8192 bits, or custody is locked.
    pub fn import(self: &Arc<Self>, pkcs1: &[u8]) -> Result<Arc<dyn Signer>, KeyRejected> {
        without_traces(|| key::import(self, pkcs1))
    }

    /// Wraps the master secret under the passphrase and wipes it. Takes a key derivation, about 100 ms: call
    /// it on the blocking pool, one at a time.
    ///
    /// # Errors
    /// [`LockError::Locked`].
    pub fn lock(&self, passphrase: &[u8], clock: &dyn Clock) -> Result<(), LockError> {
        without_traces(|| self.lock_leaving_traces(passphrase, clock))
    }

    fn lock_leaving_traces(&self, passphrase: &[u8], clock: &dyn Clock) -> Result<(), LockError> {
        let wrapping = lock::Wrapping::derive(passphrase, clock);
        let mut master = self.master.write().unwrap_or_else(PoisonError::into_inner);
        let Master::Open(page) = &*master else {
            return Err(LockError::Locked);
        };
        let wrapped = wrapping.wrap(page.bytes(), page.protection());
        *master = Master::Locked(wrapped);
        Ok(())
    }

    /// Brings the master secret back. Takes a key derivation: as [`Custody::lock`].
    ///
    /// # Errors
    /// [`LockError`]; custody stays locked.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<(), LockError> {
        without_traces(|| self.unlock_leaving_traces(passphrase))
    }

    fn unlock_leaving_traces(&self, passphrase: &[u8]) -> Result<(), LockError> {
        let (unwrapped, before, salt) = match &*self.master.read().unwrap_or_else(PoisonError::into_inner) {
            Master::Open(_) => return Err(LockError::NotLocked),
            Master::Locked(wrapped) => {
                let secret = wrapped
                    .unwrap(passphrase)
                    .map_err(|_| LockError::WrongPassphrase)?;
                (secret, wrapped.protection(), wrapped.salt())
            }
        };
        let page = page::SecretPage::holding(&unwrapped).ok();
        let page = page
            .filter(|page| page.protection() == before)
            .ok_or(LockError::LessProtection)?;
        let mut master = self.master.write().unwrap_or_else(PoisonError::into_inner);
        match &*master {
            // While the key was derived everything may have been forgotten: then nothing comes back.
            Master::Locked(wrapped) if wrapped.is(&salt) => *master = Master::Open(page),
            _ => return Err(LockError::NotLocked),
        }
        Ok(())
    }

    /// Wipes the master secret and begins with a new one, locked or not: what was sealed before is lost.
    ///
    /// # Errors
    /// When no memory can be mapped for a new one. The old one is wiped all the same, and the agent is as good as
    /// locked with a passphrase that nobody has.
    pub fn forget(&self) -> io::Result<()> {
        self.keys.clear();
        let page = page::SecretPage::random();
        let mut master = self.master.write().unwrap_or_else(PoisonError::into_inner);
        let before = match &*master {
            Master::Open(page) => page.protection(),
            Master::Locked(wrapped) => wrapped.protection(),
        };
        match page {
            Ok(page) => {
                *master = Master::Open(page);
                Ok(())
            }
            Err(error) => {
                *master = Master::Locked(lock::WrappedSecret::lost(before));
                Err(error)
            }
        }
    }

    /// Whether the master secret is out of memory.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(
            &*self.master.read().unwrap_or_else(PoisonError::into_inner),
            Master::Locked(_)
        )
    }

    fn cipher(&self) -> Result<LessSafeKey, CustodyError> {
        match &*self.master.read().unwrap_or_else(PoisonError::into_inner) {
            Master::Open(page) => {
                let key = UnboundKey::new(&CHACHA20_POLY1305, page.bytes())
                    .expect("the master secret has the cipher's key length");
                Ok(LessSafeKey::new(key))
            }
            Master::Locked(_) => Err(CustodyError::Locked),
        }
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody")
            .field("protection", &self.protection())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn what_is_sealed_opens_again_and_only_in_the_same_custody() {
        let (ours, other) = (Custody::new().expect("custody"), Custody::new().expect("custody"));
        let sealed = ours.seal(b"canary").expect("sealed");
        assert_eq!(&**ours.open(&sealed).expect("opens"), b"canary");
        assert_eq!(other.open(&sealed), Err(CustodyError::DoesNotOpen));
        assert!(!sealed.ciphertext.windows(6).any(|window| window == b"canary"));
        assert!(!format!("{sealed:?} {ours:?}").contains("canary"));
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let custody = Custody::new().expect("custody");
        let sealed = || custody.seal(b"canary").expect("sealed").ciphertext;
        assert_ne!(sealed(), sealed());
    }

    #[test]
    fn a_locked_custody_neither_seals_nor_opens_until_the_right_passphrase_comes() {
        let custody = Custody::new().expect("custody");
        let sealed = custody.seal(b"canary").expect("sealed");
        custody.lock(b"open sesame", &SystemClock).expect("locked");
        assert_eq!(custody.open(&sealed), Err(CustodyError::Locked));
        assert_eq!(custody.seal(b"x").err(), Some(CustodyError::Locked));
        assert_eq!(custody.lock(b"again", &SystemClock), Err(LockError::Locked));
        assert_eq!(custody.unlock(b"wrong"), Err(LockError::WrongPassphrase));
        assert_eq!(custody.unlock(b"open sesame"), Ok(()));
        assert_eq!(custody.unlock(b"open sesame"), Err(LockError::NotLocked));
        assert_eq!(&**custody.open(&sealed).expect("opens"), b"canary");
    }

    #[test]
    fn what_was_sealed_before_everything_was_forgotten_is_lost_locked_or_not() {
        for locked in [false, true] {
            let custody = Custody::new().expect("custody");
            let sealed = custody.seal(b"canary").expect("sealed");
            if locked {
                custody.lock(b"open sesame", &SystemClock).expect("locked");
            }
            custody.forget().expect("forgotten");
            assert_eq!(custody.open(&sealed), Err(CustodyError::DoesNotOpen));
            assert_eq!(custody.unlock(b"open sesame"), Err(LockError::NotLocked));
            let sealed = custody.seal(b"canary").expect("sealed");
            assert_eq!(&**custody.open(&sealed).expect("opens"), b"canary");
        }
    }

    #[test]
    fn a_locked_custody_holds_no_master_secret() {
        let custody = Custody::new().expect("custody");
        custody.lock(b"open sesame", &SystemClock).expect("locked");
        assert!(matches!(
            &*custody.master.read().expect("not poisoned"),
            Master::Locked(_)
        ));
    }

    /// Runs `act` on a thread to which the kernel grants no protected memory of any kind.
    fn without_protected_memory<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
        use std::collections::BTreeMap;

        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

        let refused = SeccompAction::Errno(u32::try_from(libc::ENOMEM).expect("a small number"));
        let calls = [libc::SYS_memfd_secret, libc::SYS_mlock];
        let rules = BTreeMap::from(calls.map(|call| (call, Vec::new())));
        let architecture = std::env::consts::ARCH.try_into().expect("a known machine");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
        let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter of two rules");
        let thread = std::thread::spawn(move || {
            seccompiler::apply_filter(&program).expect("everybody may restrict himself");
            act()
        });
        thread.join().expect("the restricted thread ends well")
    }

    #[test]
    fn unlock_never_brings_the_secret_back_with_less_protection_than_it_had() {
        let custody = Custody::new().expect("custody");
        let before = custody.protection();
        assert_ne!(before, MemoryProtection::None, "this machine protects a page");
        let sealed = custody.seal(b"canary").expect("sealed");
        custody.lock(b"open sesame", &SystemClock).expect("locked");
        let there = Arc::clone(&custody);
        let turned = without_protected_memory(move || there.unlock(b"open sesame"));
        assert_eq!(turned, Err(LockError::LessProtection));
        assert!(custody.is_locked());
        assert_eq!(custody.protection(), before, "what it will have to be again");
        assert_eq!(custody.open(&sealed), Err(CustodyError::Locked));
        assert_eq!(custody.unlock(b"open sesame"), Ok(()));
        assert_eq!(custody.protection(), before);
        assert_eq!(&**custody.open(&sealed).expect("opens"), b"canary");
    }

    #[test]
    fn a_custody_that_never_had_protection_is_unlocked_without_it() {
        without_protected_memory(|| {
            let custody = Custody::new().expect("custody");
            assert_eq!(custody.protection(), MemoryProtection::None);
            custody.lock(b"open sesame", &SystemClock).expect("locked");
            assert_eq!(custody.unlock(b"open sesame"), Ok(()));
        });
    }
}
