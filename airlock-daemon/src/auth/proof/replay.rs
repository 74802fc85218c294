//! Proofs that were seen, for as long as they would be taken again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use parking_lot::Mutex;

use sha2::{Digest as _, Sha256};

use crate::auth::principal::Identity;

/// Parts of the memory, each with a lock of its own; a principal is in one of them.
const PARTS: usize = 16;
/// Most proofs of one principal that are remembered at a time, whatever keys it has: more than a hundred a
/// second, for as long as each would be taken.
const EACH: usize = 16_384;
/// Most principals of one part.
const PRINCIPALS: usize = 4_096;
/// Most proofs of one part: 32 bytes each with their place, so that all parts together stay below 48 MiB.
const ALL: usize = 65_536;

/// The verdict on a proof.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, and remembered from now on.
    First,
    /// It was here before.
    Again,
    /// There is no room to remember it, so it cannot be taken. One principal takes a quarter of a part at
    /// most, and nobody chooses the part that a principal is in.
    Full,
}

/// The proofs that were seen.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    parts: [Mutex<Part>; PARTS],
    /// Puts principals into parts, in a way that nobody outside can tell.
    places: RandomState,
}

#[derive(Debug, Default)]
struct Part {
    /// By principal: the heads of the digests of its proofs' keys and ids, and until when each is remembered.
    holders: HashMap<Identity, HashMap<[u8; 16], u64>>,
    count: usize,
    /// The second of the last clearing away: more than once a second it would bring nothing.
    swept: u64,
}

impl Replay {
    /// Looks whether the proof `id` of this principal's key with this thumbprint was here before, and
    /// remembers it through the second `until`.
    pub(crate) fn see(&self, holder: &Identity, key: &[u8; 32], id: &str, until: u64, now: u64) -> Seen {
        let digest = Sha256::new().chain_update(key).chain_update(id).finalize();
        let id = digest.first_chunk::<16>().copied().unwrap_or_default();
        let place = usize::try_from(self.places.hash_one(holder) % PARTS as u64).unwrap_or_default();
        let part = &self.parts[place];
        // Each change is complete before anything can panic.
        let mut part = part.lock();
        if part.is_full(holder) {
            part.sweep(now);
        }
        if let Some(last) = part.holders.get(holder).and_then(|ids| ids.get(&id))
            && *last >= now
        {
            return Seen::Again;
        }
        if part.is_full(holder) {
            return Seen::Full;
        }
        if part.holders.entry(holder.clone()).or_default().insert(id, until).is_none() {
            part.count += 1;
        }
        Seen::First
    }
}

impl Part {
    fn is_full(&self, holder: &Identity) -> bool {
        self.count >= ALL
            || match self.holders.get(holder) {
                Some(ids) => ids.len() >= EACH,
                None => self.holders.len() >= PRINCIPALS,
            }
    }

    fn sweep(&mut self, now: u64) {
        if self.swept == now {
            return;
        }
        self.swept = now;
        self.holders.retain(|_, ids| {
            ids.retain(|_, until| *until >= now);
            !ids.is_empty()
        });
        self.count = self.holders.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;

    const KEY: [u8; 32] = [1; 32];

    fn named(name: &str) -> Identity {
        Principal::named(name, None).identity().clone()
    }

    #[test]
    fn a_proof_is_known_for_as_long_as_it_would_be_taken() {
        let replay = Replay::default();
        let alice = named("alice");
        assert_eq!(replay.see(&alice, &KEY, "a", 110, 100), Seen::First);
        assert_eq!(replay.see(&alice, &KEY, "a", 110, 100), Seen::Again);
        assert_eq!(replay.see(&alice, &KEY, "a", 120, 110), Seen::Again);
        assert_eq!(
            replay.see(&alice, &[2; 32], "a", 110, 100),
            Seen::First,
            "the ids of another key are its own"
        );
        assert_eq!(replay.see(&named("bob"), &KEY, "a", 110, 100), Seen::First, "and those of somebody else");
        assert_eq!(replay.see(&alice, &KEY, "b", 110, 100), Seen::First);
    }

    #[test]
    fn one_principal_takes_no_room_of_others_whatever_keys_it_has_and_time_gives_it_back() {
        let replay = Replay::default();
        let (mallory, neighbour) = (named("mallory"), named("neighbour"));
        let key = |number: usize| [u8::try_from(number % 251).expect("small"); 32];
        for number in 0..EACH {
            assert_eq!(replay.see(&mallory, &key(number), &number.to_string(), 110, 100), Seen::First);
        }
        assert_eq!(
            replay.see(&mallory, &[255; 32], "more", 110, 100),
            Seen::Full,
            "a new key brings no room"
        );
        assert_eq!(replay.see(&mallory, &key(7), "7", 110, 100), Seen::Again, "what is remembered stays so");
        assert_eq!(replay.see(&neighbour, &KEY, "more", 110, 100), Seen::First);
        assert_eq!(replay.see(&mallory, &[255; 32], "more", 121, 111), Seen::First, "its time is over");
        assert_eq!(replay.see(&mallory, &key(7), "7", 121, 111), Seen::First);
    }

    #[test]
    fn all_principals_together_are_bounded() {
        let replay = Replay::default();
        // About twice as many as each part takes.
        let taken = (0..2 * PRINCIPALS * PARTS)
            .filter(|number| replay.see(&named(&number.to_string()), &KEY, "x", 110, 100) == Seen::First)
            .count();
        assert_eq!(taken, PRINCIPALS * PARTS);
        assert_eq!(replay.see(&named("0"), &KEY, "x", 110, 100), Seen::Again);
    }
}
