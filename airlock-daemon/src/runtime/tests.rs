//! Both kinds of streams keep the same promises.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::backend::{Backend, choose};
use super::stream::split;
use crate::config::schema::Io;

/// Runs a test on every kind of I/O that this host has.
fn on_each(test: impl AsyncFn(Backend)) {
    let mut kinds = vec![Backend::Epoll];
    match choose(Io::IoUring) {
        Ok(choice) => kinds.push(choice.backend),
        Err(error) => crate::skip::skip(&format!("only on epoll: {error}")),
    }
    for kind in kinds {
        kind.run(test(kind)).expect("a runtime");
    }
}

/// Bytes that show when some are lost, repeated or out of order.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 7 + at) % 251).expect("below 251")).collect()
}

#[test]
fn bytes_arrive_whole_and_in_order() {
    on_each(async |kind| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let peer = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).expect("their end");
            // In pieces, so that reads find less, and more, than a buffer.
            for chunk in all.chunks(100_003) {
                theirs.write_all(chunk).expect("our end");
            }
        });
        let (mut reader, mut writer) = split(kind.unix(ours).expect("a stream"));
        let sent = pattern(3_000_017);
        for chunk in sent.chunks(70_001) {
            writer.write_all(chunk).await.expect("written");
        }
        writer.shutdown().await.expect("closed");
        let mut received = Vec::new();
        while reader.read(&mut received).await.expect("read") > 0 {}
        assert!(received == sent, "{kind}: {} of {} bytes", received.len(), sent.len());
        peer.join().expect("no panic");
    });
}

#[test]
fn what_was_written_before_a_drop_is_delivered() {
    on_each(async |kind| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (reader, mut writer) = split(kind.unix(ours).expect("a stream"));
        writer.write_all(b"the last word").await.expect("written");
        drop((reader, writer));
        let all = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all)
        });
        assert_eq!(all.await.expect("no panic").expect("the end of the stream"), b"the last word", "{kind}");
    });
}

#[test]
fn a_stream_dropped_with_a_read_pending_is_closed() {
    on_each(async |kind| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (mut reader, writer) = split(kind.unix(ours).expect("a stream"));
        let mut buffer = Vec::new();
        let mut reading = Box::pin(reader.read(&mut buffer));
        // Polled once, so that the kernel has the read; nothing is there to complete it.
        let pending = is_pending_once(reading.as_mut()).await;
        assert!(pending, "{kind}: nothing was sent");
        drop(reading);
        drop((reader, writer));
        let end = tokio::task::spawn_blocking(move || theirs.read(&mut [0; 1]));
        assert_eq!(end.await.expect("no panic").expect("closed, not broken"), 0, "{kind}");
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_for_the_writer_and_the_end_for_the_reader() {
    on_each(async |kind| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (mut reader, mut writer) = split(kind.unix(ours).expect("a stream"));
        drop(theirs);
        assert_eq!(reader.read(&mut Vec::new()).await.expect("the end"), 0, "{kind}");
        // The first write may still be taken; a later one is not.
        let mut failed = false;
        for _ in 0..3 {
            failed |= writer.write_all(b"hello?").await.is_err();
        }
        assert!(failed, "{kind}");
    });
}

/// Polls a future once; says whether it is still pending.
async fn is_pending_once<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx).is_pending()))
        .await
}
