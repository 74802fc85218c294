//! journald, which gets a copy of each record.

pub(super) mod forward;
pub(super) mod journal;
