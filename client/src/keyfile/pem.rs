//! PEM as it is found: one line or many, indented, quoted, with text around it and the old headers inside.
//!
//! RFC 7468 is stricter than what editors, shells and CI systems leave of a PEM, so the blocks are found
//! here.

use zeroize::Zeroizing;

use super::{KeyFileError, text};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// One block of a PEM file.
pub(super) struct Block<'a> {
    /// The label of its BEGIN line.
    pub(super) label: &'a [u8],
    /// What stands between its BEGIN and END lines.
    body: &'a [u8],
}

/// The content of a block.
pub(super) struct Body<'a> {
    /// The value of the header `DEK-Info` (RFC 1421), which only encrypted keys have.
    pub(super) dek_info: Option<&'a [u8]>,
    /// The decoded base64.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// All blocks of a text; none when it is no PEM.
///
/// # Errors
/// `Damaged` when a block does not end, or ends as something else than it began.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, KeyFileError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = position(rest, BEGIN) {
        let (label, after) = split_at(&rest[start + BEGIN.len()..], DASHES)?;
        // Past the dashes of the BEGIN line; any BEGIN before the next END means that an END is missing.
        let (body, after) = split_at(after, END)?;
        let (end_label, after) = split_at(after, DASHES)?;
        if position(body, BEGIN).is_some() || end_label != label {
            return Err(KeyFileError::Damaged);
        }
        blocks.push(Block { label, body });
        rest = after;
    }
    Ok(blocks)
}

impl<'a> Block<'a> {
    /// The headers and the decoded bytes. Headers are told by their colon, which base64 does not have, so
    /// that they are found even where a shell turned all line ends to blanks.
    pub(super) fn body(&self) -> Result<Body<'a>, KeyFileError> {
        let mut dek_info = None;
        let mut digits = Vec::new();
        let mut words = text::words(self.body);
        while let Some(word) = words.next() {
            let Some(colon) = word.iter().position(|byte| *byte == b':') else {
                digits.push(word);
                continue;
            };
            let (name, value) = (&word[..colon], &word[colon + 1..]);
            let value = if value.is_empty() {
                words.next().unwrap_or_default()
            } else {
                value
            };
            if name.eq_ignore_ascii_case(b"DEK-Info") {
                dek_info = Some(value);
            }
        }
        let bytes = text::from_base64(digits.into_iter(), self.body.len()).ok_or(KeyFileError::Damaged)?;
        Ok(Body { dek_info, bytes })
    }
}

fn position(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

fn split_at<'a>(text: &'a [u8], pattern: &[u8]) -> Result<(&'a [u8], &'a [u8]), KeyFileError> {
    let at = position(text, pattern).ok_or(KeyFileError::Damaged)?;
    Ok((&text[..at], &text[at + pattern.len()..]))
}

#[cfg(test)]
mod tests {
    use super::{KeyFileError, blocks};

    #[test]
    fn headers_and_text_around_a_block_are_told_from_its_content() {
        let text = b"Bag Attributes\n  x: y\n \"-----BEGIN KEY----- Proc-Type: 4,ENCRYPTED DEK-Info:AES-128-CBC,00 AQ\r\n ID -----END KEY-----\" ;";
        let blocks = blocks(text).expect("a complete block");
        let body = blocks[0].body().expect("valid base64");
        assert_eq!((blocks.len(), blocks[0].label), (1, &b"KEY"[..]));
        assert_eq!(body.dek_info, Some(&b"AES-128-CBC,00"[..]));
        assert_eq!(*body.bytes, [1, 2, 3][..]);
    }

    #[test]
    fn a_block_that_is_cut_off_or_ends_as_another_is_damaged() {
        for text in [
            &b"-----BEGIN KEY"[..],
            b"-----BEGIN KEY-----AQID",
            b"-----BEGIN KEY-----AQID-----END KEY",
            b"-----BEGIN KEY-----AQID-----END CERT-----",
            b"-----BEGIN KEY-----AQID-----BEGIN KEY-----AQID-----END KEY-----",
        ] {
            assert_eq!(blocks(text).err(), Some(KeyFileError::Damaged));
        }
        assert_eq!(blocks(b"no PEM at all").map(|blocks| blocks.len()), Ok(0));
    }
}
