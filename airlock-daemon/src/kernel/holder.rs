//! Which XDP program has an interface, as rtnetlink tells it: the loader library attaches programs and does not ask.

use aya::programs::loaded_programs;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `RTM_GETLINK`, its answer `RTM_NEWLINK`, and `NLM_F_REQUEST`.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const REQUEST: u16 = 1;
/// The length of `struct nlmsghdr`, and that of `struct ifinfomsg` behind it.
const HEADER: usize = 16;
const INTERFACE: usize = 16;
/// `IFLA_XDP`, and in it the numbers of programs: of the only mode (`IFLA_XDP_PROG_ID`), or of each.
const XDP: u16 = 43;
const PROGRAMS: std::ops::RangeInclusive<u16> = 4..=7;
/// What the kernel sets in the kind of an attribute beside the kind: `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND_FLAGS: u16 = 0xc000;
/// No answer about one interface comes near.
const ANSWER: usize = 64 * 1024;

/// The XDP program of an interface of the calling thread's network namespace: its number, and its name if we may know it.
pub(super) fn of(index: u32) -> Option<String> {
    let id = program(&answer(index)?)?;
    // Without CAP_SYS_ADMIN there is only the number.
    let mut programs = loaded_programs().filter_map(Result::ok);
    let name = programs.find(|program| program.id() == id);
    let name = name.as_ref().and_then(|program| program.name_as_str()).filter(|name| !name.is_empty());
    Some(name.map_or_else(|| format!("program {id}"), |name| format!("program {id}, `{name}`")))
}

/// What the kernel says of an interface.
fn answer(index: u32) -> Option<Vec<u8>> {
    // `NETLINK_ROUTE` is the protocol 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).ok()?;
    send(&socket, &request(index), SendFlags::empty()).ok()?;
    let mut answer = vec![0; ANSWER];
    // Who asks about one interface is answered before the request returns.
    let (length, _) = recv(&socket, &mut *answer, RecvFlags::DONTWAIT).ok()?;
    answer.truncate(length);
    Some(answer)
}

fn request(index: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER + INTERFACE);
    request.extend(32_u32.to_ne_bytes());
    request.extend(GET_LINK.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    // Sequence and port: there is one question on this socket. Then family and type, of any kind.
    request.extend([0; 12]);
    request.extend(index.to_ne_bytes());
    request.extend([0; 8]);
    request
}

/// The number of the program in an answer.
fn program(answer: &[u8]) -> Option<u32> {
    if u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?) != NEW_LINK {
        return None;
    }
    let (_, xdp) = attributes(answer.get(HEADER + INTERFACE..)?).find(|(kind, _)| *kind == XDP)?;
    attributes(xdp)
        .filter(|(kind, _)| PROGRAMS.contains(kind))
        .filter_map(|(_, value)| Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?)))
        .find(|id| *id != 0)
}

/// The kinds and values of attributes, up to the end or the first that is broken.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + INTERFACE];
        bytes[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn the_program_is_found_behind_other_attributes_and_in_every_mode() {
        let name = attribute(3, b"eth0\0");
        for (kind, flags) in [(4, 0), (5, 0x8000), (6, 0x8000)] {
            let xdp = [attribute(2, &[1]), attribute(kind, &77_u32.to_ne_bytes())].concat();
            let answer = link(&[name.clone(), attribute(XDP | flags, &xdp)].concat());
            assert_eq!(program(&answer), Some(77), "{kind}");
        }
        assert_eq!(program(&link(&[name, attribute(XDP, &attribute(2, &[0]))].concat())), None);
    }

    #[test]
    fn what_is_cut_or_an_error_names_nobody() {
        let whole = link(&attribute(XDP, &attribute(4, &77_u32.to_ne_bytes())));
        for length in 0..whole.len() {
            assert_eq!(program(&whole[..length]), None, "{length}");
        }
        // A length of nothing does not stay where it is.
        assert_eq!(program(&link(&[0; 64])), None);
        let mut error = whole;
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(program(&error), None);
    }

    #[test]
    fn the_kernel_answers_and_loopback_has_no_program() {
        let answer = answer(1).expect("an answer about loopback");
        assert_eq!(answer[4..6], NEW_LINK.to_ne_bytes());
        assert_eq!(of(1), None);
        assert_eq!(of(u32::MAX), None);
    }
}
