//! What the user reads. Whatever others chose is escaped.

use sfkey_proto::AccountName;

use crate::{
    escape::{escaped, escaped_path},
    peer::{Peer, Process, Socket},
};

/// The question: which account, which program in which unit and of which user, and what started it. Without an account
/// it is a test.
pub(super) fn question(account: Option<&AccountName>, peer: &Peer, owner: u32) -> String {
    let process = peer.process();
    let seen = process.map(|process| process.look(owner)).unwrap_or_default();
    let program = seen.executable.map_or_else(
        || "a program that cannot be seen".to_owned(),
        |executable| escaped_path(&executable.path),
    );
    let mut lines = vec![
        match account {
            Some(account) => format!("Allow the use of the Salesforce account {account}?"),
            None => "Can you see this question? It is a test: your answer allows nothing.".to_owned(),
        },
        String::new(),
        format!("Program: {program}{}", number(peer.pid())),
    ];
    let parents = process.map(Process::parents).unwrap_or_default();
    if !parents.is_empty() {
        let parents: Vec<_> = parents
            .iter()
            .map(|(pid, name)| format!("{} ({pid})", escaped(name)))
            .collect();
        lines.push(format!("Started by: {}", parents.join(", by ")));
    }
    if let Some(unit) = seen.unit {
        lines.push(format!("Unit: {}", escaped(&unit.to_string())));
    }
    if peer.uid() != owner {
        lines.push(format!("User: {} (not you)", peer.uid()));
    }
    if peer.socket() == Socket::Token {
        lines.push("By the restricted socket".to_owned());
    }
    lines.join("\n")
}

fn number(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
}
