//! Floods of frames: those of HTTP/2 that cost a client nothing and carry nothing (RFC 9113, section 10.5).
//!
//! h2 answers each of them, or reads past it, and counts only resets. So the headers of frames are looked at
//! before h2 has them, on the decrypted stream: an idle frame takes one from a budget, and requests, answers
//! and time give some back. A connection whose budget is used up ends.
//!
//! For one second h2 reads past the frames of a stream that it has reset. So only headers on a new stream
//! count as a request, and the last piece of a body counts like the others.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::peek;

/// Idle frames that may come at once.
const MOST: i64 = 2_000;
/// Idle frames that a second gives back.
const A_SECOND: i64 = 100;
/// The part of the budget that a request gives back: for its cancellation, and for what opens windows for its
/// answer.
const A_REQUEST: i64 = 8;
/// The part that a frame of an answer gives back: a client may open the window of the stream and that of the
/// connection for it, and ask by a ping how far it is.
const AN_ANSWER: i64 = 4;
/// A piece of a body that is shorter, in bytes, is idle. The last one of a body is paid for by its request.
const SHORT: usize = 128;

/// The types of frames that are looked at (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;

/// The length of the text that every client sends first (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The length of a frame's header.
const HEADER: usize = 9;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Finds the headers of frames in bytes that come in pieces.
#[derive(Debug)]
struct Scan {
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
}

/// A connection of HTTP/2 whose frames are counted.
pub(super) struct Counted<S> {
    stream: S,
    received: Scan,
    sent: Scan,
    budget: Budget,
    flooded: Rc<Cell<bool>>,
}

#[derive(Debug)]
struct Budget {
    left: i64,
    /// When time was taken into account. The clock is read only where nothing is left.
    since: Instant,
    /// The newest stream of a request: each new one has a higher number (RFC 9113, section 5.1.1).
    highest: u32,
}

impl Scan {
    fn after(skip: usize) -> Self {
        Self { skip, header: [0; HEADER], filled: 0 }
    }

    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let count = self.skip.min(bytes.len());
            self.skip -= count;
            bytes = bytes.get(count..).unwrap_or_default();
            let (room, next) = (self.header.iter_mut().skip(self.filled), bytes.iter());
            let taken = room.zip(next).fold(0, |taken, (place, byte)| {
                *place = *byte;
                taken + 1
            });
            self.filled += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled == HEADER {
                let [a, b, c, kind, flags, stream @ ..] = self.header;
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                // The first bit is reserved (RFC 9113, section 4.1).
                let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
                self.filled = 0;
                self.skip = length;
                found(Frame { length, kind, flags, stream });
            }
        }
    }
}

impl Budget {
    fn new(since: Instant) -> Self {
        Self { left: MOST, since, highest: 0 }
    }

    fn give(&mut self, count: i64) {
        self.left = (self.left + count).min(MOST);
    }

    fn received(&mut self, frame: Frame) {
        match frame.kind {
            HEADERS if frame.stream > self.highest => {
                self.highest = frame.stream;
                self.give(A_REQUEST);
            }
            // A padded piece may be nothing but padding.
            DATA if frame.length >= SHORT && frame.flags & PADDED == 0 => {}
            _ => self.left -= 1,
        }
    }

    fn sent(&mut self, frame: Frame) {
        if frame.kind == DATA || frame.kind == HEADERS {
            self.give(AN_ANSWER);
        }
    }

    /// True where it is used up, also with what the time has given back.
    fn is_used_up(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left >= 0 {
            return false;
        }
        let now = now();
        let passed = now.saturating_duration_since(self.since).min(Duration::from_mins(1));
        self.since = now;
        let given = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX).saturating_mul(A_SECOND) / 1_000;
        self.give(given);
        self.left < 0
    }
}

impl<S> Counted<S> {
    /// Counts what comes from `stream`, and says so in `flooded` when it was too much.
    pub(super) fn new(stream: S, flooded: Rc<Cell<bool>>) -> Self {
        let budget = Budget::new(Instant::now());
        Self { stream, received: Scan::after(PREFACE), sent: Scan::after(0), budget, flooded }
    }

