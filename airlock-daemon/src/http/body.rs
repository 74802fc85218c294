//! Bodies: bounded on the way in, whole or streamed on the way out.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::config::units::Period;
use crate::downstream::event_reader::Reader;
use crate::downstream::event_store::Frame as Said;
use crate::limits::kept::{GivenUp, Kept};
use crate::limits::streams::Places;
use crate::pipeline::Refusal;
use crate::stage::Stage;

/// How often a silent stream says that it is alive, so that proxies on the way keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Bytes of an answer that are handed over at a time. The rest stays where it can still be given up.
const PIECE: usize = 64 * 1024;

/// The body of a response.
pub enum Body {
    /// All of it, once.
    Whole(Option<Bytes>),
    /// A text that may be given up before its client has read it, and how many bytes of it were handed over.
    Kept(Option<Kept>, usize),
    /// Server-sent events.
    Events(Box<Events>),
}

/// Server-sent events on their way.
pub struct Events {
    source: EventSource,
    /// The one that was begun.
    sending: Option<Sending>,
    ticks: Interval,
    /// Given back with the body, however it ends.
    _places: Places,
}

/// Where events come from.
enum EventSource {
    /// One a message.
    Plain(mpsc::Receiver<Kept>),
    /// Those of a legacy session, with ids.
    Numbered(Reader),
}

/// An event whose data is handed over piece by piece.
struct Sending {
    /// The text before the data; empty once it was handed over.
    head: String,
    data: Option<Kept>,
    /// How much of the data was handed over.
    at: usize,
}

impl Body {
    /// A body of text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// A body of a text that is kept.
    pub const fn kept(text: Kept) -> Self {
        Self::Kept(Some(text), 0)
    }

    /// No body.
    pub const fn empty() -> Self {
        Self::Whole(None)
    }

    /// A stream of events.
    pub fn events(stream: mpsc::Receiver<Kept>, places: Places) -> Self {
        Self::of(EventSource::Plain(stream), places)
    }

    /// A stream of events that the client can come back to.
    pub fn numbered(reader: Reader, places: Places) -> Self {
        Self::of(EventSource::Numbered(reader), places)
    }

