//! `sfkey audit`: who got which token, and who was denied.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Invocation;
use crate::{
    cli::AuditArgs,
    exit::{Cause, Failure, words},
    quote,
};

/// Longest line that can be a record, in bytes: a path has at most 4096, and escaping can make six of one.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Records that are shown at most, the last ones.
const MAX_RECORDS: usize = 100_000;

/// One record of the log. Keys are always there, null when unknown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    /// UTC epoch seconds.
    pub(crate) time: i64,
    pub(crate) decision: String,
    pub(crate) uid: u32,
    pub(crate) pid: Option<i32>,
    pub(crate) exe: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) count: u64,
}

pub(super) async fn run(invocation: &Invocation<'_>, args: AuditArgs) -> Result<(), Failure> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => kept(invocation).await?,
    };
    let unread = |error: io::Error| {
        Failure::new(
            Cause::Io,
            format!("cannot read the audit log {}: {}", path.display(), words(&error)),
            format!("look at it: ls -l {}", quote::word(&path.to_string_lossy())),
        )
    };
    let since = args
        .since
        .map(|seconds| invocation.now.as_second() - i64::from(seconds));
    let wanted = |record: &Record| {
        since.is_none_or(|since| record.time >= since)
            && args
                .decision
                .is_none_or(|decision| record.decision == decision.name())
            && (args.account.as_ref()).is_none_or(|name| record.account.as_deref() == Some(name.as_str()))
    };
    let (records, unreadable, older) = read(&path, wanted).map_err(unread)?;
    if unreadable > 0 {
        let lines = if unreadable == 1 { "line is" } else { "lines are" };
        let shown = path.display();
        invocation
            .output
            .warn(&format!("{unreadable} {lines} no record in {shown}"));
    }
    if older > 0 {
        invocation.output.warn(&format!(
            "{older} older records are left out; --since 1h shows fewer"
        ));
    }
    invocation.output.records(&records, invocation.now)
}

/// The log of the running agent.
async fn kept(invocation: &Invocation<'_>) -> Result<PathBuf, Failure> {
    let status = invocation.connect().await?.status().await?;
    status.audit_log.map(PathBuf::from).ok_or_else(|| {
        Failure::new(
            Cause::Config,
            "the agent keeps no audit log",
            "start it with sfkey-agent --audit-log FILE, or name a file: sfkey audit --file FILE",
        )
    })
}

/// The last records that are `wanted`, how many lines are none, and how many older records there were.
fn read(path: &Path, wanted: impl Fn(&Record) -> bool) -> io::Result<(Vec<Record>, u64, u64)> {
    let mut lines = BufReader::new(File::open(path)?);
    let (mut records, mut unreadable, mut older) = (VecDeque::new(), 0, 0);
    while let Some(line) = next_line(&mut lines)? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) if wanted(&record) => {
                if records.len() == MAX_RECORDS {
                    records.pop_front();
                    older += 1;
                }
                records.push_back(record);
            }
            Ok(_) => {}
            Err(_) => unreadable += 1,
        }
    }
    Ok((records.into(), unreadable, older))
}

/// The next line, or the beginning of one that is longer than any record.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE_BYTES {
        let mut rest = Vec::new();
        let length = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut rest)?;
        if length as u64 != MAX_LINE_BYTES || rest.last() == Some(&b'\n') {
            break;
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_one_line_that_is_no_record() {
        let long = vec![b'x'; 5 * 64 * 1024];
        let text = [b"{}\n", &long[..], b"\nlast"].concat();
        let mut lines = BufReader::new(&text[..]);
        let mut lengths = Vec::new();
        while let Some(line) = next_line(&mut lines).expect("readable") {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [3, 64 * 1024, 4]);
    }
}
