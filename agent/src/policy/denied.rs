//! Why not, and what to do about it.

use std::path::PathBuf;

use sfkey_proto::{AccountName, Reason};

use crate::{escape::escaped_path, settings::UnitName};

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is nobody that this socket answers.
    #[error("this socket does not answer the caller's user")]
    Peer,
    /// The account is not one of the restricted socket.
    #[error("account {0} is not served on this socket")]
    NotListed(AccountName),
    /// The caller runs in another unit.
    #[error("the policy of account {account} does not allow callers in {}", unit(seen.as_ref()))]
    Unit {
        /// The account.
        account: AccountName,
        /// The unit that it runs in.
        seen: Option<UnitName>,
    },
    /// The caller is another program.
    #[error("the policy of account {account} does not allow {}", program(seen.as_ref()))]
    Executable {
        /// The account.
        account: AccountName,
        /// The program that it runs.
        seen: Option<PathBuf>,
    },
    /// The user was asked, or should have been, and did not say yes.
    #[error("the use of account {account} was not confirmed: {why}")]
    Unconfirmed {
        /// The account.
        account: AccountName,
        /// Why not.
        why: Unconfirmed,
    },
    /// What must be recorded cannot be.
    #[error(
        "the use of account {0} cannot be recorded, and the agent gives nothing without (--audit-required)"
    )]
    Unrecorded(AccountName),
}

/// What kept the user from saying yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// The user.
    #[error("the user said no")]
    Refused,
    /// Nobody answered.
    #[error("nobody answered in time")]
    TimedOut,
    /// There is no program that asks, or it cannot be run.
    #[error("there is no program that could ask")]
    NoAskpass,
    /// It ended by a signal, or said what it should not.
    #[error("the program that asks failed")]
    Failed,
    /// Many others are to be asked about first.
    #[error("too many questions wait for an answer")]
    TooMany,
}

impl Denied {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Peer => Reason::PeerDenied,
            Self::NotListed(_) | Self::Unit { .. } | Self::Executable { .. } | Self::Unrecorded(_) => {
                Reason::PolicyDenied
            }
            Self::Unconfirmed { .. } => Reason::ConfirmDenied,
        }
    }

    /// The next step.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Peer => "run sfkey as the user that the agent runs as".to_owned(),
            Self::NotListed(account) => format!(
                "whoever runs the agent can list {account} in agent.toml, [token_socket] accounts, and restart it"
            ),
            Self::Unit { account, seen: None } => {
                format!(
                    "start the caller in one of the systemd units of [accounts.{account}.policy] in agent.toml"
                )
            }
            Self::Unit {
                account,
                seen: Some(unit),
            } => format!(
                "start it in a unit of [accounts.{account}.policy], or add \"{unit}\" to units in agent.toml and restart the agent"
            ),
            Self::Unconfirmed { why, .. } => unconfirmed_fix(*why).to_owned(),
            Self::Unrecorded(_) => {
                "make room for the audit log and see what the agent's own log says of it".to_owned()
            }
            Self::Executable { account, .. } => format!(
                "use a program that executables of [accounts.{account}.policy] in agent.toml names, or add this one and restart the agent"
            ),
        }
    }
}

fn unconfirmed_fix(why: Unconfirmed) -> &'static str {
    match why {
        Unconfirmed::Refused | Unconfirmed::TimedOut => "run it again, and allow it",
        Unconfirmed::NoAskpass => {
            "name a program that asks in agent.toml, askpass = \"/usr/bin/ssh-askpass\", and restart the agent"
        }
        Unconfirmed::Failed => "run it by hand: SSH_ASKPASS_PROMPT=confirm /usr/bin/ssh-askpass 'a question'",
        Unconfirmed::TooMany => "answer them, or try again in a moment",
    }
}

fn unit(seen: Option<&UnitName>) -> String {
    seen.map_or_else(|| "no systemd unit".to_owned(), |unit| format!("unit {unit}"))
}

fn program(seen: Option<&PathBuf>) -> String {
    seen.map_or_else(
        || "a caller whose program cannot be seen".to_owned(),
        |path| format!("the program {}", escaped_path(path)),
    )
}
