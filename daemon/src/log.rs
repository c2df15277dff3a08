//! The log: to the journal or to standard error, written by a thread of its own.
//!
//! Inputs: level and format. Outputs: lines. Must never block the thread that logs: when the writer
//! cannot keep up, lines are dropped.

use crate::config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Lines that wait for the writer.
const LINES_MAX: usize = 4096;

/// Starts the log for the whole process; the guard writes what is left when it is dropped.
pub fn start(settings: &Log) -> WorkerGuard {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).lossy(true);
    let (writer, guard) = builder.finish(std::io::stderr());
    // systemd sets JOURNAL_STREAM when standard error is a stream to the journal (systemd.exec(5)).
    let journal = match settings.format {
        LogFormat::Journal => true,
        LogFormat::Auto => std::env::var_os("JOURNAL_STREAM").is_some(),
        LogFormat::Text | LogFormat::Json => false,
    };
    let journal = journal.then(tracing_journald::layer).and_then(Result::ok);
    let layer = match (journal, settings.format) {
        (Some(layer), _) => layer.with_field_prefix(None).with_syslog_identifier("snoozed".into()).boxed(),
        (None, LogFormat::Json) => tracing_subscriber::fmt::layer().json().with_writer(writer).boxed(),
        (None, _) => tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(writer).boxed(),
    };
    // A second start (tests in one process) keeps the first log.
    let _ = tracing_subscriber::registry().with(layer.with_filter(level)).try_init();
    guard
}
