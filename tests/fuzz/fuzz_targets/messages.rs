//! What arrives over gRPC: at the agent every request of the contract and the account names in it, at the client
//! the details of a failure.
//!
//! Input: one byte that says which message the rest is.

#![no_main]

use std::{collections::BTreeSet, fmt::Debug};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::FileDescriptorSet;
use sfkey_proto::{
    AccountName, FILE_DESCRIPTOR_SET, Refusal,
    v1::{
        AccountSpec, AddAccountRequest, CheckAccountRequest, GetSealingKeyRequest, GetStatusRequest,
        GetTokenRequest, ListAccountsRequest, LockRequest, LockSpec, PanicRequest, RemoveAccountRequest,
        RemoveAllAccountsRequest, ReportRejectedRequest, RevokeTokenRequest, ShutdownRequest, UnlockRequest,
        UnlockSpec, WatchTokenRequest, WhoAmIRequest,
    },
};
use tonic::{Code, Status};

/// One table of messages: its names, and how each is decoded.
macro_rules! messages {
    ($($message:ident),* $(,)?) => {
        const MESSAGES: &[(&str, fn(&[u8]))] = &[$((stringify!($message), decoded::<$message>)),*];
    };
}

// The sealed ones are no input of a method, and come last.
messages! {
    AddAccountRequest, CheckAccountRequest, GetSealingKeyRequest, GetStatusRequest, GetTokenRequest,
    ListAccountsRequest, LockRequest, PanicRequest, RemoveAccountRequest, RemoveAllAccountsRequest,
    ReportRejectedRequest, RevokeTokenRequest, ShutdownRequest, UnlockRequest, WatchTokenRequest, WhoAmIRequest,
    AccountSpec, LockSpec, UnlockSpec,
}

fuzz_target!(init: assert_complete(), |input: &[u8]| {
    let Some((which, rest)) = input.split_first() else { return };
    match MESSAGES.get(usize::from(*which)) {
        Some((_, decode)) => decode(rest),
        None => failure(*which, rest),
    }
    if let Ok(text) = std::str::from_utf8(rest) {
        name(text);
    }
});

/// A method that is added to the contract must be added here.
fn assert_complete() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the contract's own descriptors");
    let methods = files
        .file
        .iter()
        .flat_map(|file| &file.service)
        .flat_map(|service| &service.method);
    let inputs: BTreeSet<&str> = methods
        .filter_map(|method| method.input_type().strip_prefix(".sfkey.agent.v1."))
        .collect();
    let here: BTreeSet<&str> = MESSAGES.iter().map(|(name, _)| *name).collect();
    assert!(
        inputs.len() > 10 && inputs.is_subset(&here),
        "{inputs:?} are not all in {here:?}"
    );
}

/// A message that decodes is the same after being sent on, in no more bytes, and shows no control characters.
fn decoded<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let sent = message.encode_to_vec();
    assert_eq!(sent.len(), message.encoded_len());
    assert!(
        sent.len() <= bytes.len(),
        "{} bytes became {}",
        bytes.len(),
        sent.len()
    );
    assert!(
        M::decode(sent.as_slice()).is_ok_and(|again| again == message),
        "{message:?}"
    );
    let shown = format!("{message:?}");
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

/// `[A-Za-z0-9][A-Za-z0-9._@+-]{0,79}`, and nothing else.
fn name(text: &str) {
    let follows = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '@' | '+' | '-');
    let fits = text.chars().all(follows)
        && (1..=80).contains(&text.len())
        && !text.starts_with(['.', '_', '@', '+', '-']);
    let parsed = text.parse::<AccountName>();
    assert_eq!(parsed.is_ok(), fits, "{text:?}");
    if let Ok(name) = parsed {
        assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
    }
}

/// Details that an agent, or whoever says to be one, puts into a failure. What is taken of them fits a status
/// again, and comes out of it as it went in.
fn failure(code: u8, details: &[u8]) {
    let status = Status::with_details(
        Code::from(i32::from(code % 17)),
        "what happened",
        details.to_vec().into(),
    );
    let Some(refusal) = Refusal::from_status(&status) else {
        return;
    };
    let bounded = Status::from(refusal.clone());
    let again = Refusal::from_status(&bounded).expect("the agent's own status");
    assert_eq!((again.reason, &again.message), (refusal.reason, &refusal.message));
    assert_eq!(again.salesforce.is_some(), refusal.salesforce.is_some());
    let headers = bounded.into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    assert!(bytes < 4 * 1024, "{bytes} bytes of metadata");
}
