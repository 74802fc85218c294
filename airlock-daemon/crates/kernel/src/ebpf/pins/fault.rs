//! Faults of the sets of bpffs pins, and names of their files.

use super::super::links::Link;
use std::io;
use std::path::{Path, PathBuf};

/// Why links are not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The directory is on another file system.
    #[error("{} is not on a bpffs", .0.display())]
    NotBpffs(PathBuf),
    /// A file or directory refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The attempt.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// There are pins, and they are not a whole set of ours.
    #[error("{}: these pins are not taken over: {reason}", directory.display())]
    Foreign {
        /// The directory of the set.
        directory: PathBuf,
        /// The fault in it.
        reason: String,
    },
    /// There are pins that hold the units of a slice by more than could be attached now.
    #[error(
        "{}: the programs of a daemon that died stay on the slice, and shut its doors: this daemon could not attach {missing}",
        directories[0].display()
    )]
    Stronger {
        /// The directories of the sets: the slice's, and the servers' with what is host-wide.
        directories: [PathBuf; 2],
        /// The hooks.
        missing: String,
    },
}

impl PinsError {
    /// The number of the system error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::NotBpffs(_) | Self::Foreign { .. } | Self::Stronger { .. } => None,
        }
    }

    /// The remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotBpffs(_) => "mount one: mount -t bpf bpf /sys/fs/bpf".to_owned(),
            Self::Io { path, .. } => format!(
                "make {} a directory on a bpffs that Airlock's user may reach and write (systemd-tmpfiles --create \
                 airlock.conf), and name it in ReadWritePaths= of the unit",
                path.display()
            ),
            Self::Foreign { directory, .. } => {
                format!("end the servers of the daemon that left them, then: rm -r {}", directory.display())
            }
            Self::Stronger { directories: [slice, servers], .. } => format!(
                "start Airlock again when it can attach them; or end the units of the slice, then: rm -r {} {}",
                slice.display(),
                servers.display()
            ),
        }
    }

    /// True where there are pins that somebody has to look at.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::Stronger { .. })
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_path_buf();
    move |source| PinsError::Io { action, path, source }
}

/// The name of a pin; a bpffs refuses dots.
pub(super) fn file(link: &Link, what: &str) -> String {
    format!("{}-{what}", link.name.replace('.', "_"))
}
