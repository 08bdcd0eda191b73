//! How a command fails: what happened, what to do, and the exit code.

use std::{io, process::ExitCode};

use serde::Serialize;
use sfkey::{
    Error,
    proto::{AccountName, Reason, Refusal, SalesforceAnswer, place},
    trust::Distrust,
};

use crate::quote;

/// Exit code after a closed pipe on standard output: what a shell reports for a death by SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// A failure that the agent has no part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The command line is not right.
    Usage,
    /// The configuration file is not right.
    Config,
    /// No agent can be reached.
    NoAgent,
    /// The socket may be somebody else's.
    UntrustedSocket,
    /// The agent speaks another protocol, or gives an answer that makes no sense.
    Protocol,
    /// A private key cannot be read or used.
    Key,
    /// A passphrase or another secret cannot be had.
    Secret,
    /// A passphrase is needed, and there is nobody to ask.
    Passphrase,
    /// The keyring cannot be used.
    Keyring,
    /// The keyring is locked, and nobody unlocks it.
    KeyringLocked,
    /// Reading or writing failed.
    Io,
    /// The user was asked, and did not want it.
    Declined,
    /// The user wants no more.
    Stopped,
    /// The command of `exec` does not exist.
    CommandNotFound,
    /// The command of `exec` cannot be run.
    CommandNotExecutable,
}

impl Cause {
    /// The `reason` of the JSON error object, and the exit code.
    const fn reason_and_code(self) -> (&'static str, u8) {
        match self {
            Self::Usage => ("USAGE", 2),
            Self::Config => ("CONFIG", 2),
            Self::NoAgent => ("NO_AGENT", 3),
            Self::UntrustedSocket => ("UNTRUSTED_SOCKET", 6),
            Self::Protocol => ("PROTOCOL", 1),
            Self::Key => ("KEY", 1),
            Self::Secret => ("SECRET", 1),
            Self::Passphrase => ("PASSPHRASE", 1),
            Self::Keyring => ("KEYRING", 1),
            Self::KeyringLocked => ("KEYRING_LOCKED", 1),
            Self::Io => ("IO", 1),
            Self::Declined => ("DECLINED", 1),
            Self::Stopped => ("STOPPED", 1),
            Self::CommandNotFound => ("COMMAND_NOT_FOUND", 127),
            Self::CommandNotExecutable => ("COMMAND_NOT_EXECUTABLE", 126),
        }
    }
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: &'static str,
    /// What happened.
    pub(crate) message: String,
    /// What to do; empty when nothing is worth saying.
    pub(crate) fix: String,
    exit_code: u8,
    salesforce: Option<Box<SalesforceAnswer>>,
    /// Nobody reads any more, or everything is said.
    quiet: bool,
}

impl Failure {
    pub(crate) fn new(cause: Cause, message: impl Into<String>, fix: impl Into<String>) -> Self {
        let (reason, exit_code) = cause.reason_and_code();
        Self {
            reason,
            message: message.into(),
            fix: fix.into(),
            exit_code,
            salesforce: None,
            quiet: false,
        }
    }

    /// The end of checks of which one failed, and which are told. Nothing more is said.
    pub(crate) fn of_checks() -> Self {
        Self::new(Cause::Io, "a check failed", "").told()
    }

    /// A failure of the agent's table that is found on this side.
    pub(crate) fn refused(reason: Reason, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::from(Refusal::new(reason, message, fix))
    }

    /// Standard output cannot be written to.
    pub(crate) fn writing(error: &io::Error) -> Self {
        let mut failure = Self::new(
            Cause::Io,
            format!("cannot write to standard output: {}", words(error)),
            "check where the output goes",
        );
        if error.kind() == io::ErrorKind::BrokenPipe {
            failure.quiet = true;
            failure.exit_code = BROKEN_PIPE;
        }
        failure
    }

    /// What was printed on standard output says what did not succeed; a script needs the exit code.
    pub(crate) fn printed() -> Self {
        Self::new(Cause::Io, "", "").told()
    }

