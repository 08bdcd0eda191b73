//! What `sfkey doctor` found, a line or an object each.

use std::fmt::Write;

use super::findings::{Finding, Standing};
use crate::exit::escape;

/// Widest id of a check; the details begin in one column.
const ID_WIDTH: usize = 15;

/// A finding for people: a line, and below it what to do.
pub(super) fn line(check: &Finding) -> String {
    let status = match check.status {
        Standing::Ok => "ok",
        Standing::Warning => "warning",
        Standing::Failed => "FAILED",
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
pub(super) fn summary(checks: &[Finding]) -> String {
    let count = |status: Standing| checks.iter().filter(|check| check.status == status).count();
    let (failed, warnings) = (count(Standing::Failed), count(Standing::Warning));
    let first = checks.iter().find(|check| check.status == Standing::Failed);
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
            line(&Finding::ok("agent", "runs")),
            "ok       agent            runs\n"
        );
        assert_eq!(
            line(&Finding::failed("host", "no\u{1b}[1m answer", "check it")),
            "FAILED   host             no\\u{1b}[1m answer\n         try: check it\n"
        );
    }

    #[test]
    fn the_summary_names_what_to_begin_with() {
        let found = [
            Finding::warning("memory", "", ""),
            Finding::failed("host", "", ""),
            Finding::failed("token", "", ""),
        ];
        assert_eq!(summary(&found), "\n2 failed, 1 warning. Begin with: host\n");
        assert_eq!(summary(&found[..1]), "\nNothing failed, 1 warning.\n");
        assert_eq!(summary(&[]), "\nNothing failed.\n");
    }
}
