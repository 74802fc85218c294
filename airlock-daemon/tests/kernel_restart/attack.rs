//! A process in a slice that tries to get out of it, again and again, until it is told to stop.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, socket};

use crate::support::Slice;

/// The variable that makes the test binary one: the slice's entrance, the directory of the attack, and what
/// to try.
const ATTACK: &str = "AIRLOCK_TEST_ATTACK";

/// The refusals of a slice whose units have but the IP hooks.
pub(crate) const IP: &[&str] = &["inet", "inet6"];
/// Its refusals where it is sealed; the last is the guard's business.
pub(crate) const SEALED: &[&str] = &["inet", "inet6", "netlink", "unix", "datagram", "leave"];

/// It ends with this value.
pub(crate) struct Attack {
    child: Child,
    dir: PathBuf,
    _sockets: (UnixListener, UnixDatagram),
}

impl Attack {
    /// Returns when it is in the slice and has tried everything once.
    pub(crate) fn start(dir: &Path, slice: &Slice, tries: &[&str]) -> Self {
        let dir = dir.join("attack");
        fs::create_dir(&dir).expect("a directory");
        // Somebody listens behind each of the doors that would open.
        let listener = UnixListener::bind(dir.join("listener")).expect("a socket");
        let datagrams = UnixDatagram::bind(dir.join("datagrams")).expect("a socket");
        let told = format!("{} {} {}", slice.entrance().display(), dir.display(), tries.join(","));
        let child = Command::new(std::env::current_exe().expect("the test binary"))
            .args(crate::support::PROBE)
            .env(ATTACK, told)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut attack = Self { child, dir, _sockets: (listener, datagrams) };
        attack.goes_on();
        attack
    }

    /// Returns when everything was tried once more, from the beginning.
    pub(crate) fn goes_on(&mut self) {
        let before = self.rounds();
        while self.rounds() < before + 2 {
            assert!(self.child.try_wait().expect("its state").is_none(), "it has ended");
            std::thread::yield_now();
        }
    }

    /// The rounds that it has made.
    fn rounds(&self) -> u64 {
        // A line that is not written yet is none.
        let bytes = fs::read(self.dir.join("rounds")).unwrap_or_default();
        bytes.try_into().map_or(0, u64::from_ne_bytes)
    }

    /// Stops it; what it got by in any of the rounds.
    pub(crate) fn end(mut self) -> BTreeSet<String> {
        fs::write(self.dir.join("stop"), "").expect("a file");
        assert!(self.child.wait().expect("its end").success());
        let got = fs::read_to_string(self.dir.join("got")).expect("what it got by");
        got.lines().map(str::to_owned).collect()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The work of the test binary when it was started as one.
pub(crate) fn act() {
    let Ok(told) = std::env::var(ATTACK) else { return };
    let words: Vec<&str> = told.split(' ').collect();
    let [entrance, dir, tries] = words.as_slice() else { panic!("three words: {told}") };
    let (entrance, dir) = (Path::new(entrance), Path::new(dir));
    let above = entrance.parent().and_then(Path::parent).expect("what the slice is in").join("cgroup.procs");
    fs::write(entrance, "0").expect("not in a cage yet");
    let rounds = fs::File::create(dir.join("rounds")).expect("a file");
    let mut got = BTreeSet::new();
    for round in 1_u64.. {
        for name in tries.split(',') {
            let is_free = match name {
                "inet" => socket(AddressFamily::INET, SocketType::STREAM, None).is_ok(),
                "inet6" => socket(AddressFamily::INET6, SocketType::DGRAM, None).is_ok(),
                "netlink" => socket(AddressFamily::NETLINK, SocketType::RAW, None).is_ok(),
                "unix" => UnixStream::connect(dir.join("listener")).is_ok(),
                "datagram" => {
                    let socket = UnixDatagram::unbound().expect("a socket");
                    socket.send_to(b"no", dir.join("datagrams")).is_ok()
                }
                "leave" => fs::OpenOptions::new().write(true).open(&above).is_ok(),
                other => panic!("no such attempt: {other}"),
            };
            if is_free {
                got.insert(name);
            }
        }
        // It shares the processor with the daemons that it waits for.
        std::thread::sleep(Duration::from_millis(1));
        rustix::io::pwrite(&rounds, &round.to_ne_bytes(), 0).expect("the file");
        if dir.join("stop").exists() {
            let lines: Vec<&str> = got.into_iter().collect();
            fs::write(dir.join("got"), lines.join("\n")).expect("a file");
            std::process::exit(0);
        }
    }
}
