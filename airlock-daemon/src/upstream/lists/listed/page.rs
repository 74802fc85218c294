//! One page of a list: its entries are judged one by one, what stands around them as a whole.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::mcp::object::{Object, quote};
use crate::mcp::strict;
use crate::runtime::apart::by_length;

use super::shape::{Fault, LeftOut, MAX_CURSOR, MAX_ENTRIES, Shape, shorten};

/// Where a list goes on.
pub(super) enum Next {
    /// Nowhere.
    End,
    /// At this cursor.
    At(String),
    /// Its cursor is none.
    Wrong,
}

/// A page, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The page without entries, as JSON text.
    pub around: String,
    /// Its good entries, as JSON text.
    pub entries: Vec<Box<str>>,
}

impl ListPage {
    /// The page as the last one of its list. `member` is that of the entries.
    pub(super) async fn without_cursor(self, member: &'static str) -> Result<Self, Fault> {
        let bytes = self.around.len();
        let last = move || {
            let mut around = Object::parse(&self.around)?;
            around.remove("nextCursor");
            Ok(Self { around: around.write(), entries: self.entries })
        };
        let malformed = |reason: String| Fault::Malformed(member, reason);
        match by_length(bytes, last).await {
            Ok(read) => read.map_err(|error: serde_json::Error| malformed(error.to_string())),
            Err(_) => Err(malformed("it cannot be read".to_owned())),
        }
    }

    /// Puts the page together, with its entries as this member. Whoever shares the worker is not held up
    /// by a long one.
    ///
    /// # Errors
    /// The fault, in words for the operator.
    pub async fn write(self, member: &'static str, cursor: Option<String>) -> Result<String, String> {
        let bytes = self.around.len() + self.entries.iter().map(|entry| entry.len()).sum::<usize>();
        let write = move || {
            let mut page = Object::parse(&self.around).map_err(|error| error.to_string())?;
            if let Some(cursor) = cursor {
                page.set("nextCursor", quote(&cursor));
            }
            page.set(member, format!("[{}]", self.entries.join(",")));
            Ok(page.write())
        };
        by_length(bytes, write).await.unwrap_or_else(|_| Err("it cannot be written".to_owned()))
    }
}

/// A page as it was read.
pub(super) struct Read {
    pub(super) page: ListPage,
    /// Its entries, the others too.
    pub(super) count: usize,
    pub(super) next: Next,
}

/// The reader of one page.
pub(super) struct Reading {
    pub(super) shape: Shape,
    /// Names that this page and those before it have.
    pub(super) names: HashSet<Box<str>>,
    pub(super) bad: Vec<LeftOut>,
}

impl Reading {
    /// Reads a page.
    pub(super) fn read(&mut self, page: &str) -> Result<Read, Fault> {
        let malformed =
            |error: serde_json::Error| Fault::Malformed(self.shape.entries, shorten(&error.to_string()));
        let list = strict::check_around(page, self.shape.entries).map_err(malformed)?;
        let list: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(malformed)?;
        let count = list.len();
        if count > MAX_ENTRIES {
            return Err(Fault::TooLong);
        }
        let mut object = Object::parse(page).map_err(malformed)?;
        let next = match object.get("nextCursor") {
            None | Some("null") => Next::End,
            Some(_) => object
                .string("nextCursor")
                .filter(|cursor| cursor.len() <= MAX_CURSOR)
                .map_or(Next::Wrong, |cursor| Next::At(cursor.into_owned())),
        };
        let mut entries = Vec::with_capacity(count);
        for (place, entry) in list.into_iter().map(RawValue::get).enumerate() {
            match self.judge(place, entry) {
                Ok(()) => entries.push(entry.into()),
                Err(left_out) => self.bad.push(left_out),
            }
        }
        object.set(self.shape.entries, "[]");
        Ok(Read { page: ListPage { around: object.write(), entries }, count, next })
    }

    /// An entry has to be an object that can be read in one way only and has a name that no other has.
    fn judge(&mut self, place: usize, entry: &str) -> Result<(), LeftOut> {
        let object = Object::parse(entry).ok();
        let name = object.as_ref().and_then(|object| object.string(self.shape.name));
        let left_out = |reason: &str| match &name {
            Some(name) => LeftOut::named(name, reason),
            None => LeftOut { entry: format!("entry {}", place + 1), reason: shorten(reason) },
        };
        strict::check(entry).map_err(|error| left_out(&error.to_string()))?;
        let Some(name) = &name else {
            return Err(left_out(&format!("it is no object with a string `{}`", self.shape.name)));
        };
        if self.names.contains(&**name) {
            return Err(left_out("it stands in the list already"));
        }
        self.names.insert(name.as_ref().into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Walk;
    use crate::upstream::lists::listed::shape::TOOLS;

    #[tokio::test]
    async fn what_is_wrong_with_one_entry_costs_that_entry() {
        let deep = format!(r#"{{"name":"deep","x":{}{}}}"#, "[".repeat(70), "]".repeat(70));
        for (entry, named, reason) in [
            (r#"{"name":"bad","x":"\ud800"}"#, "`bad`", "hex escape"),
            (r#"{"name":"bad","x":{"a":{"b":1,"b":2}}}"#, "`bad`", "duplicate member `b`"),
            (r#"{"name":"bad","name":"bad"}"#, "`bad`", "duplicate member `name`"),
            (r#"{"title":"no name"}"#, "entry 2", "no object with a string `name`"),
            (r#"{"name":7}"#, "entry 2", "no object with a string `name`"),
            (r#"{"name":"\ud800"}"#, "entry 2", "hex escape"),
            ("null", "entry 2", "no object with a string `name`"),
            (r#"{"name":"bad","x":1e400}"#, "`bad`", "out of range"),
            (&deep, "`deep`", "nested deeper"),
            (r#"{"name":"a","title":"another"}"#, "`a`", "stands in the list already"),
        ] {
            let mut walk = Walk::new(TOOLS, 1 << 20);
            let page = format!(r#"{{"x":1,"tools":[{{"name":"a"}},{entry},{{"name":"b"}}],"y":2}}"#);
            let good = walk.take(page).await.expect("the others are good");
            let good = good.write("tools", None).await.expect("a page");
            assert_eq!(good, r#"{"x":1,"tools":[{"name":"a"},{"name":"b"}],"y":2}"#);
            let (left_out, names) = walk.outcome();
            let [one] = left_out.as_slice() else { panic!("{entry}: {left_out:?}") };
            assert!(one.entry == named && one.reason.contains(reason), "{entry}: {one:?}");
            assert_eq!(names.len(), 2);
        }
    }
}
