//! Proofs that were seen, for as long as they would be taken again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Parts of the memory, each with a lock of its own; a key is in one of them.
const PARTS: usize = 16;
/// Most proofs of one key that are remembered at a time: more than a hundred a second, for as long as each would be taken.
const EACH: usize = 16_384;
/// Most keys of one part.
const KEYS: usize = 4_096;
/// Most proofs of one part: 32 bytes each with their place, so that all parts together stay below 48 MiB.
const ALL: usize = 65_536;

/// What is known of a proof.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, and remembered from now on.
    First,
    /// It was here before.
    Again,
    /// There is no room to remember it, so it cannot be taken. One key takes a quarter of a part at most, and nobody chooses the
    /// part that a key is in.
    Full,
}

/// The proofs that were seen.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    parts: [Mutex<Part>; PARTS],
    /// Puts keys into parts, in a way that nobody outside can tell.
    places: RandomState,
}

#[derive(Debug, Default)]
struct Part {
    /// By key: the heads of the digests of its proofs' ids, and until when each is remembered.
    keys: HashMap<[u8; 32], HashMap<[u8; 16], u64>>,
    count: usize,
    /// The second of the last clearing away: more than once a second it would bring nothing.
    swept: u64,
}

impl Replay {
    /// Looks whether the proof `id` of the key with this thumbprint was here before, and remembers it through the second `until`.
    pub(crate) fn see(&self, key: &[u8; 32], id: &str, until: u64, now: u64) -> Seen {
        let digest = Sha256::digest(id);
        let id = digest.first_chunk::<16>().copied().unwrap_or_default();
        let place = usize::try_from(self.places.hash_one(key) % PARTS as u64).unwrap_or_default();
        let part = &self.parts[place];
        // Each change is complete before anything can panic.
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        if part.is_full(key) {
            part.sweep(now);
        }
        if let Some(last) = part.keys.get(key).and_then(|ids| ids.get(&id))
            && *last >= now
        {
            return Seen::Again;
        }
        if part.is_full(key) {
            return Seen::Full;
        }
        if part.keys.entry(*key).or_default().insert(id, until).is_none() {
            part.count += 1;
        }
        Seen::First
    }
}

impl Part {
    fn is_full(&self, key: &[u8; 32]) -> bool {
        self.count >= ALL
            || match self.keys.get(key) {
                Some(ids) => ids.len() >= EACH,
                None => self.keys.len() >= KEYS,
            }
    }

    fn sweep(&mut self, now: u64) {
        if self.swept == now {
            return;
        }
        self.swept = now;
        self.keys.retain(|_, ids| {
            ids.retain(|_, until| *until >= now);
            !ids.is_empty()
        });
        self.count = self.keys.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_known_for_as_long_as_it_would_be_taken() {
        let replay = Replay::default();
        assert_eq!(replay.see(&[1; 32], "a", 110, 100), Seen::First);
        assert_eq!(replay.see(&[1; 32], "a", 110, 100), Seen::Again);
        assert_eq!(replay.see(&[1; 32], "a", 120, 110), Seen::Again);
        assert_eq!(replay.see(&[2; 32], "a", 110, 100), Seen::First, "the ids of another key are its own");
        assert_eq!(replay.see(&[1; 32], "b", 110, 100), Seen::First);
    }

    #[test]
    fn one_key_takes_no_room_of_others_and_time_gives_it_back() {
        let replay = Replay::default();
        for number in 0..EACH {
            assert_eq!(replay.see(&[1; 32], &number.to_string(), 110, 100), Seen::First);
        }
        assert_eq!(replay.see(&[1; 32], "more", 110, 100), Seen::Full);
        assert_eq!(replay.see(&[1; 32], "7", 110, 100), Seen::Again, "what is remembered stays so");
        assert_eq!(replay.see(&[17; 32], "more", 110, 100), Seen::First, "a neighbour");
        assert_eq!(replay.see(&[1; 32], "more", 121, 111), Seen::First, "its time is over");
        assert_eq!(replay.see(&[1; 32], "7", 121, 111), Seen::First);
    }

    #[test]
    fn all_keys_together_are_bounded() {
        let replay = Replay::default();
        let key = |number: usize| {
            let mut key = [1; 32];
            key[8..16].copy_from_slice(&number.to_be_bytes());
            key
        };
        // About twice as many as each part takes.
        let taken = (0..2 * KEYS * PARTS)
            .filter(|number| replay.see(&key(*number), "x", 110, 100) == Seen::First)
            .count();
        assert_eq!(taken, KEYS * PARTS);
        assert_eq!(replay.see(&key(0), "x", 110, 100), Seen::Again);
    }
}
