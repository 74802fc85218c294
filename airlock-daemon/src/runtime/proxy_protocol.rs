//! The PROXY protocol, versions 1 and 2, as the document `proxy-protocol.txt` of haproxy defines it: what a
//! proxy says about its client in front of everything that the client says.
//!
//! Nothing is guessed: whether a header comes is known from the configuration, and one that is not exactly as
//! it should be ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1 in bytes, with its line end (section 2.1).
const MAX_V1: usize = 107;
/// Length of the fixed part of version 2 in bytes.
const FIXED_V2: usize = 16;
/// Longest part behind it that is taken: addresses of IPv6, and 500 bytes of what else a proxy may want to
/// tell.
const MAX_V2: usize = 536;
/// Most bytes of a header of either version.
pub const MAX_HEADER: usize = FIXED_V2 + MAX_V2;

/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How a header of version 1 begins.
const PREFIX: &[u8] = b"PROXY ";

/// The bytes that have come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Partial,
    /// A header.
    Whole {
        /// Its length in bytes; behind it the client speaks.
        length: usize,
        /// The client. None where the proxy speaks for itself (`LOCAL`, `UNKNOWN`), as for its health checks.
        source: Option<SocketAddr>,
    },
}

/// Why it is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something else was said first.
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    /// It goes on for too long.
    #[error("the PROXY header is longer than is taken")]
    TooLong,
    /// A version, command, family or transport that is not one of a TCP connection.
    #[error("the PROXY header is of a kind that is not taken: TCP over IPv4 or IPv6 is")]
    Kind,
    /// Its parts are not what they should be.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Reads a header at the beginning of `bytes`.
///
/// # Errors
/// [`Fault`], as soon as it is clear that no good header will come of it.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    if begins_like(bytes, &SIGNATURE) {
        version_2(bytes)
    } else if begins_like(bytes, PREFIX) {
        version_1(bytes)
    } else {
        Err(Fault::Absent)
    }
}

/// True where `bytes` agree with `pattern` as far as both go.
fn begins_like(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(a, b)| a == b)
}

fn version_1(bytes: &[u8]) -> Result<Parsed, Fault> {
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == MAX_V1 { Err(Fault::TooLong) } else { Ok(Parsed::Partial) };
    };
    let line =
        window.get(PREFIX.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Fault::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Fault::Malformed)?;
    let length = end + 1;
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    if kind == "UNKNOWN" {
        // The rest is to be ignored.
        return Ok(Parsed::Whole { length, source: None });
    }
    let mut word = || words.next().ok_or(Fault::Malformed);
    let (source, destination) = (word()?, word()?);
    let (port, other_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(Fault::Malformed);
    }
    let (source, _) = match kind {
        "TCP4" => (v4(source)?, v4(destination)?),
        "TCP6" => (v6(source)?, v6(destination)?),
        _ => return Err(Fault::Kind),
    };
    let (port, _) = (number(port)?, number(other_port)?);
    Ok(Parsed::Whole { length, source: Some(SocketAddr::new(source, port)) })
}

fn v4(word: &str) -> Result<IpAddr, Fault> {
    word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Fault::Malformed)
}

fn v6(word: &str) -> Result<IpAddr, Fault> {
    word.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Fault::Malformed)
}

/// A port in decimal, without sign and leading zeros.
fn number(word: &str) -> Result<u16, Fault> {
    let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain).ok_or(Fault::Malformed)
}

fn version_2(bytes: &[u8]) -> Result<Parsed, Fault> {
    let local = match bytes.get(12) {
        None => return Ok(Parsed::Partial),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Fault::Kind),
    };
    let Some([family, high, low]) = bytes.get(13..FIXED_V2).and_then(|rest| <[u8; 3]>::try_from(rest).ok())
    else {
        return Ok(Parsed::Partial);
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > MAX_V2 {
        return Err(Fault::TooLong);
    }
    let length = FIXED_V2 + rest;
    let Some(rest) = bytes.get(FIXED_V2..length) else { return Ok(Parsed::Partial) };
    let (source, more) = match family {
        // The family of a connection that the proxy made for itself says nothing.
        _ if local => return Ok(Parsed::Whole { length, source: None }),
        0x00 => return Ok(Parsed::Whole { length, source: None }),
        0x11 => {
            let (addresses, more) = rest.split_first_chunk::<12>().ok_or(Fault::Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), more)
        }
        0x21 => {
            let (address, more) = rest.split_first_chunk::<16>().ok_or(Fault::Malformed)?;
            let (_, more) = more.split_first_chunk::<16>().ok_or(Fault::Malformed)?;
            let ([high, low, _, _], more) = more.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
            (SocketAddr::new(Ipv6Addr::from(*address).into(), u16::from_be_bytes([*high, *low])), more)
        }
        _ => return Err(Fault::Kind),
    };
    extensions(more)?;
    Ok(Parsed::Whole { length, source: Some(source) })
}

