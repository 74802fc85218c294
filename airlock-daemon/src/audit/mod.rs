//! The audit log: records, chain, files, journald.
