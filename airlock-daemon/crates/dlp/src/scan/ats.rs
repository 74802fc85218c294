//! The detectors that an `@` is the trigger of, in one place, so that most are passed over by their
//! neighbours.

use crate::trigger::at::At;
use crate::trigger::bytes::Bytes;

/// Detectors that an `@` is the trigger of, and the bytes that may stand beside it.
#[derive(Debug)]
pub(crate) struct Ats {
    pub(crate) all: Vec<(usize, At)>,
    before: Bytes,
    after: Bytes,
}

impl Ats {
    pub(crate) fn new(all: Vec<(usize, At)>) -> Self {
        let union = |of: fn(&At) -> Option<&Bytes>| {
            let mut bytes = Bytes::new([false; 256]);
            for (_, at) in &all {
                match of(at) {
                    Some(some) => bytes.iter_mut().zip(some.iter()).for_each(|(byte, is_in)| *byte |= is_in),
                    None => bytes.fill(true),
                }
            }
            bytes
        };
        let (before, after) = (union(|at| at.before.as_ref()), union(|at| at.after.as_ref()));
        Self { all, before, after }
    }

    /// Answers whether a match may have this `@`.
    pub(crate) fn may_be(&self, text: &[u8], at: usize) -> bool {
        let may = |bytes: &Bytes, beside: Option<&u8>| beside.is_none_or(|&byte| bytes[usize::from(byte)]);
        may(&self.before, at.checked_sub(1).and_then(|at| text.get(at))) && may(&self.after, text.get(at + 1))
    }

    /// Answers the same of JSON, where the letter of an escape may stand in front, and one may begin behind.
    pub(crate) fn may_be_in_json(&self, json: &[u8], at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| json.get(at));
        let after = json.get(at + 1);
        before.is_none_or(|&byte| {
            self.before[usize::from(byte)] || matches!(byte, b'n' | b'r' | b't' | b'b' | b'f' | b'"' | b'\\')
        }) && after.is_none_or(|&byte| self.after[usize::from(byte)] || byte == b'\\')
    }
}
