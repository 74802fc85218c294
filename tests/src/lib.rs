//! The harness of the integration tests: starts the built `airlock`, speaks raw HTTP to it, finds the tools.
//!
//! A test that cannot run here says so by [`skip`] and returns; `cargo xtask test` counts it as skipped, not
//! as passed.

pub mod airlock;
pub mod authority;
pub mod child;
pub mod curl;
pub mod echo;
pub mod events;
pub mod http;
pub mod io;
pub mod little;
pub mod mcp;
pub mod net;
pub mod proc;
pub mod rows;
pub mod setup;
pub mod shown;
pub mod skip;
pub mod slice;
pub mod soak;
pub mod tools;

pub use airlock::Airlock;
pub use child::Running;
pub use io::start_on;
pub use setup::{Setup, Upstream};
pub use shown::shown_dir;
pub use skip::skip;
