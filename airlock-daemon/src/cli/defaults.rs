//! Places where commands look if they are told none.

/// Where every command looks for the configuration when none is named.
pub(super) const DEFAULT_CONFIG: &str = "/etc/airlock/airlock.yaml";

/// Where every command looks for the audit log when no directory is named: the default of `audit.dir`.
pub(super) const DEFAULT_AUDIT_DIR: &str = "/var/lib/airlock/audit";
