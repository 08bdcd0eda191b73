//! A sealed upload: opening what may be no sealed message at all, decoding what was inside, and the agent's
//! checks of it.
//!
//! Input: one byte that says what is done with the rest.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{DecodeContext, WireType},
};
use sfkey_agent::identity::{Identity, Terms};
use sfkey_fuzz::{hosts, text};
use sfkey_proto::{
    sealing::{INSTANCE_ID_BYTES, PUBLIC_KEY_BYTES, Sealable, Sealed, SealingError, SealingKey, seal},
    v1::{AccountSpec, LockSpec},
};

const AGENT: [u8; INSTANCE_ID_BYTES] = [7; INSTANCE_ID_BYTES];

/// Stands where the secrets stood, so that they are known when they come out.
const CANARY: &str = "canary-5f1b0c8e2d";

const TRUSTED: [&str; 1] = ["sso.acme.example"];

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 8 {
        0 => stranger(rest),
        1 => opened(rest),
        2 => changed(rest),
        _ => drop(AccountSpec::decode(rest).map(checked)),
    }
});

/// Nothing that was not sealed for this key opens with it.
fn stranger(input: &[u8]) {
    let (enc, ciphertext) = input.split_at(input.len().min(PUBLIC_KEY_BYTES));
    let sealed = Sealed {
        enc: enc.to_vec(),
        ciphertext: ciphertext.to_vec(),
    };
    let opened = SealingKey::generate().open::<AccountSpec>(&sealed, &AGENT);
    assert_eq!(opened.err(), Some(SealingError::DoesNotOpen));
}

/// What opens is what was sealed, whatever it is.
fn opened(plaintext: &[u8]) {
    let key = SealingKey::generate();
    let sealed = seal(&Plaintext(plaintext.to_vec()), &key.public_key(), &AGENT).expect("sealed");
    match (
        key.open::<AccountSpec>(&sealed, &AGENT),
        AccountSpec::decode(plaintext),
    ) {
        (Ok(opened), Ok(decoded)) => {
            assert!(opened == decoded, "another specification");
            checked(opened);
        }
        (Err(error), Err(_)) => assert_eq!(error, SealingError::MalformedMessage),
        (opened, decoded) => panic!("{opened:?} is not {decoded:?}"),
    }
}

/// A message that was changed on the way, or was meant for another method or agent, does not open.
fn changed(input: &[u8]) {
    let [place, bit, plaintext @ ..] = input else {
        return;
    };
    let key = SealingKey::generate();
    let mut sealed = seal(&Plaintext(plaintext.to_vec()), &key.public_key(), &AGENT).expect("sealed");
    let place = usize::from(*place);
    let result = match bit % 10 {
        8 => {
            return assert_eq!(
                key.open::<LockSpec>(&sealed, &AGENT).err(),
                Some(SealingError::DoesNotOpen)
            );
        }
        9 => key.open::<AccountSpec>(&sealed, &[8; INSTANCE_ID_BYTES]),
        bit => {
            let at = place % sealed.ciphertext.len();
            sealed.ciphertext[at] ^= 1 << bit;
            key.open::<AccountSpec>(&sealed, &AGENT)
        }
    };
    assert_eq!(result.err(), Some(SealingError::DoesNotOpen));
}

/// Whatever the agent takes of a specification obeys its rules, and whatever it says of one shows no secret.
fn checked(mut spec: AccountSpec) {
    spec.private_key = CANARY.into();
    spec.consumer_secret = Some(CANARY.to_owned());
    let shown = format!("{spec:?}{spec:#?}");
    assert!(
        !shown.contains(CANARY) && !shown.contains("99, 97, 110"),
        "{shown}"
    );
    match Identity::of(&spec, &hosts::trusted(&TRUSTED)) {
        Ok(identity) => assert_identity(&identity, &spec),
        Err(refused) => assert_refused(&refused),
    }
    match Terms::of(&spec) {
        Ok(terms) => assert_terms(&terms, &spec),
        Err(refused) => assert_refused(&refused),
    }
}

fn assert_identity(identity: &Identity, spec: &AccountSpec) {
    hosts::assert_token_host(&identity.host, &spec.login_url);
    hosts::assert_audience(&identity.audience, &identity.host, &TRUSTED);
    if spec.audience.is_empty() {
        assert_eq!(identity.audience.as_str(), identity.host.to_string());
    }
    for (taken, sent) in [
        (&identity.consumer_key, &spec.consumer_key),
        (&identity.username, &spec.username),
    ] {
        assert_eq!(taken, sent);
        assert!((1..=512).contains(&taken.len()));
        assert!(
            !taken.contains(|c: char| c.is_control() || c.is_whitespace()),
            "{taken:?}"
        );
    }
}

fn assert_terms(terms: &Terms, spec: &AccountSpec) {
    assert_eq!(
        [terms.lifetime, terms.idle, terms.session_timeout],
        [
            spec.lifetime_seconds,
            spec.idle_seconds,
            spec.session_timeout_seconds
        ]
    );
    for seconds in [terms.lifetime, terms.idle].into_iter().flatten() {
        assert!((1..=366 * 24 * 3600).contains(&seconds));
    }
    if let Some(seconds) = terms.session_timeout {
        assert!((15 * 60..=24 * 3600).contains(&seconds));
    }
}

fn assert_refused(refused: &dyn fmt::Display) {
    let refused = refused.to_string();
    text::assert_shown(&refused, 4 * 1024);
    assert!(!refused.contains(CANARY), "{refused}");
}

/// Any bytes, where a client of good will would seal a message.
#[derive(Debug, Default)]
struct Plaintext(Vec<u8>);

impl Sealable for Plaintext {
    const INFO: &'static [u8] = AccountSpec::INFO;
}

impl Message for Plaintext {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: WireType,
        _: &mut impl Buf,
        _: DecodeContext,
    ) -> Result<(), DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