    /// Whether all that is missing is somebody to type a passphrase or to unlock the keyring.
    pub(crate) fn needs_somebody(&self) -> bool {
        [Cause::Passphrase, Cause::KeyringLocked]
            .iter()
            .any(|cause| self.reason == cause.reason_and_code().0)
    }

    /// Whether there is no agent to be reached.
    pub(crate) fn is_without_agent(&self) -> bool {
        self.reason == Cause::NoAgent.reason_and_code().0
    }

    /// Whether another account of that name is loaded.
    pub(crate) fn is_of_another_account(&self) -> bool {
        self.reason == Reason::AccountExists.as_str()
    }

    /// Whether it is the user who wants no more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.reason == Cause::Stopped.reason_and_code().0
    }

    /// `error` and `error_description` of Salesforce's answer, when there was one.
    pub(crate) fn salesforce_error(&self) -> Option<(&str, &str)> {
        let answer = self.salesforce.as_ref()?;
        Some((&answer.error, &answer.error_description))
    }

    /// Whether the account that was named is not loaded.
    pub(crate) fn is_of_unloaded_account(&self) -> bool {
        self.reason == Reason::AccountNotLoaded.as_str()
    }

    /// The same failure, for somebody who probably meant another account.
    pub(crate) fn did_you_mean(mut self, name: &str) -> Self {
        self.message = format!("{}; did you mean {name}?", self.message);
        self
    }

    /// The same failure, told of one account among several.
    pub(crate) fn about(mut self, account: &AccountName) -> Self {
        self.message = format!("{account}: {}", self.message);
        self
    }

    /// The same failure, of something that comes after loading.
    pub(crate) fn though_loaded(mut self, account: &AccountName) -> Self {
        self.message = format!("{account} is loaded, but its key is not kept: {}", self.message);
        self
    }

    /// This failure and a later one as one, which ends the way this one does.
    pub(crate) fn and(mut self, later: &Self) -> Self {
        self.message = format!("{}; {}", self.message, later.message);
        self
    }

    /// The same failure when its lines are written already.
    pub(crate) fn told(mut self) -> Self {
        self.quiet = true;
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_code)
    }

    /// The lines for standard error, without line ends; none when nobody is to be told.
    pub(crate) fn lines(&self, json: bool) -> Vec<String> {
        if self.quiet {
            return Vec::new();
        }
        if json {
            return vec![self.to_json()];
        }
        let mut lines = vec![format!("error: {}", escape(&self.message_with_raw_text()))];
        if !self.fix.is_empty() {
            lines.push(format!("try: {}", escape(&self.fix)));
        }
        lines
    }

    /// The message, and in brackets what Salesforce said, unless the message holds it already.
    pub(crate) fn message_with_raw_text(&self) -> String {
        let Some(answer) = &self.salesforce else {
            return self.message.clone();
        };
        let raw = match (answer.error.as_str(), answer.error_description.as_str()) {
            ("", "") if answer.http_status == 0 => return self.message.clone(),
            ("", "") => format!("HTTP {}", answer.http_status),
            ("", description) => format!("HTTP {}: {description}", answer.http_status),
            (error, "") => error.to_owned(),
            (error, description) => format!("{error}: {description}"),
        };
        let told = |part: &str| self.message.contains(part);
        if told(&answer.error) && told(&answer.error_description) && !(answer.error.is_empty()) {
            self.message.clone()
        } else {
            format!("{} ({raw})", self.message)
        }
    }

    fn to_json(&self) -> String {
        let report = Report {
            error: ReportedError {
                reason: self.reason,
                message: &self.message,
                fix: Some(self.fix.as_str()).filter(|fix| !fix.is_empty()),
                exit_code: self.exit_code,
                salesforce: self.salesforce.as_ref().map(|answer| ReportedAnswer {
                    error: &answer.error,
                    error_description: &answer.error_description,
                    http_status: answer.http_status,
                }),
            },
        };
        serde_json::to_string(&report).expect("strings and numbers always serialize")
    }
}

