//! The arguments of `sfkey audit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sfkey::proto::AccountName;

use super::Structured;
use crate::duration;

const AUDIT_EXAMPLES: &str = "\
The agent keeps the log with sfkey-agent --audit-log FILE. A record's fingerprint is how the
SHA-256 of its token begins; a count above 1 stands for that many of the same within ten seconds.

Examples:
  sfkey audit --since 1h
  sfkey audit --decision denied --account prod
  sfkey audit --file /var/log/sfkey/audit.log.1 --json | jq '.records[].exe'";

#[derive(Args, Debug)]
#[command(after_help = AUDIT_EXAMPLES)]
pub(crate) struct AuditArgs {
    /// Read this file instead of the one that the running agent keeps
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Show what this account was used for, and no other
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,

    /// Show only what was granted, or only what was denied
    #[arg(long, value_enum, value_name = "DECISION")]
    pub(crate) decision: Option<Decision>,

    /// Show only what happened within this time
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    pub(crate) since: Option<u32>,

    /// What to print: text for people, or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) output: Structured,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decision {
    /// The caller got what it asked for
    Granted,
    /// It did not
    Denied,
}

impl Decision {
    /// As it stands in a record.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }
}
