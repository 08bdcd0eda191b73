//! Logs: one event a line, fields and not prose, on standard error.

use std::io;

use clap::ValueEnum;
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging at `level` for the agent's own events. Libraries may warn and no more, whatever the level:
/// some of them write what they send at trace level.
pub fn start(level: Level, format: Format) {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(level.into()))
        .with_target("sfkey", level)
        // Whoever asked for audit records wants them at any level.
        .with_target(crate::audit::TARGET, LevelFilter::INFO);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        // The message may quote what was worked on, so the place must do.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic; the request is lost, the agent goes on");
    }));
}
