//! Text that others chose, made fit for a prompt, a log or a terminal.

use std::path::Path;

/// Longest text that is shown, in bytes of its escaped form.
const MAX_SHOWN_BYTES: usize = 200;

/// `text` with everything escaped that a dialog, a terminal or a reader could take for something else: control
/// characters, line ends, marks of direction, letters that are written from right to left, and markup.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        if shown.len() > MAX_SHOWN_BYTES {
            let end = shown.floor_char_boundary(MAX_SHOWN_BYTES);
            shown.truncate(end);
            shown.push('…');
            break;
        }
    }
    shown
}

/// `text` with everything escaped that does not stay in its place: control characters, line ends and marks of
/// direction.
#[must_use]
pub fn visible(text: &str) -> String {
    let escaped = |c: char| {
        c.is_control()
            || matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x61c | 0xfeff)
    };
    let mut shown = String::new();
    for c in text.chars() {
        if escaped(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// [`escaped`] of a path. Bytes that are no text become the mark of replacement.
#[must_use]
pub fn escaped_path(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

fn is_plain(c: char) -> bool {
    const PUNCTUATION: &str = " /._-+@:=,~()[]#%!\u{fffd}";
    let right_to_left = matches!(u32::from(c), 0x590..=0x8ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff
        | 0x1_0800..=0x1_0fff | 0x1_e800..=0x1_efff);
    PUNCTUATION.contains(c) || (c.is_alphanumeric() && !right_to_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_their_files_stays_as_it_is() {
        for text in [
            "/usr/bin/node",
            "/home/josé/My Tools (2)/x+y@z_1.0",
            "/opt/工具/run",
        ] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn whatever_could_be_taken_for_something_else_is_escaped() {
        for hostile in [
            "\n",
            "\r",
            "\u{1b}[2J",
            "\0",
            "\u{7f}",
            "\u{9b}",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{feff}",
            "<b>",
            "&amp;",
            "\"",
            "'",
            "`",
            "$",
            "\\",
            "\u{5d0}",
            "\u{2028}",
        ] {
            let shown = escaped(&format!("a{hostile}b"));
            assert!(
                shown.starts_with("a\\u{") && shown.ends_with('b'),
                "{hostile:?}: {shown}"
            );
            assert!(
                hostile == "\\" || !shown.contains(hostile),
                "{hostile:?} in {shown}"
            );
        }
    }

    #[test]
    fn long_text_is_cut_off() {
        let shown = escaped(&"\n".repeat(10_000));
        assert!(
            shown.len() <= MAX_SHOWN_BYTES + '…'.len_utf8() && shown.ends_with('…'),
            "{shown}"
        );
    }
}