#[derive(Serialize)]
struct Report<'a> {
    error: ReportedError<'a>,
}

#[derive(Serialize)]
struct ReportedError<'a> {
    reason: &'a str,
    message: &'a str,
    fix: Option<&'a str>,
    exit_code: u8,
    salesforce: Option<ReportedAnswer<'a>>,
}

#[derive(Serialize)]
struct ReportedAnswer<'a> {
    error: &'a str,
    error_description: &'a str,
    http_status: u16,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason.as_str(),
            message: refusal.message,
            fix: refusal.fix,
            exit_code: refusal.reason.exit_code(),
            salesforce: refusal.salesforce.map(Box::new),
            quiet: false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (cause, fix) = match error {
            Error::Refused(refusal) => return refusal.into(),
            Error::NoPlace => (
                Cause::NoAgent,
                "name the socket: --socket PATH or SFKEY_SOCK".to_owned(),
            ),
            Error::Unreachable { ref source, .. } => (Cause::NoAgent, start_or_permission(source)),
            Error::NoAnswer { .. } => (
                Cause::NoAgent,
                "look for a stopped or hanging agent: ps -C sfkey-agent -o pid,stat,etime".to_owned(),
            ),
            Error::Broken { .. } => (
                Cause::NoAgent,
                "see whether the agent still runs: sfkey status".to_owned(),
            ),
            Error::OthersAgent { .. } => (
                Cause::NoAgent,
                "use an agent of your own: sfkey-agent --daemon   (or the socket for other users, if it has one)"
                    .to_owned(),
            ),
            Error::NotServed { .. } | Error::Foreign { .. } => (
                Cause::NoAgent,
                "name the main socket of a running sfkey-agent: --socket PATH or SFKEY_SOCK".to_owned(),
            ),
            Error::Untrusted { ref why, .. } => (Cause::UntrustedSocket, trust_fix(why)),
            Error::OtherProtocol { .. } => (
                Cause::Protocol,
                "install sfkey and sfkey-agent of the same version, then start the agent anew: sfkey stop"
                    .to_owned(),
            ),
            Error::Malformed(_) | Error::Sealing(_) => (
                Cause::Protocol,
                "check which program listens there: sfkey status".to_owned(),
            ),
        };
        Self::new(cause, error.to_string(), fix)
    }
}

fn start_or_permission(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "run sfkey as the user the agent belongs to, or name another socket: --socket PATH".to_owned()
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "start one: sfkey-agent --daemon   (or name its socket: --socket PATH or SFKEY_SOCK)".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "look for a stopped agent: ps -C sfkey-agent -o pid,stat,etime".to_owned()
        }
        _ => "name the socket of a running agent: --socket PATH or SFKEY_SOCK".to_owned(),
    }
}

fn trust_fix(why: &Distrust) -> String {
    match why {
        Distrust::Way(place::Distrust::Writable { path, .. }) => {
            format!("chmod go-w {}", quote::word(&path.to_string_lossy()))
        }
        Distrust::Peer { .. } | Distrust::Way(_) => {
            "use an agent of your own, on a socket in a directory of your own: sfkey-agent --daemon"
                .to_owned()
        }
    }
}

