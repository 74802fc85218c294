//! The three streams of a server.

use super::wire::socket_pair;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The sockets that a server speaks on: one for its standard input and output, and one for its standard
/// error.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdio: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Our ends of them.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) stdio: Option<UnixStream>,
    pub(crate) stderr: Option<UnixStream>,
}

impl Streams {
    /// Both ends of both.
    pub(crate) fn pair() -> io::Result<(Ends, Self)> {
        let (stdio, input) = socket_pair()?;
        let (stderr, errors) = socket_pair()?;
        Ok((Ends { stdio: Some(stdio), stderr: Some(stderr) }, Self { stdio: input, stderr: errors }))
    }
}
