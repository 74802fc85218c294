//! The life of the process that starts servers: one thread listens to the daemon, and each server has one
//! that waits for its end.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::set_name;

use super::table::{Startable, Table};
use crate::cgroup::Leaf;
use crate::confine::{namespaces, seccomp};
use crate::probe::permitted;
use crate::process::clone::exit;
use crate::process::privileges;
use crate::process::streams::Streams;
use crate::process::users::is_root_by_omission;
use crate::server::ServerProcess;
use crate::server::terms::Terms;
use crate::spawner::channel::{self, Message};
use crate::spawner::message::{Answer, Request};
use airlock_config::schema::{KernelMode, PinNetwork};

/// Servers that may run at a time: more than any configuration lets a daemon ask for.
const SERVERS: usize = 4_096;

/// The stack of a thread that starts a server, in bytes.
const STACK: usize = 512 * 1024;

/// The number of the one socket that this process keeps.
const CONTROL: RawFd = 3;

/// Everything that a server is started by.
struct House {
    servers: Vec<Startable>,
    terms: Terms,
    /// The directories of leaves, pinned ones first; none where there are no cgroups.
    parents: Option<[PathBuf; 2]>,
    /// The numbers of leaves whose servers live, and how many live.
    living: Mutex<Living>,
}

#[derive(Default)]
struct Living {
    leaves: HashSet<u64>,
    count: usize,
}

/// Where this process is in its life.
enum Stage {
    /// The daemon has not said where servers are to be.
    Early { table: Table, permitted: Option<namespaces::Permitted>, is_probed: bool },
    /// Servers are started.
    Open(Arc<House>),
}

/// Lives as long as the daemon does, and ends the process.
pub(super) fn serve(theirs: &OwnedFd, table: Table, daemon: Pid) -> ! {
    // A defect that unwinds must not go on as a second daemon.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let control = settle(theirs, table.mode, daemon)?;
        listen(&control, table)
    }));
    if let Ok(Err(error)) = &lived {
        // Standard error is a file, a terminal or journald's, and may be closed.
        let text = format!("airlock: the process that starts servers has ended: {error}\n");
        let _ = io::stderr().write_all(text.as_bytes());
    }
    exit(i32::from(!matches!(lived, Ok(Ok(())))))
}

/// Gives up everything but what the work needs.
fn settle(theirs: &OwnedFd, mode: KernelMode, daemon: Pid) -> io::Result<OwnedFd> {
    set_name(c"airlock-spawner")?;
    // Signals of a terminal are for the daemon, which ends servers in order.
    setsid()?;
    let control = bare(theirs)?;
    // Without a cage servers keep what they have always had.
    if mode != KernelMode::Off {
        privileges::keep_for_spawner()?;
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(daemon) {
        return Err(io::Error::other("the daemon has gone before"));
    }
    if mode != KernelMode::Off {
        seccomp::confine_spawner()?;
    }
    Ok(control)
}

/// Closes every descriptor but standard error and one end of the socket.
fn bare(theirs: &OwnedFd) -> io::Result<OwnedFd> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for place in [0, 1] {
        // SAFETY: plain numbers; the copies are this process's standard streams from here on.
        if unsafe { libc::dup2(null.as_raw_fd(), place) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: plain numbers. A value of the daemon's that had this number is used by nobody here.
    let kept = unsafe {
        (theirs.as_raw_fd() == CONTROL || libc::dup3(theirs.as_raw_fd(), CONTROL, libc::O_CLOEXEC) == CONTROL)
            && libc::syscall(libc::SYS_close_range, CONTROL + 1, libc::c_uint::MAX, 0) == 0
    };
    if !kept {
        return Err(io::Error::last_os_error());
    }
    // Their numbers are closed, and may be others' by the time they would be closed again.
    std::mem::forget(null);
    // SAFETY: the number is open, and owned by nobody else: values of the daemon's that had it are never
    // dropped in this process.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(CONTROL) })
}

fn listen(control: &OwnedFd, table: Table) -> io::Result<()> {
    let mut stage = Stage::Early { table, permitted: None, is_probed: false };
    while let Some(message) = channel::receive(control)? {
        // A message that is not understood is from no daemon of ours: nothing is done, and its descriptors
        // are closed.
        let Some(request) = understood(&message) else { continue };
        stage = match (stage, request) {
            (Stage::Early { table, is_probed: false, .. }, Request::Probe) => {
                let found = permitted::probe();
                let refused = found
                    .refused
                    .as_ref()
                    .map(|(step, error)| (*step as u8, error.raw_os_error().unwrap_or_default()));
                let way = found.permitted.and_then(namespaces::Permitted::number);
                let answer = Answer::Found { way, refused, root_by_omission: is_root_by_omission(None) };
                channel::send(control, &answer.encode(), &[])?;
                Stage::Early { table, permitted: found.permitted, is_probed: true }
            }
            (Stage::Early { table, permitted, .. }, Request::Begin { pinned }) => {
                let terms = Terms::new(table.mode, permitted, pinned, table.hidden);
                let parents = match <[OwnedFd; 2]>::try_from(message.fds) {
                    Ok([pinned, free]) => Some([path_of(&pinned)?, path_of(&free)?]),
                    Err(_) => None,
                };
                let servers = table.servers;
                let house = House { servers, terms, parents, living: Mutex::default() };
                channel::send(control, &Answer::Begun.encode(), &[])?;
                Stage::Open(Arc::new(house))
            }
            (Stage::Open(house), Request::Start { place, leaf }) => {
                start(&house, place, leaf, message.fds);
                Stage::Open(house)
            }
            (stage, _) => stage,
        };
    }
    Ok(())
}

/// A request, with as many descriptors as belong to it.
fn understood(message: &Message) -> Option<Request> {
    let request = Request::decode(&message.bytes).filter(|_| !message.is_cut)?;
    let is_fitting = match (request, message.fds.len()) {
        (Request::Probe, 0) | (Request::Begin { .. }, 0 | 2) => true,
        (Request::Start { .. }, 3) => {
            let kinds = [SocketType::STREAM, SocketType::STREAM, SocketType::SEQPACKET];
            message.fds.iter().zip(kinds).all(|(fd, kind)| is_socket(fd, kind))
        }
        _ => false,
    };
    is_fitting.then_some(request)
}

/// True for a unix socket of this kind: a server is handed no socket of another family.
fn is_socket(fd: &OwnedFd, kind: SocketType) -> bool {
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) && sockopt::socket_type(fd) == Ok(kind)
}

fn path_of(dir: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Starts a server in a thread, which stays with it.
fn start(house: &Arc<House>, place: u32, leaf: Option<u64>, fds: Vec<OwnedFd>) {
    let Ok([stdio, stderr, channel]) = <[OwnedFd; 3]>::try_from(fds) else { return };
    let channel = Arc::new(channel);
    let (house, on) = (Arc::clone(house), Arc::clone(&channel));
    let tend = move || match house.admit(leaf) {
        Ok(_room) => match house.start(place, leaf, Streams { stdio, stderr }) {
            Ok(process) => stay(process, &on),
            Err(why) => refuse(&on, why),
        },
        Err(why) => refuse(&on, why),
    };
    let thread = std::thread::Builder::new().name("airlock-spawner".into()).stack_size(STACK);
    if let Err(error) = thread.spawn(tend) {
        refuse(
            &channel,
            format!("cannot start a thread for it: {error}; raise TasksMax= of airlock.service"),
        );
    }
}

fn refuse(channel: &OwnedFd, why: String) {
    // The daemon may be gone.
    let _ = channel::send(channel, &Answer::Refused(why).encode(), &[]);
}

/// A place among the servers that live.
struct Room<'a>(&'a House, Option<u64>);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut living = self.0.living();
        living.count -= 1;
        if let Some(leaf) = self.1 {
            living.leaves.remove(&leaf);
        }
    }
}

