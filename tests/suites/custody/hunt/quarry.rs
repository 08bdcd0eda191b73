//! What is hunted, and the hunt.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use super::memory::{Mapping, Memory};

/// A run of so many bytes of a secret is a hit, wherever in the secret it begins and wherever it lies.
const RUN: usize = 16;

/// A run of [`RUN`] bytes holds a whole aligned word of this length, which is what is looked up.
const WORD: usize = 8;

/// Secrets that must not be found.
#[derive(Default)]
pub(crate) struct Quarry {
    secrets: Vec<(&'static str, Vec<u8>)>,
    /// Every word of every secret: which secret, and where in it.
    words: HashMap<u64, Vec<(usize, usize)>>,
    /// Whether any word has this digest; most of the memory is passed over by it.
    digests: Vec<bool>,
}

/// A piece of a secret where it should not be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) what: &'static str,
    /// Which bytes of the secret.
    first: usize,
    length: usize,
    pub(crate) address: u64,
    mapping: String,
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            first,
            length,
            address,
            mapping,
        } = self;
        write!(
            f,
            "{what} from byte {first}, {length} bytes, at {address:x} in {mapping}"
        )
    }
}

impl Quarry {
    /// And this secret.
    pub(crate) fn and(mut self, what: &'static str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref().to_vec();
        assert!(secret.len() >= RUN, "{what} is too short to be told from chance");
        self.digests.resize(1 << 16, false);
        for (at, word) in secret.windows(WORD).enumerate() {
            let word = u64::from_ne_bytes(word.try_into().expect("a window has this length"));
            self.words.entry(word).or_default().push((self.secrets.len(), at));
            self.digests[digest(word)] = true;
        }
        self.secrets.push((what, secret));
        self
    }

    /// And these.
    pub(crate) fn and_all(self, secrets: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        secrets
            .into_iter()
            .fold(self, |quarry, (what, secret)| quarry.and(what, secret))
    }

    /// Number of different runs that would be a hit.
    pub(crate) fn needles(&self) -> usize {
        self.secrets
            .iter()
            .map(|(_, secret)| secret.len() - RUN + 1)
            .sum()
    }

    /// Every run found in a process's memory.
    pub(crate) fn hits(&self, memory: &Memory) -> Vec<Hit> {
        let parts = memory.parts();
        parts
            .flat_map(|(mapping, bytes)| self.hits_in(mapping, bytes))
            .collect()
    }

    /// Every run found in bytes of which it does not matter where they came from.
    pub(crate) fn hits_in_bytes(&self, what: &str, bytes: &[u8]) -> Vec<Hit> {
        let end = u64::try_from(bytes.len()).expect("it fits");
        let mapping = Mapping {
            start: 0,
            end,
            permissions: String::new(),
            name: what.to_owned(),
        };
        self.hits_in(&mapping, bytes)
    }

    fn hits_in(&self, mapping: &Mapping, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = BTreeSet::new();
        for (number, word) in bytes.chunks_exact(WORD).enumerate() {
            let word = u64::from_ne_bytes(word.try_into().expect("a chunk has this length"));
            if !self.digests[digest(word)] {
                continue;
            }
            for (secret, at) in self.words.get(&word).into_iter().flatten() {
                hits.extend(self.run(mapping, bytes, number * WORD, *secret, *at));
            }
        }
        hits.into_iter().collect()
    }

    /// The whole run around a word that was found at `at` and stands at `in_secret` of the secret.
    fn run(
        &self,
        mapping: &Mapping,
        bytes: &[u8],
        at: usize,
        secret: usize,
        in_secret: usize,
    ) -> Option<Hit> {
        let (what, secret) = &self.secrets[secret];
        let common = |(one, other): &(&u8, &u8)| one == other;
        let before = bytes[..at].iter().rev().zip(secret[..in_secret].iter().rev());
        let before = before.take_while(common).count();
        let after = bytes[at..].iter().zip(&secret[in_secret..]);
        let length = before + after.take_while(common).count();
        (length >= RUN).then(|| Hit {
            what,
            first: in_secret - before,
            length,
            address: mapping.start + u64::try_from(at - before).expect("it fits"),
            mapping: mapping.to_string(),
        })
    }
}

/// Sixteen bits of a word.
fn digest(word: u64) -> usize {
    usize::from((word ^ (word >> 16) ^ (word >> 32) ^ (word >> 48)) as u16)
}

#[test]
fn a_run_of_sixteen_bytes_is_found_wherever_it_lies_and_fifteen_are_not() {
    let secret: Vec<u8> = (0..=255).map(|byte: u8| byte.wrapping_mul(167) ^ 0x5a).collect();
    let quarry = Quarry::default().and("planted", &secret);
    for first in [0, 1, 100, 240] {
        for at in 0..16 {
            let mut bytes = vec![0xee; 64];
            bytes[at..at + 16].copy_from_slice(&secret[first..first + 16]);
            let hits = quarry.hits_in_bytes("a test", &bytes);
            let [hit] = hits.as_slice() else {
                panic!("{hits:?}")
            };
            assert_eq!((hit.first, hit.length, hit.address), (first, 16, at as u64));
            bytes[at + 15] ^= 1;
            assert_eq!(quarry.hits_in_bytes("a test", &bytes), []);
        }
    }
}
