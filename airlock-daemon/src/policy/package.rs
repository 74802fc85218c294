//! Names of packages and rules that a policy must have.

/// The package of the contract.
pub(super) const PACKAGE: [&str; 2] = ["airlock", "authz"];

/// The package of the module below; no bundle may use it.
pub(super) const ENTRY_PACKAGE: &str = "airlock_entry";