impl House {
    fn living(&self) -> MutexGuard<'_, Living> {
        self.living.lock()
    }

    /// Makes room for a server in a leaf that no other has.
    fn admit(&self, leaf: Option<u64>) -> Result<Room<'_>, String> {
        if leaf.is_some() != self.parents.is_some() {
            return Err("its cgroup is not what servers have here; report this".to_owned());
        }
        let mut living = self.living();
        if living.count >= SERVERS {
            return Err(format!("{SERVERS} servers run, and more are not started; lower limits.processes"));
        }
        if leaf.is_some_and(|leaf| !living.leaves.insert(leaf)) {
            return Err("its cgroup is another server's; report this".to_owned());
        }
        living.count += 1;
        Ok(Room(self, leaf))
    }

    fn start(&self, place: u32, leaf: Option<u64>, streams: Streams) -> Result<ServerProcess, String> {
        let server = usize::try_from(place).ok().and_then(|place| self.servers.get(place));
        let Startable { name, pin, command } = server.ok_or("there is no such server; report this")?;
        let leaf = self.parents.as_ref().zip(leaf).map(|([pinned, free], number)| {
            let parent = match pin.network {
                PinNetwork::None => pinned,
                PinNetwork::Host => free,
            };
            Leaf::lent(parent, name, number)
        });
        let command = command()?;
        let cell = self.terms.cell(name, pin, leaf, None).map_err(|error| error.to_string())?;
        cell.spawn_on(&command, streams).map_err(|error| error.to_string())
    }
}

/// Tells that a server runs, and waits until the daemon asks for its end, or no daemon can any more.
fn stay(mut process: ServerProcess, channel: &OwnedFd) {
    let pidfd = match process.pidfd() {
        Ok(pidfd) => pidfd,
        Err(error) => {
            return refuse(
                channel,
                format!("no descriptor is left: {error}; raise LimitNOFILE= of airlock.service"),
            );
        }
    };
    let started = Answer::Started { pid: process.pid(), is_own_user: process.is_own_user() };
    if channel::send(channel, &started.encode(), &[pidfd.as_fd()]).is_err() {
        return;
    }
    drop(pidfd);
    loop {
        match channel::receive(channel) {
            Ok(Some(message)) if understood_end(&message) => break,
            Ok(Some(_)) => {}
            // A daemon that is gone leaves its servers to the end of their input.
            Ok(None) | Err(_) => return process.wait_until_ended(),
        }
    }
    let status = process.kill().map(ExitStatusExt::into_raw);
    // With its directory.
    drop(process);
    let _ = channel::send(channel, &Answer::Ended { status }.encode(), &[]);
}

fn understood_end(message: &Message) -> bool {
    !message.is_cut && message.fds.is_empty() && Request::decode(&message.bytes) == Some(Request::End)
}
