//! What an answer points at: the step that it stands for, and what to do.

use sfkey_proto::{AccountName, SalesforceAnswer, v1::check_account_response::Outcome};

use crate::salesforce::{ExchangeError, errors};

/// The step that a refused login stands for.
pub(super) fn step_of(answer: &SalesforceAnswer) -> &'static str {
    let row = errors::meaning(&answer.error, &answer.error_description);
    match row.map(|row| (row.error, row.contains)) {
        Some(
            ("invalid_grant", "audience is invalid" | "audience validation failed") | ("app_not_found", _),
        ) => "audience",
        Some(("invalid_grant", "expired authorization code")) => "clock",
        Some(("invalid_request", "refresh_token scope is required")) => "scopes",
        _ => "token",
    }
}

/// Whether a failed request failed at TLS: the words are those of rustls and of the system's verifier.
pub(super) fn is_tls(what: &str) -> bool {
    let what = what.to_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"]
        .into_iter()
        .any(|word| what.contains(word))
}

/// What to do about it.
pub(super) fn tls_fix(what: &str) -> &'static str {
    let what = what.to_lowercase();
    if what.contains("expired") || what.contains("notvalidyet") || what.contains("not valid yet") {
        "check this machine's clock; if it is right, the server's certificate has to be renewed"
    } else if ["issuer", "badsignature", "self-signed"]
        .into_iter()
        .any(|word| what.contains(word))
    {
        "if a proxy of yours inspects TLS, name its CA: SSL_CERT_FILE=FILE in the environment of the agent"
    } else if what.contains("name") {
        "check the login URL: the certificate that answers there is for another host"
    } else {
        "see what answers there: openssl s_client -connect HOST:443"
    }
}

/// What a refusal of the REST API points at.
pub(super) fn of_api(answer: &SalesforceAnswer, account: &AccountName) -> (Outcome, String) {
    let description = answer.error_description.to_lowercase();
    let fix = match answer.error.as_str() {
        "REQUEST_LIMIT_EXCEEDED" => {
            let fix = "wait, or buy more: the org's API calls of the last 24 hours are used up";
            return (Outcome::Warning, fix.to_owned());
        }
        "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" => {
            "the user needs the permission \"API Enabled\", and the org an edition with API access"
        }
        _ if description.contains("not valid for use with the rest api") => {
            "add the scope \"Manage user data via APIs (api)\" to the app; another token changes nothing before that"
        }
        _ if description.contains("not attached to agent") => {
            "a policy of the app refuses it: ask the org's administrator; another token changes nothing"
        }
        "INVALID_SESSION_ID" => {
            let fix = format!("sfkey token {account} --fresh >/dev/null   (the agent gets the next one)");
            return (Outcome::Failed, fix);
        }
        _ if answer.http_status == 403 => {
            "the user needs the permission \"API Enabled\"; look at the profile's and the app's policies"
        }
        _ => "",
    };
    (Outcome::Failed, fix.to_owned())
}

/// What Salesforce said.
pub(super) fn raw(answer: &SalesforceAnswer) -> String {
    match (answer.error.as_str(), answer.error_description.as_str()) {
        ("", "") => format!("HTTP {}", answer.http_status),
        ("", description) => format!("HTTP {}: {description}", answer.http_status),
        (error, "") => error.to_owned(),
        (error, description) => format!("{error}: {description}"),
    }
}

/// An error in one line, for the end of a sentence.
pub(super) fn words(error: &ExchangeError) -> String {
    match error {
        ExchangeError::Network(what) => what.clone(),
        ExchangeError::Refused(answer)
        | ExchangeError::Unavailable(answer)
        | ExchangeError::Malformed(answer) => raw(answer),
        ExchangeError::Signing | ExchangeError::Internal => "a defect of the agent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: &str, description: &str, http_status: u16) -> SalesforceAnswer {
        SalesforceAnswer {
            error: error.to_owned(),
            error_description: description.to_owned(),
            http_status,
        }
    }

    #[test]
    fn a_refused_login_stands_for_one_step() {
        for (error, description, step) in [
            ("invalid_grant", "audience is invalid", "audience"),
            ("invalid_grant", "Audience validation failed", "audience"),
            (
                "app_not_found",
                "External client app is not installed in this org",
                "audience",
            ),
            ("invalid_grant", "expired authorization code", "clock"),
            (
                "invalid_request",
                "refresh_token scope is required and the connected app should be installed and preauthorized",
                "scopes",
            ),
            ("invalid_grant", "invalid assertion", "token"),
            ("invalid_grant", "something new", "token"),
        ] {
            assert_eq!(step_of(&answer(error, description, 400)), step, "{description}");
        }
    }

    #[test]
    fn a_failure_of_tls_is_told_from_one_of_the_network() {
        assert!(is_tls("cannot connect: invalid peer certificate: UnknownIssuer"));
        assert!(!is_tls("cannot connect: Connection refused (os error 111)"));
        assert!(!is_tls("no answer in time"));
        assert!(tls_fix("invalid peer certificate: UnknownIssuer").contains("SSL_CERT_FILE"));
        assert!(tls_fix("invalid peer certificate: certificate expired").contains("clock"));
        assert!(tls_fix("certificate not valid for name \"x\"").contains("login URL"));
    }

    #[test]
    fn a_refusal_of_the_api_that_is_not_known_gets_no_guess() {
        let account = "prod".parse().expect("a name");
        assert_eq!(
            of_api(&answer("NEW", "new", 400), &account),
            (Outcome::Failed, String::new())
        );
        let (outcome, fix) = of_api(&answer("REQUEST_LIMIT_EXCEEDED", "TotalRequests", 403), &account);
        assert_eq!(outcome, Outcome::Warning);
        assert!(fix.contains("24 hours"), "{fix}");
    }
}
