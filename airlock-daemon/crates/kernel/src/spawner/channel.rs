//! Messages with descriptors over a pair of sockets that keep the borders of messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::message::{ANSWER, Answer, Request};

/// Descriptors that are looked at with one message. The kernel closes those beyond, and says so.
const DESCRIPTORS: usize = 8;

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
    /// There was more of it than a message can have.
    pub(crate) is_cut: bool,
}

/// Both ends of a channel.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message.
pub(crate) fn send(to: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    loop {
        match sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            done => return done.map(|_| ()).map_err(io::Error::from),
        }
    }
}

/// The next message; none when the other end is closed.
pub(crate) fn receive(from: &OwnedFd) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; ANSWER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let received = match recvmsg(from, &mut pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        // An empty message looks like the end.
        if received.bytes == 0 && fds.is_empty() && is_closed(from) {
            return Ok(None);
        }
        let is_cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
        bytes.truncate(received.bytes);
        return Ok(Some(Message { bytes, fds, is_cut }));
    }
}

/// Asks, and waits for the answer.
pub(crate) fn ask(
    on: &OwnedFd,
    request: Request,
    fds: &[BorrowedFd<'_>],
) -> io::Result<(Answer, Vec<OwnedFd>)> {
    send(on, &request.encode(), fds)?;
    answer(on)
}

/// Waits for an answer.
pub(crate) fn answer(on: &OwnedFd) -> io::Result<(Answer, Vec<OwnedFd>)> {
    match receive(on) {
        Ok(Some(message)) => {
            Answer::decode(&message.bytes).map(|answer| (answer, message.fds)).ok_or_else(unknown)
        }
        Ok(None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its socket is closed")),
        Err(error) => Err(error),
    }
}

/// An answer that nobody expects.
pub(crate) fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its answer is not understood")
}

/// True where the other end is closed.
pub(crate) fn is_closed(socket: impl AsFd) -> bool {
    look(&socket, PollFlags::RDHUP, Duration::ZERO)
        .intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR)
}

/// True where there is something to read, or, of a process, where it has ended.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    wait_readable(fd, Duration::ZERO)
}

/// The same, when it is so, or after a time.
pub(crate) fn wait_readable(fd: impl AsFd, within: Duration) -> bool {
    look(&fd, PollFlags::IN, within).intersects(PollFlags::IN)
}

fn look(fd: &impl AsFd, wanted: PollFlags, within: Duration) -> PollFlags {
    let mut fds = [PollFd::new(fd, wanted)];
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut fds, Some(&Timespec::try_from(left).unwrap_or_default())) {
            Ok(_) => return fds[0].revents(),
            Err(Errno::INTR) => {}
            Err(_) => return PollFlags::empty(),
        }
    }
}
