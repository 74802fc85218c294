//! Proof that the sender of a token holds its key.

pub(super) mod binding;
pub(super) mod dpop;
pub(super) mod replay;
