//! A door and those before it, for calls over the network: two namespaces with a few addresses, and
//! connections from each.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};

mod netns;

pub use self::netns::Net;

/// The address of the door's device, `door`.
pub const DOOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 1));
/// The addresses of the device before the door, `out`.
pub const CLIENTS: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 2)), IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 3))];

/// Both namespaces with these addresses.
///
/// # Errors
/// This process may not create them, or has no `ip`.
pub fn create() -> Result<Net, String> {
    let [door, first, second] = [DOOR, CLIENTS[0], CLIENTS[1]].map(|address| format!("{address}/24"));
    Net::create(&[&door], &[&first, &second])
}

/// A connection from that address. It is given up, as is each answer on it, after that time.
///
/// # Errors
/// The system's error, such as that the packets do not arrive.
pub fn connect(from: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if from.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    match rustix::net::connect(&socket, &to) {
        // The error of connect(2) when its time is over.
        Err(Errno::INPROGRESS) => return Err(io::ErrorKind::TimedOut.into()),
        other => other?,
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
