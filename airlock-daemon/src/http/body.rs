//! Bodies: bounded on the way in, whole or streamed on the way out.

use std::convert::Infallible;
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
use crate::face::outbox::{Frame as Said, Reader};
use crate::limits::streams::Places;
use crate::pipeline::{Refusal, Stage};

/// How often a silent stream says that it is alive, so that proxies on the way keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of a response.
pub enum Body {
    /// All of it, once.
    Whole(Option<Bytes>),
    /// Server-sent events, one a message. The places are given back with the body, however it ends.
    Events(mpsc::Receiver<String>, Interval, Places),
    /// Server-sent events of a legacy session, with ids.
    Numbered(Reader, Interval, Places),
}

impl Body {
    /// A body of text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// No body.
    pub const fn empty() -> Self {
        Self::Whole(None)
    }

    /// A stream of events.
    pub fn events(stream: mpsc::Receiver<String>, places: Places) -> Self {
        Self::Events(stream, ticks(), places)
    }

    /// A stream of events that the client can come back to.
    pub fn numbered(reader: Reader, places: Places) -> Self {
        Self::Numbered(reader, ticks(), places)
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(KEEP_ALIVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(stream, ticks, _) => match stream.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    ticks.reset();
                    Poll::Ready(Some(Ok(Frame::data(event(&message)))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => alive(ticks, cx),
            },
            Self::Numbered(reader, ticks, _) => match reader.poll_next(cx) {
                Poll::Ready(Some(said)) => {
                    ticks.reset();
                    Poll::Ready(Some(Ok(Frame::data(numbered(&said)))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => alive(ticks, cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(..) | Self::Numbered(..) => SizeHint::default(),
        }
    }
}

fn alive(ticks: &mut Interval, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
    ticks.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b": alive\n\n")))))
}

/// One server-sent event.
fn event(message: &str) -> Bytes {
    let mut out = String::with_capacity(message.len() + 32);
    out.push_str("event: message\n");
    data(&mut out, message);
    out.into()
}

/// One server-sent event with an id.
fn numbered(said: &Said) -> Bytes {
    let message = said.data.as_deref();
    let mut out = String::with_capacity(message.map_or(0, str::len) + 80);
    // Writing into a String cannot fail.
    if let Some(comment) = &said.comment {
        let _ = writeln!(out, ": {comment}");
    }
    if message.is_some_and(|message| !message.is_empty()) {
        out.push_str("event: message\n");
    }
    if let Some(id) = &said.id {
        let _ = writeln!(out, "id: {id}");
    }
    if let Some(retry) = said.retry {
        let _ = writeln!(out, "retry: {}", retry.as_millis());
    }
    match message {
        Some(message) => data(&mut out, message),
        None => out.push('\n'),
    }
    out.into()
}

/// The data of an event, and its end. Messages are JSON, but an upstream may break its lines: each becomes a `data:` line of
/// its own.
fn data(out: &mut String, message: &str) {
    for line in message.split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
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

/// Reads the body of an HTTP/1.1 request that is refused for its head, and throws it away: a client that is told of the refusal
/// while it still writes would find its connection closed and might never read the answer. Small bodies that come at once only:
/// for others the answer is `false`, and the connection is to be closed.
pub async fn discard(body: &mut Incoming) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    const LIMIT: usize = 64 * 1024;
    body.size_hint().lower() <= LIMIT as u64
        && timeout(PATIENCE, throw_away(body, LIMIT)).await.is_ok_and(|whole| whole)
}

/// Takes in what is left of the body of an HTTP/2 request that was answered without it, within the same bounds. Otherwise the
/// stream would end by a reset behind the answer, which RFC 9113, section 8.1, has clients take for the end of it; some take it for a
/// failure all the same, and would miss a 401.
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
pub fn json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_cannot_be_broken_open_by_line_ends() {
        assert_eq!(&event("{\"a\":1}")[..], b"event: message\ndata: {\"a\":1}\n\n");
        assert_eq!(
            &event("{\n}\r\nevent: x")[..],
            b"event: message\ndata: {\ndata: }\ndata: \ndata: event: x\n\n"
        );
        let said = Said { data: Some("{\r}".into()), id: Some("a-1".into()), ..Said::default() };
        assert_eq!(&numbered(&said)[..], b"event: message\nid: a-1\ndata: {\ndata: }\n\n");
    }

    #[test]
    fn an_event_says_what_it_has() {
        let retry = Some(Duration::from_millis(1_500));
        let first = Said { retry, id: Some("a-0".into()), data: Some("".into()), comment: None };
        assert_eq!(&numbered(&first)[..], b"id: a-0\nretry: 1500\ndata: \n\n");
        let hint = Said { retry, ..Said::default() };
        assert_eq!(&numbered(&hint)[..], b"retry: 1500\n\n");
        let told = Said { comment: Some("7 gone".into()), data: Some("{}".into()), ..Said::default() };
        assert_eq!(&numbered(&told)[..], b": 7 gone\nevent: message\ndata: {}\n\n");
    }
}
