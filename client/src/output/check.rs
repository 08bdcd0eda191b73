//! What `sfkey doctor` found, a line or an object each.

use std::fmt::Write;

use serde::Serialize;

use crate::exit::escape;

/// Widest id of a check; the details begin in one column.
const ID_WIDTH: usize = 15;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but deserves attention.
    Warning,
    /// Does not work.
    Failed,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Stable id of the check.
    pub(crate) id: String,
    /// How it ended.
    pub(crate) status: Verdict,
    /// What was found.
    pub(crate) detail: String,
    /// The one thing to do.
    pub(crate) fix: Option<String>,
}

impl Check {
    pub(crate) fn ok(id: &str, detail: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            status: Verdict::Ok,
            detail: detail.into(),
            fix: None,
        }
    }

    pub(crate) fn warning(id: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Verdict::Warning,
            fix: Some(fix.into()),
            ..Self::ok(id, detail)
        }
    }

    pub(crate) fn failed(id: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Verdict::Failed,
            ..Self::warning(id, detail, fix)
        }
    }
}

/// What `sfkey doctor --json` prints.
#[derive(Serialize)]
pub(super) struct ChecksObject<'a> {
    pub(super) checks: &'a [Check],
}

/// A finding for people: a line, and below it what to do.
pub(super) fn line(check: &Check) -> String {
    let status = match check.status {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "FAILED",
    };
    let mut text = format!(
        "{status:7}  {:ID_WIDTH$}  {}\n",
        escape(&check.id),
        escape(&check.detail)
    );
    if let Some(fix) = check.fix.as_ref().filter(|fix| !fix.is_empty()) {
        let _infallible = writeln!(text, "{:9}try: {}", "", escape(fix));
    }
    text
}

/// What all of them come to, and where to begin.
pub(super) fn summary(checks: &[Check]) -> String {
    let count = |status: Verdict| checks.iter().filter(|check| check.status == status).count();
    let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
    let first = checks.iter().find(|check| check.status == Verdict::Failed);
    let warned = match warnings {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        many => format!(", {many} warnings"),
    };
    match first {
        Some(first) => format!("\n{failed} failed{warned}. Begin with: {}\n", escape(&first.id)),
        None => format!("\nNothing failed{warned}.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_its_fix_another() {
        assert_eq!(
            line(&Check::ok("agent", "runs")),
            "ok       agent            runs\n"
        );
        assert_eq!(
            line(&Check::failed("host", "no\u{1b}[1m answer", "check it")),
            "FAILED   host             no\\u{1b}[1m answer\n         try: check it\n"
        );
    }

    #[test]
    fn the_object_has_every_key_and_null_without_a_fix() {
        let checks = [
            Check::ok("agent", "runs"),
            Check::warning("clock", "off", "set it"),
        ];
        assert_eq!(
            serde_json::to_string(&ChecksObject { checks: &checks }).expect("serialized"),
            concat!(
                r#"{"checks":[{"id":"agent","status":"ok","detail":"runs","fix":null},"#,
                r#"{"id":"clock","status":"warning","detail":"off","fix":"set it"}]}"#
            )
        );
    }

    #[test]
    fn the_summary_names_what_to_begin_with() {
        let found = [
            Check::warning("memory", "", ""),
            Check::failed("host", "", ""),
            Check::failed("token", "", ""),
        ];
        assert_eq!(summary(&found), "\n2 failed, 1 warning. Begin with: host\n");
        assert_eq!(summary(&found[..1]), "\nNothing failed, 1 warning.\n");
        assert_eq!(summary(&[]), "\nNothing failed.\n");
    }
}
