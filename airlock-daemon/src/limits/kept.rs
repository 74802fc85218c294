//! A text that waits until its client takes it, piece by piece; it can be given up meanwhile.

use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::budget::{Account, Charge};
use crate::limits::budget::level::{Exhausted, Holding, What};
use crate::runtime::apart::dispose;

/// Texts from this length on can be given up one by one, in bytes. Shorter ones are only counted: they come
/// in numbers that are bounded elsewhere, and to look for the largest among them would cost more than it
/// frees.
const LARGE: usize = 16 * 1024;

/// The text; clones share it.
#[derive(Clone)]
pub struct Kept(Arc<KeptSlot>);

/// The text is not there any more: its memory was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the answer was given up: its share of `limits.memory` is used up; read or close what is open, and try again"
)]
pub struct GivenUp;

/// Bytes on their way to a client, charged until they are dropped.
pub struct Whole {
    text: Box<str>,
    _charge: Option<Charge>,
}

struct KeptSlot {
    account: Account,
    /// The length of the text, in bytes, as long as it was not given up.
    length: usize,
    state: Mutex<KeptState>,
}

struct KeptState {
    text: Box<str>,
    charge: Option<Charge>,
    /// The text in its place once it was given up.
    instead: Option<Box<str>>,
    is_given_up: bool,
}

impl Kept {
    /// Keeps a text for an account. Where it has to be given up, `instead` is said in its place.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no room for it and nothing else can be given up.
    pub fn new(account: &Account, text: String, instead: Option<String>) -> Result<Self, Exhausted> {
        let charge = account.charge(What::Answer, text.len())?;
        Ok(Self::charged(account, text, instead, charge))
    }

    /// Keeps a short text whatever the shares say.
    pub fn anyway(account: &Account, text: String) -> Self {
        let charge = account.charge_anyway(What::Answer, text.len());
        Self::charged(account, text, None, charge)
    }

    /// In the place of a text for which there was no room.
    pub fn lost(account: &Account) -> Self {
        let lost = Self::anyway(account, String::new());
        lost.0.lock().is_given_up = true;
        lost
    }

    /// Keeps a text, or else what is to be said in its place.
    pub fn or_instead(account: &Account, text: String, instead: String) -> Self {
        match account.charge(What::Answer, text.len()) {
            Ok(charge) => Self::charged(account, text, Some(instead), charge),
            Err(_) => Self::anyway(account, instead),
        }
    }

    fn charged(account: &Account, text: String, instead: Option<String>, charge: Charge) -> Self {
        let length = text.len();
        let state = KeptState {
            text: text.into_boxed_str(),
            charge: Some(charge),
            instead: instead.map(String::into_boxed_str),
            is_given_up: false,
        };
        let slot = Arc::new(KeptSlot { account: account.clone(), length, state: Mutex::new(state) });
        if length >= LARGE {
            let weak = Arc::downgrade(&slot);
            account.holds(weak);
        }
        Self(slot)
    }

    /// Bytes of the text that are kept.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The length that the text had at first, in bytes.
    pub fn length(&self) -> usize {
        self.0.length
    }

    /// Hands at most `most` bytes from `from` on to `take`, and says how many that were; none at the end.
    /// Whole characters where `most` is at least 4. The text in its place is one piece.
    ///
    /// # Errors
    /// [`GivenUp`] when it was given up after its first piece was taken, or when nothing is said in its
    /// place.
    pub fn piece(&self, from: usize, most: usize, take: impl FnOnce(&str)) -> Result<usize, GivenUp> {
        let state = self.0.lock();
        let piece = if state.is_given_up {
            match state.instead.as_deref() {
                Some(instead) if from == 0 => instead,
                Some(instead) if from == instead.len() => "",
                _ => return Err(GivenUp),
            }
        } else {
            let end = state.text.floor_char_boundary(from.saturating_add(most));
            state.text.get(from..end).unwrap_or_default()
        };
        take(piece);
        Ok(piece.len())
    }

    /// The whole text and its charge, where nobody else has it; `None` where somebody has, or where it was
    /// given up.
    pub fn into_whole(self) -> Result<Whole, Self> {
        let mut slot = Arc::try_unwrap(self.0).map_err(Self)?;
        let state = slot.state.get_mut();
        if state.is_given_up {
            return Err(Self(Arc::new(slot)));
        }
        Ok(Whole { text: std::mem::take(&mut state.text), _charge: state.charge.take() })
    }

    /// So many bytes of it, which are on their way and no longer here.
    pub fn on_its_way(&self, piece: String) -> Whole {
        let charge = self.0.account.charge_anyway(What::Answer, piece.len());
        Whole { text: piece.into_boxed_str(), _charge: Some(charge) }
    }

    /// True where it was given up, and nothing is said in its place.
    pub fn is_lost(&self) -> bool {
        let state = self.0.lock();
        state.is_given_up && state.instead.is_none()
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl KeptSlot {
    fn lock(&self) -> MutexGuard<'_, KeptState> {
        // Nothing in here panics half-way through a change.
        self.state.lock()
    }
}

impl Drop for KeptSlot {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        dispose(std::mem::take(&mut state.text));
    }
}

impl Holding for KeptSlot {
    fn bytes(&self) -> usize {
        self.lock().charge.as_ref().map_or(0, Charge::bytes)
    }

    fn give_up(&self) -> usize {
        let mut state = self.lock();
        state.is_given_up = true;
        let text = std::mem::take(&mut state.text);
        let charge = state.charge.take();
        drop(state);
        drop(charge);
        let bytes = text.len();
        dispose(text);
        bytes
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

#[cfg(test)]
impl Kept {
    /// All of it, for a test.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let _ = self.piece(0, usize::MAX, |piece| text.push_str(piece));
        text
    }

    /// Has it given up, as if its memory were needed.
    pub(crate) fn give_up(&self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::limits::budget::Budget;

    fn account() -> Account {
        Budget::default().of(Principal::named("alice", None).identity())
    }

    #[test]
    fn it_is_read_in_pieces_of_whole_characters() {
        let account = account();
        let kept = Kept::new(&account, "aé€𝄞b".to_owned(), None).expect("room");
        let (mut at, mut read) = (0, String::new());
        loop {
            let count = kept.piece(at, 4, |piece| read.push_str(piece)).expect("it is there");
            if count == 0 {
                break;
            }
            at += count;
        }
        assert_eq!(read, "aé€𝄞b");
        assert_eq!(account.used(), kept.bytes());
        drop(kept);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn what_is_given_up_is_replaced_and_broken_off_where_it_has_begun() {
        let account = account();
        let fresh = Kept::or_instead(&account, "x".repeat(LARGE), "sorry".to_owned());
        fresh.give_up();
        assert_eq!((fresh.text(), account.used()), ("sorry".to_owned(), 0));
        let begun = Kept::or_instead(&account, "x".repeat(LARGE), "sorry".to_owned());
        assert_eq!(begun.piece(0, 10, |_| {}), Ok(10));
        begun.give_up();
        assert_eq!(begun.piece(10, 10, |_| {}), Err(GivenUp));
        let again = begun.piece(0, 10, |piece| assert_eq!(piece, "sorry"));
        assert_eq!((again, begun.piece(5, 10, |_| {})), (Ok(5), Ok(0)), "who comes back is told");
        let plain = Kept::new(&account, "x".repeat(LARGE), None).expect("room");
        plain.give_up();
        assert!(plain.is_lost() && plain.piece(0, 10, |_| {}).is_err());
    }
}
