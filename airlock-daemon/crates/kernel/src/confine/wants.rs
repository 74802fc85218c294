//! The part of the file system that a server is to have: [`super::landlock`] makes rules of it, and
//! [`super::mounts`] a root.

use std::path::{Path, PathBuf};

use airlock_config::schema::{Files, PinNetwork};
use airlock_config::units::ByteSize;

/// Files that steer the kernel: read and executed, never written.
pub(super) const READ_ONLY: [&str; 2] = [PROC, "/sys"];
/// The directory that tells of processes.
pub(super) const PROC: &str = "/proc";
/// File systems that show the kernel's inside, the links of the cage, and the host's message queues: hidden,
/// whoever would be allowed to look.
pub(super) const INSIDE: [&str; 5] =
    ["/dev/mqueue", "/sys/fs/bpf", "/sys/kernel/config", "/sys/kernel/debug", "/sys/kernel/tracing"];
/// Where devices are. The directory can be listed; which of them are a server's, [`super::landlock`] says.
pub(super) const DEVICES: &str = "/dev";
/// The files of every server with `files`, besides those that they name: programs and their configuration.
pub(super) const SYSTEM: [&str; 9] =
    ["/bin", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin", "/usr"];

/// The files of one server.
#[derive(Debug)]
pub(crate) struct Wants<'a> {
    /// `files` of its configuration.
    pub(crate) files: Option<&'a Files>,
    /// Its program, and where it starts.
    pub(crate) program: &'a Path,
    pub(crate) working_dir: &'a Path,
    /// A directory of its own on disk, where it has no mounts of its own.
    pub(crate) own: Option<&'a Path>,
    /// Airlock's own files.
    pub(crate) hidden: &'a [PathBuf],
    pub(crate) network: PinNetwork,
    /// How much it may keep in all for a while, in its own `/tmp` and the like.
    pub(crate) tmp: ByteSize,
    /// True where its `/proc` is to tell of its own processes alone, which it has a namespace for.
    pub(crate) has_proc: bool,
}

/// How something is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Given {
    /// To read and execute.
    ToRead,
    /// To do everything with.
    ToWrite,
}

impl Wants<'_> {
    /// The files of a server with `files` besides the system's: its program, where it starts, and those that
    /// they name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Path, Given)> {
        // The root directory is where a server starts whose configuration names no other, and no wish to read
        // everything.
        let working_dir = Some(self.working_dir).filter(|dir| *dir != Path::new("/"));
        let files = |how| {
            let listed = self.files.map(|files| match how {
                Given::ToRead => &files.read,
                Given::ToWrite => &files.write,
            });
            listed.into_iter().flatten().map(move |path| (path.as_path(), how))
        };
        [Some(self.program), working_dir]
            .into_iter()
            .flatten()
            .map(|path| (path, Given::ToRead))
            .chain(files(Given::ToRead))
            .chain(files(Given::ToWrite))
    }
}
