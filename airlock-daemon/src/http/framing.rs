//! Faults of a request's head that hyper does not show: it takes `Content-Length` out beside
//! `Transfer-Encoding`, and cuts a fragment from the target. Either can be two requests in one to somebody
//! else on the way, and is refused for that (RFC 9112, sections 3.2 and 6.1).
//!
//! The bytes are looked at before hyper has them, by lines in a head and by lengths in a body, and are not
//! changed: hyper is the parser. A request is refused where the two do not agree about where it begins.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use memchr::memchr;

use super::linger::Linger;
use super::peek;

/// Longest line that is put together from several reads, in bytes. hyper takes no head that long.
const MAX_LINE: usize = 256 * 1024;

/// The heads that were seen on a connection; its requests come in the same order.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// How many were read to their end.
    whole: Cell<u64>,
    /// The first with a fault, counted from 1, and which.
    fault: Cell<Option<(u64, &'static str)>>,
}

impl Heads {
    /// The fault of the head of a request; requests are counted from 1. After the first fault nothing is
    /// right on that connection.
    pub(super) fn fault(&self, number: u64) -> Option<&'static str> {
        match self.fault.get() {
            Some((first, fault)) if first <= number => Some(fault),
            _ if self.whole.get() < number => Some("it is not clear where the request begins"),
            _ => None,
        }
    }
}

/// A connection of HTTP/1.1 whose heads are looked at.
pub(super) struct Framed<S> {
    stream: S,
    scan: Scan,
    /// Once the writing half is closed.
    lingers: Option<Linger>,
}

impl<S> Framed<S> {
    /// Looks at what comes from `stream`.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, scan: Scan::default(), lingers: None }
    }

    /// The heads that were seen.
    pub(super) fn heads(&self) -> Rc<Heads> {
        Rc::clone(&self.scan.heads)
    }
}

/// Where in the requests of a connection its bytes have come to.
#[derive(Debug, Default)]
struct Scan {
    place: FramingPlace,
    /// The beginning of a line whose end was not yet read.
    line: Vec<u8>,
    /// The form of the body, as the head that is being read tells it.
    chunked: bool,
    length: Option<u64>,
    heads: Rc<Heads>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FramingPlace {
    /// Before a request's first line.
    #[default]
    Start,
    /// In the lines after it.
    Fields,
    /// In a body, or a chunk with its line end, of which so many bytes are to come.
    Body(u64),
    Chunk(u64),
    /// Before the line with the size of a chunk.
    Size,
    /// In the lines after the last chunk.
    Trailer,
    /// It is not understood, or hyper may understand it otherwise. No request after it is taken.
    Lost,
}

impl Scan {
    /// True where all that has come are whole requests.
    fn is_between_requests(&self) -> bool {
        self.place == FramingPlace::Start && self.line.is_empty()
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.place {
                FramingPlace::Lost => return,
                FramingPlace::Body(left) | FramingPlace::Chunk(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(count..).unwrap_or_default();
                    let left = left.saturating_sub(count as u64);
                    self.place = match self.place {
                        FramingPlace::Chunk(_) if left == 0 => FramingPlace::Size,
                        FramingPlace::Chunk(_) => FramingPlace::Chunk(left),
                        _ if left == 0 => FramingPlace::Start,
                        _ => FramingPlace::Body(left),
                    };
                }
                FramingPlace::Start | FramingPlace::Fields | FramingPlace::Size | FramingPlace::Trailer => {
                    let Some(end) = memchr(b'\n', bytes) else { return self.keep(bytes) };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    if self.line.is_empty() {
                        self.line(line);
                    } else {
                        self.keep(line);
                        let whole = std::mem::take(&mut self.line);
                        self.line(&whole);
                    }
                }
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        self.line.extend_from_slice(part);
        if self.line.len() > MAX_LINE {
            self.line = Vec::new();
            self.place = FramingPlace::Lost;
        }
    }

    fn line(&mut self, line: &[u8]) {
        let ends_bare = !line.ends_with(b"\r");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.place = match self.place {
            // In a chunked body a line ends with both; hyper takes a line feed alone for a byte like any
            // other in a trailer.
            FramingPlace::Size | FramingPlace::Trailer if ends_bare => FramingPlace::Lost,
            // Empty lines before a request are nothing (RFC 9112, section 2.2); one ends what follows the
            // last chunk.
            FramingPlace::Start | FramingPlace::Trailer if line.is_empty() => FramingPlace::Start,
            FramingPlace::Start => {
                (self.chunked, self.length) = (false, None);
                let target = memchr(b' ', line).and_then(|end| line.get(end..)).unwrap_or_default();
                if memchr(b'#', target).is_some() {
                    self.refuse("the target of the request has a fragment, which is for the client alone");
                }
                FramingPlace::Fields
            }
            FramingPlace::Fields if line.is_empty() => self.end_of_head(),
            FramingPlace::Fields => self.field(line),
            FramingPlace::Size => match size(line) {
                Some(0) => FramingPlace::Trailer,
                Some(size) => FramingPlace::Chunk(size.saturating_add(2)),
                None => FramingPlace::Lost,
            },
            other => other,
        };
    }

    fn field(&mut self, line: &[u8]) -> FramingPlace {
        let Some((name, value)) = memchr(b':', line).and_then(|colon| line.split_at_checked(colon)) else {
            return FramingPlace::Lost;
        };
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            self.length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            if self.length.is_none() {
                return FramingPlace::Lost;
            }
        }
        FramingPlace::Fields
    }

