//! Credentials that are put into an input, and whether something of them comes out.
//!
//! The fuzzer cannot guess them. An input names them by a marker, and so they always stand there whole, or cut
//! off where the marker says so.

use std::{collections::HashSet, sync::LazyLock};

/// An assertion as the agent signs one: header, claims, signature.
pub const ASSERTION: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.",
    "eyJpc3MiOiIzTVZHOSIsInN1YiI6ImNpQGFjbWUuZXhhbXBsZSIsImF1ZCI6Imh0dHBzOi8vbG9naW4uc2FsZXNmb3JjZS5jb20ifQ.",
    "kZ8vQm3xT0fWb6LrYh2CjU9aNs5EoDq1PiGy7XwKtBzHl4MuRcAeSdVnJpFgO-kZ1vQm4xT8fWb7LrYh3CjU0aNs6EoDq2PiGy_",
    "9XwKtBzHl5MuRcAeSdVnJpFgOkZ2vQm5xT9fWb8LrYh4CjU1aNs7EoDq3PiGy0XwKtBzHl6MuRcAeSdVnJpFgOkZ3vQm6xT1fWb",
);

/// An opaque access token: the org's id, `!`, the secret.
pub const TOKEN: &str = "00D5g000004Xk2Q!AQ8AQKvWm3xT0fWb6LrYh2CjU9aNs5EoDq1PiGy7XwKtBzHl4MuRcAeSdVnJpFgOkZ1vQm4x_T8fWb7LrYh3CjU0aNs6Eo";

/// How many bytes of a secret in a row are something of it. Shorter ones also occur by chance.
const PIECE: usize = 16;

/// Every piece of what is secret: the assertion's signature, and the token behind its `!`. In a set, for the
/// fuzzer learns from comparisons, and would learn the pieces from a search.
static PIECES: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| {
    let signature = ASSERTION.rsplit('.').next().unwrap_or_default();
    let secret = TOKEN.rsplit('!').next().unwrap_or_default();
    let pieces = |text: &'static str| text.as_bytes().windows(PIECE);
    pieces(signature).chain(pieces(secret)).collect()
});

/// Replaces the markers: `@assertion@`, `@cut@` (the assertion without its last 60 bytes), `@token@`, and
/// `@encoded@` (the token as it stands in a form). `None` for a text that holds a piece on its own: that is no
/// credential, and may be shown.
pub fn plant(text: &str) -> Option<String> {
    (!holds_piece(text.as_bytes())).then(|| {
        text.replace("@assertion@", ASSERTION)
            .replace("@cut@", &ASSERTION[..ASSERTION.len() - 60])
            .replace("@token@", TOKEN)
            .replace("@encoded@", &TOKEN.replace('!', "%21"))
    })
}

/// Asserts that nothing is left of the assertion's signature and of the token's secret part.
#[track_caller]
pub fn assert_nothing_left(text: &str) {
    assert!(
        !holds_piece(text.as_bytes()),
        "a piece of a credential is left: {text:?}"
    );
}

/// Whether a piece of a credential stands there.
pub fn holds_piece(text: &[u8]) -> bool {
    text.windows(PIECE).any(|window| PIECES.contains(window))
}
