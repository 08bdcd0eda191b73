//! The disguises in which a key travels as text: UTF-16, byte order marks, literal `\n`, base64.

use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroizing;

/// Plain bytes with real line ends: a byte order mark is dropped, UTF-16 with one (what PowerShell's `>`
/// writes) becomes ASCII, and literal `\n`, `\r` and `\t`, at whatever depth of escaping, become white space.
pub(super) fn normalised(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let narrow;
    let bytes = match bytes {
        [0xFF, 0xFE, rest @ ..] => {
            narrow = ascii_of_utf16(rest, u16::from_le_bytes);
            &narrow
        }
        [0xFE, 0xFF, rest @ ..] => {
            narrow = ascii_of_utf16(rest, u16::from_be_bytes);
            &narrow
        }
        [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
        _ => bytes,
    };
    // Never longer than the input, so that it is never moved.
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
        rest = match rest.get(slashes) {
            Some(b'n' | b'r' | b't') if slashes > 0 => {
                text.push(b'\n');
                &rest[slashes + 1..]
            }
            _ if slashes > 0 => {
                text.extend_from_slice(&rest[..slashes]);
                &rest[slashes..]
            }
            _ => {
                text.push(*first);
                after
            }
        };
    }
    text
}

fn ascii_of_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Zeroizing<Vec<u8>> {
    let mut narrow = Zeroizing::new(Vec::with_capacity(bytes.len() / 2));
    for pair in bytes.as_chunks::<2>().0 {
        narrow.push(u8::try_from(unit(*pair)).unwrap_or(b'?'));
    }
    narrow
}

/// Decodes base64 with or without padding and with white space anywhere, in constant time for its content.
/// `None` when it is anything else.
pub(super) fn from_base64<'a>(
    words: impl Iterator<Item = &'a [u8]>,
    capacity: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut compact = Zeroizing::new(Vec::with_capacity(capacity));
    for word in words {
        compact.extend_from_slice(word);
    }
    let padding = compact.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = compact.len() - padding;
    if digits == 0 || padding > 2 {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0; digits / 4 * 3 + 2]);
    let decoded = Base64Unpadded::decode(&compact[..digits], &mut bytes).ok()?.len();
    bytes.truncate(decoded);
    Some(bytes)
}

/// The words of a text: what stands between white space.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{from_base64, normalised, words};

    fn decoded(text: &str) -> Option<Vec<u8>> {
        from_base64(words(text.as_bytes()), text.len()).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn literal_line_ends_at_any_depth_of_escaping_become_line_ends() {
        assert_eq!(*normalised(br"a\nb\\nc\r\nd\\\\te\x\"), *b"a\nb\nc\n\nd\ne\\x\\");
    }

    #[test]
    fn utf16_and_byte_order_marks_are_dropped() {
        let little: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain("key é→".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(*normalised(&little), *b"key \xE9?");
        assert_eq!(*normalised(b"\xFE\xFF\0k\0e"), *b"ke");
        assert_eq!(*normalised(b"\xEF\xBB\xBFkey"), *b"key");
    }

    #[test]
    fn base64_is_read_with_and_without_padding_and_nothing_else_is() {
        assert_eq!(
            decoded(" c2Y\r\nr ZX k= "),
            Some(b"sf+ey"[..5].to_vec()).map(|_| b"sf\x2bey".to_vec())
        );
        assert_eq!(decoded("c2Y"), Some(b"sf".to_vec()));
        assert_eq!(decoded("c2Y==="), None);
        assert_eq!(decoded("c2Y*"), None);
        assert_eq!(decoded(" = "), None);
        assert_eq!(decoded(""), None);
    }
}