    fn of(source: EventSource, places: Places) -> Self {
        let mut ticks = interval(KEEP_ALIVE);
        // The first tick comes at once: a stream that has nothing to say yet says that it is alive.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Events(Box::new(Events { source, sending: None, ticks, _places: places }))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Kept(text, at) => Poll::Ready(piece(text, at).map(|piece| piece.map(Frame::data))),
            Self::Events(events) => events.poll(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Kept(text, _) => text.is_none(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Kept(text, at) => {
                let left = text.as_ref().map_or(0, |text| text.length().saturating_sub(*at));
                SizeHint::with_exact(left as u64)
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// The next piece of a text; a short one is handed over as it is.
fn piece(kept: &mut Option<Kept>, at: &mut usize) -> Option<Result<Bytes, GivenUp>> {
    let mut text = kept.take()?;
    if *at == 0 && text.length() <= PIECE {
        text = match text.into_whole() {
            Ok(whole) => return Some(Ok(Bytes::from_owner(whole))),
            Err(text) => text,
        };
    }
    let mut piece = String::new();
    match text.piece(*at, PIECE, |part| part.clone_into(&mut piece)) {
        Ok(count) => *at += count,
        Err(given_up) => return Some(Err(given_up)),
    }
    let piece = text.on_its_way(piece);
    if *at < text.length() {
        *kept = Some(text);
    }
    Some(Ok(Bytes::from_owner(piece)))
}

impl Events {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, GivenUp>>> {
        loop {
            if let Some(mut sending) = self.sending.take() {
                self.ticks.reset();
                let piece = sending.next();
                if let Ok((_, false)) = &piece {
                    self.sending = Some(sending);
                }
                return Poll::Ready(Some(piece.map(|(bytes, _)| bytes)));
            }
            let next = match &mut self.source {
                EventSource::Plain(stream) => stream.poll_recv(cx).map(|data| data.map(plain)),
                EventSource::Numbered(reader) => reader.poll_next(cx).map(|said| said.map(numbered)),
            };
            match next {
                // A message that was given up before it was begun is passed over.
                Poll::Ready(Some(sending)) if sending.is_lost() => {}
                Poll::Ready(Some(sending)) => self.sending = Some(sending),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    // Without an empty line: behind one, some clients see an event where there is none.
                    let alive = Bytes::from_static(b": alive\n");
                    return self.ticks.poll_tick(cx).map(|_| Some(Ok(alive)));
                }
            }
        }
    }
}
/// One server-sent event.
fn plain(data: Kept) -> Sending {
    Sending { head: "event: message\ndata: ".to_owned(), data: Some(data), at: 0 }
}

/// One server-sent event with an id.
fn numbered(said: Said) -> Sending {
    let mut head = String::new();
    // Writing into a String cannot fail.
    if let Some(comment) = &said.comment {
        let _ = writeln!(head, ": {comment}");
    }
    if said.data.as_ref().is_some_and(|data| data.length() > 0) {
        head.push_str("event: message\n");
    }
    if let Some(id) = &said.id {
        let _ = writeln!(head, "id: {id}");
    }
    if let Some(retry) = said.retry {
        let _ = writeln!(head, "retry: {}", retry.as_millis());
    }
    if said.data.is_some() {
        head.push_str("data: ");
    }
    Sending { head, data: said.data, at: 0 }
}

impl Sending {
    /// True where nothing is left to be said.
    fn is_lost(&self) -> bool {
        self.data.as_ref().is_some_and(Kept::is_lost)
    }

    /// The next piece, and whether it was the last. Messages are JSON, but an upstream may break its lines:
    /// each becomes a `data:` line of its own.
    fn next(&mut self) -> Result<(Bytes, bool), GivenUp> {
        let mut out = std::mem::take(&mut self.head);
        let Some(data) = &self.data else {
            out.push('\n');
            return Ok((out.into(), true));
        };
        let count = data.piece(self.at, PIECE, |piece| {
            let mut lines = piece.split(['\n', '\r']);
            out.push_str(lines.next().unwrap_or_default());
            for line in lines {
                out.push_str("\ndata: ");
                out.push_str(line);
            }
        })?;
        self.at += count;
        let is_last = count == 0 || self.at == data.length();
        if is_last {
            out.push_str("\n\n");
        }
        Ok((Bytes::from_owner(data.on_its_way(out)), is_last))
    }
}

/// Reads a request's body, at most `limit` bytes, in at most the time `within`.
///
/// # Errors
/// 413 when it is longer, 408 when it takes longer, 400 when it breaks off.
pub async fn collect(body: &mut Incoming, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
    let too_large = || {
        let reason = format!("the body is larger than {limit} bytes (server.max_request_bytes)");
        Refusal::new(Stage::Http, StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let Ok(collected) = timeout(within, Limited::new(body, limit).collect()).await else {
        let reason = format!("the body did not come within {} (server.timeouts.body)", Period(within));
        return Err(Refusal::new(Stage::Http, StatusCode::REQUEST_TIMEOUT, reason));
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            Err(Refusal::new(Stage::Http, StatusCode::BAD_REQUEST, "the body could not be read to its end"))
        }
    }
}

/// Reads the body of an HTTP/1.1 request that is refused for its head, and throws it away: a client that is
/// told of the refusal while it still writes would find its connection closed and might never read the
/// answer. It does so only for small bodies that come at once: for others the answer is `false`, and the
/// connection is to be closed.
pub async fn discard(body: &mut Incoming) -> bool {
    const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
    const LIMIT: usize = 64 * 1024;
    body.size_hint().lower() <= LIMIT as u64
        && timeout(DISCARD_TIMEOUT, throw_away(body, LIMIT)).await.is_ok_and(|whole| whole)
}

/// Takes in what is left of the body of an HTTP/2 request that was answered without it, within the same
/// bounds. Otherwise the stream would end by a reset behind the answer, which RFC 9113, section 8.1, has
/// clients take for the end of it; some take it for a failure all the same, and would miss a 401.
pub fn take_in(mut body: Incoming, limit: usize, within: Duration) {
    if !body.is_end_stream() {
        tokio::task::spawn_local(async move {
            // In time or not: it ends here.
            let _ = timeout(within, throw_away(&mut body, limit)).await;
        });
    }
}

/// Reads at most `limit` bytes; says whether that was all.
async fn throw_away(body: &mut Incoming, limit: usize) -> bool {
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > limit {
            return false;
        }
    }
    true
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::limits::budget::{Account, Budget};

    fn account() -> Account {
        Budget::default().of(Principal::named("alice", None).identity())
    }

    fn kept(text: &str) -> Kept {
        Kept::anyway(&account(), text.to_owned())
    }

    fn all(mut sending: Sending) -> String {
        let mut text = String::new();
        loop {
            let (bytes, is_last) = sending.next().expect("it is there");
            text.push_str(std::str::from_utf8(&bytes).expect("whole characters"));
            if is_last {
                return text;
            }
        }
    }

    #[test]
    fn an_event_cannot_be_broken_open_by_line_ends() {
        assert_eq!(all(plain(kept("{\"a\":1}"))), "event: message\ndata: {\"a\":1}\n\n");
        assert_eq!(
            all(plain(kept("{\n}\r\nevent: x"))),
            "event: message\ndata: {\ndata: }\ndata: \ndata: event: x\n\n"
        );
        let said = Said { data: Some(kept("{\r}")), id: Some("a-1".into()), ..Said::default() };
        assert_eq!(all(numbered(said)), "event: message\nid: a-1\ndata: {\ndata: }\n\n");
    }

    #[test]
    fn an_event_says_what_it_has() {
        let retry = Some(Duration::from_millis(1_500));
        let first = Said { retry, id: Some("a-0".into()), data: Some(kept("")), comment: None };
        assert_eq!(all(numbered(first)), "id: a-0\nretry: 1500\ndata: \n\n");
        let hinted = Said { retry, data: Some(kept("{}")), ..Said::default() };
        assert_eq!(all(numbered(hinted)), "event: message\nretry: 1500\ndata: {}\n\n");
        let told = Said { comment: Some("7 gone".into()), data: Some(kept("{}")), ..Said::default() };
        assert_eq!(all(numbered(told)), ": 7 gone\nevent: message\ndata: {}\n\n");
    }

    #[tokio::test]
    async fn a_long_answer_goes_in_pieces_and_what_is_left_of_it_can_be_given_up() {
        let account = account();
        let long = "€".repeat(PIECE);
        let whole = || Kept::new(&account, long.clone(), None).expect("room");
        let mut body = Body::kept(whole());
        assert_eq!(body.size_hint().exact(), Some(long.len() as u64));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame.expect("it is there").into_data().expect("data"));
        }
        assert!(read == long.as_bytes() && body.is_end_stream());
        drop(body);
        let text = whole();
        let mut body = Body::kept(text.clone());
        let first = body.frame().await.expect("a piece").expect("it is there").into_data().expect("data");
        text.give_up();
        assert_eq!(account.used(), first.len(), "what is on its way counts");
        assert_eq!(body.frame().await.expect("an end").err(), Some(GivenUp));
        drop(first);
        assert_eq!(account.used(), 0);
        // In an event, too; and one that was not begun is replaced.
        let event = Kept::or_instead(&account, long.clone(), "sorry".to_owned());
        let mut sending = plain(event.clone());
        sending.next().expect("a piece");
        event.give_up();
        assert!(sending.next().is_err());
        assert_eq!(all(plain(event)), "event: message\ndata: sorry\n\n");
    }
}
