//! What can go wrong, by cause, and the one place where a cause becomes what the caller sees.

use sfkey_proto::{AccountName, Reason, Refusal, SalesforceAnswer};
use tonic::Status;

use crate::{
    identity::IdentityRejected,
    policy::Denied,
    salesforce::{ExchangeError, errors},
};

/// Why a request failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No such account is loaded.
    NotLoaded(AccountName),
    /// The account was removed by hand.
    Removed(AccountName),
    /// No account was named, and of those loaded none is meant.
    NoDefault {
        /// How many are loaded.
        loaded: usize,
    },
    /// An account of that name is another one.
    Exists(AccountName),
    /// The agent is locked.
    Locked,
    /// The passphrase does not unlock the agent.
    WrongPassphrase,
    /// Policy says no.
    Denied(Denied),
    /// Salesforce, or the way to it.
    Exchange {
        /// For which account.
        account: AccountName,
        /// The host that was asked.
        host: String,
        /// What happened.
        error: ExchangeError,
    },
    /// A specification that cannot be taken.
    Identity(IdentityRejected),
    /// Any other request that cannot be taken: what is wrong, and what to do.
    Invalid(String, &'static str),
    /// A limit is reached: what is full.
    Limit(&'static str),
    /// A method of a later version.
    Unimplemented(&'static str),
    /// A defect: what did not hold.
    Internal(&'static str),
}

impl From<IdentityRejected> for Failure {
    fn from(rejected: IdentityRejected) -> Self {
        Self::Identity(rejected)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Refusal::from(failure).into()
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotLoaded(name) => Self::new(
                Reason::AccountNotLoaded,
                format!("account {name} is not loaded"),
                format!("sfkey add {name}"),
            ),
            Failure::Removed(name) => Self::new(
                Reason::Removed,
                format!("account {name} was removed and is not loaded again by itself"),
                format!("sfkey add {name}"),
            ),
            Failure::NoDefault { loaded } => no_default(loaded),
            Failure::Exists(name) => Self::new(
                Reason::AccountExists,
                format!("account {name} is loaded with another identity or key"),
                format!("sfkey add {name} --replace, if you mean to replace it"),
            ),
            Failure::Locked => Self::new(Reason::Locked, "the agent is locked", "sfkey unlock"),
            Failure::WrongPassphrase => Self::new(
                Reason::WrongPassphrase,
                "the passphrase does not unlock the agent",
                "sfkey unlock, with the passphrase that locked it; without it only sfkey stop is left",
            ),
            Failure::Denied(denied) => Self::new(denied.reason(), denied.to_string(), denied.fix()),
            Failure::Exchange { account, host, error } => exchange(&account, &host, error),
            Failure::Identity(rejected) => Self::new(
                Reason::Invalid,
                rejected.to_string(),
                "correct the setting and add the account again",
            ),
            Failure::Invalid(what, fix) => Self::new(Reason::Invalid, what, fix),
            Failure::Limit(what) => Self::new(
                Reason::Limit,
                format!("the agent's limit of {what} is reached"),
                "try again in a moment",
            ),
            Failure::Unimplemented(method) => Self::new(
                Reason::Unimplemented,
                format!("this version of the agent does not have {method} yet"),
                "update sfkey-agent",
            ),
            Failure::Internal(what) => Self::new(
                Reason::Internal,
                format!("a defect of the agent: {what}"),
                "report it with the agent's log; other requests are not affected",
            ),
        }
    }
}

fn no_default(loaded: usize) -> Refusal {
    if loaded == 0 {
        let fix = "sfkey add NAME --login-url URL --consumer-key KEY --username USER --key FILE";
        return Refusal::new(Reason::NoDefaultAccount, "no account is loaded", fix);
    }
    let message = format!("no account was named and none of the {loaded} loaded ones is the default");
    Refusal::new(
        Reason::NoDefaultAccount,
        message,
        "name one (sfkey list), or sfkey add NAME --default",
    )
}

fn exchange(account: &AccountName, host: &str, error: ExchangeError) -> Refusal {
    match error {
        ExchangeError::Refused(answer) => refused(account, answer),
        ExchangeError::Network(what) => Refusal::new(
            Reason::Network,
            format!("cannot reach {host} for account {account}: {what}"),
            "check the network, the proxy (HTTPS_PROXY) and SSL_CERT_FILE of the agent, then try again",
        ),
        ExchangeError::Unavailable(answer) => Refusal::new(
            Reason::SalesforceUnavailable,
            format!("{host} cannot serve now (HTTP {})", answer.http_status),
            "try again in a minute; status.salesforce.com tells about maintenance",
        )
        .with_answer(answer),
        ExchangeError::Malformed(answer) => Refusal::new(
            Reason::MalformedAnswer,
            format!(
                "{host} did not answer as Salesforce does (HTTP {})",
                answer.http_status
            ),
            "check the login URL, and whether a proxy or a captive portal answers in its place",
        )
        .with_answer(answer),
        ExchangeError::Signing => internal("the private key in custody could not be used"),
        ExchangeError::Internal => internal("an exchange ended without a result"),
    }
}

fn refused(account: &AccountName, answer: SalesforceAnswer) -> Refusal {
    let (message, fix) = match errors::meaning(&answer.error, &answer.error_description) {
        Some(row) => (
            format!("Salesforce refused account {account}: {}", row.means),
            row.fix,
        ),
        None => (format!("Salesforce refused account {account}"), ""),
    };
    Refusal::new(Reason::SalesforceRefused, message, fix).with_answer(answer)
}

fn internal(what: &'static str) -> Refusal {
    Failure::Internal(what).into()
}
