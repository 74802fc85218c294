//! Questions to the kernel over netlink, whose answers come before the question returns. See netlink(7).

pub(super) mod sock_diag;

use std::io;

use rustix::net::netlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `NLM_F_REQUEST`, and `NLM_F_DUMP` for all there are.
pub(super) const REQUEST: u16 = 0x1;
pub(super) const DUMP: u16 = 0x300;
/// The kinds of messages that end an answer: `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The bits that the kernel sets in the kind of an attribute beside the kind: `NLA_F_NESTED` and
/// `NLA_F_NET_BYTEORDER`.
const KIND_FLAGS: u16 = 0xc000;
/// No part of an answer comes near.
const PART: usize = 64 * 1024;

/// A message: its kind, and what is in it.
pub(super) type Message = (u16, Vec<u8>);

/// The protocol of sockets' diagnosis; that of interfaces is 0.
pub(super) const SOCK_DIAG: Option<Protocol> = Some(netlink::SOCK_DIAG);
pub(super) const ROUTE: Option<Protocol> = None;

/// Asks, and collects the answer.
///
/// # Errors
/// Also what the kernel answers with: `NLMSG_ERROR`.
pub(super) fn ask(of: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Message>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, of)?;
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((flags | REQUEST).to_ne_bytes());
    // Sequence and port: there is one question on this socket.
    request.extend([0; 8]);
    request.extend(body);
    send(&socket, &request, SendFlags::empty())?;
    let mut messages = Vec::new();
    let mut part = vec![0; PART];
    loop {
        let (length, _) = recv(&socket, &mut *part, RecvFlags::DONTWAIT)?;
        for (kind, body) in split(part.get(..length).unwrap_or_default()) {
            match kind {
                ERROR => return Err(error(body)),
                // The message that ends a dump says whether it is whole.
                DONE if body.first_chunk() != Some(&[0; 4]) && !body.is_empty() => return Err(error(body)),
                DONE => return Ok(messages),
                _ => messages.push((kind, body.to_vec())),
            }
        }
        if flags & DUMP != DUMP {
            return Ok(messages);
        }
    }
}

/// The error that ends a question: the first word of its message is an error number, below zero.
fn error(body: &[u8]) -> io::Error {
    let number = body.first_chunk().map_or(0, |word| i32::from_ne_bytes(*word));
    io::Error::from_raw_os_error(number.checked_neg().unwrap_or_default())
}

/// The kinds and contents of messages, up to the end or the first that is broken.
fn split(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The kinds and values of attributes, up to the end or the first that is broken.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let number = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(number(0)?), number(2)?);
        let value = bytes.get(4..length)?;
        // Each begins at a multiple of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !KIND_FLAGS, value))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An attribute as the kernel writes it.
    pub(in super::super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn what_is_cut_ends_the_list_and_nothing_stays_where_it_is() {
        let whole = [attribute(2, &[1]), attribute(7 | 0x8000, b"12345")].concat();
        let read =
            |bytes: &[u8]| attributes(bytes).map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>();
        assert_eq!(read(&whole), [(2, vec![1]), (7, b"12345".to_vec())]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).len() < 3, "{length}");
        }
        assert_eq!(read(&[0; 64]), []);
        assert_eq!(split(&[0; 64]).count(), 0);
        let mut message = 20_u32.to_ne_bytes().to_vec();
        message.extend([9, 0, 0, 0]);
        message.resize(16, 0);
        message.extend(b"body");
        assert_eq!(split(&message).collect::<Vec<_>>(), [(9, &b"body"[..])]);
        assert_eq!(split(&message[..19]).count(), 0);
    }

    #[test]
    fn a_question_that_the_kernel_does_not_know_is_an_error() {
        let error = ask(SOCK_DIAG, 99, 0, &[0; 8]).expect_err("no such kind");
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
