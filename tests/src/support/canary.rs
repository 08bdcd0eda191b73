//! Secrets that must not turn up where they do not belong, and the hunt for them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::keys::TestKey;

/// Length of the pieces that a long secret is hunted in: whoever leaks twice as much of it is caught.
const PIECE: usize = 16;

/// A set of secrets.
#[derive(Clone, Default)]
pub struct Canaries(Vec<Canary>);

#[derive(Clone)]
struct Canary {
    name: &'static str,
    needles: Vec<Vec<u8>>,
}

impl Canaries {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And this secret, as it is, in base64, in hexadecimal, and in pieces of each.
    #[must_use]
    pub fn and(mut self, name: &'static str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        assert!(secret.len() >= 8, "{name} is too short to be told from chance");
        let needles = encodings(secret)
            .into_iter()
            .flat_map(|text| pieces(&text))
            .collect();
        self.0.push(Canary { name, needles });
        self
    }

    /// And a private key: what is secret of its PKCS#1 DER, and every line of its PEM.
    #[must_use]
    pub fn and_key(self, key: &TestKey) -> Self {
        // The modulus comes first and is public; the private exponent begins behind it.
        let der = key.pkcs1_der();
        let mut canaries = self.and("private key", &der[der.len() / 4 + 16..]);
        let lines = key.pkcs8_pem().lines().filter(|line| !line.starts_with('-'));
        let needles = lines
            .filter(|line| line.len() >= PIECE)
            .map(|line| line.as_bytes().to_vec());
        canaries.0.push(Canary {
            name: "PEM of the private key",
            needles: needles.collect(),
        });
        canaries
    }

    /// And an access token; the organization's id at its beginning is none of the secret.
    #[must_use]
    pub fn and_token(self, token: &str) -> Self {
        let secret = token.split_once('!').map_or(token, |(_, secret)| secret);
        self.and("access token", secret)
    }

    /// And an assertion; its header is the same for everybody.
    #[must_use]
    pub fn and_assertion(self, assertion: &str) -> Self {
        let (_, secret) = assertion.split_once('.').expect("a compact JWS has dots");
        let (claims, signature) = secret.split_once('.').expect("a compact JWS has two dots");
        self.and("assertion's claims", claims)
            .and("assertion's signature", signature)
    }

    /// The names of those that are found in `bytes`.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        let found = self
            .0
            .iter()
            .filter(|canary| canary.needles.iter().any(|needle| holds(bytes, needle)));
        found.map(|canary| canary.name).collect()
    }

    /// Requires that none is found in any of the named texts.
    ///
    /// # Panics
    /// When one is. The message names secret and text, and quotes neither.
    pub fn hunt<'a>(&self, places: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        assert!(!self.0.is_empty(), "there is nothing to hunt for");
        for (place, bytes) in places {
            assert!(
                !bytes.is_empty(),
                "{place} is empty: nothing could be found there"
            );
            let found = self.found_in(bytes);
            assert!(found.is_empty(), "{found:?} in {place} ({} bytes)", bytes.len());
        }
    }
}

fn encodings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = |upper: bool| {
        let digits = secret.iter().map(|byte| {
            if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            }
        });
        digits.collect::<String>().into_bytes()
    };
    let mut all = vec![secret.to_vec(), hex(false), hex(true)];
    // A secret inside a longer text is encoded in one of three alignments; the first and last characters
    // depend on what surrounds it.
    for skipped in 0..3.min(secret.len()) {
        let whole = (secret.len() - skipped) / 3 * 3;
        let aligned = &secret[skipped..skipped + whole];
        all.push(STANDARD_NO_PAD.encode(aligned).into_bytes());
        all.push(URL_SAFE_NO_PAD.encode(aligned).into_bytes());
    }
    // `{:?}` of a byte string.
    all.push(format!("{secret:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    all
}

fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
    if text.len() < 2 * PIECE {
        return vec![text.to_vec()];
    }
    text.chunks_exact(PIECE).map(<[u8]>::to_vec).collect()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &[u8] = b"correct horse battery staple, and forty-two more of it";

    #[test]
    fn a_planted_canary_is_found_in_every_form() {
        let canaries = Canaries::new().and("planted", SECRET);
        let forms = [
            String::from_utf8_lossy(SECRET).into_owned(),
            STANDARD.encode(SECRET),
            STANDARD.encode([b"x", SECRET].concat()),
            URL_SAFE_NO_PAD.encode([b"xy", SECRET, b"z"].concat()),
            SECRET.iter().map(|byte| format!("{byte:02X}")).collect(),
            format!("{SECRET:?}"),
            String::from_utf8_lossy(&SECRET[5..40]).into_owned(),
        ];
        for form in forms {
            let text = format!("a line with {form} in it");
            assert_eq!(canaries.found_in(text.as_bytes()), ["planted"], "{form}");
        }
        assert!(canaries.found_in(b"a line with nothing in it").is_empty());
    }

    #[test]
    fn a_planted_key_is_found_by_its_bytes_and_by_its_lines() {
        let canaries = Canaries::new().and_key(TestKey::of_app());
        let key = TestKey::of_app();
        assert!(!canaries.found_in(key.pkcs1_der()).is_empty());
        let line = key.pkcs8_pem().lines().nth(10).expect("a PEM has more lines");
        assert!(
            canaries
                .found_in(line.as_bytes())
                .contains(&"PEM of the private key")
        );
    }
}
