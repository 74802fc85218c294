//! Servers are reached over HTTP and over unix sockets as they are over pipes, and what goes wrong there is told.

mod codings;
mod credentials;
mod junk;
mod legacy_http;
mod modern_http;
mod real;
