//! The error table: what went wrong, as a stable reason, and how it travels in a gRPC status.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every failure that the agent itself reports.
pub const DOMAIN: &str = "sfkey";

/// Longest message of a failure in bytes. A status travels in HTTP/2 trailers, which common clients cap
/// at 8 KB; percent-encoding can triple it, and the details repeat it in base64.
const MAX_MESSAGE_BYTES: usize = 400;

/// Longest next step, in bytes.
const MAX_FIX_BYTES: usize = 300;

/// Longest raw text of a Salesforce answer, in bytes.
pub const MAX_RAW_BYTES: usize = 1024;

/// Longest `error` code of a Salesforce answer, in bytes.
const MAX_ERROR_CODE_BYTES: usize = 128;

/// Metadata of `ErrorInfo` that tells when to come back.
const RETRY_AFTER: &str = "retry_after_seconds";

/// Defines [`Reason`] from one table, so that reason, gRPC code and exit code stand in one line.
macro_rules! reasons {
    ($(#[doc = $doc:literal] $variant:ident, $text:literal, $code:ident, $exit:literal;)*) => {
        /// Why a request failed: stable, machine-readable, `ErrorInfo.reason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $doc] $variant,)* }

        impl Reason {
            /// Every reason, in the order of the documented table.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The reason as it stands in `ErrorInfo.reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn means(self) -> &'static str {
                match self { $(Self::$variant => $doc.trim_ascii(),)* }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// The exit code of `sfkey` that goes with it.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }
        }
    };
}

reasons! {
    /// No account of that name is loaded.
    AccountNotLoaded, "ACCOUNT_NOT_LOADED", NotFound, 4;
    /// No account was named, and there is neither a default nor a single one.
    NoDefaultAccount, "NO_DEFAULT_ACCOUNT", NotFound, 4;
    /// The account was removed by hand and is not loaded on demand.
    Removed, "REMOVED", NotFound, 4;
    /// The agent is locked.
    Locked, "LOCKED", FailedPrecondition, 5;
    /// The calling process may not use this socket.
    PeerDenied, "PEER_DENIED", PermissionDenied, 6;
    /// The account's policy does not allow the caller.
    PolicyDenied, "POLICY_DENIED", PermissionDenied, 6;
    /// The user was asked and did not allow it.
    ConfirmDenied, "CONFIRM_DENIED", PermissionDenied, 6;
    /// The passphrase does not unlock the agent.
    WrongPassphrase, "WRONG_PASSPHRASE", PermissionDenied, 6;
    /// An account of that name with another identity or key is loaded.
    AccountExists, "ACCOUNT_EXISTS", AlreadyExists, 6;
    /// Salesforce answered with an OAuth error.
    SalesforceRefused, "SALESFORCE_REFUSED", FailedPrecondition, 7;
    /// Salesforce could not be reached.
    Network, "NETWORK", Unavailable, 8;
    /// Salesforce answered that it cannot serve now.
    SalesforceUnavailable, "SALESFORCE_UNAVAILABLE", Unavailable, 8;
    /// The answer is not one that Salesforce gives.
    MalformedAnswer, "MALFORMED_ANSWER", Unavailable, 8;
    /// The login budget of this user is used up for now.
    LoginBudget, "LOGIN_BUDGET", ResourceExhausted, 8;
    /// A limit of the agent is reached.
    Limit, "LIMIT", ResourceExhausted, 1;
    /// The request is not well-formed.
    Invalid, "INVALID", InvalidArgument, 2;
    /// A defect of the agent.
    Internal, "INTERNAL", Internal, 1;
    /// This version of the agent does not have the method yet.
    Unimplemented, "UNIMPLEMENTED", Unimplemented, 1;
}

impl Reason {
    /// The reason that `ErrorInfo.reason` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// What Salesforce answered when it refused, for display only: bounded and escaped by the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalesforceAnswer {
    /// The OAuth `error`, empty when the answer had none.
    pub error: String,
    /// The OAuth `error_description`, or the beginning of an answer that is no OAuth error.
    pub error_description: String,
    /// The HTTP status, 0 when there was no answer.
    pub http_status: u16,
}

/// A failure as the caller sees it: reason, what happened, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
    /// What happened, one line.
    pub message: String,
    /// The one next step; empty when there is none worth naming.
    pub fix: String,
    /// What Salesforce answered, when it did.
    pub salesforce: Option<SalesforceAnswer>,
    /// Before this many seconds have passed the answer will be the same, as far as the agent knows.
    pub retry_after_seconds: Option<u32>,
}

