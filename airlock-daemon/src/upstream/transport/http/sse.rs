//! Server-sent events (WHATWG HTML, "Event stream interpretation"), read from bytes that are cut anywhere.

use std::time::Duration;

use memchr::memchr2;

use crate::runtime::apart::LONG;

/// Longest event id that is remembered, in bytes; a longer one counts as none.
const MAX_ID: usize = 4096;

/// An event, or a line of one, is longer than an upstream may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when the server named none.
    pub kind: String,
    /// Its data, lines joined by newlines; not checked to be UTF-8.
    pub data: Vec<u8>,
}

/// The reader of one stream.
#[derive(Debug, Default)]
pub struct Events {
    /// The part that has come of the line that is not whole yet.
    line: Vec<u8>,
    /// The data lines of the event so far, each with a newline behind it.
    data: Vec<u8>,
    kind: Vec<u8>,
    /// The id of the last event, for resumption.
    last_id: Vec<u8>,
    retry: Option<Duration>,
    /// The last chunk ended in a carriage return, so a newline at the start of the next belongs to it.
    after_return: bool,
    /// The first line, before which a byte order mark may stand, has been read.
    begun: bool,
}

impl Events {
    /// The id to resume after; empty when the server gave none.
    pub fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// How long the server wants to be left alone before a reconnection.
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Bytes of the event that is not whole yet.
    pub fn held(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// Forgets the event that is not whole, as a new connection demands; id and delay stay.
    pub fn reconnect(&mut self) {
        *self = Self { last_id: std::mem::take(&mut self.last_id), retry: self.retry, ..Self::default() };
    }

    /// Takes in more bytes and hands out every event that they complete.
    ///
    /// # Errors
    /// [`TooLong`] when a line, or the data of one event, is longer than `limit` bytes.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        limit: usize,
        mut each: impl FnMut(Event),
    ) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + part.len() + self.data.len() > limit.saturating_add(MAX_ID) {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some((end, rest)) = rest.split_first() else { break };
            self.after_return = *end == b'\r';
            bytes = rest;
            let mut line = std::mem::take(&mut self.line);
            self.whole_line(&mut line, limit, &mut each)?;
            // The buffer is kept for the next line.
            line.clear();
            self.line = line;
        }
        Ok(())
    }

    /// As [`Events::feed`]: the data of every event that is a message. One without data only sets the id to
    /// resume after.
    ///
    /// # Errors
    /// As [`Events::feed`].
    pub fn messages(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut messages = Vec::new();
        self.feed(bytes, limit, |event| {
            if event.kind == "message" && !event.data.is_empty() {
                messages.push(event.data);
            }
        })?;
        Ok(messages)
    }

    /// Takes in a line, and may take its buffer.
    fn whole_line(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: usize,
        each: &mut impl FnMut(Event),
    ) -> Result<(), TooLong> {
        let line = buffer.as_slice();
        let line = if self.begun { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            self.dispatch(each);
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                if self.data.len() + value.len() > limit {
                    return Err(TooLong);
                }
                if self.data.is_empty() && value.len() >= LONG {
                    // The value moves to the beginning of its own buffer: a copy of its size would cost more.
                    let before = buffer.len() - value.len();
                    self.data = std::mem::take(buffer);
                    self.data.drain(..before);
                } else {
                    self.data.extend_from_slice(value);
                }
                self.data.push(b'\n');
            }
            b"event" => self.kind = value.to_vec(),
            b"id" if value.len() <= MAX_ID && !value.contains(&0) => self.last_id = value.to_vec(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            // Comments begin with a colon, so their field is empty; unknown fields are ignored as well.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Event)) {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return;
        }
        let kind =
            if kind.is_empty() { "message".to_owned() } else { String::from_utf8_lossy(&kind).into_owned() };
        each(Event { kind, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> (Vec<(String, String)>, Events) {
        let mut events = Events::default();
        let mut out = Vec::new();
        for chunk in chunks {
            events
                .feed(chunk, 1_000, |event| {
                    out.push((event.kind, String::from_utf8_lossy(&event.data).into_owned()));
                })
                .expect("short");
        }
        (out, events)
    }

    fn message(data: &str) -> (String, String) {
        ("message".to_owned(), data.to_owned())
    }

    #[test]
    fn the_examples_of_the_standard() {
        let (events, _) = read(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]);
        assert_eq!(events, [message("YHOO\n+2\n10")]);
        let (events, state) = read(&[
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\ndata: cut",
        ]);
        assert_eq!(events, [message("first event"), message("second event"), message(" third event")]);
        assert_eq!(state.last_id(), b"");
        assert_eq!(read(&[b"data\n\ndata\ndata\n\ndata:"]).0, [message(""), message("\n")]);
        assert_eq!(read(&[b"data:test\n\ndata: test\n\n"]).0, [message("test"), message("test")]);
    }

    #[test]
    fn a_long_line_is_as_good_as_a_short_one() {
        let long = "x".repeat(LONG);
        let stream = format!(
            "\u{feff}data:  {long}\n\nid: 3\ndata:{long}\r\ndata: y\n\ndata: z\n\ndata: y\ndata:{long}\n\n"
        );
        let mut events = Events::default();
        let mut said = Vec::new();
        for part in stream.as_bytes().chunks(1_000) {
            events.feed(part, 3 * LONG, |event| said.push(event.data)).expect("within the limit");
        }
        let expected = [format!(" {long}"), format!("{long}\ny"), "z".to_owned(), format!("y\n{long}")];
        assert!(said == expected.map(String::into_bytes));
        assert_eq!((events.last_id(), events.held()), (&b"3"[..], 0));
    }

    #[test]
    fn fields_other_than_data() {
        let (events, state) =
            read(&[b"\xef\xbb\xbfevent: ping\r\nid: 7\rretry: 250\nretry: 1s\ndata: x\r\n\r\nid: a\0b\n\n"]);
        assert_eq!(events, [("ping".to_owned(), "x".to_owned())]);
        assert_eq!((state.last_id(), state.retry()), (&b"7"[..], Some(Duration::from_millis(250))));
    }

    #[test]
    fn an_id_without_data_is_remembered_and_a_reconnection_keeps_it() {
        let (events, mut state) = read(&[b"id: 9\nretry: 5\ndata:\n\ndata: half"]);
        assert_eq!(events, [message("")]);
        state.reconnect();
        state.feed(b"data: whole\n\n", 100, |event| assert_eq!(event.data, b"whole")).expect("short");
        assert_eq!((state.last_id(), state.retry()), (&b"9"[..], Some(Duration::from_millis(5))));
    }

    #[test]
    fn an_event_without_end_is_an_error() {
        let mut events = Events::default();
        let endless = vec![b'x'; 64 * 1024];
        assert_eq!(events.feed(&endless, 1_000, |_| {}), Err(TooLong));
        let mut events = Events::default();
        let many = b"data: 0123456789\n".repeat(200);
        assert_eq!(events.feed(&many, 1_000, |_| {}), Err(TooLong));
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in "(data|id|event|:|[ ab:]|\n|\r|\r\n|\u{feff}){0,40}", cuts in prop::collection::vec(0_usize..120, 0..4)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let (whole, one) = read(&[bytes]);
            let (parts, other) = read(&chunks);
            prop_assert_eq!(whole, parts);
            prop_assert_eq!(one.last_id(), other.last_id());
        }

        #[test]
        fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..300), limit in 0_usize..100) {
            let mut events = Events::default();
            let mut longest = 0;
            let _ = events.feed(&bytes, limit, |event| longest = longest.max(event.data.len()));
            // Newlines between data lines count on top of each line's own bytes.
            prop_assert!(longest <= limit + 1);
        }
    }
}