    fn end_of_head(&mut self) -> FramingPlace {
        if self.chunked && self.length.is_some() {
            self.refuse("the request has a Content-Length beside Transfer-Encoding");
        }
        self.heads.whole.set(self.heads.whole.get() + 1);
        match (self.chunked, self.length) {
            (true, _) => FramingPlace::Size,
            (false, None | Some(0)) => FramingPlace::Start,
            (false, Some(length)) => FramingPlace::Body(length),
        }
    }

    /// The head that is being read has a fault; the first one counts.
    fn refuse(&self, fault: &'static str) {
        if self.heads.fault.get().is_none() {
            self.heads.fault.set(Some((self.heads.whole.get() + 1, fault)));
        }
    }
}

/// The size of a chunk: hexadecimal digits, and behind them what is not its business here.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let digits = std::str::from_utf8(line.get(..digits)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

impl<S: Read + Unpin> Read for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, scan, .. } = &mut *self;
        peek::poll_read(stream, cx, into, |bytes| scan.read(bytes))
    }
}

impl<S: Read + Write + Unpin> Write for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes the writing half; after an answer to a request that was not read to its end it lingers then.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, scan, lingers } = &mut *self;
        if lingers.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            if scan.is_between_requests() {
                return Poll::Ready(Ok(()));
            }
        }
        lingers.get_or_insert_with(Linger::new).poll(stream, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the text in pieces of this size; what is wrong with each of so many requests.
    fn faults(text: &str, piece: usize, requests: u64) -> Vec<Option<&'static str>> {
        let mut scan = Scan::default();
        for bytes in text.as_bytes().chunks(piece) {
            scan.read(bytes);
        }
        (1..=requests).map(|number| scan.heads.fault(number)).collect()
    }

    const GET: &str = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST /mcp HTTP/1.1\r\nHost: a\r\ncontent-length:  12 \r\n\r\ntransfer: x\n";
    const CHUNKS: &str = "POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=\"1\"\r\n\r\n0\r\n#a:b\r\r\n0\r\nTrailer: 1\r\n\r\n";

    #[test]
    fn honest_requests_follow_each_other_in_pieces_of_any_size() {
        let text = [GET, POST, "\r\n", CHUNKS, POST, GET, CHUNKS, GET].concat();
        for piece in 1..text.len() {
            assert_eq!(faults(&text, piece, 7), [None; 7], "{piece}");
        }
        assert!(faults(&text, 7, 8)[7].is_some(), "there are no eight");
        assert_eq!(faults("GET /live HTTP/1.1\nHost: a\n\n", 3, 1), [None], "lines may end so");
    }

    #[test]
    fn what_hyper_takes_away_is_seen() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH: 5\r\n",
        ] {
            let bad = format!("POST / HTTP/1.1\r\n{lines}\r\n0\r\n\r\n");
            for piece in 1..bad.len() {
                let found = faults(&[GET, &bad, GET].concat(), piece, 3);
                assert!(found[0].is_none() && found[1].is_some() && found[2].is_some(), "{piece}: {found:?}");
            }
        }
        for target in ["/mcp#x", "/mcp?a#b", "http://a/mcp#", "#"] {
            assert!(
                faults(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 9, 1)[0].is_some(),
                "{target}"
            );
        }
        assert_eq!(faults("G#T / HTTP/1.1\r\nX: #\r\n\r\n", 9, 1), [None]);
    }

    #[test]
    fn what_is_not_understood_is_no_request() {
        for text in [
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(faults(&format!("{text}{GET}"), 5, 2)[1].is_some(), "{text}");
        }
        let endless = "x".repeat(MAX_LINE + 1);
        assert!(faults(&format!("{endless}{endless}\r\n\r\n"), 1_000, 1)[0].is_some());
    }

    /// hyper takes all of this for the body of one request or for a fault; none of it may count as a second
    /// request.
    #[test]
    fn a_line_of_a_chunked_body_does_not_end_with_a_line_feed_alone() {
        let both = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let fragment = "GET /mcp#x HTTP/1.1\r\nHost: a\r\n\r\n";
        for body in [
            "0\r\nX: a\n\nGET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
            "0\r\n\nGET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
            "0\r\nX: a\n\r\n\r\n",
            "0\nX: a\r\n\r\n",
            "5\nabcde\r\n0\r\n\r\n",
        ] {
            let first = format!("POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            for next in [both, fragment, GET] {
                let text = format!("{first}{next}");
                for piece in 1..text.len() {
                    let found = faults(&text, piece, 2);
                    assert!(found[0].is_none() && found[1].is_some(), "{piece} {text:?}: {found:?}");
                }
            }
        }
    }

    proptest! {
        /// Nothing upsets it, and no piece is longer or shorter in its eyes than another.
        #[test]
        fn pieces_make_no_difference(
            text in "(GET|#|/|:| |\r\n|\n|5|a|content-length|transfer-encoding|chunked){0,60}",
            piece in 1_usize..9,
        ) {
            prop_assert_eq!(faults(&text, piece, 5), faults(&text, text.len().max(1), 5));
        }
    }
}
