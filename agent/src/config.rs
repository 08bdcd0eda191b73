//! The command line. Parsing has no side effects.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use sfkey_proto::v1::MemoryProtection;
use tracing::Level;

use crate::{
    limits,
    logging::Format,
    salesforce::{TrustedHosts, http::Timeouts},
};

/// Holds Salesforce private keys in protected memory and serves access tokens over gRPC on a Unix socket.
///
/// Runs in the foreground until SIGTERM, SIGINT or `sfkey stop`; a second signal stops it at once. SIGUSR1
/// drops every key. With `-- COMMAND` it runs COMMAND with an agent of its own, ends with it, and exits with
/// COMMAND's code. Load accounts with `sfkey add`, fetch tokens with `sfkey token`.
#[derive(Debug, Parser)]
#[command(name = "sfkey-agent", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Options {
    /// Path of the socket; its directory must be yours, with mode 0700 [default: see below]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Settings and policy [default: $XDG_CONFIG_HOME/sfkey/agent.toml, else /etc/sfkey/agent.toml]
    ///
    /// Only you and root may be able to write to it. SIGHUP reads it again: rules may become stricter; what would
    /// allow more waits for a restart.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Read agent.toml, print what follows from it, and end
    #[arg(long, conflicts_with_all = ["launched", "command"])]
    pub check_config: bool,

    /// Serve tokens of the accounts listed under [token_socket] in agent.toml on a second socket, for containers,
    /// forwarding and other users
    #[arg(long, value_name = "PATH")]
    pub token_socket: Option<PathBuf>,

    /// Record in this file who got which token and who was denied, one JSON object a line; SIGHUP opens it anew
    ///
    /// `sfkey audit` shows it. The file is yours alone; a token's SHA-256 begins with its fingerprint there.
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Record it in the agent's own log as well, which systemd keeps in the journal
    #[arg(long)]
    pub audit_journal: bool,

    /// Deliver no token that could not be recorded
    #[arg(long, requires = "audit_log")]
    pub audit_required: bool,

    /// Let assertions for another audience go to this host too (may be repeated)
    ///
    /// An assertion is as good as a login at its audience. Without this, an audience that differs from the
    /// login URL is accepted only when the login URL is under a Salesforce domain or on this machine.
    #[arg(long = "trust-host", value_name = "HOST", value_parser = TrustedHosts::parse)]
    pub trust_hosts: Vec<String>,

    /// Refuse to start when the master secret gets less protection than this
    ///
    /// Without a value: memfd_secret, which keeps the secret from everybody, root included.
    #[arg(long, value_name = "LEVEL", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "memfd_secret")]
    pub require_memory_protection: Option<Protection>,

    /// Give an exchange with Salesforce up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = limits::EXCHANGE_TIME.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=50))]
    pub exchange_timeout: u64,

    /// What to log: error, warn, info, debug or trace; no level shows a secret [default: info, or warn with
    /// -- COMMAND]
    #[arg(long, value_name = "LEVEL", env = "SFKEY_LOG")]
    pub log_level: Option<Level>,

    /// Form of the log lines on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,

    /// Serve until standard input ends, and say on standard output when ready
    #[arg(long, hide = true)]
    pub launched: bool,

    /// Run this command with an agent of its own, which ends with it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A level of memory protection that can be required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protection {
    /// Unreadable for everybody, root included; never swapped, never dumped.
    #[value(name = "memfd_secret")]
    MemfdSecret,
    /// Locked in memory, left out of dumps, wiped on fork; memfd_secret will do as well.
    Mlock,
}

impl Protection {
    /// Whether what was reached is enough.
    #[must_use]
    pub fn accepts(self, reached: MemoryProtection) -> bool {
        match self {
            Self::MemfdSecret => reached == MemoryProtection::MemfdSecret,
            Self::Mlock => matches!(reached, MemoryProtection::MemfdSecret | MemoryProtection::Mlock),
        }
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Mlock => "mlock",
        }
    }
}

const AFTER_HELP: &str = "\
Socket: --socket, else $SFKEY_SOCK, else $XDG_RUNTIME_DIR/sfkey/agent.sock, else
/run/user/UID/sfkey/agent.sock if that directory is yours, else
${XDG_STATE_HOME:-~/.local/state}/sfkey/agent.sock. sfkey looks in the same order.

Environment: SFKEY_SOCK, SFKEY_LOG, SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, NO_PROXY.

Exit code: 0 stopped as asked, 1 failed, 2 usage; with -- COMMAND, COMMAND's own,
126 if it cannot be run, 127 if it is not found.

Examples:
  sfkey-agent &
  sfkey-agent --socket ~/.sfkey/agent.sock --log-level debug
  sfkey-agent --check-config
  sfkey-agent --audit-log ~/.local/state/sfkey/audit.log --audit-required
  sfkey-agent -- ./nightly-sync.sh";

impl Options {
    /// Where the socket is to be; `None` when neither an option nor the environment tells.
    pub fn socket_path(&self, uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        sfkey_proto::place::socket_path(self.socket.as_deref(), uid, variable)
    }

    /// How much to log. Beside a command's own output only what needs attention.
    #[must_use]
    pub fn level(&self) -> Level {
        self.log_level
            .unwrap_or(if self.launched { Level::WARN } else { Level::INFO })
    }

    /// Time limits of an exchange: no part may take longer than the whole.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        let total = Duration::from_secs(self.exchange_timeout);
        Timeouts {
            connect: limits::CONNECT_TIME.min(total),
            read: limits::READ_TIME.min(total),
            total,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn protection_can_be_required_with_and_without_a_level() {
        let required = |arguments: &[&str]| {
            let options = Options::try_parse_from(["sfkey-agent"].iter().chain(arguments));
            options.expect("parsed").require_memory_protection
        };
        assert_eq!(required(&[]), None);
        assert_eq!(
            required(&["--require-memory-protection"]),
            Some(Protection::MemfdSecret)
        );
        assert_eq!(
            required(&["--require-memory-protection=mlock"]),
            Some(Protection::Mlock)
        );
        assert!(!Protection::MemfdSecret.accepts(MemoryProtection::Mlock));
        assert!(Protection::Mlock.accepts(MemoryProtection::MemfdSecret));
        assert!(!Protection::Mlock.accepts(MemoryProtection::None));
    }

    #[test]
    fn no_part_of_an_exchange_may_take_longer_than_the_whole() {
        let options = Options::try_parse_from(["sfkey-agent", "--exchange-timeout", "2"]).expect("parsed");
        let timeouts = options.timeouts();
        assert_eq!(
            [timeouts.connect, timeouts.read, timeouts.total],
            [Duration::from_secs(2); 3]
        );
    }
}
