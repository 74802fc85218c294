//! The world outside of the cage: somebody who listens on everything, a victim, the daemon's files.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::attempt::{Help, OutsideFacts};
use crate::inside::{ATTEMPT, VICTIM};
use crate::raw::{self, call};
use crate::shown::shown_dir;
use crate::slices;

/// How long somebody outside waits for a visitor that was announced; it has come already, or never will.
const VISIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// All of it; what it made outside of its directory is removed with it.
pub(crate) struct World {
    pub(crate) place: OutsideFacts,
    ears: Vec<Ear>,
    victim: Child,
    /// Somebody whose sockets are sent into the cage talks to these.
    far: (TcpListener, UnixListener),
    bound: PathBuf,
    _kept: Vec<OwnedFd>,
    _dir: tempfile::TempDir,
}

/// A socket on which nobody from the cage may be heard.
struct Ear {
    name: &'static str,
    socket: OwnedFd,
    /// Visitors are accepted; otherwise what they sent is received.
    listens: bool,
}

impl World {
    /// Builds it. `tag` tells the worlds of one process apart.
    pub(crate) fn build(tag: &str) -> io::Result<Self> {
        let dir = shown_dir("airlock-escapes-")?;
        let root = dir.path().to_owned();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777))?;
        let mut ears = Vec::new();
        let mut kept = Vec::new();
        let tcp = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).ok());
        let udp = ["127.0.0.1:0", "[::1]:0"].map(|at| UdpSocket::bind(at).ok());
        let tcp_at = tcp.each_ref().map(|socket| socket.as_ref()?.local_addr().ok());
        let udp_at = udp.each_ref().map(|socket| socket.as_ref()?.local_addr().ok());
        for socket in tcp.into_iter().flatten() {
            // TCP fast open is for listeners that asked for it.
            let queue = 5_i32.to_ne_bytes();
            let option = [libc::IPPROTO_TCP, libc::TCP_FASTOPEN];
            call(
                libc::SYS_setsockopt,
                [socket.as_raw_fd().into(), option[0].into(), option[1].into(), (&queue).into(), 4.into()],
            )?;
            ears.push(Ear { name: "TCP", socket: socket.into(), listens: true });
        }
        for socket in udp.into_iter().flatten() {
            ears.push(Ear { name: "UDP", socket: socket.into(), listens: false });
        }
        // As an MPTCP listener would be needed to notice one that does not fall back, TCP's hears both.
        let names = ["stream", "datagram", "packet"]
            .map(|kind| format!("airlock-escapes-{tag}-{kind}-{}", std::process::id()));
        ears.extend(unix_ears(&root, &names)?);
        let daemon = root.join("daemon");
        daemon_files(&daemon, &mut ears)?;
        let bound = bound_socket(&root)?;

        let forgotten = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        rustix::io::fcntl_setfd(&forgotten.0, rustix::io::FdFlags::empty())?;
        rustix::io::fcntl_setfd(&forgotten.1, rustix::io::FdFlags::empty())?;
        let forgotten_numbers = [forgotten.0.as_raw_fd(), forgotten.1.as_raw_fd()];
        kept.extend([OwnedFd::from(forgotten.0), OwnedFd::from(forgotten.1)]);

        let far = (TcpListener::bind("127.0.0.1:0")?, UnixListener::bind(root.join("far"))?);
        let (victim, facts) = start_victim(&far.0.local_addr()?)?;
        let terminal = terminal().map(|(path, main)| {
            kept.push(main);
            path
        });
        let place = OutsideFacts {
            daemon,
            tcp: tcp_at,
            udp: udp_at,
            names,
            victim: victim.id(),
            victim_socket: i32::try_from(facts[0]).map_err(io::Error::other)?,
            victim_secret: facts[1],
            forgotten: forgotten_numbers,
            cgroups: cgroups(tag)?,
            pinned: pinned(tag),
            terminal,
            dir: root,
        };
        kept.push(far.0.accept()?.0.into());
        Ok(Self { place, ears, victim, far, bound, _kept: kept, _dir: dir })
    }

    /// The clients that came since the last time.
    pub(crate) fn visitors(&self) -> Vec<&'static str> {
        let mut seen = Vec::new();
        for ear in &self.ears {
            while ear.hears() {
                seen.push(ear.name);
            }
        }
        seen
    }

    /// Waits until somebody comes; who it was.
    pub(crate) fn expect_visitor(&self) -> Vec<&'static str> {
        let mut list: Vec<PollFd<'_>> =
            self.ears.iter().map(|ear| PollFd::new(&ear.socket, PollFlags::IN)).collect();
        // Visitors are counted below.
        let _ = poll(&mut list, Some(&VISIT));
        self.visitors()
    }

    /// Does what an attempt was promised before it starts; gives the other end of a connection that was
    /// passed.
    pub(crate) fn help(&self, help: Help, stdio: &UnixStream) -> io::Result<Option<OwnedFd>> {
        match help {
            Help::Nothing | Help::Dial => Ok(None),
            Help::SendTcp => {
                let socket = TcpStream::connect(self.far.0.local_addr()?)?;
                raw::send_descriptor(stdio, socket.as_raw_fd())?;
                Ok(Some(self.far.0.accept()?.0.into()))
            }
            Help::SendUnix => {
                let socket = UnixStream::connect(self.place.dir.join("far"))?;
                raw::send_descriptor(stdio, socket.as_raw_fd())?;
                Ok(Some(self.far.1.accept()?.0.into()))
            }
        }
    }

    /// Connects to where an attempt says it listens; the error number, 0 if it was reached.
    pub(crate) fn dial(address: &str) -> i32 {
        let reached = match address.strip_prefix('@') {
            Some(name) => {
                UnixAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address))
            }
            None => UnixStream::connect(address),
        };
        reached.err().map_or(0, |error| error.raw_os_error().unwrap_or(255))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A file that cannot be removed here was removed by the attempt, or goes with the directory.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let _ = rustix::mount::unmount(&self.bound, rustix::mount::UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.place.cgroups[2]);
        if let Some(pinned) = &self.place.pinned {
            let _ = fs::remove_file(pinned);
        }
    }
}

