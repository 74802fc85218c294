//! Lists of a server, before anybody looks into them: followed page by page to their end, and not longer than
//! can be gone through for everybody who asks.
//!
//! An entry that breaks a rule is left out alone. The text around the entries has to be clear as a whole.

pub mod page;
pub mod shape;

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::mcp::object::{Object, quote};
use crate::runtime::apart::by_length;
use page::{ListPage, Next, Read, Reading};
use shape::{Fault, LeftOut, MAX_BYTES, MAX_CURSOR, MAX_ENTRIES, Shape, shorten};

/// Most pages of one walk, and most of its cursors that are known again.
pub const MAX_PAGES: usize = 100;

/// One walk through the pages of a list.
#[derive(Debug)]
pub struct Walk {
    shape: Shape,
    /// Bytes that all pages together may have.
    limit: usize,
    bytes: usize,
    entries: usize,
    pages: usize,
    /// Fingerprints of the cursors that were followed, oldest first.
    followed: Vec<u64>,
    next: Option<String>,
    was_cut: bool,
    names: HashSet<Box<str>>,
    left_out: Vec<LeftOut>,
}

impl Walk {
    /// A walk from the first page on; `limit` is what all pages together may have in bytes.
    pub fn new(shape: Shape, limit: usize) -> Self {
        Self {
            shape,
            limit,
            bytes: 0,
            entries: 0,
            pages: 0,
            followed: Vec::new(),
            next: None,
            was_cut: false,
            names: HashSet::new(),
            left_out: Vec::new(),
        }
    }

    /// A walk that goes on with a `token` of [`Walk::token`]; `None` for what is no token.
    pub fn resume(shape: Shape, limit: usize, token: &[u8]) -> Option<Self> {
        let (count, rest) = token.split_first()?;
        let (followed, cursor) = rest.split_at_checked(usize::from(*count) * size_of::<u64>())?;
        let followed = followed.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        let mut walk = Self { followed, ..Self::new(shape, limit) };
        walk.follow(String::from_utf8(cursor.to_vec()).ok()?);
        Some(walk)
    }

    /// The token that [`Walk::resume`] goes on with: the next cursor, and by which ones the walk came here.
    /// `None` at its end.
    pub fn token(&self) -> Option<Vec<u8>> {
        let next = self.next.as_ref()?;
        // Its own fingerprint is the last one, and is made again.
        let before = &self.followed[..self.followed.len().saturating_sub(1)];
        let before = &before[before.len().saturating_sub(MAX_PAGES)..];
        let mut token = vec![u8::try_from(before.len()).ok()?];
        token.extend(before.iter().flat_map(|print| print.to_be_bytes()));
        token.extend_from_slice(next.as_bytes());
        Some(token)
    }

    /// Sets the cursor of the page that is wanted.
    pub fn ask(&self, params: &mut Object<'_>) {
        if let Some(cursor) = &self.next {
            params.set("cursor", quote(cursor));
        }
    }

    /// Checks a page; gives it back taken apart, with its good entries, each once in the whole walk, and
    /// without a `nextCursor` that leads nowhere. Whoever shares the worker is not held up by a long one.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn take(&mut self, page: String) -> Result<ListPage, Fault> {
        self.pages += 1;
        self.bytes += page.len();
        if page.len() > MAX_BYTES {
            return Err(Fault::TooLong);
        }
        if self.bytes > self.limit {
            return Err(Fault::TooLarge(self.shape.method));
        }
        let mut reading =
            Reading { shape: self.shape, names: std::mem::take(&mut self.names), bad: Vec::new() };
        let bytes = page.len();
        let read = move || {
            let read = reading.read(&page);
            (read, reading)
        };
        let broken = |_| Fault::Malformed(self.shape.entries, "it cannot be read".to_owned());
        let (read, Reading { names, bad, .. }) = by_length(bytes, read).await.map_err(broken)?;
        let Read { mut page, count, next } = read?;
        self.names = names;
        self.left_out.extend(bad);
        self.entries += count;
        if self.entries > MAX_ENTRIES {
            return Err(Fault::TooLong);
        }
        self.next = None;
        if !self.go_on(next) {
            page = page.without_cursor(self.shape.entries).await?;
        }
        Ok(page)
    }

    /// Takes up the next cursor; false where there is one that is not to be followed.
    fn go_on(&mut self, next: Next) -> bool {
        let (pages, reason) = match next {
            Next::End => return true,
            Next::Wrong => {
                ("`nextCursor`".to_owned(), format!("it is no string of at most {MAX_CURSOR} bytes"))
            }
            Next::At(cursor) if self.followed.contains(&fingerprint(&cursor)) => {
                let pages = format!("the page at cursor `{}`", shorten(&cursor));
                (pages, "it was read before: the pages have no end".to_owned())
            }
            Next::At(cursor) => {
                self.follow(cursor);
                return true;
            }
        };
        self.left_out.push(LeftOut { entry: pages, reason });
        false
    }

    fn follow(&mut self, cursor: String) {
        self.followed.push(fingerprint(&cursor));
        self.next = Some(cursor);
    }

    /// True where there is another page to be asked for.
    pub fn goes_on(&mut self) -> bool {
        if self.next.is_some() && self.pages >= MAX_PAGES {
            let reason = format!("the list has more than {MAX_PAGES} pages");
            self.left_out.push(LeftOut { entry: "what follows".to_owned(), reason });
            self.next = None;
            self.was_cut = true;
        }
        self.next.is_some()
    }

    /// True where pages are missing that were there to be read.
    pub fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// Leaves out an entry that its reader found to be wrong.
    pub fn leave_out(&mut self, name: &str, reason: &str) {
        self.names.remove(name);
        self.left_out.push(LeftOut::named(name, reason));
    }

    /// The names of all entries that were not left out.
    pub fn names(&self) -> &HashSet<Box<str>> {
        &self.names
    }

    /// The entries that were left out, and the names of all that were not.
    pub fn outcome(self) -> (Vec<LeftOut>, HashSet<Box<str>>) {
        (self.left_out, self.names)
    }
}

