//! The messages that a server was told besides its calls.

use crate::auth::principal::Identity;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::level::Level;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// The messages that a server was told besides its calls.
pub(in crate::upstream) struct Briefing {
    /// The questions that it may ask of its client, from `initialize` on.
    declared: ArcSwapOption<ClientCapabilities>,
    /// The level from which on it sends log messages: its place in [`Level::ALL`], or none of them.
    level: AtomicU8,
    /// The first principal that it served.
    first: OnceLock<Identity>,
    /// True where it has served others too.
    mixed: AtomicBool,
}

impl Default for Briefing {
    fn default() -> Self {
        Self {
            declared: ArcSwapOption::empty(),
            level: AtomicU8::new(u8::MAX),
            first: OnceLock::new(),
            mixed: AtomicBool::new(false),
        }
    }
}

impl Briefing {
    /// Notes that the server works for a principal from now on.
    pub(in crate::upstream) fn serves(&self, identity: &Identity) {
        if self.first.get_or_init(|| identity.clone()) != identity {
            self.mixed.store(true, Ordering::Release);
        }
    }

    /// True where the server has worked for several principals. Then what names no call is nobody's, for
    /// good: it may be about a call that was given up long ago.
    pub(in crate::upstream) fn is_mixed(&self) -> bool {
        self.mixed.load(Ordering::Acquire)
    }

    /// Notes what `initialize` declares.
    pub(in crate::upstream) fn declare(&self, capabilities: ClientCapabilities) {
        self.declared.store(Some(Arc::new(capabilities)));
    }

    /// Notes that the server has refused `initialize`: it is not a legacy one.
    pub(in crate::upstream) fn withdraw_declaration(&self) {
        self.declared.store(None);
    }

    /// The declared abilities; `None` before `initialize`, and for modern servers.
    pub(in crate::upstream) fn declared(&self) -> Option<ClientCapabilities> {
        self.declared.load().as_deref().copied()
    }

    /// Notes a level; says whether it is another than before.
    pub(in crate::upstream) fn level(&self, level: Level) -> bool {
        self.level.swap(level as u8, Ordering::AcqRel) != level as u8
    }

    /// Forgets the level: the server may not have taken it.
    pub(in crate::upstream) fn forget_level(&self) {
        self.level.store(u8::MAX, Ordering::Release);
    }
}
