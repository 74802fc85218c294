//! A client's connection under watch: bytes that were read too early are given back, and it is seen whether
//! the client still takes what it is sent. Neither clock nor timer is touched on the way of a byte.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::stream::BoxStream;

/// The life on a connection; looked at from time to time.
#[derive(Debug, Default)]
pub struct Activity {
    /// Goes on with everything that the client took.
    taken: Cell<u64>,
    /// The client has yet to take something.
    waiting: Cell<bool>,
}

impl Activity {
    /// How much was taken so far, if something waits to be: the same figure twice means that nothing was
    /// taken between.
    pub fn waiting(&self) -> Option<u64> {
        self.waiting.get().then(|| self.taken.get())
    }

    fn note<T>(&self, result: &Poll<T>) {
        match result {
            Poll::Pending => self.waiting.set(true),
            Poll::Ready(_) if self.waiting.replace(false) => self.taken.set(self.taken.get().wrapping_add(1)),
            Poll::Ready(_) => {}
        }
    }
}

/// The connection.
pub struct Watched {
    stream: BoxStream,
    /// Read already, and not yet given on.
    early: Vec<u8>,
    given: usize,
    activity: Rc<Activity>,
}

impl Watched {
    /// Puts a connection under watch; `early` was read from it already.
    pub fn new(stream: BoxStream, early: Vec<u8>) -> Self {
        Self { stream, early, given: 0, activity: Rc::default() }
    }

    /// Its life.
    pub fn activity(&self) -> Rc<Activity> {
        Rc::clone(&self.activity)
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let rest = self.early.get(self.given..).unwrap_or_default();
        let count = rest.len().min(into.remaining());
        into.put_slice(rest.get(..count).unwrap_or_default());
        self.given += count;
        if self.given >= self.early.len() {
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        self.activity.note(&result);
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
        self.activity.note(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.note(&result);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.activity.note(&result);
        result
    }
}
