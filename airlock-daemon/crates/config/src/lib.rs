//! Configuration: the schema, its loader, its validation.

pub mod age;
mod diagnostics;
mod exposed;
mod load;
pub mod network;
mod on_disk;
mod own_files;
pub mod packs;
pub mod pattern;
mod read;
mod regular;
pub mod replaced;
pub mod schema;
pub mod tls_files;
pub mod translators;
pub mod unit_names;
pub mod units;
mod validate;
mod yaml;

#[cfg(test)]
mod tests;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use exposed::{Exposed, exposed, exposed_with_way};
pub use load::{MAX_DIAGNOSTICS, advise, from_text, load};
pub use on_disk::{OnDisk, load_from_disk};
pub use own_files::own_files;
pub use read::MAX_BYTES;
pub use regular::open_file;
pub use validate::{Host, NO_DEVELOPMENT_ISSUER};
pub use yaml::de::nearest;
