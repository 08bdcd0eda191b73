//! `docs/errors.md` says what the agent does: its tables are compared with the tables in the code, and with what a
//! caller is told when Salesforce answers so.

use sfkey_agent::salesforce::errors;
use sfkey_proto::{Reason, Refusal};
use sfkey_tests::{
    sim::{Fault, FaultRule},
    support::{Calls, Stage},
};

const ERRORS: &str = include_str!("../../../docs/errors.md");

/// The rows of the table below `heading`, without its two head lines.
fn rows_below(heading: &str) -> Vec<&'static str> {
    let (_, behind) = ERRORS
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("docs/errors.md has no heading {heading:?}"));
    let section = behind.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect()
}

fn require(heading: &str, expected: &[String]) {
    let found = rows_below(heading);
    assert!(
        found == expected,
        "docs/errors.md, {heading:?}: the code says\n\n{}\n",
        expected.join("\n")
    );
}

/// What a caller is told when the token endpoint answers so. Every answer meets an account of its own, whose user
/// was never refused before.
async fn told(stage: &Stage, calls: &Calls, name: &str, status: u16, body: &str) -> Refusal {
    calls.add(&stage.spec_of_new_user(name)).await.expect("added");
    stage.sim.clear_faults();
    stage.sim.fault(FaultRule::always(Fault::Canned {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_owned(),
    }));
    calls.refused_token(name).await
}

#[test]
fn the_documented_reasons_are_those_of_the_contract() {
    let found = rows_below("## Reasons of the agent");
    assert_eq!(found.len(), Reason::ALL.len());
    for (reason, row) in Reason::ALL.iter().zip(found) {
        let said = format!(
            "| `{}` | {} | {} | ",
            reason.as_str(),
            reason.exit_code(),
            reason.means()
        );
        let next_step = row
            .strip_prefix(&said)
            .unwrap_or_else(|| panic!("docs/errors.md has {row:?}, the code says {said:?}"));
        assert!(next_step.len() > " |".len(), "{row}: no next step");
    }
}

#[tokio::test]
async fn every_known_answer_of_salesforce_is_documented_as_it_is_told() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let mut rows = Vec::new();
    for (index, row) in errors::TABLE.iter().enumerate() {
        let body = format!(
            r#"{{"error":"{}","error_description":"{}"}}"#,
            row.error, row.contains
        );
        let refusal = told(&stage, &calls, &format!("row-{index}"), 400, &body).await;
        if refusal.reason == Reason::SalesforceRefused {
            assert!(refusal.message.contains(row.means), "{}", refusal.message);
            assert_eq!(refusal.fix, row.fix);
        }
        let description = if row.contains.is_empty() {
            "any"
        } else {
            row.contains
        };
        rows.push(format!(
            "| `{}` | {description} | {} | {} | {} |",
            row.error,
            row.means,
            row.fix,
            refusal.reason.exit_code()
        ));
    }
    require("## What Salesforce answers", &rows);
}

#[tokio::test]
async fn answers_that_are_no_oauth_errors_are_documented_with_their_reasons() {
    let stage = Stage::empty();
    let calls = stage.calls().await;
    let cases = [
        (
            "200 with a page: a proxy, a captive portal",
            200,
            "<html>Please sign in</html>",
        ),
        ("200 and nothing, or JSON that was cut off", 200, ""),
        ("a redirect, which is never followed", 302, ""),
        ("400 without an OAuth error", 400, "<html>Bad Request</html>"),
        ("429", 429, ""),
        (
            "502 or 503 with a page: maintenance, a gateway",
            503,
            "<html>We are down for maintenance</html>",
        ),
    ];
    let mut rows = Vec::new();
    for (index, (what, status, body)) in cases.into_iter().enumerate() {
        let refusal = told(&stage, &calls, &format!("odd-{index}"), status, body).await;
        rows.push(format!(
            "| {what} | `{}` | {} | {} |",
            refusal.reason.as_str(),
            refusal.fix,
            refusal.reason.exit_code()
        ));
    }
    require("## Answers that are no OAuth errors", &rows);
}