/// Other facts that a proxy tells are not used, but they must fill their place exactly (section 2.2.7).
fn extensions(mut rest: &[u8]) -> Result<(), Fault> {
    while let Some(([_, high, low], more)) = rest.split_first_chunk::<3>() {
        rest = more.get(usize::from(u16::from_be_bytes([*high, *low]))..).ok_or(Fault::Malformed)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(Fault::Malformed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Option<SocketAddr> {
        match parse(bytes) {
            Ok(Parsed::Whole { length, source }) => {
                assert_eq!(length, bytes.len());
                source
            }
            other => panic!("{other:?} of {}", bytes.escape_ascii()),
        }
    }

    /// A header of version 2.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb];

    #[test]
    fn headers_of_either_version_name_the_client() {
        let four: SocketAddr = "203.0.113.7:54321".parse().expect("an address");
        let six: SocketAddr = "[2001:db8::7]:54321".parse().expect("an address");
        assert_eq!(whole(b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\r\n"), Some(four));
        assert_eq!(whole(b"PROXY TCP6 2001:db8::7 ::1 54321 443\r\n"), Some(six));
        assert_eq!(whole(&v2(0x21, 0x11, &V4)), Some(four));
        let Ok(address) = six.ip().to_string().parse::<Ipv6Addr>() else { panic!("it is one") };
        let rest = [&address.octets()[..], &[0; 16], &[0xd4, 0x31, 1, 0xbb]].concat();
        assert_eq!(whole(&v2(0x21, 0x21, &rest)), Some(six));
        // With extensions: an ALPN and an empty one.
        let more = [&V4[..], &[1, 0, 2, b'h', b'2', 4, 0, 0]].concat();
        assert_eq!(whole(&v2(0x21, 0x11, &more)), Some(four));
        // The proxy itself.
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(whole(b"PROXY UNKNOWN ffff:f::1 ::1 1 2\r\n"), None);
        assert_eq!(whole(&v2(0x20, 0x00, &[])), None);
        assert_eq!(whole(&v2(0x20, 0x11, &V4)), None);
        assert_eq!(whole(&v2(0x21, 0x00, &[1, 2, 3])), None);
    }

    #[test]
    fn what_is_not_exactly_a_header_is_none() {
        let none: [(&[u8], Fault); 17] = [
            (b"GET / HTTP/1.1\r\n", Fault::Absent),
            (b"\x16\x03\x01", Fault::Absent),
            (b"proxy TCP4 203.0.113.7 10.0.0.1 1 2\r\n", Fault::Absent),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 3\r\n", Fault::Malformed),
            (b"PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.07 10.0.0.1 1 2\r\n", Fault::Malformed),
            (b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n", Fault::Malformed),
            (b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 2\r\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 01 2\r\n", Fault::Malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 +1 2\r\n", Fault::Malformed),
            (b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n", Fault::Kind),
            (b"PROXY \r\n", Fault::Malformed),
            (&[b'P'; 3], Fault::Absent),
            (b"PROXY \xff\r\n", Fault::Malformed),
        ];
        for (bytes, fault) in none {
            assert_eq!(parse(bytes), Err(fault), "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(&[&b"PROXY UNKNOWN "[..], &[b'x'; MAX_V1]].concat()), Err(Fault::TooLong));
        for (bytes, fault) in [
            (v2(0x11, 0x11, &V4), Fault::Kind),
            (v2(0x22, 0x11, &V4), Fault::Kind),
            (v2(0x21, 0x12, &V4), Fault::Kind),
            (v2(0x21, 0x31, &[0; 216]), Fault::Kind),
            (v2(0x21, 0x11, &V4[..11]), Fault::Malformed),
            (v2(0x21, 0x21, &V4), Fault::Malformed),
            (v2(0x21, 0x11, &[&V4[..], &[1, 0, 2, b'h']].concat()), Fault::Malformed),
            (v2(0x21, 0x11, &[&V4[..], &[1, 0]].concat()), Fault::Malformed),
            (v2(0x20, 0x00, &[0; MAX_V2 + 1]), Fault::TooLong),
        ] {
            assert_eq!(parse(&bytes), Err(fault), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_bring_it_down(mut bytes in prop::collection::vec(any::<u8>(), 0..700), kind in 0..4_u8) {
            let start: &[u8] = match kind { 0 => &SIGNATURE, 1 => b"PROXY TCP4 ", 2 => b"PROXY TCP6 ::1 ", _ => b"" };
            bytes.splice(..0, start.iter().copied());
            if let Ok(Parsed::Whole { length, .. }) = parse(&bytes) {
                prop_assert!(length <= MAX_HEADER && length <= bytes.len());
                // Not a byte less is enough, and what follows does not matter.
                prop_assert_eq!(parse(&bytes[..length - 1]), Ok(Parsed::Partial));
                prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
            }
        }

        #[test]
        fn a_header_survives_being_cut(a in any::<[u8; 4]>(), port in any::<u16>(), tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let source = SocketAddr::new(a.into(), port);
            let one = format!("PROXY TCP4 {} 192.0.2.1 {port} 443\r\n", source.ip()).into_bytes();
            let two = v2(0x21, 0x11, &[&a[..], &[192, 0, 2, 1], &port.to_be_bytes(), &[1, 187]].concat());
            for header in [one, two] {
                for cut in 0..header.len() {
                    prop_assert_eq!(parse(&header[..cut]), Ok(Parsed::Partial));
                }
                let all = [&header[..], &tail].concat();
                prop_assert_eq!(parse(&all), Ok(Parsed::Whole { length: header.len(), source: Some(source) }));
            }
        }
    }
}
