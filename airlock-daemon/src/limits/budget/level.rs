//! Kinds of things that are kept for clients, and the share that is used up.

use http::StatusCode;
use parking_lot::{Mutex, MutexGuard};

/// The kind of bytes that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An answer, or a message of a stream, that its client has not read yet.
    Answer,
    /// A call that waits for its client, with what its server asked.
    Question,
    /// Resources whose changes are listened to.
    Subscription,
    /// The body of a request that is carried out.
    Request,
    /// A message of a server that is not whole yet.
    Incoming,
}

/// A level at which a share is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    All,
    /// One tenant of an issuer.
    Tenant,
    /// One principal.
    Principal,
    /// One legacy session.
    Session,
}

/// A share is used up, and nothing in it could be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory that `{}` allows is in use: read or close what is open, and try again", self.0.name())]
pub struct Exhausted(pub Level);

impl Exhausted {
    /// The HTTP status that says so: of a share that is the caller's, or of one that is everybody's.
    pub const fn status(self) -> StatusCode {
        match self.0 {
            Level::All => StatusCode::SERVICE_UNAVAILABLE,
            Level::Tenant | Level::Principal | Level::Session => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Something that can be given up when its holder has too much.
pub trait Holding: Send + Sync {
    /// Bytes that would come free.
    fn bytes(&self) -> usize;

    /// Gives them up; says how many. Must not wait for a lock that is held while a charge is made.
    fn give_up(&self) -> usize;
}

impl What {
    /// All of them, in the order of [`Stats::used`].
    pub const ALL: [Self; 5] =
        [Self::Answer, Self::Question, Self::Subscription, Self::Request, Self::Incoming];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Question => "question",
            Self::Subscription => "subscription",
            Self::Request => "request",
            Self::Incoming => "incoming",
        }
    }
}

impl Level {
    /// The key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "limits.memory.total",
            Self::Tenant => "limits.memory.per_tenant",
            Self::Principal => "limits.memory.per_principal",
            Self::Session => "limits.memory.per_session",
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change below is one call, so a panic elsewhere leaves what is guarded whole.
    mutex.lock()
}

pub(super) fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}
