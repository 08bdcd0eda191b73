//! Salesforce record ids, and the random text of tokens, keys and secrets.

use aws_lc_rs::rand;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters out of `alphabet`, which has at most 256 of them.
pub(super) fn random_text(alphabet: &[u8], length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    rand::fill(&mut bytes).expect("the system's random source answers");
    bytes
        .iter()
        .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
        .collect()
}

/// A random record id of 15 characters with the given three-character prefix, e.g. `00D` for an organization.
#[must_use]
pub fn random_id(prefix: &str) -> String {
    format!(
        "{prefix}Sim00{}",
        random_text(BASE62, 15 - 5 - prefix.len().min(10))
    )
}

/// The 18-character form of a 15-character id: three more characters tell which letters are upper case.
/// An id that has 18 characters already is returned as it is.
#[must_use]
pub fn long_id(id: &str) -> String {
    const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    if id.len() != 15 {
        return id.to_owned();
    }
    let suffix = id.as_bytes().chunks(5).map(|five| {
        let bits = five
            .iter()
            .enumerate()
            .filter(|(_, byte)| byte.is_ascii_uppercase());
        char::from(SUFFIX[bits.fold(0, |sum, (position, _)| sum | (1 << position))])
    });
    id.chars().chain(suffix).collect()
}

/// The 15-character form, which access tokens begin with.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..15).unwrap_or(id)
}

/// An opaque access token: the org's id, `!`, and 96 characters, 112 in all.
pub(super) fn opaque_token(org_id: &str) -> String {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
    format!("{}!AQ{}", short_id(org_id), random_text(ALPHABET, 94))
}

/// A consumer key as Salesforce writes them: `3MVG9` and 80 characters more.
pub(super) fn consumer_key() -> String {
    format!("3MVG9{}", random_text(BASE62, 80))
}

/// A consumer secret as Salesforce writes them today: 64 upper-case hexadecimal digits.
pub(super) fn consumer_secret() -> String {
    random_text(b"0123456789ABCDEF", 64)
}

#[cfg(test)]
mod tests {
    use super::{consumer_key, long_id, opaque_token, random_id};

    #[test]
    fn an_id_grows_the_suffix_that_salesforce_computes() {
        // The pair is the example of Salesforce's own article on 15 and 18 character ids.
        assert_eq!(long_id("001A0000006Vm9u"), "001A0000006Vm9uIAC");
    }

    #[test]
    fn ids_and_tokens_have_the_length_of_real_ones() {
        assert_eq!(random_id("00D").len(), 15);
        assert_eq!(opaque_token(&long_id(&random_id("00D"))).len(), 112);
        assert_eq!(consumer_key().len(), 85);
    }
}