impl Ear {
    fn hears(&self) -> bool {
        if self.listens {
            return rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC).is_ok();
        }
        let mut buffer = [0; 64];
        rustix::net::recv(&self.socket, &mut buffer, rustix::net::RecvFlags::DONTWAIT).is_ok()
    }

    fn new(name: &'static str, socket: impl Into<OwnedFd>, listens: bool) -> Self {
        Self { name, socket: socket.into(), listens }
    }
}

/// Sockets like those of a container engine, a bus, a journal: open to everybody.
fn unix_ears(dir: &Path, names: &[String; 3]) -> io::Result<Vec<Ear>> {
    let mut ears = Vec::new();
    for (name, file) in [("a stream socket", "docker.sock"), ("a bus", "bus")] {
        ears.push(Ear::new(name, UnixListener::bind(dir.join(file))?, true));
    }
    ears.push(Ear::new("a datagram socket", UnixDatagram::bind(dir.join("log"))?, false));
    let packets = |address: &SocketAddrUnix| -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&socket, address)?;
        rustix::net::listen(&socket, 8)?;
        Ok(socket)
    };
    ears.push(Ear::new("a packet socket", packets(&SocketAddrUnix::new(dir.join("packet"))?)?, true));
    let [stream, datagram, packet] = names;
    let address = UnixAddr::from_abstract_name(stream)?;
    ears.push(Ear::new("an abstract stream", UnixListener::bind_addr(&address)?, true));
    let address = UnixAddr::from_abstract_name(datagram)?;
    ears.push(Ear::new("an abstract datagram", UnixDatagram::bind_addr(&address)?, false));
    let address = SocketAddrUnix::new_abstract_name(packet.as_bytes())?;
    ears.push(Ear::new("an abstract packet", packets(&address)?, true));
    for file in ["docker.sock", "bus", "log", "packet"] {
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o666))?;
    }
    symlink(dir.join("docker.sock"), dir.join("link"))?;
    Ok(ears)
}

