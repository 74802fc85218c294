//! Messages between the daemon and the process that starts servers: a request is sixteen bytes, whatever it
//! asks for, and names a server by its place in a table that both had before there was a socket to the
//! network.

/// Bytes of every request.
pub const REQUEST: usize = 16;

/// The longest answer in bytes; a longer text is cut.
pub const ANSWER: usize = 4_096;

/// A word of the daemon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To find out what this host permits. Once, and first.
    Probe,
    /// To start servers from now on. Once: with the two directories that cgroups of servers are made in, or
    /// without any.
    Begin {
        /// The programs of the cage are in force in the first of them.
        pinned: bool,
    },
    /// To start a server: with its streams, and a channel for all that is said of it.
    Start {
        /// Its place in the table.
        place: u32,
        /// The number of its cgroup, where cgroups are.
        leaf: Option<u64>,
    },
    /// On the channel of a server: to end it.
    End,
}

impl Request {
    /// The bytes that say so.
    pub fn encode(self) -> [u8; REQUEST] {
        let (kind, flag, place, leaf) = match self {
            Self::Probe => (1, false, 0, 0),
            Self::Begin { pinned } => (2, pinned, 0, 0),
            Self::Start { place, leaf } => (3, leaf.is_some(), place, leaf.unwrap_or(0)),
            Self::End => (4, false, 0, 0),
        };
        let mut bytes = [0; REQUEST];
        bytes[0] = kind;
        bytes[1] = flag.into();
        bytes[4..8].copy_from_slice(&place.to_le_bytes());
        bytes[8..].copy_from_slice(&leaf.to_le_bytes());
        bytes
    }

    /// The request in these bytes; nothing for any that [`Self::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; REQUEST] = bytes.try_into().ok()?;
        let [kind, flag, _, _, a, b, c, d, leaf @ ..] = *bytes;
        let leaf = u64::from_le_bytes(leaf);
        let said = match kind {
            1 => Self::Probe,
            2 => Self::Begin { pinned: flag == 1 },
            3 => Self::Start { place: u32::from_le_bytes([a, b, c, d]), leaf: (flag == 1).then_some(leaf) },
            4 => Self::End,
            _ => return None,
        };
        (said.encode() == *bytes).then_some(said)
    }
}

/// A word of the process that starts servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Probe`].
    Found {
        /// The way of making namespaces, by its number; none where there is no way.
        way: Option<u8>,
        /// Why a better way is closed: a step, by its number, and the number of the error.
        refused: Option<(u8, i32)>,
        /// A server for which no user is named would run as root.
        root_by_omission: bool,
    },
    /// To [`Request::Begin`].
    Begun,
    /// The server runs. A descriptor of its first process comes along.
    Started {
        /// Its number.
        pid: u32,
        /// It has the daemon's own user.
        is_own_user: bool,
    },
    /// The server has ended.
    Ended {
        /// How, as wait(2) has it, where that is known.
        status: Option<i32>,
    },
    /// It was not done, and why.
    Refused(String),
}

impl Answer {
    /// The bytes that say so.
    pub fn encode(&self) -> Vec<u8> {
        let with = |kind: u8, flag: bool, number: i32| {
            let mut bytes = vec![kind, u8::from(flag)];
            bytes.extend(number.to_le_bytes());
            bytes
        };
        match self {
            Self::Found { way, refused, root_by_omission } => {
                let (step, errno) = refused.unwrap_or_default();
                let mut bytes = with(1, *root_by_omission, errno);
                bytes.extend([way.map_or(0, |way| way.saturating_add(1)), step]);
                bytes
            }
            Self::Begun => with(2, false, 0),
            Self::Started { pid, is_own_user } => with(3, *is_own_user, pid.cast_signed()),
            Self::Ended { status } => with(4, status.is_some(), status.unwrap_or(0)),
            Self::Refused(why) => {
                let mut bytes = vec![5];
                bytes.extend(why.as_bytes().iter().take(ANSWER - 1));
                bytes
            }
        }
    }

    /// The answer in these bytes; nothing for those that are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if let [5, why @ ..] = bytes {
            return Some(Self::Refused(String::from_utf8_lossy(why).into_owned()));
        }
        let (head, rest) = bytes.split_first_chunk::<6>()?;
        let [kind, flag, number @ ..] = *head;
        let (flag, number) = (flag == 1, i32::from_le_bytes(number));
        Some(match (kind, rest) {
            (1, &[way, step]) => Self::Found {
                way: way.checked_sub(1),
                refused: (step > 0).then_some((step, number)),
                root_by_omission: flag,
            },
            (2, []) => Self::Begun,
            (3, []) => Self::Started { pid: number.cast_unsigned(), is_own_user: flag },
            (4, []) => Self::Ended { status: flag.then_some(number) },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_was_said() {
        for request in [
            Request::Probe,
            Request::Begin { pinned: false },
            Request::Begin { pinned: true },
            Request::Start { place: 0, leaf: None },
            Request::Start { place: 7, leaf: Some(0) },
            Request::Start { place: u32::MAX, leaf: Some(u64::MAX) },
            Request::End,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for answer in [
            Answer::Found { way: None, refused: None, root_by_omission: true },
            Answer::Found { way: Some(0), refused: Some((12, libc::EPERM)), root_by_omission: false },
            Answer::Begun,
            Answer::Started { pid: u32::MAX, is_own_user: true },
            Answer::Ended { status: None },
            Answer::Ended { status: Some(9) },
            Answer::Refused("no such file".to_owned()),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn what_nobody_says_is_not_read() {
        let good = Request::Start { place: 1, leaf: None }.encode();
        assert!(Request::decode(&good[..15]).is_none());
        assert!(Request::decode(&[&good[..], &[0]].concat()).is_none());
        // No bit of a request may be another: each has one form, so a leaf without its mark is none.
        for (place, byte) in [(0, 0), (0, 5), (0, 255), (1, 2), (2, 1), (3, 1), (8, 1), (15, 1)] {
            let mut bad = good;
            bad[place] = byte;
            assert!(Request::decode(&bad).is_none(), "{bad:?}");
        }
        for bytes in [&[][..], &[1], &[2, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0], &[9; 6]] {
            assert!(Answer::decode(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn a_long_refusal_is_cut() {
        let long = Answer::Refused("é".repeat(ANSWER));
        assert_eq!(long.encode().len(), ANSWER);
        assert!(matches!(Answer::decode(&long.encode()), Some(Answer::Refused(_))));
    }
}
