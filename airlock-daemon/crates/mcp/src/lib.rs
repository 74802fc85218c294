//! The protocol and nothing else: envelopes, methods, revisions, headers, error codes.
//!
//! Nothing here knows of HTTP servers, policies or upstreams; every function is pure.

pub mod capability;
pub mod client;
pub mod depth;
pub mod envelope;
pub mod error;
pub mod header;
pub mod jsonrpc;
pub mod level;
pub mod message;
pub mod meta;
pub mod method;
pub mod object;
pub mod param_header;
pub mod revision;
pub mod strict;
pub mod uri;
