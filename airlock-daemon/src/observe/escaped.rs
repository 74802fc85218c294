//! The one way into every log: foreign text in a message or a field is made printable here, so that no caller
//! can forget it.

use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, FieldSet, Value, ValueSet, Visit, display};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::escape::{Printable, printable};
use super::sentence::Sentence;

/// Most fields of one event. tracing's own macros take 32.
const FIELDS: usize = 64;

/// How the layer inside shows what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// Each field in a place of its own, strings as they are.
    Fields,
    /// Fields behind the message; those that are strings between quotes and with escapes, as Rust's `Debug`
    /// does.
    Line,
    /// Each field in a place of its own, strings as they are; but most of its readers see the message alone,
    /// so the fields stand behind that as well.
    Message,
}

/// A layer that passes on only what is printable; what is so already passes as it came.
pub(super) struct Escaped<L> {
    inner: L,
    shows: Shows,
}

impl<L> Escaped<L> {
    /// Before a layer that shows things so.
    pub(super) fn new(inner: L, shows: Shows) -> Self {
        Self { inner, shows }
    }

    fn kept<'a>(&self, record: impl FnOnce(&mut Kept<'a>), fields: &'a FieldSet) -> Option<Kept<'a>> {
        let mut kept = Kept {
            fields,
            values: Vec::new(),
            quotes: self.shows == Shows::Line,
            sentence: (self.shows == Shows::Message).then(Sentence::default),
            is_changed: false,
        };
        record(&mut kept);
        kept.finish();
        kept.is_changed.then_some(kept)
    }
}

/// The fields of one event, printable.
struct Kept<'a> {
    fields: &'a FieldSet,
    values: Vec<(Field, Box<dyn Value>)>,
    quotes: bool,
    /// The whole event in words, where that becomes its message.
    sentence: Option<Sentence>,
    is_changed: bool,
}

impl Kept<'_> {
    fn keep(&mut self, field: &Field, value: impl Value + fmt::Debug + 'static) {
        self.say(field, &value);
        self.values.push((field.clone(), Box::new(value)));
    }

    fn say(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(sentence) = &mut self.sentence {
            sentence.add(field, value);
        }
    }

    /// Puts the whole event into the message, where that is wanted and there is more than the message.
    fn finish(&mut self) {
        if let Some(text) = self.sentence.take().and_then(Sentence::whole)
            && let Some((_, message)) = self.values.iter_mut().find(|(field, _)| field.name() == "message")
        {
            *message = Box::new(display(text));
            self.is_changed = true;
        }
    }

    /// The same with the printable values, as the layer inside expects them.
    fn with<T>(&self, pass: impl FnOnce(&ValueSet<'_>) -> T) -> Option<T> {
        let (first, _) = self.values.first()?;
        let mut all: [(&Field, Option<&dyn Value>); FIELDS] = [(first, None); FIELDS];
        for (place, (field, value)) in all.iter_mut().zip(&self.values) {
            *place = (field, Some(&**value));
        }
        Some(pass(&self.fields.value_set(&all)))
    }
}

