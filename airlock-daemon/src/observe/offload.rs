//! Log lines leave the threads that make them: one thread of their own formats and writes them.
//!
//! Standard error and journald are other programs' to read, and a reader that has stopped holds up whoever
//! writes to it. So an event is copied, put into a queue that is bounded in number and in bytes, and written
//! by [`Logs`]'s thread. A line that finds no room is counted, and the count is logged as soon as the reader
//! reads again.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Value, Visit, display};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as Clock};
use tracing_subscriber::layer::Context;

/// How many lines may wait.
const LINES: usize = 4_096;
/// How many bytes the texts of waiting lines may have together.
const BYTES: usize = 8 * 1024 * 1024;
/// The longest text that a field keeps, in bytes; what is longer is cut and ends in `…`.
const TEXT: usize = 16 * 1024;
/// More fields than any event can have (`tracing` allows 32).
const FIELDS: usize = 32;
/// How long the end of the process waits for lines on their way.
pub(super) const FLUSH: Duration = Duration::from_secs(2);

/// Answers with what takes the place of a text, or with nothing where it may stay.
pub type TextFilter = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The filter for all texts, once there is one.
pub(super) static FILTER: OnceLock<TextFilter> = OnceLock::new();

/// A field's value, copied.
enum Owned {
    Text(String),
    /// A value that knew how to print itself, printed.
    Printed(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

/// One event, copied.
struct Line {
    metadata: &'static Metadata<'static>,
    time: SystemTime,
    fields: Vec<(Field, Owned)>,
    bytes: usize,
}

impl Line {
    /// Has its texts pass a filter.
    fn filter(&mut self, filter: &TextFilter) {
        for (_, value) in &mut self.fields {
            if let Owned::Text(text) | Owned::Printed(text) = value
                && let Some(instead) = filter(text)
            {
                *text = instead;
            }
        }
    }
}

enum Message {
    Line(Line),
    /// Answer when all lines before this one are written.
    Flush(SyncSender<()>),
}

/// Figures of the queue, kept by both its ends.
#[derive(Debug, Default)]
struct Figures {
    bytes: AtomicUsize,
    /// Lines without room since the start.
    lost: AtomicU64,
}

/// The handle on the log's thread; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    queue: SyncSender<Message>,
    figures: Arc<Figures>,
}

impl Logs {
    /// Starts the thread, which writes lines to `inner`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(inner: Dispatch) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(LINES);
        let figures = Arc::new(Figures::default());
        let shared = Arc::clone(&figures);
        std::thread::Builder::new()
            .name("airlock-log".to_owned())
            .spawn(move || {
                // It was started before the daemon gave up what only its start needs.
                if let Err(error) = crate::kernel::keep_nothing() {
                    tracing::warn!(%error, "the thread of the log keeps its capabilities; allow capset and prctl");
                }
                write(&lines, &shared, &inner);
            })?;
        Ok(Self { queue, figures })
    }

    /// Lines that were lost since the start, because nobody read what stood before them.
    pub(super) fn lost(&self) -> u64 {
        self.figures.lost.load(Ordering::Relaxed)
    }

    /// Waits until the lines so far are written, at most two seconds: a reader that has stopped must not keep
    /// a process from its end.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        let deadline = std::time::Instant::now() + FLUSH;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if std::time::Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        // Written, too late, or there is no such thread any more: in all three cases there is nothing left to
        // wait for.
        let _ = written.recv_timeout(FLUSH);
    }

    fn put(&self, line: Line) {
        let bytes = line.bytes;
        let waiting = self.figures.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting + bytes <= BYTES && self.queue.try_send(Message::Line(line)).is_ok();
        if !fits {
            self.figures.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.figures.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The layer that copies events into the queue.
pub(super) struct Offload(pub(super) Logs);

impl<S: Subscriber> Layer<S> for Offload {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut copy = Copy { fields: Vec::with_capacity(4), bytes: 0 };
        event.record(&mut copy);
        let Copy { fields, bytes } = copy;
        self.0.put(Line { metadata: event.metadata(), time: SystemTime::now(), fields, bytes });
    }
}

/// Copies the fields of an event.
struct Copy {
    fields: Vec<(Field, Owned)>,
    bytes: usize,
}

impl Copy {
    fn text(&mut self, field: &Field, mut text: String, kind: fn(String) -> Owned) {
        if text.len() > TEXT {
            text.truncate(text.floor_char_boundary(TEXT));
            text.push('…');
        }
        self.bytes += text.len();
        self.fields.push((field.clone(), kind(text)));
    }
}

impl Visit for Copy {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned(), Owned::Text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"), Owned::Printed);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.clone(), Owned::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.clone(), Owned::Unsigned(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.clone(), Owned::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.clone(), Owned::Bool(value)));
    }
}

