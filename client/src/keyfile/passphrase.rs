//! A passphrase, and the spellings in which the formats want it.

use std::fmt;

use zeroize::Zeroizing;

/// The passphrase of a key. Wiped on drop, never shown.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes as they are: a final line end is the caller's to remove.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one call that derives a key from them.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// UTF-16, big-endian, as JKS and PKCS#12 want it. Bytes that are not UTF-8 count as Latin-1,
    /// which is what OpenSSL does with them.
    pub(super) fn utf16(&self) -> Zeroizing<Vec<u8>> {
        // UTF-16 never takes more than two bytes for each byte of UTF-8 or Latin-1, and PKCS#12 appends two,
        // so the buffer never moves and leaves no copy behind.
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * self.0.len() + 2));
        let mut push = |unit: u16| wide.extend_from_slice(&unit.to_be_bytes());
        match str::from_utf8(&self.0) {
            Ok(text) => text.encode_utf16().for_each(&mut push),
            Err(_) => self.0.iter().for_each(|byte| push(u16::from(*byte))),
        }
        wide
    }
}

impl From<Zeroizing<String>> for Passphrase {
    fn from(mut text: Zeroizing<String>) -> Self {
        Self(Zeroizing::new(std::mem::take(&mut *text).into_bytes()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}
