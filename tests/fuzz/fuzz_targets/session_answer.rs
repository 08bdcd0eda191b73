//! What the agent makes of answers about a session: introspection, revocation, userinfo, API versions, the API.
//!
//! Input: one byte for the question, one for the status, then the body. Markers in the body stand for credentials.

#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use sfkey_agent::salesforce::{ExchangeError, session};
use sfkey_fuzz::{planted, text};

const STATUSES: [u16; 8] = [200, 204, 302, 400, 401, 403, 404, 503];

/// What a line of userinfo may have, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let [question, status, body @ ..] = input else {
        return;
    };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let code = StatusCode::from_u16(status).expect("a status");
    let Some(body) = planted(body) else { return };
    let secrets = [planted::TOKEN, planted::ASSERTION];
    let failed = match question % 5 {
        0 => session::introspection(code, &body, &secrets)
            .map(|told| {
                assert!(
                    told.active || told.expires_at.is_none(),
                    "the end of what has ended"
                )
            })
            .err(),
        1 => session::revocation(code, &body, planted::TOKEN).err(),
        2 => session::user_info(code, &body, planted::TOKEN)
            .map(|user| {
                let (name, email) = (user.name.as_deref(), user.email.as_deref());
                let ids = [&*user.user_id, &*user.org_id, &*user.username];
                for line in ids.into_iter().chain(name).chain(email) {
                    text::assert_shown(line, MAX_TEXT_BYTES);
                }
            })
            .err(),
        3 => session::newest_version(code, &body)
            .map(|version| assert_version(&version))
            .err(),
        _ => session::api(code, &body, planted::TOKEN).err(),
    };
    match failed {
        Some(error) => assert_refusal(&error, status),
        None => assert!(
            code.is_success() || question % 5 == 1,
            "a good answer with status {status}"
        ),
    }
});

fn planted(body: &[u8]) -> Option<Vec<u8>> {
    match std::str::from_utf8(body) {
        Ok(text) => planted::plant(text).map(String::into_bytes),
        Err(_) => (!planted::holds_piece(body)).then(|| body.to_vec()),
    }
}

/// It becomes part of a path.
fn assert_version(version: &str) {
    let (major, minor) = version.split_once('.').expect("two numbers");
    for number in [major, minor] {
        assert!(
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()),
            "{version:?}"
        );
    }
}

fn assert_refusal(error: &ExchangeError, status: u16) {
    let (ExchangeError::Refused(answer)
    | ExchangeError::Unavailable(answer)
    | ExchangeError::Malformed(answer)) = error
    else {
        panic!("an answer was there: {error:?}")
    };
    assert_eq!(answer.http_status, status);
    for shown in [&answer.error, &answer.error_description] {
        text::assert_shown(shown, 1024);
    }
    planted::assert_nothing_left(&format!("{error:?}"));
}
