//! The cage: what its programs in the kernel and the daemon share.

/// The hooks that refuse what a pinned server tries; the discriminant is the index of its counter in [`DENIED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// `socket(2)` of any family that the hook sees, other than unix.
    SockCreate = 0,
    /// `connect(2)` on an IPv4 socket.
    Connect4 = 1,
    /// `connect(2)` on an IPv6 socket.
    Connect6 = 2,
    /// An unconnected datagram to an IPv4 address.
    Sendmsg4 = 3,
    /// An unconnected datagram to an IPv6 address.
    Sendmsg6 = 4,
    /// `bind(2)` on an IPv4 socket.
    Bind4 = 5,
    /// `bind(2)` on an IPv6 socket.
    Bind6 = 6,
}

impl Hook {
    /// Every hook, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::SockCreate,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Bind4,
        Self::Bind6,
    ];

    /// The number of hooks, and of entries of [`DENIED`].
    pub const COUNT: u32 = 7;

    /// The name of the hook; also the name of its program in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SockCreate => "sock_create",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
        }
    }
}

/// Map: refusals by [`Hook`]; per-CPU array of `u64`.
pub const DENIED: &str = "DENIED";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_one_place_for_each_hook() {
        assert_eq!(Hook::ALL.len(), Hook::COUNT as usize);
        for (index, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook as usize, index, "{}", hook.name());
        }
    }
}
