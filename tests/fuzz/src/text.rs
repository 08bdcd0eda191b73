//! What a terminal and a log can bear.

/// Asserts that a text is one bounded line without anything that steers a terminal.
#[track_caller]
pub fn assert_shown(text: &str, limit: usize) {
    assert!(text.len() <= limit, "{} bytes, more than {limit}", text.len());
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.chars().any(steers), "steers a terminal: {text:?}");
}
