//! How well a passphrase withstands guessing.

/// A rough judgement: of the length and the variety of what was typed, not of its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// Minutes to days for somebody with the file and some hardware.
    Weak,
    /// Months to years.
    Fair,
    /// Longer than the key is good for.
    Strong,
}

/// Bits below which a passphrase is weak. With 600,000 iterations a graphics card tries about 10,000 a second,
/// 2^40 in three years.
const FAIR_BITS: f64 = 40.0;

const STRONG_BITS: f64 = 60.0;

/// What people choose first, and attackers try first; also as a part of more.
const TRIED_FIRST: [&str; 12] = [
    "password",
    "passwort",
    "passphrase",
    "salesforce",
    "sfkey",
    "secret",
    "qwerty",
    "asdf",
    "letmein",
    "welcome",
    "admin",
    "changeme",
];

impl Strength {
    /// Judges the bytes as they will be used.
    pub(crate) fn of(passphrase: &[u8]) -> Self {
        let bits = characters(passphrase) * bits_each(passphrase);
        if bits >= STRONG_BITS {
            Self::Strong
        } else if bits >= FAIR_BITS {
            Self::Fair
        } else {
            Self::Weak
        }
    }

    /// The words for the terminal.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Weak => {
                "Strength: weak. Better: four or five words that have nothing to do with each other."
            }
            Self::Fair => "Strength: fair.",
            Self::Strong => "Strength: strong.",
        }
    }
}

/// How many characters count: one that repeats or continues the one before it (`aaa`, `123`, `cba`) tells
/// nothing new, and a word that is tried first is worth one character.
fn characters(passphrase: &[u8]) -> f64 {
    let lower = zeroize::Zeroizing::new(passphrase.to_ascii_lowercase());
    let surprising = lower
        .windows(2)
        .filter(|pair| pair[0].abs_diff(pair[1]) > 1)
        .count();
    let foreseen: usize = TRIED_FIRST
        .iter()
        .filter(|word| lower.windows(word.len()).any(|part| part == word.as_bytes()))
        .map(|word| word.len() - 1)
        .sum();
    let counted = (1 + surprising).saturating_sub(foreseen);
    f64::from(u32::try_from(counted.min(passphrase.len())).unwrap_or(u32::MAX))
}

/// Bits that a character of this passphrase is worth: words carry less than random letters.
fn bits_each(passphrase: &[u8]) -> f64 {
    let has = |kind: fn(&u8) -> bool| passphrase.iter().any(kind);
    let kinds = [
        has(u8::is_ascii_lowercase),
        has(u8::is_ascii_uppercase),
        has(u8::is_ascii_digit),
        has(|byte| !byte.is_ascii_alphanumeric() && *byte != b' '),
    ];
    match kinds.into_iter().filter(|kind| *kind).count() {
        0 | 1 => 2.7,
        2 => 3.6,
        3 => 4.5,
        _ => 5.2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_variety_make_a_passphrase_strong_and_habits_make_it_weak() {
        for (passphrase, strength) in [
            ("", Strength::Weak),
            ("hunter2", Strength::Weak),
            ("Password123!", Strength::Weak),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaa", Strength::Weak),
            ("abcdefghijklmnopqrstuvwxyz", Strength::Weak),
            ("12345678901234567890", Strength::Weak),
            ("horse battery staple", Strength::Fair),
            ("x9K!pq2Lw@", Strength::Fair),
            ("correct horse battery staple", Strength::Strong),
            ("x9K!pq2Lw@7Rz#", Strength::Strong),
        ] {
            assert_eq!(Strength::of(passphrase.as_bytes()), strength, "{passphrase}");
        }
    }
}
