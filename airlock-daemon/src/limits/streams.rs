//! How many event streams are open, of each principal and of each tenant. They are few and live long: one
//! short lock when one opens and one when it ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

/// Independent parts of the count.
const SHARDS: usize = 16;

/// The count; clones share it.
#[derive(Debug, Clone)]
pub struct Streams(Arc<[Mutex<HashMap<u128, u32>>; SHARDS]>);

/// A place in the count; given back when it is dropped, however the stream ended.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct StreamPermit {
    streams: Streams,
    key: u128,
}

/// The places of one stream.
pub type Places = [Option<StreamPermit>; 2];

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Streams {
    /// A place for one more stream of `key`, of which there may be `most`; none where there are as many.
    pub fn enter(&self, key: u128, most: u32) -> Option<StreamPermit> {
        let mut counts = self.shard(key).lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(StreamPermit { streams: self.clone(), key })
    }

    /// How many keys have a stream.
    pub fn keys(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: u128) -> &Mutex<HashMap<u128, u32>> {
        &self.0[usize::try_from(key % (SHARDS as u128)).unwrap_or(0)]
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut counts = self.streams.shard(self.key).lock();
        if let Entry::Occupied(mut entry) = counts.entry(self.key) {
            match entry.get().saturating_sub(1) {
                0 => {
                    entry.remove();
                }
                left => *entry.get_mut() = left,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_nothing_is_left_behind() {
        let streams = Streams::default();
        let two: Vec<_> = (0..3).filter_map(|_| streams.enter(7, 2)).collect();
        assert_eq!(two.len(), 2);
        assert!(streams.enter(8, 1).is_some(), "another's is another");
        drop(two);
        assert!(streams.enter(7, 2).is_some());
        assert_eq!(streams.keys(), 0);
    }

    #[test]
    fn threads_never_hold_more_than_there_are() {
        let streams = Streams::default();
        let held = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(place) = streams.enter(1, 3) {
                            let now = held.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            assert!(now < 3, "{now}");
                            held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(place);
                        }
                    }
                });
            }
        });
        assert_eq!(streams.keys(), 0);
    }
}
