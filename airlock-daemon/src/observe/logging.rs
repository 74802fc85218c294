//! Logs: to journald under systemd, as text on a terminal, as JSON lines where asked for. They are written by
//! a thread of their own ([`super::offload`]), so that nobody else waits for a reader.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use super::escaped::{Escaped, Shows};
pub use super::offload::TextFilter;
use super::offload::{FILTER, Happened, Logs, Offload};
use crate::config::schema::{Log, LogFormat, LogLevel};

/// The target of lines that servers write on standard error. Their text has the server's name before it.
pub const SERVER: &str = "airlock::server";
/// Airlock's own name in the journal.
const IDENTIFIER: &str = "airlock";
/// The name of servers there: they must not speak in Airlock's.
const SERVER_IDENTIFIER: &str = "airlock-server";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `format: journald` on a host without it.
    #[error(
        "logs: cannot reach journald: {0}; start systemd-journald, or set observability.log.format to auto, text or json"
    )]
    Journald(io::Error),
    /// The thread that writes could not be started.
    #[error("logs: cannot start a thread: {0}; raise TasksMax= or the limit of threads")]
    Thread(io::Error),
    /// A subscriber is set already.
    #[error("logs: set up twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Where logs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Journald,
    Text,
    Json,
}

/// The log's thread, once there is one.
static LOGS: OnceLock<Logs> = OnceLock::new();

/// Sets up logging for the whole process, once. A thread that panics says so in the log.
///
/// # Errors
/// journald was asked for and is not there, or logging is set up already.
pub fn init(log: &Log) -> Result<(), LoggingError> {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let stderr = rustix::fs::fstat(io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let sink = choose(log.format, stream.as_deref(), stderr);
    let (layers, missing) = match sink {
        Sink::Journald => match (journald(IDENTIFIER), journald(SERVER_IDENTIFIER)) {
            (Ok(own), Ok(servers)) => {
                let own = Escaped::new(own, Shows::Message).with_filter(filter_own(log.level)).boxed();
                // The message has the name of the server before it already.
                let servers = Escaped::new(servers, Shows::Fields).with_filter(filter_servers(log.level));
                (vec![own, servers.boxed()], None)
            }
            (Err(error), _) | (_, Err(error)) if log.format == LogFormat::Journald => {
                return Err(LoggingError::Journald(error));
            }
            (Err(error), _) | (_, Err(error)) => (text(log.level), Some(error)),
        },
        Sink::Text => (text(log.level), None),
        Sink::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_timer(Happened);
            let json = Escaped::new(json.with_writer(io::stderr), Shows::Fields);
            (vec![json.with_filter(filter(log.level)).boxed()], None)
        }
    };
    // Both ends filter alike: an end that wanted everything would have every event of every library looked
    // at.
    let inner = tracing_subscriber::registry().with(layers);
    let logs = Logs::start(Dispatch::new(inner)).map_err(LoggingError::Thread)?;
    tracing_subscriber::registry().with(Offload(logs.clone()).with_filter(filter(log.level))).try_init()?;
    let _ = LOGS.set(logs); // a second one failed above
    // The default writes to standard error itself, and a thread that waits there has not ended.
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect: {panic}")));
    if let Some(error) = missing {
        tracing::warn!("logs go to standard error, because journald cannot be reached: {error}");
    }
    Ok(())
}

/// Has every text of the log pass a filter from here on, in the thread that writes: it answers with what
/// takes the text's place, or with nothing where the text may stay. Only the first one is taken.
pub fn filter_texts(filter: TextFilter) {
    let _ = FILTER.set(filter);
}

/// Waits until what was logged is written, at most two seconds.
pub fn flush() {
    if let Some(logs) = LOGS.get() {
        logs.flush();
    }
}

/// Log lines that were lost since the start, because standard error or journald did not take them in time.
pub fn lost() -> u64 {
    LOGS.get().map_or(0, Logs::lost)
}

/// Layers of the log, each of which writes somewhere.
type Sinks = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Lines for a terminal. Those of servers have their name before them and no fields, behind which a server
/// could write its own.
fn text(level: LogLevel) -> Sinks {
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let line = || tracing_subscriber::fmt::layer().with_ansi(colour).with_timer(Happened);
    let message_alone = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    let own = Escaped::new(line().with_writer(io::stderr), Shows::Line);
    let servers = Escaped::new(line().fmt_fields(message_alone).with_writer(io::stderr), Shows::Line);
    vec![own.with_filter(filter_own(level)).boxed(), servers.with_filter(filter_servers(level)).boxed()]
}