    fn note(&mut self, sent: &[u8]) {
        let Self { sent: scan, budget, .. } = self;
        scan.read(sent, |frame| budget.sent(frame));
    }
}

impl<S: Read + Unpin> Read for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, received, budget, flooded, .. } = &mut *self;
        let result =
            peek::poll_read(stream, cx, into, |bytes| received.read(bytes, |frame| budget.received(frame)));
        if budget.is_used_up(Instant::now) {
            flooded.set(true);
            let reason = "the client floods the connection with frames that carry nothing";
            return Poll::Ready(Err(io::Error::other(reason)));
        }
        result
    }
}

impl<S: Write + Unpin> Write for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        if let Poll::Ready(Ok(count)) = result {
            self.note(data.get(..count).unwrap_or_default());
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut count)) = result {
            for slice in slices {
                let part = count.min(slice.len());
                self.note(slice.get(..part).unwrap_or_default());
                count -= part;
            }
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_STREAM: u8 = 0x1;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., a, b, c] = length.to_be_bytes();
        // The reserved bit is set, and is no part of the number.
        let mut bytes = vec![a, b, c, kind, flags, 0x80, 1, 2, 3];
        bytes.resize(HEADER + length, 0x55);
        bytes
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let mut bytes = vec![0xff; PREFACE];
        let mut expected = Vec::new();
        for (kind, flags, length) in [(4, 0, 0), (1, 5, 70), (0, 1, 300), (8, 0, 4), (0x42, 9, 1), (0, 0, 0)]
        {
            bytes.extend(frame(kind, flags, length));
            expected.push(Frame { length, kind, flags, stream: 0x0001_0203 });
        }
        for piece in 1..bytes.len() {
            let (mut scan, mut found) = (Scan::after(PREFACE), Vec::new());
            for part in bytes.chunks(piece) {
                scan.read(part, |frame| found.push(frame));
            }
            assert_eq!(found, expected, "{piece}");
        }
    }

    fn of(kind: u8, flags: u8, length: usize) -> Frame {
        Frame { length, kind, flags, stream: 1 }
    }

    #[test]
    fn idle_frames_use_the_budget_up_and_work_and_time_give_it_back() {
        for idle in [
            of(2, 0, 5),
            of(3, 0, 4),
            of(4, 0, 0),
            of(6, 0, 8),
            of(8, 0, 4),
            of(0x42, 0, 10_000),
            of(DATA, 0, 0),
            of(DATA, 0, 1),
            of(DATA, PADDED, 256),
            // On a stream that is known these may be read past: they are no request, and no end of a body.
            of(HEADERS, 4, 100),
            of(HEADERS, 4 | END_STREAM, 0),
            of(DATA, END_STREAM, 0),
            of(DATA, END_STREAM, 10),
            of(DATA, PADDED | END_STREAM, 256),
        ] {
            let begin = Instant::now();
            let mut budget = Budget::new(begin);
            budget.received(of(HEADERS, 4, 100));
            for _ in 0..MOST {
                budget.received(idle);
            }
            assert!(!budget.is_used_up(|| unreachable!("the clock is not needed")), "{idle:?}");
            budget.received(idle);
            assert!(budget.is_used_up(|| begin), "{idle:?}");
            budget.received(idle);
            assert!(!budget.is_used_up(|| begin + Duration::from_secs(1)), "time gives some back: {idle:?}");
        }
    }

    #[test]
    fn a_client_that_works_never_uses_it_up() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        for number in 0..20_000 {
            // A call with an answer of three frames, for each of which both windows are opened and a ping is
            // sent.
            budget.received(Frame { stream: 2 * number + 1, ..of(HEADERS, 4, 100) });
            budget.received(of(DATA, 0, 16_384));
            budget.received(of(DATA, END_STREAM, 10));
            for _ in 0..3 {
                budget.sent(of(DATA, 0, 100));
                for kind in [8, 8, 6] {
                    budget.received(of(kind, 0, 4));
                }
            }
            assert!(!budget.is_used_up(|| begin));
        }
    }
}
