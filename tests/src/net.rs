//! A door and those before it: two network namespaces with a pair of veth devices between them.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the door's device, `door`.
pub const DOOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 1));
/// The addresses of the device before the door, `out`.
pub const CLIENTS: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 2)), IpAddr::V4(std::net::Ipv4Addr::new(10, 98, 0, 3))];

/// Namespaces of the door and of the clients; both vanish with the value.
#[derive(Debug)]
pub struct Net([String; 2]);

impl Net {
    /// Creates both.
    ///
    /// # Errors
    /// This process may not, or has no `ip`.
    pub fn create() -> Result<Self, String> {
        // Tests of one process run at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Self(["door", "out"].map(|side| format!("airlock-net-{side}-{tag}")));
        let [door, out] = &net.0;
        ip(&["netns", "add", door])?;
        ip(&["netns", "add", out])?;
        ip(&["-n", door, "link", "set", "lo", "up"])?;
        ip(&["-n", door, "link", "add", "door", "type", "veth", "peer", "name", "out", "netns", out])?;
        ip(&["-n", door, "address", "add", &format!("{DOOR}/24"), "dev", "door"])?;
        for address in CLIENTS {
            ip(&["-n", out, "address", "add", &format!("{address}/24"), "dev", "out"])?;
        }
        ip(&["-n", door, "link", "set", "door", "up"])?;
        ip(&["-n", out, "link", "set", "out", "up"])?;
        Ok(net)
    }

    /// Runs a function on a thread inside the door's namespace (0) or that of the clients (1).
    pub fn inside<T: Send>(&self, side: usize, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.0[side]);
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let namespace = File::open(&path).expect("a namespace");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("to enter the namespace");
                work()
            });
            worker.join().expect("no panic inside of the namespace")
        })
    }

    /// Runs a line of shell in one of them, with its own `/sys`; what it prints.
    ///
    /// # Errors
    /// What it complains of.
    pub fn shell(&self, side: usize, line: &str) -> Result<String, String> {
        ip(&["netns", "exec", &self.0[side], "sh", "-ec", line])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A connection from that address. It is given up, as is each answer on it, after that time.
///
/// # Errors
/// What the system says, such as that the packets do not arrive.
pub fn connect(from: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    match rustix::net::connect(&socket, &to) {
        // What connect(2) says when its time is over.
        Err(Errno::INPROGRESS) => return Err(io::ErrorKind::TimedOut.into()),
        other => other?,
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