/// The daemon's files, as the unit and its directories would have them: nothing of it is anybody else's.
fn daemon_files(dir: &Path, ears: &mut Vec<Ear>) -> io::Result<()> {
    fs::create_dir(dir)?;
    for (name, mode) in [
        ("airlock.yaml", 0o640),
        ("policy.rego", 0o644),
        ("audit.log", 0o600),
        ("state", 0o600),
        ("secret", 0o600),
    ] {
        let file = dir.join(name);
        fs::write(&file, "the daemon's\n")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    }
    let socket = dir.join("admin.sock");
    ears.push(Ear::new("the daemon's own socket", UnixListener::bind(&socket)?, true));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for ear in ears.iter().filter(|ear| ear.listens) {
        rustix::io::ioctl_fionbio(&ear.socket, true)?;
    }
    Ok(())
}

/// A socket that a mount shows under another name.
fn bound_socket(dir: &Path) -> io::Result<PathBuf> {
    let bound = dir.join("bound");
    File::create(&bound)?;
    rustix::mount::mount_bind(dir.join("docker.sock"), &bound)?;
    Ok(bound)
}

/// Starts the victim; the number of its socket and the address of its secret.
fn start_victim(peer: &SocketAddr) -> io::Result<(Child, [u64; 2])> {
    let mut victim = Command::new(std::env::current_exe()?)
        .env(ATTEMPT, VICTIM)
        .arg(peer.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = victim.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let mut numbers = line.split_whitespace().map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).ok_or_else(|| io::Error::other("no number"));
    let facts = [next()?, next()?];
    Ok((victim, facts))
}

/// The life of the victim: it owns a connection and a secret, and waits for its end.
pub(crate) fn be_the_victim() -> io::Result<()> {
    let peer = std::env::args().nth(1).ok_or_else(|| io::Error::other("no peer"))?;
    let socket = TcpStream::connect(peer)?;
    let secret = Box::new(*crate::attempts::processes::SECRET);
    println!("{} {}", socket.as_raw_fd(), std::ptr::from_ref(&*secret) as usize);
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop((socket, std::hint::black_box(secret)));
    Ok(())
}

/// A new terminal; the path of the side that programs use, and the other side.
fn terminal() -> Option<(PathBuf, OwnedFd)> {
    let main: OwnedFd = File::options().read(true).write(true).open("/dev/ptmx").ok()?.into();
    let request = |number: libc::c_ulong, value: &mut [u8]| {
        let number = i64::try_from(number).ok()?;
        call(libc::SYS_ioctl, [main.as_raw_fd().into(), number.into(), value.into()]).ok()
    };
    request(libc::TIOCSPTLCK, &mut 0_i32.to_ne_bytes())?;
    let mut number = [0; 4];
    request(libc::TIOCGPTN, &mut number)?;
    let path = PathBuf::from(format!("/dev/pts/{}", u32::from_ne_bytes(number)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).ok()?;
    Some((path, main))
}

/// cgroup2's mount point, our own cgroup, and a new one beside the servers'.
fn cgroups(tag: &str) -> io::Result<[PathBuf; 3]> {
    let mount = slices::mount().map_err(io::Error::other)?;
    let own = slices::cgroup_of("self").map_err(io::Error::other)?;
    let beside = own.join(format!("airlock-escapes-{tag}-{}", std::process::id()));
    fs::create_dir(&beside)?;
    Ok([mount, own, beside])
}

/// A map of ours in bpffs, in the place of the daemon's own pins; none where no bpffs is mounted.
fn pinned(tag: &str) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/sys/fs/bpf/airlock-escapes-{tag}-{}", std::process::id()));
    let map = crate::attempts::bpf::create_map().ok()?;
    crate::attempts::bpf::pin(&map, &path).ok()?;
    Some(path)
}
