//! Authentication: from a bearer token to a [`principal::Principal`].

pub mod principal;
