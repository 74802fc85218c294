//! Which XDP program has an interface, as rtnetlink tells it: the loader library attaches programs and does
//! not ask.

use aya::programs::loaded_programs;

use crate::netlink::{ROUTE, ask, attributes};

/// `RTM_GETLINK`, and its answer `RTM_NEWLINK`.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// The length of `struct ifinfomsg`.
const INTERFACE: usize = 16;
/// `IFLA_XDP`, and in it the numbers of programs: of the only mode (`IFLA_XDP_PROG_ID`), or of each.
const XDP: u16 = 43;
const PROGRAMS: std::ops::RangeInclusive<u16> = 4..=7;

/// The XDP program of an interface of the calling thread's network namespace: its number, and its name if we
/// may know it.
pub(crate) fn of(index: u32) -> Option<String> {
    let id = program(&answer(index)?)?;
    // Without CAP_SYS_ADMIN there is only the number.
    let mut programs = loaded_programs().filter_map(Result::ok);
    let name = programs.find(|program| program.id() == id);
    let name = name.as_ref().and_then(|program| program.name_as_str()).filter(|name| !name.is_empty());
    Some(name.map_or_else(|| format!("program {id}"), |name| format!("program {id}, `{name}`")))
}

/// The kernel's facts on an interface.
fn answer(index: u32) -> Option<Vec<u8>> {
    // Family and type, of any kind.
    let mut request = vec![0; INTERFACE];
    request.get_mut(4..8)?.copy_from_slice(&index.to_ne_bytes());
    let messages = ask(ROUTE, GET_LINK, 0, &request).ok()?;
    messages.into_iter().find(|(kind, _)| *kind == NEW_LINK).map(|(_, link)| link)
}

/// The number of the program in an answer.
fn program(link: &[u8]) -> Option<u32> {
    let (_, xdp) = attributes(link.get(INTERFACE..)?).find(|(kind, _)| *kind == XDP)?;
    attributes(xdp)
        .filter(|(kind, _)| PROGRAMS.contains(kind))
        .filter_map(|(_, value)| Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?)))
        .find(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::attribute;

    fn link(attributes: &[u8]) -> Vec<u8> {
        [&[0; INTERFACE][..], attributes].concat()
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
    fn what_is_cut_names_nobody() {
        let whole = link(&attribute(XDP, &attribute(4, &77_u32.to_ne_bytes())));
        for length in 0..whole.len() {
            assert_eq!(program(&whole[..length]), None, "{length}");
        }
        // A length of nothing does not stay where it is.
        assert_eq!(program(&link(&[0; 64])), None);
    }

    #[test]
    fn the_kernel_answers_and_loopback_has_no_program() {
        assert!(answer(1).is_some(), "an answer about loopback");
        assert_eq!(of(1), None);
        assert_eq!(of(u32::MAX), None);
    }
}