/// Entries of the journal under this identifier.
fn journald(identifier: &str) -> io::Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer()?.with_syslog_identifier(identifier.to_owned());
    Ok(layer.with_field_prefix(Some("AIRLOCK".to_owned())))
}

/// journald only where systemd connected standard error to it: `JOURNAL_STREAM` names that stream's device
/// and inode, and a process whose standard error was redirected since has another.
fn choose(format: LogFormat, stream: Option<&str>, stderr: Option<(u64, u64)>) -> Sink {
    let named = stream.and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    match format {
        LogFormat::Auto if named.is_some() && named == stderr => Sink::Journald,
        LogFormat::Auto | LogFormat::Text => Sink::Text,
        LogFormat::Journald => Sink::Journald,
        LogFormat::Json => Sink::Json,
    }
}

/// The level is meant for Airlock; what libraries say is heard from `info` upwards, unless everything is
/// asked for.
fn filter(level: LogLevel) -> Targets {
    let (own, libraries) = levels(level);
    Targets::new().with_default(libraries).with_target("airlock", own)
}

/// The same without the lines of servers.
fn filter_own(level: LogLevel) -> Targets {
    filter(level).with_target(SERVER, LevelFilter::OFF)
}

/// The lines of servers alone.
fn filter_servers(level: LogLevel) -> Targets {
    Targets::new().with_target(SERVER, levels(level).0)
}

/// From which level Airlock is heard, and from which its libraries.
fn levels(level: LogLevel) -> (LevelFilter, LevelFilter) {
    match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::INFO),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use tracing::Level;

    use super::*;

    #[test]
    fn journald_is_chosen_only_when_standard_error_leads_there() {
        let stderr = Some((9, 12_345));
        assert_eq!(choose(LogFormat::Auto, Some("9:12345"), stderr), Sink::Journald);
        for other in
            [None, Some("9:12346"), Some("8:12345"), Some(""), Some("9"), Some("a:b"), Some("9:12345:1")]
        {
            assert_eq!(choose(LogFormat::Auto, other, stderr), Sink::Text, "{other:?}");
        }
        assert_eq!(choose(LogFormat::Auto, None, None), Sink::Text);
        assert_eq!(choose(LogFormat::Auto, Some("rubbish"), None), Sink::Text);
        assert_eq!(choose(LogFormat::Json, Some("9:12345"), stderr), Sink::Json);
        assert_eq!(choose(LogFormat::Text, Some("9:12345"), stderr), Sink::Text);
        assert_eq!(choose(LogFormat::Journald, None, None), Sink::Journald);
    }

    #[test]
    fn debug_is_for_airlock_and_not_for_its_libraries() {
        let debug = filter(LogLevel::Debug);
        assert!(debug.would_enable("airlock::audit", &Level::DEBUG));
        assert!(!debug.would_enable("hyper::proto", &Level::DEBUG));
        assert!(debug.would_enable("hyper::proto", &Level::INFO));
        assert!(!filter(LogLevel::Error).would_enable("airlock", &Level::WARN));
    }

    /// A logger is set once in a process, so a child that runs this same test sets it.
    #[test]
    fn json_lines_go_to_standard_error() {
        if std::env::var_os("AIRLOCK_TEST_LOGGING").is_some() {
            let log = Log { level: LogLevel::Info, format: LogFormat::Json };
            init(&log).unwrap();
            tracing::debug!("not this");
            tracing::info!(target: "airlock::test", upstream = "docs", "hello");
            assert!(matches!(init(&log), Err(LoggingError::Twice(_))));
            flush();
            return;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "--test-threads=2",
                "observe::logging::tests::json_lines_go_to_standard_error",
            ])
            .env("AIRLOCK_TEST_LOGGING", "1")
            .output()
            .unwrap();
        let err = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{err}");
        let lines: Vec<serde_json::Value> =
            err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), 1, "{err}");
        assert_eq!((&lines[0]["message"], &lines[0]["upstream"]), (&"hello".into(), &"docs".into()));
    }
}
