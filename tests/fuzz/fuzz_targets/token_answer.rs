//! What the agent makes of an answer of the token endpoint.
//!
//! Input: one byte for the status, one for the hosts, then the body. Markers in the body stand for credentials.

#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sfkey_agent::{
    error::Failure,
    salesforce::{ExchangeError, Grant, TokenHost, grant::judge},
};
use sfkey_fuzz::{hosts, planted, text};
use sfkey_proto::Refusal;
use tonic::Status;

const STATUSES: [u16; 12] = [200, 201, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503];

/// Token hosts, each with the hosts that the operator named.
const HOSTS: [(&str, &[&str]); 4] = [
    ("https://login.salesforce.com", &[]),
    ("https://sso.acme.example/customers", &[]),
    (
        "https://sso.acme.example",
        &["login.acme.example", "API.acme.example."],
    ),
    ("http://127.0.0.1:8080", &[]),
];

/// The agent takes no longer answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Common clients cap the metadata of a failure at twice this.
const MAX_METADATA_BYTES: usize = 4 * 1024;

fuzz_target!(|input: &[u8]| {
    let [status, hosts, body @ ..] = input else { return };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let (host, named) = HOSTS[usize::from(*hosts) % HOSTS.len()];
    let host = TokenHost::parse(host).expect("a token host");
    let Some(body) = planted(body) else {
        return;
    };
    if body.len() > MAX_ANSWER_BYTES {
        return;
    }
    let code = StatusCode::from_u16(status).expect("a status");
    let trusted = hosts::trusted(named);
    match judge(&host, &trusted, code, &body, planted::ASSERTION) {
        Ok(grant) => assert_grant(&grant, code, &body, &host, named),
        Err(refusal) => assert_refusal(refusal, status),
    }
});

fn planted(body: &[u8]) -> Option<Vec<u8>> {
    match std::str::from_utf8(body) {
        Ok(text) => planted::plant(text).map(String::into_bytes),
        Err(_) => (!planted::holds_piece(body)).then(|| body.to_vec()),
    }
}

fn assert_grant(grant: &Grant, status: StatusCode, body: &[u8], host: &TokenHost, named: &[&str]) {
    assert!(status.is_success(), "a grant with status {status}");
    hosts::assert_instance(&grant.instance_url, host, named);
    let token = grant.access_token.as_str();
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    let lines = [&grant.id, &grant.scope];
    for line in lines.into_iter().flatten() {
        text::assert_shown(line, 1024);
        assert!(line.is_ascii());
    }
    assert_ne!(grant.expires_in, Some(0));
    let shown = format!("{grant:?}");
    assert!(token.len() < 16 || !shown.contains(token), "{shown}");
    // Another reading of the same body must come to the same token. It also reads what the agent skips: a field that
    // nobody knows may hold what is no text.
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    assert_eq!(answer["access_token"], token);
    assert_eq!(grant.scope.as_deref().unwrap_or_default(), kept(&answer["scope"]));
}

/// A text of the answer where it is one printable line, else nothing.
fn kept(value: &Value) -> &str {
    let printable = |text: &&str| text.len() <= 1024 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    value.as_str().filter(printable).unwrap_or_default()
}

fn assert_refusal(error: ExchangeError, status: u16) {
    let (ExchangeError::Refused(answer)
    | ExchangeError::Unavailable(answer)
    | ExchangeError::Malformed(answer)) = &error
    else {
        panic!("an answer was there: {error:?}")
    };
    assert_eq!(answer.http_status, status);
    for shown in [&answer.error, &answer.error_description] {
        text::assert_shown(shown, 1024);
        planted::assert_nothing_left(shown);
    }
    if matches!(error, ExchangeError::Refused(_)) {
        assert!(!answer.error.is_empty() && !(200..300).contains(&status) && status < 500);
    }
    planted::assert_nothing_left(&format!("{error:?}"));
    assert_delivered(error);
}

/// The same on the way to the caller.
fn assert_delivered(error: ExchangeError) {
    let account = "prod".parse().expect("a name");
    let failure = Failure::exchange(&account, &"https://login.salesforce.com", error);
    let told = Refusal::from(failure.clone());
    let status = Status::from(failure);
    let received = Refusal::from_status(&status).expect("the agent's own status");
    // Decoded: in the encoding a byte of a length may stand before a text and complete a piece by chance.
    planted::assert_nothing_left(&format!("{told:?} {} {received:?}", status.message()));
    assert_eq!(
        (received.reason, &received.message, &received.fix),
        (told.reason, &told.message, &told.fix)
    );
    let headers = status.into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    assert!(bytes < MAX_METADATA_BYTES, "{bytes} bytes of metadata");
}
