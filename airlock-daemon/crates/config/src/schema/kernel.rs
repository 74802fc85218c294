//! `kernel`: the cage and the early drop.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `kernel`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// How much the kernel half must do for the daemon to start.
    pub mode: KernelMode,
    /// The weakest pinning under which a server may be started in mode `required`.
    pub minimum_rung: Option<Rung>,
    /// Which LSM programs seal the cage, on a kernel that takes them.
    pub seal: Seal,
    /// The systemd slice whose units are pinned as well, so that they may dial in; none when absent.
    pub slice: Option<String>,
    /// A directory on a bpffs below which the links of the cage are pinned. Without it they are pinned below
    /// `/sys/fs/bpf/airlock`, and only where systemd delegated the cgroups.
    pub bpffs: Option<PathBuf>,
    /// The early drop.
    pub xdp: Xdp,
}

/// `kernel.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelMode {
    /// Refuse to start without it.
    #[default]
    Required,
    /// Start without it, and say so loudly.
    Preferred,
    /// Do not use it.
    Off,
}

/// `kernel.seal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// Those for the cgroup of the servers; where they are refused, those for the whole host.
    #[default]
    Auto,
    /// Those for the cgroup of the servers, or none: they cost other processes nothing.
    Cgroup,
    /// Those for the whole host, or none: they leave the ten places that a kernel has for the others to other
    /// software.
    Host,
    /// None.
    Off,
}

/// A rung of the pinning ladder, from weakest to strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// No IP sockets.
    NoIp,
    /// No IP, no unix connections.
    NoNetwork,
    /// Only Airlock's socket, whatever the process does.
    Sealed,
}

impl Rung {
    /// Its name, as the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoIp => "no-ip",
            Self::NoNetwork => "no-network",
            Self::Sealed => "sealed",
        }
    }
}

/// `kernel.xdp`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Xdp {
    /// Interfaces to attach to; none by default.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub mode: XdpMode,
    /// Sources that are never dropped (CIDR).
    pub allow: Vec<String>,
}

/// `kernel.xdp.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// Native where the driver can, otherwise generic; the log says which.
    #[default]
    Auto,
    /// In the driver, or refuse.
    Native,
    /// In the network stack.
    Generic,
}
