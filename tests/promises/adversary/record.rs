//! Strangers, principals and the host itself against the audit log.
