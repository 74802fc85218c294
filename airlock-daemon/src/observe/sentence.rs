//! An event in one line, as a terminal shows it: its message, and behind it `name=value` for each field.

use std::fmt::{self, Write as _};

use tracing::field::Field;

use super::escape::Printable;

/// Collects the words of one event, printable.
#[derive(Debug, Default)]
pub(super) struct Sentence {
    message: Printable,
    fields: Printable,
}

impl Sentence {
    /// Adds the message or a field. `Debug` of the value is what a terminal shows: text that was printed
    /// already has no quotes, a string has.
    pub(super) fn add(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {}={value:?}", name.strip_prefix("r#").unwrap_or(name)),
        };
    }

    /// The whole; none where the message says it all.
    pub(super) fn whole(self) -> Option<String> {
        (!self.fields.text.is_empty()).then(|| self.message.text + &self.fields.text)
    }
}
