//! What can go wrong, by cause, and the one place where a cause becomes what the caller sees.

use std::time::Duration;

use sfkey_proto::{AccountName, Reason, Refusal, SalesforceAnswer};
use tonic::Status;

use crate::{
    clock::Now,
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
    Exchange(Box<ExchangeFailure>),
    /// Too many logins of one user.
    LoginBudget {
        /// For which account.
        account: AccountName,
        /// Whose logins are counted.
        username: String,
        /// The next login is made after this time.
        again_in: Duration,
    },
    /// A token was reported as refused, and its session is alive.
    NotTheSession(AccountName),
    /// A specification that cannot be taken.
    Identity(IdentityRejected),
    /// Any other request that cannot be taken: what is wrong, and what to do.
    Invalid(String, &'static str),
    /// A limit is reached: what is full.
    Limit(&'static str),
    /// It was given up after this time.
    TookTooLong(Duration),
    /// A method of a later version.
    Unimplemented(&'static str),
    /// A defect: what did not hold.
    Internal(&'static str),
}

/// A failure of an exchange.
#[derive(Clone, Debug)]
pub struct ExchangeFailure {
    account: AccountName,
    host: String,
    error: ExchangeError,
    /// It happened before, and Salesforce is not asked again for this long.
    again_in: Option<Duration>,
}

impl Failure {
    /// What happened to `account` at `host`.
    #[must_use]
    pub fn exchange(account: &AccountName, host: &impl ToString, error: ExchangeError) -> Self {
        Self::Exchange(Box::new(ExchangeFailure {
            account: account.clone(),
            host: host.to_string(),
            error,
            again_in: None,
        }))
    }

    /// The same as it is told while it is remembered, until the boot time `until`.
    #[must_use]
    pub fn until(mut self, until: Duration, now: Now) -> Self {
        if let Self::Exchange(failure) = &mut self {
            failure.again_in = Some(until.saturating_sub(now.boot));
        }
        self
    }

    /// What Salesforce answered, when it refused the exchange itself.
    #[must_use]
    pub fn refusal_of_salesforce(&self) -> Option<&SalesforceAnswer> {
        match self {
            Self::Exchange(failure) => match &failure.error {
                ExchangeError::Refused(answer) => Some(answer),
                _ => None,
            },
            _ => None,
        }
    }
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
            Failure::Exchange(failure) => exchange(*failure),
            Failure::LoginBudget {
                account,
                username,
                again_in,
            } => login_budget(&account, &username, again_in),
            Failure::NotTheSession(name) => Self::new(
                Reason::SalesforceRefused,
                format!(
                    "Salesforce holds the token of account {name} for valid: its refusal is about scope or policy"
                ),
                "check the app's scopes (api), the user's permission \"API Enabled\" and what the call needs; \
                 another token would be refused, too",
            ),
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
            Failure::TookTooLong(time) => Self::new(
                Reason::Limit,
                format!(
                    "the request was not done within {} s and was given up",
                    time.as_secs()
                ),
                "try again in a moment; --request-timeout of sfkey-agent sets the time",
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

fn exchange(failure: ExchangeFailure) -> Refusal {
    let refusal = exchanged(&failure.account, &failure.host, failure.error);
    match failure.again_in {
        Some(again_in) => remembered(refusal, again_in),
        None => refusal,
    }
}

fn exchanged(account: &AccountName, host: &str, error: ExchangeError) -> Refusal {
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

/// What is remembered says so, and when Salesforce is asked again.
fn remembered(mut refusal: Refusal, again_in: Duration) -> Refusal {
    let seconds = u32::try_from(again_in.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    refusal.message = format!(
        "{} (remembered; asked again in {})",
        refusal.message,
        span(seconds)
    );
    refusal.retry_after_seconds = Some(seconds);
    refusal
}

fn login_budget(account: &AccountName, username: &str, again_in: Duration) -> Refusal {
    let seconds = u32::try_from(again_in.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    let mut refusal = Refusal::new(
        Reason::LoginBudget,
        format!(
            "account {account}: {username} logged in too often; the next login is made in {}",
            span(seconds)
        ),
        "find out who asks for new tokens all the time (--fresh, --rejected); a token is good until it ends",
    );
    refusal.retry_after_seconds = Some(seconds);
    refusal
}

/// A time as people read it.
fn span(seconds: u32) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
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
