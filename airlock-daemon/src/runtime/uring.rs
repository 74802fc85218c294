//! Streams over `io_uring`.
//!
//! A read or write that was handed to the kernel owns its buffer until it completes: a dropped future would
//! lose the bytes that arrive later, and leak the descriptor. So each stream has one reader task and one
//! writer task that are never cancelled; they reuse one buffer each, so that an operation allocates nothing.
//! Closing is `shutdown(2)`, which lets a pending read complete, after which the tasks end and the descriptor
//! is closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::Notify;
use tokio_uring::buf::{BoundedBuf, BoundedBufMut};

use super::stream::BoxStream;

/// Bytes read at most by one operation of a stream that says little. An idle connection holds a buffer of
/// this size.
const MIN_READ: usize = 16 * 1024;
/// The same for a stream that fills its buffer again and again: each operation has a price, whatever it
/// brings.
const MAX_READ: usize = 256 * 1024;
/// Bytes that may wait to be written before a writer has to wait.
const WRITE_BUFFER: usize = 256 * 1024;
/// How long what waits to be written may go on waiting once the stream was dropped.
const LINGER: Duration = Duration::from_secs(5);

/// Takes over a connected TCP socket; must be called on a `tokio_uring` runtime.
///
/// # Errors
/// When the socket refuses its options.
pub fn tcp(stream: TcpStream) -> io::Result<BoxStream> {
    stream.set_nonblocking(false)?;
    Ok(Box::new(UringStream::start(Socket::Tcp(tokio_uring::net::TcpStream::from_std(stream)))))
}

/// Takes over a connected unix socket; must be called on a `tokio_uring` runtime.
///
/// # Errors
/// When the socket refuses its options.
pub fn unix(stream: UnixStream) -> io::Result<BoxStream> {
    stream.set_nonblocking(false)?;
    Ok(Box::new(UringStream::start(Socket::Unix(tokio_uring::net::UnixStream::from_std(stream)))))
}

enum Socket {
    Tcp(tokio_uring::net::TcpStream),
    Unix(tokio_uring::net::UnixStream),
}

