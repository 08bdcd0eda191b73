//! The assertion: claims → compact JWS (RFC 7515, RFC 7523), signed by a key in custody.
//!
//! jsonwebtoken encodes; the signature comes from a [`CryptoProvider`] of ours. Where jsonwebtoken expects
//! key bytes it gets a ticket for a signer that is lent to it for the length of one call, so that key bytes
//! never pass through it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    crypto::{CryptoProvider, JwtSigner, KeyUtils},
    errors::{ErrorKind, new_error},
    signature,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    custody::{SignError, Signer},
    identity::Identity,
};

/// Life of an assertion in seconds. Salesforce allows three minutes of clock skew.
pub const LIFE_SECONDS: i64 = 180;

/// What is signed. No `iat` and no `nbf`: a fast local clock would make them harmful. No `prn`: `sub` is
/// the username (Salesforce Help, "OAuth 2.0 JWT Bearer Flow").
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    jti: String,
}

impl<'a> Claims<'a> {
    /// The claims of `identity` at `utc`, UTC epoch seconds by Salesforce's clock; `jti` is fresh, for a repeated one is refused as a replay.
    #[must_use]
    pub fn new(identity: &'a Identity, utc: i64) -> Self {
        let mut id = [0; 16];
        rand::fill(&mut id).expect("the kernel's random source answered when custody was made");
        Self {
            iss: &identity.consumer_key,
            sub: &identity.username,
            aud: identity.audience.as_str(),
            exp: utc.saturating_add(LIFE_SECONDS),
            jti: URL_SAFE_NO_PAD.encode(id),
        }
    }
}

/// A signed assertion. As good as a login until it ends: wiped on drop, not shown.
pub struct Assertion(Zeroizing<String>);

impl Assertion {
    /// Signs the claims. Takes about a millisecond of processor time.
    ///
    /// # Errors
    /// [`SignError`] when custody does not give the key.
    pub fn sign(claims: &Claims<'_>, signer: Arc<dyn Signer>) -> Result<Self, SignError> {
        install_provider();
        let ticket = Ticket::lend(signer);
        let key = EncodingKey::from_rsa_der(&ticket.0.to_be_bytes());
        let text =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).map_err(|_| SignError)?;
        Ok(Self(Zeroizing::new(text)))
    }

    /// The compact JWS, for the token request and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion([redacted])")
    }
}

/// Signers that are lent to jsonwebtoken at the moment. Its factories are plain function pointers, so the
/// way to a signer leads through a static.
static LENT: Mutex<Option<HashMap<u64, Arc<dyn Signer>>>> = Mutex::new(None);

/// A claim to a lent signer; taken back on drop.
struct Ticket(u64);

impl Ticket {
    fn lend(signer: Arc<dyn Signer>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        LENT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default()
            .insert(number, signer);
        Self(number)
    }

    fn signer(key: &EncodingKey) -> Option<Arc<dyn Signer>> {
        let number = u64::from_be_bytes(key.as_bytes().try_into().ok()?);
        LENT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .get(&number)
            .cloned()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(lent) = LENT.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            lent.remove(&self.0);
        }
    }
}

/// RS256 by the signer that a ticket stands for.
struct LentSigner(Arc<dyn Signer>);

impl signature::Signer<Vec<u8>> for LentSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.0.sign_rs256(message).map_err(signature::Error::from_source)
    }
}

impl JwtSigner for LentSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

fn install_provider() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match Ticket::signer(key) {
            Some(signer) if *algorithm == Algorithm::RS256 => Ok(Box::new(LentSigner(signer))),
            _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
        },
        // The agent signs and never verifies.
        verifier_factory: |_, _| Err(new_error(ErrorKind::InvalidAlgorithm)),
        key_utils: KeyUtils::new_unimplemented(),
    };
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        PROVIDER
            .install_default()
            .expect("nothing else installs a provider");
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{custody::Fingerprint, identity::tests::identity};

    struct Echo;

    impl Signer for Echo {
        fn sign_rs256(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            if message.is_empty() {
                Err(SignError)
            } else {
                Ok(b"signature".to_vec())
            }
        }

        fn fingerprint(&self) -> Fingerprint {
            unreachable!("signing asks no fingerprint")
        }
    }

    fn part(assertion: &Assertion, index: usize) -> Value {
        let encoded = assertion.expose().split('.').nth(index).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).expect("base64url")).expect("JSON")
    }

    #[test]
    fn the_claims_are_those_that_salesforce_documents_and_no_others() {
        let identity = identity();
        let utc = 1_800_000_000;
        let assertion = Assertion::sign(&Claims::new(&identity, utc), Arc::new(Echo)).expect("signed");
        assert_eq!(part(&assertion, 0), json!({"typ": "JWT", "alg": "RS256"}));
        let mut claims = part(&assertion, 1);
        let jti = claims
            .as_object_mut()
            .expect("an object")
            .remove("jti")
            .expect("a jti");
        assert_eq!(jti.as_str().map(str::len), Some(22));
        assert_eq!(
            claims,
            json!({"iss": "consumer-key", "sub": "ci@acme.example", "aud": "https://login.salesforce.com",
                   "exp": 1_800_000_180})
        );
        assert_eq!(format!("{assertion:?}"), "Assertion([redacted])");
    }

    #[test]
    fn no_two_assertions_have_the_same_jti_and_no_signer_stays_lent() {
        let identity = identity();
        let utc = 1_800_000_000;
        let signer: Arc<dyn Signer> = Arc::new(Echo);
        let ids: Vec<_> = (0..2)
            .map(|_| {
                part(
                    &Assertion::sign(&Claims::new(&identity, utc), Arc::clone(&signer)).expect("signed"),
                    1,
                )
            })
            .collect();
        assert_ne!(ids[0]["jti"], ids[1]["jti"]);
        assert_eq!(Arc::strong_count(&signer), 1);
    }
}
