//! Which URLs the agent takes as token host, as audience and as the `instance_url` of an answer.
//!
//! Input, a line each: token host, audience, `instance_url`, trusted hosts separated by blanks.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfkey_agent::salesforce::{Audience, TokenHost};
use sfkey_fuzz::{hosts, text};

/// The largest refusal quotes two URLs.
const MAX_REFUSAL_BYTES: usize = 4 * 1024;

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (host, audience, instance) = (line(), line(), line());
    let named: Vec<&str> = line().split(' ').filter(|name| !name.is_empty()).collect();
    let trusted = hosts::trusted(&named);
    let parsed = match TokenHost::parse(host) {
        Ok(parsed) => parsed,
        Err(refused) => return text::assert_shown(&refused.to_string(), MAX_REFUSAL_BYTES),
    };
    hosts::assert_token_host(&parsed, host);
    match Audience::parse(audience, &parsed, &trusted) {
        Ok(accepted) => hosts::assert_audience(&accepted, &parsed, &named),
        Err(refused) => text::assert_shown(&refused.to_string(), MAX_REFUSAL_BYTES),
    }
    if let Some(url) = parsed.accepts_instance(instance, &trusted) {
        hosts::assert_instance(&url, &parsed, &named);
    }
});