fn fingerprint(cursor: &str) -> u64 {
    // The hash is the same in one process, which is how long a cursor's handle lives. A server that finds two
    // of a kind cuts its own list short.
    let mut hasher = DefaultHasher::new();
    cursor.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::lists::listed::shape::TOOLS;

    const LIMIT: usize = 64 * 1024 * 1024;

    fn walk() -> Walk {
        Walk::new(TOOLS, LIMIT)
    }

    fn list(entries: usize) -> String {
        let entries: Vec<_> = (0..entries).map(|number| format!(r#"{{"name":"{number}"}}"#)).collect();
        format!(r#"{{"tools":[{}]}}"#, entries.join(","))
    }

    #[tokio::test]
    async fn a_list_is_bounded_in_bytes_and_entries() {
        for count in [0, 10, MAX_ENTRIES] {
            let page = list(count);
            let taken = walk().take(page.clone()).await.expect("a list");
            assert_eq!(taken.write("tools", None).await, Ok(page));
        }
        assert_eq!(walk().take(list(MAX_ENTRIES + 1)).await, Err(Fault::TooLong));
        let long = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(walk().take(long).await, Err(Fault::TooLong));
        let mut small = Walk::new(TOOLS, 30);
        small.take(list(1)).await.expect("it fits");
        assert_eq!(small.take(list(1)).await, Err(Fault::TooLarge("tools/list")));
        for wrong in [
            "[]",
            r#"{"prompts":[]}"#,
            r#"{"tools":{}}"#,
            r#"{"tools":[],"tools":[]}"#,
            r#"{"tools":[],"_meta":{"a":1,"a":2}}"#,
            r#"{"tools":[],"_meta":{"a":"\ud800"}}"#,
        ] {
            let fault = walk().take(wrong.to_owned()).await;
            assert!(matches!(fault, Err(Fault::Malformed("tools", _))), "{wrong}: {fault:?}");
        }
    }

    /// The cursors that a walk follows on pages whose `nextCursor` are these.
    async fn cursors(pages: &[&str]) -> (Vec<String>, Vec<LeftOut>) {
        let mut walk = walk();
        let mut asked = Vec::new();
        for (number, next) in pages.iter().enumerate() {
            let mut params = Object::default();
            walk.ask(&mut params);
            asked.push(params.string("cursor").map_or_else(|| "-".to_owned(), std::borrow::Cow::into_owned));
            let page = format!(r#"{{"tools":[{{"name":"{number}"}}],"nextCursor":{next}}}"#);
            let page = walk.take(page).await.expect("a good page");
            let goes_on = walk.goes_on();
            assert_eq!(goes_on, page.around.contains("nextCursor\":\""), "{page:?}");
            // As at an endpoint of one server, where a client brings the cursor back.
            if let Some(token) = walk.token() {
                let resumed = Walk::resume(TOOLS, LIMIT, &token).expect("a token");
                assert_eq!((&resumed.followed, &resumed.next), (&walk.followed, &walk.next));
            }
            if !goes_on {
                break;
            }
        }
        (asked, walk.outcome().0)
    }

    #[tokio::test]
    async fn no_cursor_is_followed_twice() {
        for (pages, wanted, left_out) in [
            (&["\"a\"", "\"b\"", "null", "\"never\""][..], &["-", "a", "b"][..], 0),
            (&["\"a\"", "\"a\"", "\"a\""], &["-", "a"], 1),
            (&["\"a\"", "\"b\"", "\"a\"", "\"b\""], &["-", "a", "b"], 1),
            (&["\"\"", "\"\"", "\"\""], &["-", ""], 1),
            (&["\"a\"", "\"\\u0061\"", "\"a\""], &["-", "a"], 1),
            (&["7", "8"], &["-"], 1),
        ] {
            let (asked, told) = cursors(pages).await;
            assert_eq!(
                (asked.as_slice(), told.len()),
                (wanted.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(), left_out),
                "{pages:?}: {told:?}"
            );
        }
        assert!(Walk::resume(TOOLS, LIMIT, &[]).is_none() && Walk::resume(TOOLS, LIMIT, &[9, 1]).is_none());
    }

    #[tokio::test]
    async fn a_walk_has_an_end() {
        let mut walk = walk();
        for page in 1..=MAX_PAGES {
            let text = format!(r#"{{"tools":[],"nextCursor":"{page}"}}"#);
            walk.take(text).await.expect("a good page");
            assert_eq!(walk.goes_on(), page < MAX_PAGES);
        }
        assert!(walk.was_cut() && walk.outcome().0.len() == 1);
    }
}
