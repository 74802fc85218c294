//! The one seam between the pipeline and the kernel's way of moving bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use hyper::rt::{Read, ReadBuf, Write};

/// A connected byte stream of one worker thread.
///
/// Implementations: [`super::uring`] and [`super::epoll`]. Dropping a stream closes the connection; no
/// implementation may cancel an operation that the kernel still holds a buffer of.
pub trait Stream: Read + Write + Unpin + 'static {}

impl<T: Read + Write + Unpin + 'static> Stream for T {}

/// A stream whose implementation was chosen at start.
pub type BoxStream = Box<dyn Stream>;

/// Bytes that the first read of a half asks for. Room is zeroed before it is read into, so it is kept near
/// what comes.
const MIN_CHUNK: usize = 4 * 1024;
/// Bytes that a read asks for at most.
const MAX_CHUNK: usize = 256 * 1024;

/// Reads what has come into `buffer`; 0 at the end of the stream.
///
/// # Errors
/// The stream's.
pub async fn read_some(stream: &mut BoxStream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut into = ReadBuf::new(&mut *buffer);
        ready!(Pin::new(&mut *stream).poll_read(cx, into.unfilled()))?;
        Poll::Ready(Ok(into.filled().len()))
    })
    .await
}

/// The reading half of a stream.
pub struct ReadHalf {
    stream: Rc<RefCell<BoxStream>>,
    /// Bytes that the next read asks for.
    chunk: usize,
}

/// The writing half of a stream.
pub struct WriteHalf(Rc<RefCell<BoxStream>>);

/// Lets one task read and another write.
pub fn split(stream: BoxStream) -> (ReadHalf, WriteHalf) {
    let stream = Rc::new(RefCell::new(stream));
    (ReadHalf { stream: Rc::clone(&stream), chunk: MIN_CHUNK }, WriteHalf(stream))
}

impl ReadHalf {
    /// Reads what has come onto the end of `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    /// The stream's.
    pub async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let start = buffer.len();
        buffer.resize(start + self.chunk, 0);
        let result = poll_fn(|cx| {
            let mut into = ReadBuf::new(buffer.get_mut(start..).unwrap_or_default());
            let mut stream = self.stream.borrow_mut();
            ready!(Pin::new(&mut *stream).poll_read(cx, into.unfilled()))?;
            Poll::Ready(io::Result::Ok(into.filled().len()))
        })
        .await;
        let count = result.as_ref().copied().unwrap_or(0);
        buffer.truncate(start + count);
        self.chunk = match count {
            full if full == self.chunk => (self.chunk * 2).min(MAX_CHUNK),
            little if little < self.chunk / 8 => (self.chunk / 2).max(MIN_CHUNK),
            _ => self.chunk,
        };
        result
    }
}

impl WriteHalf {
    /// Writes all of `data` and flushes it.
    ///
    /// # Errors
    /// The stream's.
    pub async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, data)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            data = data.get(count..).unwrap_or_default();
        }
        poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)).await
    }

    /// Tells the other side that nothing more comes.
    ///
    /// # Errors
    /// The stream's.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)).await
    }
}
