//! What a check found: one line a thing, and one fix for each that is not well.

use serde::Serialize;

use super::{Output, style::Colour, write_json, write_out};
use crate::exit::{Failure, escape};

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// As it should be.
    Ok,
    /// It works, and should not stay so.
    Warning,
    /// It does not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Stable name of the check.
    pub(crate) id: String,
    pub(crate) status: Standing,
    /// What was found.
    pub(crate) detail: String,
    /// What to do; `None` when nothing is.
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status: Standing::Ok,
            detail: detail.into(),
            fix: None,
        }
    }

    pub(crate) fn warning(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Standing::Warning,
            fix: Some(fix.into()),
            ..Self::ok(id, detail)
        }
    }

    pub(crate) fn failed(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Standing::Failed,
            fix: Some(fix.into()),
            ..Self::ok(id, detail)
        }
    }

    fn line(&self, colour: Colour) -> String {
        let word = match self.status {
            Standing::Ok => colour.good("ok      "),
            Standing::Warning => colour.odd("warning "),
            Standing::Failed => colour.bad("failed  "),
        };
        let mut text = format!("{word}{}: {}\n", escape(&self.id), escape(&self.detail));
        if let Some(fix) = &self.fix {
            text.push_str(&format!("        try: {}\n", escape(fix)));
        }
        text
    }
}

/// What `sfkey config check --json` and `sfkey doctor --json` print.
#[derive(Serialize)]
pub(super) struct Findings<'a> {
    pub(super) checks: &'a [Finding],
}

impl Output {
    /// Tells the findings. Fails without a further word when one of them is a failure.
    pub(crate) fn findings(&self, findings: &[Finding]) -> Result<(), Failure> {
        if self.is_json() {
            write_json(&Findings { checks: findings })?;
        } else {
            let colour = Colour::of_output();
            let lines = findings.iter().map(|finding| finding.line(colour));
            write_out(lines.collect::<String>().as_bytes())?;
        }
        if findings.iter().any(|finding| finding.status == Standing::Failed) {
            return Err(Failure::of_checks());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_fix_another() {
        let colour = Colour::none();
        assert_eq!(
            Finding::ok("config", "2 accounts").line(colour),
            "ok      config: 2 accounts\n"
        );
        assert_eq!(
            Finding::failed("key", "a\u{1b}b", "chmod").line(colour),
            "failed  key: a\\u{1b}b\n        try: chmod\n"
        );
        assert_eq!(
            serde_json::to_string(&Finding::warning("a", "b", "c")).expect("serialized"),
            r#"{"id":"a","status":"warning","detail":"b","fix":"c"}"#
        );
    }

    #[test]
    fn the_object_has_every_key_and_null_without_a_fix() {
        let checks = [
            Finding::ok("agent", "runs"),
            Finding::warning("clock", "off", "set it"),
        ];
        assert_eq!(
            serde_json::to_string(&Findings { checks: &checks }).expect("serialized"),
            concat!(
                r#"{"checks":[{"id":"agent","status":"ok","detail":"runs","fix":null},"#,
                r#"{"id":"clock","status":"warning","detail":"off","fix":"set it"}]}"#
            )
        );
    }
}
