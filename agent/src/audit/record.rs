//! One record: what it says, and as which line.

use serde::Serialize;

use crate::{escape::visible, peer::Seen};

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    /// The caller got what it asked for.
    #[default]
    Granted,
    /// It did not.
    Denied,
}

/// What a record is about, as far as the request itself tells. Two that are equal are the same thing again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) decision: Decision,
    pub(super) uid: u32,
    pub(super) pid: Option<i32>,
    pub(super) account: Option<String>,
    pub(super) method: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    pub(super) fingerprint: Option<String>,
}

/// A record as it is written. Keys are always there, null when unknown.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    time: i64,
    decision: Decision,
    uid: u32,
    pid: Option<i32>,
    exe: Option<String>,
    unit: Option<String>,
    account: Option<&'a str>,
    method: Option<&'a str>,
    reason: Option<&'a str>,
    fingerprint: Option<&'a str>,
    count: u64,
}

impl<'a> Line<'a> {
    /// A record of `count` such events, the last of them now, at `time` in UTC epoch seconds.
    pub(super) fn new(time: i64, subject: &'a Subject, seen: &Seen, count: u64) -> Self {
        let exe = seen
            .executable
            .as_ref()
            .map(|executable| executable.path.to_string_lossy());
        Self {
            time,
            decision: subject.decision,
            uid: subject.uid,
            pid: subject.pid,
            exe: exe.map(|path| visible(&path)),
            unit: seen.unit.as_ref().map(ToString::to_string),
            account: subject.account.as_deref(),
            method: subject.method,
            reason: subject.reason,
            fingerprint: subject.fingerprint.as_deref(),
            count,
        }
    }

    /// One line of JSON, without its end.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text can always be written")
    }

    /// Tells the agent's own log.
    pub(super) fn log(&self) {
        let decision = match self.decision {
            Decision::Granted => "granted",
            Decision::Denied => "denied",
        };
        tracing::info!(
            target: super::TARGET,
            decision,
            uid = self.uid,
            pid = self.pid,
            exe = self.exe,
            unit = self.unit,
            account = self.account,
            method = self.method,
            reason = self.reason,
            fingerprint = self.fingerprint,
            count = self.count,
            "audit"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::peer::{Executable, FileId};

    #[test]
    fn a_record_is_one_line_with_every_key_in_the_documented_order() {
        let subject = Subject {
            uid: 1000,
            account: Some("prod".to_owned()),
            ..Subject::default()
        };
        assert_eq!(
            Line::new(5, &subject, &Seen::default(), 3).json(),
            r#"{"time":5,"decision":"granted","uid":1000,"pid":null,"exe":null,"unit":null,"account":"prod","method":null,"reason":null,"fingerprint":null,"count":3}"#
        );
    }

    #[test]
    fn a_program_cannot_write_lines_or_control_a_terminal_by_its_name() {
        let hostile = "/tmp/x\n{\"decision\":\"granted\"}\u{1b}[2J\u{9b}\u{202e}\u{7f}";
        let seen = Seen {
            executable: Some(Executable {
                path: Path::new(hostile).to_path_buf(),
                file: FileId::for_test(1),
            }),
            unit: None,
        };
        let line = Line::new(5, &Subject::default(), &seen, 1).json();
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{line}"
        );
    }
}
