//! Two network namespaces, joined by a pair of veth devices: a server's with the device `door`, and its
//! clients' with `out`.

#![allow(dead_code, reason = "the crates that include this file need different parts of it")]
#![allow(unreachable_pub, reason = "the crates that include this file see it in different places")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The number of the server's side.
pub const SERVER: usize = 0;
/// The number of the clients' side.
pub const CLIENTS: usize = 1;

/// The namespaces; both vanish with the value.
#[derive(Debug)]
pub struct Net {
    names: [String; 2],
}

impl Net {
    /// Both sides with their addresses, up. The reason, where this process may not create namespaces or has
    /// no `ip`.
    pub fn create(server: &[&str], clients: &[&str]) -> Result<Self, String> {
        // Tests of one process run at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Self { names: ["door", "out"].map(|side| format!("airlock-test-{side}-{tag}")) };
        for name in &net.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        net.add_pair(["door", "out"], server, clients)?;
        Ok(net)
    }

    /// A further pair of devices, the first of them the server's.
    pub fn add_pair(&self, devices: [&str; 2], server: &[&str], clients: &[&str]) -> Result<(), String> {
        let [inner, outer] = &self.names;
        let [near, far] = devices;
        ip(&["-n", inner, "link", "add", near, "type", "veth", "peer", "name", far, "netns", outer])?;
        for ((side, device), addresses) in self.names.iter().zip(devices).zip([server, clients]) {
            for address in addresses {
                ip(&["-n", side, "address", "add", address, "dev", device, "nodad"])?;
            }
            ip(&["-n", side, "link", "set", device, "up"])?;
        }
        Ok(())
    }

    /// Removes a device of the server, and with it the other end.
    pub fn remove(&self, device: &str) -> Result<(), String> {
        ip(&["-n", &self.names[SERVER], "link", "delete", device]).map(drop)
    }

    /// Runs a function on a thread inside one of them.
    pub fn inside<T: Send>(&self, side: usize, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.names[side]);
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

    /// Runs a line of shell in one of them, with its own `/sys`; what it prints, or what it complains of.
    pub fn shell(&self, side: usize, line: &str) -> Result<String, String> {
        ip(&["netns", "exec", &self.names[side], "sh", "-ec", line])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never created is no loss.
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
