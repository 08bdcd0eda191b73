//! What the answers of Salesforce's token endpoint mean, and the one next step for each.
//!
//! Answers are matched by `error` and description together, case-insensitively, because one `error` stands
//! for many causes. A pair that is not listed gets its raw text and no guess.

use sfkey_proto::SalesforceAnswer;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The OAuth `error`.
    pub error: &'static str,
    /// What the description contains, in lower case; empty when any description will do.
    pub contains: &'static str,
    /// What it means, one sentence without a full stop.
    pub means: &'static str,
    /// The next step.
    pub fix: &'static str,
}

/// Looks an answer up.
#[must_use]
pub fn meaning(error: &str, description: &str) -> Option<&'static Meaning> {
    let description = description.to_lowercase();
    TABLE
        .iter()
        .find(|row| row.error.eq_ignore_ascii_case(error) && description.contains(row.contains))
}

/// Whether the answer says that the assertion had ended when it arrived: the local clock is slow.
#[must_use]
pub fn blames_the_clock(answer: &SalesforceAnswer) -> bool {
    meaning(&answer.error, &answer.error_description).is_some_and(|row| row.fix == SLOW_CLOCK)
}

/// Whether the answer says that the user logged in too often.
#[must_use]
pub fn blames_the_rate(answer: &SalesforceAnswer) -> bool {
    meaning(&answer.error, &answer.error_description).is_some_and(|row| row.fix == RATE)
}

const NOT_APPROVED: &str = "set \"Admin approved users are pre-authorized\" on the app's Policies tab and assign one of \
the user's profiles or permission sets; check the username and the login URL; a new app needs up to 10 minutes";
const WRONG_KEY: &str = "compare the key's fingerprint with the app's certificate and upload the certificate again \
if they differ";
const WRONG_AUDIENCE: &str = "set --audience: https://login.salesforce.com for production, \
https://test.salesforce.com for a sandbox, the My Domain URL for an External Client App";
const SLOW_CLOCK: &str =
    "compare this machine's clock with the Date header of the answer (sfkey status shows the skew)";
const IP_RANGES: &str = "relax or extend the app's IP ranges and the profile's login hours, or check the VPN";
const RATE: &str = "wait 15 to 60 minutes and let callers share this agent's token";

/// Every documented or observed answer, the more specific description first.
pub const TABLE: &[Meaning] = &[
    Meaning {
        error: "invalid_grant",
        contains: "user hasn't approved this consumer",
        means: "the app does not pre-authorize this user, or the user is unknown on this host, or the app is new",
        fix: NOT_APPROVED,
    },
    Meaning {
        error: "invalid_app_access",
        contains: "user is not admin approved",
        means: "the app's policy is right, but this user has none of its profiles or permission sets",
        fix: "assign one of the app's profiles or permission sets to the user",
    },
    Meaning {
        error: "invalid_request",
        contains: "refresh_token scope is required",
        means: "the app lacks the scope \"refresh_token, offline_access\", which is required although no refresh token is issued",
        fix: "add the scope \"Perform requests at any time (refresh_token, offline_access)\" to the app",
    },
    Meaning {
        error: "invalid_grant",
        contains: "invalid assertion",
        means: "the signature does not match the app's certificate, or a later deploy cleared the certificate",
        fix: WRONG_KEY,
    },
    Meaning {
        error: "invalid_client",
        contains: "invalid client credentials",
        means: "the signature does not match the app's certificate",
        fix: WRONG_KEY,
    },
    Meaning {
        error: "invalid_grant",
        contains: "audience is invalid",
        means: "the audience is not accepted on this host",
        fix: WRONG_AUDIENCE,
    },
    Meaning {
        error: "invalid_grant",
        contains: "audience validation failed",
        means: "the audience is not accepted on this host",
        fix: WRONG_AUDIENCE,
    },
    Meaning {
        error: "invalid_grant",
        contains: "expired authorization code",
        means: "the assertion had ended when it arrived: the local clock is slow",
        fix: SLOW_CLOCK,
    },
    Meaning {
        error: "invalid_client_id",
        contains: "client identifier invalid",
        means: "the consumer key is unknown on this host, or the app was just created",
        fix: "check the consumer key and the login URL; wait 10 minutes after creating the app",
    },
    Meaning {
        error: "app_not_found",
        contains: "external client app is not installed",
        means: "an External Client App was asked for through login or test, or a refreshed sandbox lost it",
        fix: "use the org's My Domain as login URL and audience, or deploy the app again",
    },
    Meaning {
        error: "invalid_grant",
        contains: "inactive user",
        means: "the user is deactivated or frozen",
        fix: "reactivate or unfreeze the user in Setup",
    },
    Meaning {
        error: "inactive_org",
        contains: "",
        means: "the organization is locked, closed or suspended",
        fix: "ask the org's administrator or Salesforce support",
    },
    Meaning {
        error: "invalid_grant",
        contains: "ip restricted",
        means: "the app or the profile does not allow logins from this address or at this hour",
        fix: IP_RANGES,
    },
    Meaning {
        error: "invalid_grant",
        contains: "authentication failure",
        means: "the user or one of the user's permissions is not acceptable",
        fix: "check the username, the permission \"API Enabled\" and the login policies",
    },
    Meaning {
        error: "unsupported_grant_type",
        contains: "grant type not supported",
        means: "the JWT Bearer flow is not enabled for the app",
        fix: "enable \"JWT Bearer Flow\" on the app",
    },
    Meaning {
        error: "rate_limit_exceeded",
        contains: "",
        means: "this user logged in more than 3,600 times within an hour",
        fix: RATE,
    },
    Meaning {
        error: "login_rate_exceeded",
        contains: "",
        means: "this user logged in more than 3,600 times within an hour",
        fix: RATE,
    },
    Meaning {
        error: "oauth_app_blocked",
        contains: "",
        means: "an administrator blocked the app",
        fix: "unblock it in Setup, Connected Apps OAuth Usage",
    },
    Meaning {
        error: "server_error",
        contains: "",
        means: "Salesforce failed for the moment",
        fix: "try again in a minute",
    },
    Meaning {
        error: "unknown_error",
        contains: "",
        means: "Salesforce failed for the moment",
        fix: "try again in a minute",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_with_several_causes_is_told_apart_by_its_description() {
        let means = |error, description| meaning(error, description).map(|row| row.contains);
        assert_eq!(
            means("invalid_grant", "Invalid assertion"),
            Some("invalid assertion")
        );
        assert_eq!(
            means("INVALID_GRANT", "audience is invalid"),
            Some("audience is invalid")
        );
        assert_eq!(
            means("OAUTH_APP_BLOCKED", "this app is blocked by admin"),
            Some("")
        );
    }

    #[test]
    fn an_answer_that_is_not_listed_gets_no_guess() {
        assert_eq!(meaning("invalid_grant", "something new"), None);
        assert_eq!(meaning("", ""), None);
    }

    #[test]
    fn every_row_can_be_reached_and_fits_its_place() {
        for row in TABLE {
            assert_eq!(
                meaning(row.error, row.contains),
                Some(row),
                "hidden by an earlier row"
            );
            assert_eq!(row.contains, row.contains.to_lowercase());
            assert!(row.fix.len() <= 300 && row.means.len() <= 200, "{row:?}");
            assert!(!row.fix.is_empty() && !row.means.is_empty());
        }
    }
}
