//! The end of a connection whose client still writes: what it was told must reach it.
//!
//! A request may be answered before it was read to its end: its head was enough to refuse it, or its body is
//! too large. A socket that is closed with bytes in it that nobody has read is reset by the kernel, and the
//! reset overtakes the answer: the client sees a broken pipe instead of the reason. So the writing half is
//! closed first, and what comes is read and thrown away until the client has closed its own, within bounds
//! (RFC 9112, section 9.6).

use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How much is thrown away.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Bytes at most.
    bytes: usize,
    /// For how long at most.
    time: Duration,
    /// A client that is silent for so long has no more to say.
    silence: Duration,
}

/// Far above the largest body that a client sends by mistake; no longer than a body that is wanted may take.
const BOUNDS: Bounds =
    Bounds { bytes: 32 * 1024 * 1024, time: Duration::from_secs(30), silence: Duration::from_secs(2) };

/// Bytes of one read.
const PIECE: usize = 16 * 1024;
/// Reads in one turn of the worker.
const TURN: usize = 16;

/// The rest of a connection after its last answer: how much of it is still read, and until when.
#[derive(Debug)]
pub(super) struct Linger {
    left: usize,
    end: Instant,
    silence: Duration,
    /// None until the client was silent for the first time.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Linger {
    /// From now on.
    pub(super) fn new() -> Self {
        Self::within(BOUNDS)
    }

    fn within(Bounds { bytes, time, silence }: Bounds) -> Self {
        Self { left: bytes, end: Instant::now() + time, silence, alarm: None }
    }

    /// Throws away what comes from `stream`, until there is nothing more or a bound is reached.
    pub(super) fn poll<S: Read + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN {
            let mut room = [const { MaybeUninit::uninit() }; PIECE];
            let mut piece = ReadBuf::uninit(&mut room);
            match pin!(&mut *stream).poll_read(cx, piece.unfilled()) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    let (count, now) = (piece.filled().len(), Instant::now());
                    if count >= self.left || now >= self.end {
                        return Poll::Ready(());
                    }
                    self.left -= count;
                    if let Some(alarm) = &mut self.alarm {
                        alarm.as_mut().reset(self.end.min(now + self.silence));
                    }
                }
                // It has closed its half, or is gone.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let until = self.end.min(Instant::now() + self.silence);
                    let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
                    return alarm.as_mut().poll(cx);
                }
            }
        }
        // The others of this worker first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;
    use std::future::poll_fn;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_mins(10);

    fn pair() -> (DuplexStream, TokioIo<DuplexStream>) {
        let (client, served) = duplex(8 * PIECE);
        (client, TokioIo::new(served))
    }

    async fn to_the_end(
        mut stream: TokioIo<DuplexStream>,
        bytes: usize,
        time: Duration,
        silence: Duration,
    ) -> Linger {
        let mut linger = Linger::within(Bounds { bytes, time, silence });
        poll_fn(|cx| linger.poll(&mut stream, cx)).await;
        linger
    }

    #[tokio::test]
    async fn it_ends_with_the_client() {
        let (mut client, served) = pair();
        let writes = async {
            client.write_all(&vec![b'x'; 50 * PIECE]).await.expect("it is read");
            drop(client);
        };
        let (linger, ()) = tokio::join!(to_the_end(served, 60 * PIECE, LONG, LONG), writes);
        assert_eq!(linger.left, 10 * PIECE);
    }

    #[tokio::test]
    async fn a_client_that_stays_silent_is_not_waited_for() {
        let (mut client, served) = pair();
        client.write_all(b"x").await.expect("there is room");
        assert_eq!(to_the_end(served, 60, LONG, SHORT).await.left, 59);
    }

    #[tokio::test]
    async fn one_that_never_ends_is_cut() {
        // A connection that is cut is dropped, which the client sees.
        let (mut client, served) = pair();
        let floods = async { while client.write_all(&[b'x'; PIECE]).await.is_ok() {} };
        let (linger, ()) = tokio::join!(to_the_end(served, 50 * PIECE, LONG, LONG), floods);
        assert_eq!(linger.left, PIECE);

        let (mut client, served) = pair();
        let drips = async {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SHORT / 5).await;
            }
        };
        let (linger, ()) = tokio::join!(to_the_end(served, usize::MAX, 4 * SHORT, LONG), drips);
        assert!(linger.left < usize::MAX);
    }
}
