//! Handles that come back from clients: request states, cursors, task ids.
//!
//! A handle is sealed (AES-256-GCM-SIV, RFC 8452) under a key that is made at the start and never leaves the
//! process, with what it is, whose it is and what it is for as associated data. So it is worthless to another
//! principal, at another upstream and for another use; and nothing needs to be remembered for it. Sealing the
//! same thing twice gives the same handle: a task keeps its name.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::principal::Identity;

/// Longest handle that is looked at, in bytes.
const MAX: usize = 64 * 1024;

/// The kind of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Where a list goes on.
    Cursor,
    /// Where a call goes on after the client was asked something (2026-07-28, `requestState`).
    RequestState,
    /// A task's id.
    Task,
}

/// Makes handles and opens them.
pub struct Sealer(LessSafeKey);

/// The handle was not made here for this use by this principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handle is not one that was given to this principal for this use")]
pub struct NotOurs;

impl Sealer {
    /// A sealer with a key of its own.
    ///
    /// # Errors
    /// When the kernel has no random numbers.
    pub fn new() -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| error.to_string())?;
        let key = UnboundKey::new(&AES_256_GCM_SIV, &key).map_err(|error| error.to_string())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `payload` for `owner`, to be opened with the same purpose and scope only. The scope says what
    /// the handle is for, such as upstream and method.
    pub fn seal(&self, purpose: Purpose, owner: &Identity, scope: &[&str], payload: &[u8]) -> String {
        let mut sealed = payload.to_vec();
        // The one nonce is what makes equal things equal; this cipher bears that by design. It fails only for
        // payloads beyond 2^36 bytes, and an empty handle opens for nobody.
        match self.0.seal_in_place_append_tag(nonce(), aad(purpose, owner, scope), &mut sealed) {
            Ok(()) => URL_SAFE_NO_PAD.encode(&sealed),
            Err(_) => String::new(),
        }
    }

    /// Opens a handle.
    ///
    /// # Errors
    /// [`NotOurs`] for anything that [`Sealer::seal`] did not make with the same purpose, owner and scope.
    pub fn open(
        &self,
        purpose: Purpose,
        owner: &Identity,
        scope: &[&str],
        handle: &str,
    ) -> Result<Vec<u8>, NotOurs> {
        if handle.len() > MAX {
            return Err(NotOurs);
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(handle).map_err(|_| NotOurs)?;
        let opened = self.0.open_in_place(nonce(), aad(purpose, owner, scope), &mut sealed);
        opened.map(|payload| payload.to_vec()).map_err(|_| NotOurs)
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Purpose, owner and scope, each with its length before it, so that no two lists of them are the same bytes.
fn aad(purpose: Purpose, owner: &Identity, scope: &[&str]) -> Aad<Vec<u8>> {
    let mut bytes = vec![purpose as u8];
    let owner = owner.bytes();
    for part in std::iter::once(owner.as_slice()).chain(scope.iter().map(|part| part.as_bytes())) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use proptest::prelude::*;

    fn identity(subject: &str, tenant: Option<&str>) -> Identity {
        Principal::named(subject, tenant).identity().clone()
    }

    #[test]
    fn a_handle_opens_for_its_owner_and_its_use_only() {
        let sealer = Sealer::new().expect("a key");
        let alice = identity("alice", Some("acme"));
        let handle = sealer.seal(Purpose::Task, &alice, &["docs", "x"], b"task-1");
        assert_eq!(handle, sealer.seal(Purpose::Task, &alice, &["docs", "x"], b"task-1"));
        assert_eq!(sealer.open(Purpose::Task, &alice, &["docs", "x"], &handle), Ok(b"task-1".to_vec()));
        for (purpose, thief, scope) in [
            (Purpose::Task, identity("mallory", Some("acme")), ["docs", "x"]),
            (Purpose::Task, identity("alice", None), ["docs", "x"]),
            (Purpose::Task, alice.clone(), ["docsx", ""]),
            (Purpose::Task, alice.clone(), ["code", "x"]),
            (Purpose::Cursor, alice.clone(), ["docs", "x"]),
        ] {
            assert_eq!(sealer.open(purpose, &thief, &scope, &handle), Err(NotOurs));
        }
        let other = Sealer::new().expect("a key");
        assert_eq!(other.open(Purpose::Task, &alice, &["docs", "x"], &handle), Err(NotOurs));
        for rubbish in ["", "AAAA", "!", "=", &"A".repeat(MAX + 1)] {
            assert_eq!(sealer.open(Purpose::Task, &alice, &["docs", "x"], rubbish), Err(NotOurs));
        }
    }

    proptest! {
        #[test]
        fn every_payload_comes_back_and_no_changed_handle_does(
            payload in proptest::collection::vec(any::<u8>(), 0..80), at in any::<proptest::sample::Index>()
        ) {
            let sealer = Sealer::new().expect("a key");
            let alice = identity("alice", None);
            let handle = sealer.seal(Purpose::RequestState, &alice, &[], &payload);
            prop_assert_eq!(sealer.open(Purpose::RequestState, &alice, &[], &handle), Ok(payload));
            let mut changed = handle.into_bytes();
            let at = at.index(changed.len());
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assert_eq!(sealer.open(Purpose::RequestState, &alice, &[], &changed), Err(NotOurs));
        }
    }
}
