//! Configuration: the schema, its loader, its validation.

mod de;
mod diagnostics;
mod exposed;
mod load;
pub mod network;
mod on_disk;
mod own_files;
mod parse;
pub mod schema;
pub mod tls_files;
pub mod translators;
mod tree;
pub mod units;
mod validate;

#[cfg(test)]
mod tests;

pub use self::own_files::own_files;
pub(crate) use de::nearest;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use exposed::{Exposed, exposed, exposed_with_way};
pub use load::{MAX_BYTES, MAX_DIAGNOSTICS, advise, from_text, load, load_from_disk};
pub use on_disk::OnDisk;
pub use validate::Host;
#[cfg(not(development_issuer))]
pub(crate) use validate::NO_DEVELOPMENT_ISSUER;
