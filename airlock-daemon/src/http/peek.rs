//! Reading through: what a stream gives is looked at on its way, and neither copied nor changed.
#![allow(unsafe_code)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor};

/// Reads from `stream` into `into`, and shows what was read to `seen` before anybody else has it.
pub(super) fn poll_read<S: Read + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    mut into: ReadBufCursor<'_>,
    seen: impl FnOnce(&[u8]),
) -> Poll<io::Result<()>> {
    // SAFETY: the slice goes into a `ReadBuf` as not initialised and nowhere else, which writes initialised
    // bytes only.
    let mut buffer = ReadBuf::uninit(unsafe { into.as_mut() });
    ready!(Pin::new(stream).poll_read(cx, buffer.unfilled()))?;
    let filled = buffer.filled();
    seen(filled);
    let count = filled.len();
    // SAFETY: the read above has filled so many bytes from the cursor's place on.
    unsafe { into.advance(count) };
    Poll::Ready(Ok(()))
}