/// What the system says, without the number that `io::Error` appends for programmers.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// `text` without anything that a terminal would act on: control characters, and the marks that reorder
/// or hide what is around them, become `\u{…}`.
pub(crate) fn escape(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salesforce_refusal(message: &str) -> Failure {
        Refusal::new(Reason::SalesforceRefused, message, "check the certificate")
            .with_answer(SalesforceAnswer {
                error: "invalid_grant".to_owned(),
                error_description: "invalid assertion".to_owned(),
                http_status: 400,
            })
            .into()
    }

    #[test]
    fn a_failure_has_two_lines_and_shows_the_raw_text_once() {
        assert_eq!(
            salesforce_refusal("the signature does not fit").lines(false),
            [
                "error: the signature does not fit (invalid_grant: invalid assertion)",
                "try: check the certificate"
            ]
        );
        let told = salesforce_refusal("Salesforce said invalid_grant: invalid assertion");
        assert_eq!(
            told.lines(false)[0],
            "error: Salesforce said invalid_grant: invalid assertion"
        );
    }

    #[test]
    fn the_json_object_has_all_keys_in_one_line() {
        assert_eq!(
            salesforce_refusal("no\nway").lines(true),
            [concat!(
                r#"{"error":{"reason":"SALESFORCE_REFUSED","message":"no\nway","fix":"check the certificate","#,
                r#""exit_code":7,"salesforce":{"error":"invalid_grant","error_description":"invalid assertion","#,
                r#""http_status":400}}}"#
            )]
        );
        assert_eq!(
            Failure::new(Cause::Usage, "no", "").lines(true),
            [r#"{"error":{"reason":"USAGE","message":"no","fix":null,"exit_code":2,"salesforce":null}}"#]
        );
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_shown() {
        let failure = Failure::new(Cause::Key, "a\u{1b}[2Jb\nc\u{9b}d\u{202e}e", "f\rg");
        assert_eq!(
            failure.lines(false),
            [r"error: a\u{1b}[2Jb\nc\u{9b}d\u{202e}e", r"try: f\rg"]
        );
        assert_eq!(escape("Zürich – 東京"), "Zürich – 東京");
    }

    #[test]
    fn the_documented_reasons_of_the_client_are_those_of_the_table() {
        use Cause as C;
        let documented = include_str!("../../docs/errors.md");
        let (_, section) = documented
            .split_once("## Reasons of the client")
            .expect("a section");
        let section = section.split("\n## ").next().expect("it goes on");
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let causes = [
            C::Usage,
            C::Config,
            C::NoAgent,
            C::UntrustedSocket,
            C::Protocol,
            C::Key,
            C::Secret,
            C::Passphrase,
            C::Keyring,
            C::KeyringLocked,
            C::Io,
            C::Declined,
            C::CommandNotFound,
            C::CommandNotExecutable,
        ];
        assert_eq!(rows.len(), causes.len());
        for (cause, row) in causes.into_iter().zip(rows) {
            let (reason, code) = cause.reason_and_code();
            assert!(row.starts_with(&format!("| `{reason}` | {code} | ")), "{row}");
        }
    }

    #[test]
    fn what_the_system_says_is_told_in_words() {
        assert_eq!(
            words(&io::Error::from_raw_os_error(2)),
            "No such file or directory"
        );
        assert_eq!(words(&io::Error::other("it is no socket")), "it is no socket");
    }

    #[test]
    fn a_closed_pipe_is_no_news() {
        let failure = Failure::writing(&io::ErrorKind::BrokenPipe.into());
        assert!(failure.lines(false).is_empty() && failure.lines(true).is_empty());
        assert_eq!(failure.exit_code, 141);
        assert_eq!(Failure::writing(&io::ErrorKind::StorageFull.into()).exit_code, 1);
    }

    #[test]
    fn failures_of_the_connection_have_their_exit_codes() {
        let code = |error: Error| Failure::from(error).exit_code;
        let socket = || "/s".into();
        assert_eq!(code(Error::NoPlace), 3);
        assert_eq!(code(Error::NotServed { socket: socket() }), 3);
        let (detail, source) = (String::new(), io::ErrorKind::NotFound.into());
        assert_eq!(
            code(Error::Broken {
                socket: socket(),
                detail
            }),
            3
        );
        assert_eq!(
            code(Error::Unreachable {
                socket: socket(),
                source
            }),
            3
        );
        let why = Distrust::Peer { uid: 1 };
        assert_eq!(
            code(Error::Untrusted {
                socket: socket(),
                why
            }),
            6
        );
        assert_eq!(code(Error::OtherProtocol { agent: 9 }), 1);
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason, "", "");
            assert_eq!(code(Error::Refused(refusal)), reason.exit_code());
        }
    }
}
