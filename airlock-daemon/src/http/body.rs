//! Bodies: bounded on the way in, whole or streamed on the way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::pipeline::{Refusal, Stage};

/// How often a silent stream says that it is alive, so that proxies on the way keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of a response.
pub enum Body {
    /// All of it, once.
    Whole(Option<Bytes>),
    /// Server-sent events, one a message.
    Events(mpsc::Receiver<String>, Interval),
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
    pub fn events(stream: mpsc::Receiver<String>) -> Self {
        let mut ticks = interval(KEEP_ALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Self::Events(stream, ticks)
    }
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
            Self::Events(stream, ticks) => match stream.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    ticks.reset();
                    Poll::Ready(Some(Ok(Frame::data(event(&message)))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => {
                    ticks.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b": alive\n\n")))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(..) => SizeHint::default(),
        }
    }
}

/// One server-sent event. Messages are JSON, but an upstream may break its lines: each becomes a `data:` line of its own.
fn event(message: &str) -> Bytes {
    let mut out = String::with_capacity(message.len() + 32);
    out.push_str("event: message\n");
    for line in message.split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out.into()
}

/// Reads a request's body, at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer, 400 when it breaks off.
pub async fn collect(body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        let reason = format!("the body is larger than {limit} bytes (server.max_request_bytes)");
        Refusal::new(Stage::Http, StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            Err(Refusal::new(Stage::Http, StatusCode::BAD_REQUEST, "the body could not be read to its end"))
        }
    }
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
    }
}