impl Visit for Kept<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut shown = Printable::default();
        // Writing to a string cannot fail.
        let _ = write!(shown, "{value:?}");
        self.is_changed |= shown.is_changed;
        self.keep(field, display(shown.text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.quotes && field.name() != "message" {
            return self.keep(field, value.to_owned());
        }
        let text = printable(value);
        self.is_changed |= text != value;
        if field.name() == "message" {
            return self.keep(field, display(text.into_owned()));
        }
        self.say(field, &value);
        self.values.push((field.clone(), Box::new(text.into_owned())));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.keep(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.keep(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, L: Layer<S>> Layer<S> for Escaped<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(kept) = self.kept(|kept| event.record(kept), metadata.fields()) else {
            return self.inner.on_event(event, context);
        };
        kept.with(|values| {
            let event = match event.parent() {
                _ if event.is_root() => Event::new_child_of(None::<Id>, metadata, values),
                Some(parent) => Event::new_child_of(parent.clone(), metadata, values),
                None => Event::new(metadata, values),
            };
            self.inner.on_event(&event, context);
        });
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        let Some(kept) = self.kept(|kept| attributes.record(kept), metadata.fields()) else {
            return self.inner.on_new_span(attributes, id, context);
        };
        kept.with(|values| {
            let attributes = match attributes.parent() {
                _ if attributes.is_root() => Attributes::new_root(metadata, values),
                Some(parent) => Attributes::child_of(parent.clone(), metadata, values),
                None => Attributes::new(metadata, values),
            };
            self.inner.on_new_span(&attributes, id, context);
        });
    }

    fn on_record(&self, span: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let fields = context.metadata(span).map(Metadata::fields);
        match fields.and_then(|fields| self.kept(|kept| values.record(kept), fields)) {
            Some(kept) => {
                kept.with(|values| self.inner.on_record(span, &Record::new(values), context));
            }
            None => self.inner.on_record(span, values, context),
        }
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.inner.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.inner.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.inner.enabled(metadata, context)
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        self.inner.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.inner.max_level_hint()
    }

    fn on_follows_from(&self, span: &Id, follows: &Id, context: Context<'_, S>) {
        self.inner.on_follows_from(span, follows, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.inner.on_close(id, context);
    }

    fn on_id_change(&self, old: &Id, new: &Id, context: Context<'_, S>) {
        self.inner.on_id_change(old, new, context);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry::Registry;

    use super::super::escape::steers;
    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// As journald's layer has it: each value as it comes, whatever is in it.
    struct Raw(Written);

    impl<S: Subscriber> Layer<S> for Raw {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            struct Values(String);
            impl Visit for Values {
                fn record_str(&mut self, field: &Field, value: &str) {
                    let _ = writeln!(self.0, "{field}={value}");
                }

                fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                    let _ = writeln!(self.0, "{field}={value:?}");
                }
            }
            let mut values = Values(String::new());
            event.record(&mut values);
            let mut log = self.0.clone();
            let _ = io::Write::write_all(&mut log, values.0.as_bytes());
        }
    }

    const BAD: &str = "tools/x\r\n2026-07-28T00:00:00Z ERROR airlock: forged\0\u{1b}[2J\u{9b}\u{61c}\u{202e}\u{2066}\u{2028}";

    /// Says something bad in every way that there is to say it, and one thing that is good; what was written.
    fn told(layer: impl Layer<Registry> + Send + Sync, written: &Written) -> String {
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(BAD);
            let source: &(dyn Error + 'static) = &error;
            tracing::info!("{BAD}");
            tracing::info!(target: "airlock::test", method = BAD, shown = %BAD, debug = ?BAD, error = source, number = 7, "said");
            tracing::info!(message = BAD);
            let span = tracing::info_span!("span", method = %BAD, later = tracing::field::Empty);
            span.record("later", tracing::field::display(BAD));
            span.in_scope(|| tracing::info!(%error, "within"));
            tracing::info!(name = "docs", number = 7, "plain words");
        });
        let bytes = written.0.lock().clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn assert_clean(text: &str) {
        for line in text.lines() {
            assert!(!line.contains(steers), "{line:?}");
            assert!(!line.starts_with("2026-07-28"), "a forged line: {line}");
        }
        assert!(text.contains("tools/x\\r\\n2026") || text.contains("tools/x\\\\r\\\\n2026"), "{text}");
        assert!(text.contains("\\u{202e}") && text.contains("\\u{61c}"), "{text}");
    }

    #[test]
    fn nothing_steers_a_log_of_text() {
        let written = Written::default();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(written.clone());
        let text = told(Escaped::new(layer, Shows::Line), &written);
        assert_clean(&text);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("plain words name=\"docs\" number=7"), "{text}");
        // A text that the layer inside escapes is escaped once.
        assert!(text.contains("method=\"tools/x\\r\\n2026"), "{text}");
    }

    #[test]
    fn nothing_steers_a_log_of_json() {
        let written = Written::default();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(written.clone());
        let text = told(Escaped::new(layer, Shows::Fields), &written);
        assert_clean(&text);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 5, "{text}");
        for value in lines.iter().flat_map(|line| line.as_object().expect("an object").values()) {
            assert!(value.as_str().is_none_or(|text| !text.contains(steers)), "{value}");
        }
        assert_eq!((&lines[1]["number"], &lines[1]["message"]), (&7.into(), &"said".into()));
        assert_eq!((&lines[4]["name"], &lines[4]["message"]), (&"docs".into(), &"plain words".into()));
    }

    #[test]
    fn nothing_steers_a_log_that_takes_what_comes() {
        let written = Written::default();
        let text = told(Escaped::new(Raw(written.clone()), Shows::Fields), &written);
        assert_clean(&text);
        assert!(text.contains("name=docs\nnumber=7\n") && text.contains("message=plain words\n"), "{text}");
    }

    #[test]
    fn a_message_that_is_shown_alone_has_the_fields_behind_it() {
        let written = Written::default();
        let text = told(Escaped::new(Raw(written.clone()), Shows::Message), &written);
        assert_clean(&text);
        // As on a terminal, and each field in its place all the same.
        assert!(text.contains("message=plain words name=\"docs\" number=7\n"), "{text}");
        assert!(text.contains("\nname=docs\n") && text.contains("\nnumber=7\n"), "{text}");
        assert!(text.contains("message=within error=tools/x\\r\\n2026"), "{text}");
        assert!(text.contains("message=said method=\"tools/x\\r\\n2026"), "{text}");
    }
}