impl Refusal {
    /// A failure that has no answer of Salesforce behind it.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            fix: fix.into(),
            salesforce: None,
            retry_after_seconds: None,
        }
    }

    /// The same with the answer of Salesforce.
    #[must_use]
    pub fn with_answer(self, answer: SalesforceAnswer) -> Self {
        Self {
            salesforce: Some(answer),
            ..self
        }
    }

    /// Reads a failure back from a status; `None` when the status is not one of the agent's own.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let fix = details
            .help()
            .and_then(|help| help.links.first())
            .map(|link| link.description.clone());
        let metadata = |key: &str| info.metadata.get(key).cloned().unwrap_or_default();
        let salesforce = info
            .metadata
            .contains_key("http_status")
            .then(|| SalesforceAnswer {
                error: metadata("error"),
                error_description: metadata("error_description"),
                http_status: metadata("http_status").parse().unwrap_or(0),
            });
        Some(Self {
            reason: Reason::parse(&info.reason)?,
            message: status.message().to_owned(),
            fix: fix.unwrap_or_default(),
            salesforce,
            retry_after_seconds: metadata(RETRY_AFTER).parse().ok(),
        })
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut metadata = HashMap::new();
        if let Some(answer) = refusal.salesforce {
            metadata.insert("error".to_owned(), clip(answer.error, MAX_ERROR_CODE_BYTES));
            metadata.insert(
                "error_description".to_owned(),
                clip(answer.error_description, MAX_RAW_BYTES),
            );
            metadata.insert("http_status".to_owned(), answer.http_status.to_string());
        }
        if let Some(seconds) = refusal.retry_after_seconds {
            metadata.insert(RETRY_AFTER.to_owned(), seconds.to_string());
        }
        let mut details = ErrorDetails::with_error_info(refusal.reason.as_str(), DOMAIN, metadata);
        if !refusal.fix.is_empty() {
            details.add_help_link(clip(refusal.fix, MAX_FIX_BYTES), "");
        }
        Self::with_error_details(
            refusal.reason.code(),
            clip(refusal.message, MAX_MESSAGE_BYTES),
            details,
        )
    }
}

/// Cuts `text` at a character boundary so that it has at most `limit` bytes, the mark of the cut included.
#[must_use]
pub fn clip(mut text: String, limit: usize) -> String {
    const CUT: &str = "…";
    if text.len() > limit {
        let end = text.floor_char_boundary(limit.saturating_sub(CUT.len()));
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_way_through_a_status() {
        for reason in Reason::ALL {
            let sent = Refusal::new(*reason, "what happened", "what to do").with_answer(SalesforceAnswer {
                error: "invalid_grant".to_owned(),
                error_description: "user hasn't approved this consumer".to_owned(),
                http_status: 400,
            });
            let sent = Refusal {
                retry_after_seconds: (*reason == Reason::LoginBudget).then_some(7),
                ..sent
            };
            let status = Status::from(sent.clone());
            assert_eq!(status.code(), reason.code());
            assert_eq!(Refusal::from_status(&status), Some(sent));
        }
    }

    #[test]
    fn a_status_of_somebody_else_is_no_refusal() {
        assert_eq!(
            Refusal::from_status(&Status::unavailable("connection refused")),
            None
        );
        let foreign = ErrorDetails::with_error_info("LOCKED", "example.com", HashMap::new());
        assert_eq!(
            Refusal::from_status(&Status::with_error_details(Code::NotFound, "x", foreign)),
            None
        );
    }

    #[test]
    fn the_largest_refusal_stays_under_four_kilobytes_of_metadata() {
        let long = "é".repeat(4096);
        let refusal = Refusal::new(Reason::SalesforceRefused, &long, &long).with_answer(SalesforceAnswer {
            error: long.clone(),
            error_description: long.clone(),
            http_status: 400,
        });
        let headers = Status::from(refusal).into_http::<()>().into_parts().0.headers;
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(bytes < 4096, "{bytes}");
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(clip("short".to_owned(), 5), "short");
        assert_eq!(clip("ééééé".to_owned(), 8), "éé…");
    }
}
