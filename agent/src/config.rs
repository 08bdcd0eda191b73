//! The command line. Parsing has no side effects.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use sfkey_proto::v1::MemoryProtection;
use tracing::Level;

use crate::{
    launch::{Launched, shell::Shell},
    limits,
    logging::Format,
    salesforce::{TrustedHosts, http::Timeouts},
    settings::Limits,
};

/// Holds Salesforce private keys in protected memory and serves access tokens over gRPC on a Unix socket.
///
/// Runs in the foreground until SIGTERM, SIGINT or `sfkey stop`; a second signal stops it at once. SIGHUP reopens
/// the log, SIGUSR1 drops every key. With `--daemon` it goes to the background, with `-- COMMAND` it runs COMMAND
/// with an agent of its own, ends with it, and exits with COMMAND's code. Load accounts with `sfkey add`, fetch
/// tokens with `sfkey token`.
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
    /// Detach once ready, and print the line that tells a shell where the socket is
    ///
    /// Where an agent serves the socket already, the same line is printed and nothing is started. The log goes
    /// to --log-file, else to ${XDG_STATE_HOME:-~/.local/state}/sfkey/agent.log.
    #[arg(long, conflicts_with = "command")]
    pub daemon: bool,

    /// The shell that is to evaluate what --daemon prints
    #[arg(long, value_name = "SHELL", value_enum, default_value_t = Shell::Sh, requires = "daemon")]
    pub shell: Shell,

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

    /// Connections of the main socket at a time, instead of [limits] connections in agent.toml [default: 512]
    ///
    /// When all are taken, the one that was of no use for the longest time is closed for the next.
    #[arg(long, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=limits::MAX_CONNECTIONS as i64))]
    pub max_connections: Option<u32>,

    /// Requests in work at a time, instead of [limits] requests [default: 1024]
    #[arg(long, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=limits::MAX_REQUESTS as i64))]
    pub max_requests: Option<u32>,

    /// Give a request up after this many seconds, instead of [limits] request_time [default: 60]
    #[arg(long, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=limits::REQUEST_TIME.as_secs()))]
    pub request_timeout: Option<u64>,

    /// Close a connection that is without a request for this many seconds, instead of [limits] idle [default: 600]
    #[arg(long, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=u64::from(limits::MAX_LIFETIME_SECONDS)))]
    pub idle_timeout: Option<u64>,

    /// What to log: error, warn, info, debug or trace; no level shows a secret [default: info, or warn with
    /// -- COMMAND]
    #[arg(long, value_name = "LEVEL", env = "SFKEY_LOG")]
    pub log_level: Option<Level>,

    /// Form of the log: text, json, or journal for entries with fields [default: journal when systemd has
    /// connected standard error to it, else text]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub log_format: Option<Format>,

    /// Log to this file instead of standard error: appended to, mode 0600, reopened on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Set by the process that started this one
    #[arg(long, hide = true, value_enum)]
    pub launched: Option<Launched>,

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
  eval \"$(sfkey-agent --daemon)\"                      sh, bash, zsh: in a start-up file
  eval `sfkey-agent --daemon --shell csh`             csh, tcsh
  sfkey-agent --daemon --shell fish | source          fish
  sfkey-agent --socket ~/.sfkey/agent.sock --log-level debug
  sfkey-agent --check-config
  sfkey-agent --audit-log ~/.local/state/sfkey/audit.log --audit-required
  sfkey-agent -- ./nightly-sync.sh";

impl Options {
    /// Where the socket is to be; `None` when neither an option nor the environment tells.
    pub fn socket_path(&self, uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        sfkey_proto::place::socket_path(self.socket.as_deref(), uid, variable)
    }

    /// Whether this process serves; else it starts the one that does.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.launched.is_some() || (!self.daemon && self.command.is_empty())
    }

    /// Whether this agent ends with a command.
    #[must_use]
    pub fn serves_a_command(&self) -> bool {
        matches!(self.launched, Some(Launched::Command | Launched::CommandPrivate))
    }

    /// Where the log goes if not to standard error; and whether that was asked for, or is only where a detached
    /// agent's log goes by itself.
    pub fn log_place(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<(PathBuf, bool)> {
        if let Some(file) = &self.log_file {
            return Some((file.clone(), true));
        }
        if self.launched != Some(Launched::Daemon) || self.log_format == Some(Format::Journal) {
            return None;
        }
        let state = sfkey_proto::place::state_directory(variable)?;
        Some((state.join("sfkey/agent.log"), false))
    }

    /// How much to log. Beside a command's own output only what needs attention.
    #[must_use]
    pub fn level(&self) -> Level {
        self.log_level.unwrap_or(if self.serves_a_command() {
            Level::WARN
        } else {
            Level::INFO
        })
    }

    /// The limits that `agent.toml` sets, but for what the command line sets.
    #[must_use]
    pub fn limits(&self, mut set: Limits) -> Limits {
        // A u32 fits a usize wherever this runs.
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(most) = self.max_connections {
            set.connections.0 = number(most);
        }
        if let Some(most) = self.max_requests {
            set.requests.0 = number(most);
        }
        if let Some(seconds) = self.request_timeout {
            set.request_time.0 = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.idle_timeout {
            set.idle.0 = Duration::from_secs(seconds);
        }
        set
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
    fn the_command_line_sets_limits_before_agent_toml_and_within_the_same_bounds() {
        let file =
            crate::settings::Settings::parse("[limits]\nconnections = 7\nidle = \"5m\"").expect("right");
        let parse = |arguments: &[&str]| {
            Options::try_parse_from(["sfkey-agent"].iter().chain(arguments))
                .map(|options| options.limits(file.limits))
        };
        let set = parse(&["--max-requests", "9", "--idle-timeout", "20"]).expect("parsed");
        assert_eq!(
            (
                set.connections.0,
                set.requests.0,
                set.idle.0.as_secs(),
                set.request_time.0
            ),
            (7, 9, 20, limits::REQUEST_TIME)
        );
        let set = parse(&["--max-connections=4000", "--request-timeout=5"]).expect("parsed");
        assert_eq!((set.connections.0, set.request_time.0.as_secs()), (4000, 5));
        for beyond in [
            "--max-connections=4001",
            "--max-connections=0",
            "--request-timeout=61",
        ] {
            parse(&[beyond]).expect_err("beyond its bounds");
        }
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