impl Socket {
    async fn read(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    async fn write_all(&self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Tcp(stream) => stream.write_all(buffer).await,
            Self::Unix(stream) => stream.write_all(buffer).await,
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

/// The state that the stream and its two tasks share; all on one thread.
struct RingShared {
    reading: RefCell<Reading>,
    writing: RefCell<Writing>,
    /// The reader may read again, or must end.
    wants_read: Notify,
    /// There is something to write, or the end.
    wants_write: Notify,
    /// Nobody holds the stream any more.
    dropped: Cell<bool>,
}

#[derive(Default)]
struct Reading {
    /// The bytes that were read; empty while the reader task holds the buffer.
    buffer: Vec<u8>,
    taken: usize,
    state: ReadState,
    waker: Option<Waker>,
}

#[derive(Default)]
enum ReadState {
    /// The reader task has the buffer.
    #[default]
    Busy,
    /// The buffer is here.
    Ready,
    /// The stream ended.
    End,
    /// The stream failed; told once, then it has ended.
    Failed(Option<io::Error>),
}

#[derive(Default)]
struct Writing {
    /// The bytes that wait to be written.
    queued: Vec<u8>,
    /// True where the writer task is writing.
    busy: bool,
    error: Option<io::ErrorKind>,
    /// The write side is to be shut down once all is written.
    closing: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// A stream over `io_uring`.
struct UringStream {
    socket: Rc<Socket>,
    shared: Rc<RingShared>,
}

impl UringStream {
    fn start(socket: Socket) -> Self {
        let socket = Rc::new(socket);
        let shared = Rc::new(RingShared {
            reading: RefCell::default(),
            writing: RefCell::default(),
            wants_read: Notify::new(),
            wants_write: Notify::new(),
            dropped: Cell::new(false),
        });
        tokio::task::spawn_local(attend(Rc::clone(&socket), Rc::clone(&shared)));
        tokio::task::spawn_local(write_all(Rc::clone(&socket), Rc::clone(&shared)));
        Self { socket, shared }
    }
}

/// Reads to the end, then waits for the stream to be dropped and sees to it that the writer does not wait for
/// ever on an other end that takes nothing: a write in the ring cannot be cancelled, but a socket that is
/// shut down completes it.
async fn attend(socket: Rc<Socket>, shared: Rc<RingShared>) {
    read_all(&socket, &shared).await;
    while !shared.dropped.get() {
        shared.wants_read.notified().await;
    }
    if !shared.writing.borrow().closed {
        tokio::time::sleep(LINGER).await;
        // An error means that it is shut down already.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// The reader: fills the buffer, waits until it is used up, and so on until the end.
async fn read_all(socket: &Socket, shared: &RingShared) {
    let mut size = MIN_READ;
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (result, filled) = socket.read(buffer).await;
        size = match filled.len() {
            full if full == size => (size * 2).min(MAX_READ),
            little if little < size / 8 => (size / 2).max(MIN_READ),
            _ => size,
        };
        {
            let mut reading = shared.reading.borrow_mut();
            reading.state = match result {
                Ok(0) => ReadState::End,
                Ok(_) => ReadState::Ready,
                Err(error) => ReadState::Failed(Some(error)),
            };
            reading.buffer = filled;
            reading.taken = 0;
            if let Some(waker) = reading.waker.take() {
                waker.wake();
            }
            if !matches!(reading.state, ReadState::Ready) {
                return;
            }
        }
        shared.wants_read.notified().await;
        let mut reading = shared.reading.borrow_mut();
        if !matches!(reading.state, ReadState::Busy) {
            return;
        }
        buffer = std::mem::take(&mut reading.buffer);
        buffer.clear();
        if buffer.capacity() != size {
            buffer = Vec::with_capacity(size);
        }
    }
}

/// The writer task: writes what is queued, until the stream is closed or fails.
async fn write_all(socket: Rc<Socket>, shared: Rc<RingShared>) {
    let mut spare = Vec::new();
    loop {
        let buffer = {
            let mut writing = shared.writing.borrow_mut();
            if writing.queued.is_empty() {
                writing.busy = false;
                if writing.closing && !writing.closed {
                    writing.closed = true;
                    if let Err(error) = socket.shutdown(Shutdown::Write) {
                        writing.error.get_or_insert(error.kind());
                    }
                }
                if let Some(waker) = writing.waker.take() {
                    waker.wake();
                }
                if writing.closed {
                    return;
                }
                None
            } else {
                writing.busy = true;
                Some(std::mem::replace(&mut writing.queued, std::mem::take(&mut spare)))
            }
        };
        let Some(buffer) = buffer else {
            shared.wants_write.notified().await;
            continue;
        };
        let (result, mut buffer) = socket.write_all(buffer).await;
        let mut writing = shared.writing.borrow_mut();
        if let Err(error) = result {
            writing.error = Some(error.kind());
            writing.queued = Vec::new();
            writing.busy = false;
            writing.closed = true;
            if let Some(waker) = writing.waker.take() {
                waker.wake();
            }
            return;
        }
        buffer.clear();
        // A buffer that one large answer blew up is not kept for an idle connection.
        spare = if buffer.capacity() > WRITE_BUFFER { Vec::new() } else { buffer };
        if let Some(waker) = writing.waker.take() {
            waker.wake();
        }
    }
}

impl Read for UringStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut reading = self.shared.reading.borrow_mut();
        match &mut reading.state {
            ReadState::Ready => {}
            ReadState::End => return Poll::Ready(Ok(())),
            ReadState::Failed(error) => return Poll::Ready(error.take().map_or(Ok(()), Err)),
            ReadState::Busy => {
                reading.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let available = reading.buffer.get(reading.taken..).unwrap_or_default();
        let count = available.len().min(into.remaining());
        into.put_slice(available.get(..count).unwrap_or_default());
        reading.taken += count;
        if reading.taken >= reading.buffer.len() {
            reading.state = ReadState::Busy;
            self.shared.wants_read.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for UringStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(data)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut writing = self.shared.writing.borrow_mut();
        if let Some(kind) = writing.error {
            return Poll::Ready(Err(kind.into()));
        }
        if writing.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WRITE_BUFFER.saturating_sub(writing.queued.len());
        if room == 0 {
            writing.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut count = 0;
        for slice in slices {
            let part = slice.get(..slice.len().min(room - count)).unwrap_or_default();
            writing.queued.extend_from_slice(part);
            count += part.len();
        }
        if count > 0 && !writing.busy {
            writing.busy = true;
            self.shared.wants_write.notify_one();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.shared.writing.borrow_mut();
        if let Some(kind) = writing.error {
            return Poll::Ready(Err(kind.into()));
        }
        if writing.busy || !writing.queued.is_empty() {
            writing.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.shared.writing.borrow_mut();
        if let Some(kind) = writing.error {
            return Poll::Ready(Err(kind.into()));
        }
        if writing.closed {
            return Poll::Ready(Ok(()));
        }
        writing.closing = true;
        writing.waker = Some(cx.waker().clone());
        self.shared.wants_write.notify_one();
        Poll::Pending
    }
}

impl Drop for UringStream {
    fn drop(&mut self) {
        // Bytes that `poll_write` accepted and nobody flushed are still written: the writer task ends after
        // them.
        self.shared.dropped.set(true);
        let mut writing = self.shared.writing.borrow_mut();
        writing.closing = true;
        self.shared.wants_write.notify_one();
        let pending = writing.busy || !writing.queued.is_empty();
        drop(writing);
        let mut reading = self.shared.reading.borrow_mut();
        reading.state = ReadState::End;
        reading.waker = None;
        drop(reading);
        self.shared.wants_read.notify_one();
        // A pending read completes with 0 once the socket is shut down; errors mean that it is shut down
        // already.
        let how = if pending { Shutdown::Read } else { Shutdown::Both };
        let _ = self.socket.shutdown(how);
    }
}

/// Proves at compile time that the buffers used here are buffers the ring takes.
const _: () = {
    const fn ring_buffer<T: BoundedBuf + BoundedBufMut>() {}
    ring_buffer::<Vec<u8>>();
};
