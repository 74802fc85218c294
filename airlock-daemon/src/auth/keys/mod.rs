//! Keys of issuers: found, fetched with care, and kept.

pub(super) mod discovery;
pub(crate) mod fetch;
pub(crate) mod guard;
pub(super) mod jwk;
pub(super) mod jwks;
