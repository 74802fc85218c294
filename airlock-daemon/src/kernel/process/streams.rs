//! The three streams of a server.

use super::wire::socket_pair;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The sockets that a server speaks on: one for its standard input and output, and one for its standard
/// error.
#[derive(Debug)]
pub(in crate::kernel) struct Streams {
    pub(in crate::kernel) stdio: OwnedFd,
    pub(in crate::kernel) stderr: OwnedFd,
}

/// Our ends of them.
#[derive(Debug)]
pub(in crate::kernel) struct Ends {
    pub(in crate::kernel) stdio: Option<UnixStream>,
    pub(in crate::kernel) stderr: Option<UnixStream>,
}

impl Streams {
    /// Both ends of both.
    pub(in crate::kernel) fn pair() -> io::Result<(Ends, Self)> {
        let (stdio, input) = socket_pair()?;
        let (stderr, errors) = socket_pair()?;
        Ok((Ends { stdio: Some(stdio), stderr: Some(stderr) }, Self { stdio: input, stderr: errors }))
    }
}
