//! The requests of one HTTP/2 connection: whether there are any, and whether the client still takes their
//! answers.
//!
//! In HTTP/2 a client can go on reading from the connection and yet give an answer no room in its window.
//! Nobody would notice: no byte waits on the socket.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::limits::kept::GivenUp;

use super::body::Body;

/// Bytes of an answer that are handed over at a time, so that an answer is asked for as fast as it is taken.
const CHUNK: usize = 32 * 1024;

/// Runs what hyper starts beside a connection on the connection's worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: RefCell<Vec<Weak<Beat>>>,
    /// Requests that came so far.
    count: Cell<u64>,
    /// The same when it was last asked whether the connection is idle.
    last_count: Cell<Option<u64>>,
}

/// The signs of life of one request.
#[derive(Debug, Default)]
struct Beat {
    /// Parts of the answer that were handed over.
    given: Cell<u64>,
    /// A part was handed over, and the next was not asked for yet: the client has no room for it.
    blocked: Cell<bool>,
    /// `given` when it was last asked whether the client takes anything.
    last: Cell<Option<u64>>,
}

/// A request, until its answer has been handed over.
#[derive(Debug)]
pub(super) struct Stream(Rc<Beat>);

impl Streams {
    /// A request has come.
    pub(super) fn open(&self) -> Stream {
        let beat = Rc::new(Beat::default());
        let mut open = self.open.borrow_mut();
        // As many are kept as can be open at a time, and a few that have ended.
        if open.len() == open.capacity() {
            open.retain(|beat| beat.strong_count() > 0);
        }
        open.push(Rc::downgrade(&beat));
        self.count.set(self.count.get() + 1);
        Stream(beat)
    }

    /// True where an answer waits for its client as it did when this was asked the last time.
    pub(super) fn is_stalled(&self) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|beat| beat.strong_count() > 0);
        let mut stalled = false;
        for beat in open.iter().filter_map(Weak::upgrade) {
            let now = beat.blocked.get().then(|| beat.given.get());
            stalled |= now.is_some() && beat.last.replace(now) == now;
        }
        stalled
    }

    /// True where nothing is under way, and nothing has come since this was asked the last time.
    pub(super) fn is_idle(&self) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|beat| beat.strong_count() > 0);
        let count = Some(self.count.get());
        self.last_count.replace(count) == count && open.is_empty()
    }
}

impl Stream {
    /// The answer, under watch.
    pub(super) fn carry(self, body: Body) -> Carried {
        Carried { body, rest: Bytes::new(), stream: self }
    }
}

/// An answer under watch.
pub(super) struct Carried {
    body: Body,
    /// The bytes that were taken out of the body and not handed over yet.
    rest: Bytes,
    stream: Stream,
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        self.stream.0.blocked.set(false);
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let count = self.rest.len().min(CHUNK);
        let part = self.rest.split_to(count);
        let beat = &self.stream.0;
        beat.given.set(beat.given.get().wrapping_add(1));
        beat.blocked.set(true);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        let rest = self.rest.len() as u64;
        inner.exact().map_or_else(SizeHint::default, |exact| SizeHint::with_exact(exact + rest))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_noticed_and_one_that_is_stays_whole() {
        let streams = Streams::default();
        let text = (0..20_000).map(|n: u32| n.to_string()).collect::<Vec<_>>().join(";");
        let mut body = streams.open().carry(Body::text(text.clone()));
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        assert!(!streams.is_stalled() && !streams.is_stalled(), "its answer has not been asked for yet");
        let first = body.frame().await.expect("a part").expect("infallible").into_data().expect("data");
        assert!(!streams.is_stalled(), "asked for the first time");
        let second = body.frame().await.expect("a part").expect("infallible").into_data().expect("data");
        assert!(!streams.is_stalled(), "something was taken since");
        assert!(streams.is_stalled() && !streams.is_idle());
        assert_eq!(body.size_hint().exact(), Some((text.len() - 2 * CHUNK) as u64));
        let rest = body.collect().await.expect("infallible").to_bytes();
        assert!([first, second, rest].concat() == text.as_bytes());
        assert!(!streams.is_stalled());
    }

    #[tokio::test]
    async fn a_connection_is_idle_once_nothing_came_for_a_while() {
        let streams = Streams::default();
        assert!(!streams.is_idle(), "asked for the first time");
        assert!(streams.is_idle(), "nothing ever came");
        let stream = streams.open();
        assert!(!streams.is_idle() && !streams.is_idle(), "it is under way");
        drop(stream);
        assert!(streams.is_idle());
        drop(streams.open());
        assert!(!streams.is_idle(), "one came since");
        assert!(streams.is_idle());
    }
}
