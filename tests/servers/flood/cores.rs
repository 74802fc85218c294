//! Which core does what: one is the host's, with its packets and its daemon, and one that of the clients.
//! Else the flood would take the time of the host by being made, not by arriving.

use std::fs::read_to_string;
use std::process::Command;

use airlock_tests::net::Net;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

/// A core each.
pub(crate) struct Cores {
    pub(crate) host: usize,
    pub(crate) clients: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose() -> Result<Self, String> {
        let allowed = sched_getaffinity(None).map_err(|error| error.to_string())?;
        // Masks of more than 32 cores are written differently, and nobody needs them here.
        let mut allowed = (0..32).filter(|core| allowed.is_set(*core));
        match (allowed.next(), allowed.next()) {
            (Some(host), Some(clients)) => Ok(Self { host, clients }),
            _ => Err("two cores are needed, one for the host and one for its clients".to_owned()),
        }
    }

    /// Has each side receive on its core, whoever sends: by itself a packet of a veth pair is received on the
    /// sender's.
    pub(crate) fn steer(&self, net: &Net) -> Result<(), String> {
        for (side, device, core) in [(0, "door", self.host), (1, "out", self.clients)] {
            let mask = 1_u32 << core;
            let queues = format!("/sys/class/net/{device}/queues/rx-*/rps_cpus");
            net.shell(side, &format!("for queue in {queues}; do echo {mask:x} > $queue; done"))?;
        }
        Ok(())
    }

    /// How long the host's core had nothing to do since the system started, in microseconds. Its deeds are
    /// less well known: a kernel may only look at each tick, and miss whatever sleeps then.
    pub(crate) fn host_idle_micros(&self) -> Result<u64, String> {
        let text = read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
        let name = format!("cpu{} ", self.host);
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        // The fields: user, nice, system, idle, waiting for disks, and more.
        let fields = line.unwrap_or_default().split_whitespace().skip(3).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
    }
}

/// Keeps this thread, and those that it starts from now on, on a core.
pub(crate) fn stay_on(core: usize) -> Result<(), String> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| error.to_string())
}

/// This thread runs only when no other wants its core.
pub(crate) fn come_last() -> Result<(), String> {
    let thread = gettid().as_raw_nonzero().to_string();
    let status = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("chrt: {status}")),
        Err(error) => Err(format!("chrt: {error}")),
    }
}
