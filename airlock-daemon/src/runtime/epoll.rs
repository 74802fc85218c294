//! Streams over epoll: tokio's sockets, for hosts whose kernel or sandbox refuses `io_uring`.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use hyper_util::rt::TokioIo;

use super::stream::BoxStream;

/// Takes over a connected TCP socket; must be called on a tokio runtime.
///
/// # Errors
/// When the runtime refuses the descriptor.
pub fn tcp(stream: TcpStream) -> io::Result<BoxStream> {
    stream.set_nonblocking(true)?;
    Ok(Box::new(TokioIo::new(tokio::net::TcpStream::from_std(stream)?)))
}

/// Takes over a connected unix socket; must be called on a tokio runtime.
///
/// # Errors
/// When the runtime refuses the descriptor.
pub fn unix(stream: UnixStream) -> io::Result<BoxStream> {
    stream.set_nonblocking(true)?;
    Ok(Box::new(TokioIo::new(tokio::net::UnixStream::from_std(stream)?)))
}
