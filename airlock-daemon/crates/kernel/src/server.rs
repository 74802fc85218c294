//! A running server, and its end.

pub(super) mod spawn;
pub(super) mod terms;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::cgroup::Leaf;
use super::directories::own_dir::OwnDir;
use super::ebpf::pinning::Pinning;
use super::process::clone::Child;
use super::process::exit::Exit;
use super::process::streams::Ends;
use crate::spawner::remote::Remote;

/// A running server. Its process, and all that it started in its cell, end with this value.
#[derive(Debug)]
pub struct ServerProcess {
    process: Process,
    ours: Option<Ends>,
    // In this order: the leaf goes before what it hangs on.
    leaf: Option<Leaf>,
    _pinning: Option<Arc<Pinning>>,
    is_own_user: bool,
}

#[derive(Debug)]
enum Process {
    /// A child of this process, and its directory: nobody writes there when it has ended.
    Own { child: Child, _dir: OwnDir },
    /// A child of the process that starts servers.
    Remote(Remote),
}

impl ServerProcess {
    /// A server that this process has started.
    pub(super) fn own(
        child: Child,
        own: OwnDir,
        leaf: Option<Leaf>,
        pinning: Option<Arc<Pinning>>,
        is_own_user: bool,
    ) -> Self {
        Self { process: Process::Own { child, _dir: own }, ours: None, leaf, _pinning: pinning, is_own_user }
    }

    /// A server that was started for this process.
    pub(super) fn remote(
        remote: Remote,
        ends: Ends,
        leaf: Option<Leaf>,
        pinning: Option<Arc<Pinning>>,
    ) -> Self {
        let process = Process::Remote(remote);
        Self { process, ours: Some(ends), leaf, _pinning: pinning, is_own_user: false }
    }

    /// From here on this process has the other ends of its streams.
    pub(super) fn speak_on(&mut self, ends: Ends) {
        self.ours = Some(ends);
    }

    /// True where it is pinned, and has a user that may undo that.
    pub(super) fn is_own_user(&self) -> bool {
        self.is_own_user
    }

    /// Our end of the socket that is the server's standard input and output; once.
    pub fn take_stdio(&mut self) -> Option<UnixStream> {
        self.ours.as_mut()?.stdio.take()
    }

    /// Our end of the socket that is the server's standard error; once.
    pub fn take_stderr(&mut self) -> Option<UnixStream> {
        self.ours.as_mut()?.stderr.take()
    }

    /// The process id of the server among those of the daemon.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Own { child, .. } => child.program().as_raw_nonzero().get().unsigned_abs(),
            Process::Remote(remote) => remote.pid(),
        }
    }

    /// A descriptor of its first process, which ends last.
    pub(super) fn pidfd(&self) -> io::Result<OwnedFd> {
        match &self.process {
            Process::Own { child, .. } => Ok(pidfd_open(child.pid(), PidfdFlags::empty())?),
            Process::Remote(remote) => remote.pidfd().try_clone_to_owned(),
        }
    }

    /// The end of the server, to be waited for. Call inside of a runtime with I/O, before the server was
    /// killed here.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn exit(&self) -> io::Result<Exit> {
        Exit::of(self.pidfd()?)
    }

    /// How the server ended, if it did by itself; never waits for it. Processes that it left behind in its
    /// cell are killed then.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let (has_ended, is_known) = match &self.process {
            Process::Own { child, .. } => (child.has_ended(), child.status().is_some()),
            Process::Remote(remote) => (remote.has_ended(), remote.is_over()),
        };
        if has_ended && !is_known {
            return self.kill();
        }
        self.status()
    }

    /// Waits until it has ended by itself. Processes that it left behind are killed with this value.
    pub(super) fn wait_until_ended(&self) {
        if let Process::Own { child, .. } = &self.process {
            child.wait_until_ended();
        }
    }

    /// Kills the server and all that it started, waits for its end and removes its cell; how it ended.
    /// Idempotent.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        match &mut self.process {
            Process::Own { child, .. } => kill(child, self.leaf.as_mut()),
            Process::Remote(remote) => remote.end(self.leaf.as_mut()),
        }
        self.status()
    }

    fn status(&self) -> Option<ExitStatus> {
        match &self.process {
            Process::Own { child, .. } => child.status(),
            Process::Remote(remote) => remote.status(),
        }
    }
}

fn kill(child: &mut Child, leaf: Option<&mut Leaf>) {
    if child.status().is_some() {
        return;
    }
    child.settle();
    let by_cgroup = leaf.as_ref().is_some_and(|leaf| leaf.kill());
    let told = |pid: Pid| pid.as_raw_nonzero();
    // The leader is not reaped yet, so the number is still its own.
    if !by_cgroup && let Err(error) = kill_process_group(child.pid(), Signal::KILL) {
        tracing::debug!(pid = told(child.program()), %error, "process group not killed");
    }
    if let Err(error) = child.kill() {
        tracing::debug!(pid = told(child.program()), %error, "process not killed");
    }
    if let Err(error) = child.wait() {
        tracing::warn!(pid = told(child.program()), %error, "cannot wait for a killed server");
    }
    if let Some(leaf) = leaf {
        leaf.remove();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
