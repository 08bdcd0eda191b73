//! Logs: one event a line, fields and not prose; on standard error, in a file, or in systemd's journal.

mod lines;

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use tracing::{Level, level_filters::LevelFilter};
use tracing_journald::PriorityMappings;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use self::lines::Lines;

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries of systemd's journal, with a field for each field.
    Journal,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be appended to.
    #[error("the log {path} cannot be written: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The journal does not listen.
    #[error("systemd's journal cannot be reached: {0}")]
    Journal(#[source] io::Error),
}

impl LogError {
    /// The next step.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::File { .. } => "name a file in a directory of your own: --log-file FILE",
            Self::Journal(_) => "use --log-format text, or start systemd-journald",
        }
    }
}

/// The log, for whoever must turn to a new file.
#[derive(Clone, Debug)]
pub struct Log(Option<Lines>);

impl Log {
    /// Opens the log's file anew, if there is one: the old one was moved away.
    ///
    /// # Errors
    /// When it cannot be opened; then the old one goes on to be written.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.0.as_ref().map_or(Ok(()), Lines::reopen)
    }
}

/// Starts logging at `level` for the agent's own events. Libraries may warn and no more, whatever the level:
/// some of them write what they send at trace level.
///
/// # Errors
/// [`LogError`]. Later failures cost lines, and nothing else.
pub fn start(level: Level, format: Option<Format>, file: Option<&Path>) -> Result<Log, LogError> {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(level.into()))
        .with_target("sfkey", level)
        // Whoever asked for audit records wants them at any level.
        .with_target(crate::audit::TARGET, LevelFilter::INFO);
    let format = format.unwrap_or_else(|| usual_format(file));
    let lines = match (format, file) {
        (Format::Journal, _) => None,
        (_, Some(file)) => Some(Lines::to_file(file)?),
        (_, None) => Some(Lines::to_standard_error()),
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match (&lines, format) {
        (None, _) => journal()?.boxed(),
        (Some(lines), Format::Json) => text(lines).json().flatten_event(true).boxed(),
        (Some(lines), _) => text(lines).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(targets))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        // The message may quote what was worked on, so the place must do.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic; the request is lost, the agent goes on");
    }));
    Ok(Log(lines))
}

/// Sets a log aside that has grown beyond `most` bytes, in the place of the one set aside before. What cannot be
/// moved stays and grows on.
pub fn set_aside(path: &Path, most: u64) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() > most) {
        drop(std::fs::rename(path, path.with_extension("log.old")));
    }
}

fn text(lines: &Lines) -> fmt::Layer<Registry, fmt::format::DefaultFields, fmt::format::Format, Lines> {
    // A log that cannot be written is counted by the writer. The library would complain on standard error, and
    // panic when that cannot be written either.
    fmt::layer()
        .with_writer(lines.clone())
        .with_ansi(false)
        .log_internal_errors(false)
}

/// Fields get the prefix `SFKEY_`, so that `pid` of a caller is not taken for the agent's own.
fn journal() -> Result<tracing_journald::Layer, LogError> {
    let layer = tracing_journald::layer().map_err(LogError::Journal)?;
    Ok(layer
        .with_field_prefix(Some("SFKEY".to_owned()))
        .with_syslog_identifier("sfkey-agent".to_owned())
        .with_priority_mappings(PriorityMappings {
            info: tracing_journald::Priority::Informational,
            debug: tracing_journald::Priority::Debug,
            ..PriorityMappings::new()
        }))
}

fn usual_format(file: Option<&Path>) -> Format {
    let journal = file.is_none() && goes_to_journal(env::var_os("JOURNAL_STREAM"));
    if journal { Format::Journal } else { Format::Text }
}

/// Whether standard error is the stream that systemd has connected to the journal: its device and inode are in
/// the variable, so that a stream that was redirected since is not taken for it (systemd.exec(5)).
fn goes_to_journal(stream: Option<OsString>) -> bool {
    let named = stream.and_then(|stream| stream.into_string().ok());
    let named = named.as_deref().and_then(|stream| stream.split_once(':'));
    let Ok(found) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    named.is_some_and(|(device, inode)| device.parse() == Ok(found.dev()) && inode.parse() == Ok(found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_used_only_when_standard_error_is_its_stream() {
        let own = std::fs::metadata("/proc/self/fd/2").expect("standard error");
        let stream = |device: u64, inode: u64| Some(OsString::from(format!("{device}:{inode}")));
        assert!(goes_to_journal(stream(own.dev(), own.ino())));
        assert!(!goes_to_journal(stream(own.dev(), own.ino() + 1)));
        assert!(!goes_to_journal(Some("x".into())) && !goes_to_journal(None));
    }
}