/// The thread: writes line after line, and tells how many were lost as soon as it gets on.
fn write(lines: &Receiver<Message>, figures: &Figures, inner: &Dispatch) {
    let mut told = 0;
    loop {
        let message = lines.recv_timeout(Duration::from_secs(1));
        match message {
            Ok(Message::Line(mut line)) => {
                if let Some(filter) = FILTER.get() {
                    line.filter(filter);
                }
                replay(&line, inner);
                figures.bytes.fetch_sub(line.bytes, Ordering::Relaxed);
            }
            Ok(Message::Flush(done)) => {
                // Nobody waits any more where this fails.
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let lost = figures.lost.load(Ordering::Relaxed);
        if lost > told {
            tracing::dispatcher::with_default(inner, || {
                tracing::warn!(
                    lines = lost - told,
                    "log lines were lost, because standard error or journald did not take them in time"
                );
            });
            told = lost;
        }
    }
}

thread_local! {
    /// When the event that is being written happened.
    static TIME: Cell<Option<SystemTime>> = const { Cell::new(None) };
}

/// Hands a copied event to the layers that write.
fn replay(line: &Line, inner: &Dispatch) {
    let set = line.metadata.fields();
    let Some(first) = set.iter().next() else { return };
    let printed: Vec<_> = line
        .fields
        .iter()
        .map(|(_, value)| match value {
            Owned::Printed(text) => Some(display(text)),
            _ => None,
        })
        .collect();
    let mut values: [(&Field, Option<&dyn Value>); FIELDS] = [(&first, None); FIELDS];
    for (slot, ((field, value), printed)) in values.iter_mut().zip(line.fields.iter().zip(&printed)) {
        let value: &dyn Value = match (value, printed) {
            (_, Some(printed)) => printed,
            (Owned::Text(text) | Owned::Printed(text), None) => text,
            (Owned::Signed(number), None) => number,
            (Owned::Unsigned(number), None) => number,
            (Owned::Float(number), None) => number,
            (Owned::Bool(flag), None) => flag,
        };
        *slot = (field, Some(value));
    }
    TIME.set(Some(line.time));
    // The question tells the filters of each layer which of them this event is for.
    if inner.enabled(line.metadata) {
        inner.event(&Event::new(line.metadata, &set.value_set(&values)));
    }
    TIME.set(None);
}

/// The clock of the layers that write: it tells when an event happened, not when it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happened;

impl FormatTime for Happened {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match TIME.get() {
            Some(time) => {
                write!(writer, "{}", humantime::format_rfc3339_micros(time.max(SystemTime::UNIX_EPOCH)))
            }
            None => Clock.format_time(writer),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Sender, channel};

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// A reader that reads nothing before it is told to, and keeps what it has read.
    #[derive(Clone)]
    struct Reader {
        entered: Sender<()>,
        go: Arc<Mutex<Receiver<()>>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(()).ok();
            // Nobody who could hold it back is left: everything is read.
            let _ = self.go.lock().recv();
            self.text.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_is_told_of_what_it_lost() {
        let ((entered, was_entered), (go, may_go)) = (channel(), channel());
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = Reader { entered, go: Arc::new(Mutex::new(may_go)), text: Arc::clone(&text) };
        let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_timer(Happened);
        let inner = tracing_subscriber::registry().with(json.with_writer(move || reader.clone()));
        let logs = Logs::start(Dispatch::new(inner)).unwrap();
        let front = Dispatch::new(tracing_subscriber::registry().with(Offload(logs.clone())));
        let many = LINES + 100;
        tracing::dispatcher::with_default(&front, || {
            tracing::info!(upstream = "docs", pid = 7_u64, gone = true, ratio = 0.5, "{}", "hello");
            was_entered.recv().unwrap(); // the thread is in the reader now, and stays there
            for number in 0..many {
                tracing::info!(number, "one of many");
            }
        });
        assert_eq!(logs.lost(), 100);
        drop(go); // the reader reads from here on
        logs.flush();
        let text = String::from_utf8(text.lock().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = &lines[0];
        assert_eq!(first["message"], "hello");
        assert_eq!(
            (&first["upstream"], &first["pid"], &first["gone"]),
            (&"docs".into(), &7.into(), &true.into())
        );
        assert_eq!(first["ratio"], 0.5);
        assert_eq!(lines.iter().filter(|line| line["message"] == "one of many").count(), many - 100);
        let told: Vec<_> = lines.iter().filter_map(|line| line["lines"].as_u64()).collect();
        assert_eq!(told, [100]);
    }

    #[test]
    fn a_long_text_is_cut_and_bytes_are_bounded() {
        let (entered, was_entered) = channel();
        let (go, may_go) = channel();
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = Reader { entered, go: Arc::new(Mutex::new(may_go)), text: Arc::clone(&text) };
        let plain = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || reader.clone());
        let logs = Logs::start(Dispatch::new(tracing_subscriber::registry().with(plain))).unwrap();
        let front = Dispatch::new(tracing_subscriber::registry().with(Offload(logs.clone())));
        let long = "é".repeat(TEXT);
        let fit = BYTES / TEXT;
        tracing::dispatcher::with_default(&front, || {
            tracing::info!("first");
            was_entered.recv().unwrap();
            for _ in 0..fit + 10 {
                tracing::info!(text = long, "long");
            }
        });
        assert!(logs.lost() >= 10, "{}", logs.lost());
        drop(go);
        logs.flush();
        let text = String::from_utf8(text.lock().clone()).unwrap();
        let longest = text.lines().map(str::len).max().unwrap();
        assert!(longest < TEXT + 200, "{longest}");
        assert!(text.contains('…'));
    }
}
