//! A daemon that dies with `kill -9`: its servers stay in the cage, and the next daemon takes the pinned links over.
//!
//! The first daemon is this test binary, started again. The bpffs is the test's own, so that nothing of the host is touched.

#[path = "support/kernel.rs"]
mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use airlock::config::schema::{Kernel, KernelMode, Pin, Rung};
use airlock::kernel::{KernelError, KernelHalf, PinsError};
use rustix::fs::{XattrFlags, setxattr};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::{Slice, remove_cgroup};

/// The variables that make the test binary a daemon, and tell it and its server what to use.
const BPFFS: &str = "AIRLOCK_TEST_BPFFS";
const WORK: &str = "AIRLOCK_TEST_WORK";
const SLICE: &str = "AIRLOCK_TEST_SLICE";

/// A bpffs, a cgroup that plays the service's, and a directory; all of it goes with the value.
struct Place {
    dir: PathBuf,
    bpffs: PathBuf,
    service: PathBuf,
    before: PathBuf,
}

impl Place {
    fn create() -> Result<Self, String> {
        let table = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let line = table.lines().find(|line| line.contains(" cgroup2 ")).ok_or("no cgroup2 mount")?;
        let cgroup2 = PathBuf::from(line.split(' ').nth(1).ok_or("no mount point")?);
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup v2")?;
        let before = cgroup2.join(own.trim_start_matches('/'));
        let dir = std::env::temp_dir().join(format!("airlock-restart-{}", std::process::id()));
        let place = Self {
            bpffs: dir.join("bpf"),
            service: before.join(format!("airlock-restart-{}.service", std::process::id())),
            dir,
            before,
        };
        fs::create_dir_all(&place.bpffs).map_err(|error| error.to_string())?;
        mount("bpf", &place.bpffs, "bpf", MountFlags::empty(), None)
            .map_err(|error| format!("no bpffs: {error}"))?;
        fs::create_dir(&place.service).map_err(|error| format!("no cgroup: {error}"))?;
        ["user.delegate", "trusted.delegate"]
            .iter()
            .find_map(|name| setxattr(&place.service, *name, b"1", XattrFlags::empty()).ok())
            .ok_or("no extended attributes on cgroups")?;
        Ok(place)
    }

    fn config(&self) -> Kernel {
        config(&self.bpffs, None)
    }

    fn enter(&self) {
        // With controllers, a cgroup whose subtree has them takes no process; the leaf that an earlier daemon made does.
        let enter = |dir: &Path| fs::write(dir.join("cgroup.procs"), "0");
        enter(&self.service).or_else(|_| enter(&self.service.join("daemon"))).expect("in the service");
    }

    fn leave(&self) {
        fs::write(self.before.join("cgroup.procs"), "0").expect("the way back");
    }

    /// Starts a daemon that is ready to be killed, in the service's cgroup; and its server's process.
    fn daemon(&self) -> (Child, i32) {
        self.daemon_with(None)
    }

    /// The same with a slice.
    #[expect(
        clippy::zombie_processes,
        reason = "whoever is given the daemon waits for it; otherwise the test has failed"
    )]
    fn daemon_with(&self, slice: Option<&Slice>) -> (Child, i32) {
        self.enter();
        let child = Command::new(std::env::current_exe().expect("the test binary"))
            .args(["probe_process", "--exact", "--nocapture", "--test-threads=2"])
            .env(BPFFS, &self.bpffs)
            .env(WORK, &self.dir)
            // What a killed daemon leaves there goes with the place.
            .env("TMPDIR", &self.dir)
            .env(SLICE, slice.map_or("", |slice| &slice.name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        self.leave();
        let mut child = child.expect("a daemon");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while output.read_line(&mut line).expect("a line") > 0 {
            if let Some(pid) = line.trim().strip_prefix("SERVER ") {
                return (child, pid.parse().expect("a process id"));
            }
            line.clear();
        }
        panic!("the daemon ended before its server was there");
    }

    /// The set of pins; none when there is no directory.
    fn pins(&self) -> Vec<PathBuf> {
        let sets = fs::read_dir(self.bpffs.join("v1")).into_iter().flatten();
        let sets = sets.map(|entry| entry.expect("an entry").path());
        sets.flat_map(|set| {
            fs::read_dir(set).expect("a set").map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
        })
        .collect()
    }

    /// A daemon in this process, in the service's cgroup.
    fn start(&self, mode: KernelMode) -> Result<Arc<KernelHalf>, KernelError> {
        self.start_with(&Kernel { mode, ..self.config() })
    }

    fn start_with(&self, config: &Kernel) -> Result<Arc<KernelHalf>, KernelError> {
        self.enter();
        let half = KernelHalf::start(config);
        self.leave();
        half
    }

    fn kill_servers(&self) {
        fs::write(self.service.join("servers/cgroup.kill"), "1").expect("cgroup.kill");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = unmount(&self.bpffs, UnmountFlags::DETACH);
        let _ = fs::write(self.service.join("cgroup.kill"), "1");
        if let Ok(leaves) = fs::read_dir(self.service.join("servers")) {
            leaves.flatten().for_each(|leaf| remove_cgroup(&leaf.path()));
        }
        for name in ["servers", "unpinned", "daemon", ""] {
            remove_cgroup(&self.service.join(name));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn config(bpffs: &Path, slice: Option<&str>) -> Kernel {
    let slice = slice.map(str::to_owned);
    Kernel { mode: KernelMode::Preferred, bpffs: Some(bpffs.to_path_buf()), slice, ..Kernel::default() }
}

fn layer(half: &KernelHalf, name: &str) -> (bool, String) {
    let layer = half.report().layers.iter().find(|layer| layer.name == name).expect("a layer");
    (layer.active, layer.detail.clone())
}

fn pins_layer(half: &KernelHalf) -> (bool, String) {
    layer(half, "pins")
}

/// Not a test: what the test binary does when it was started as a daemon, or as its server.
#[test]
fn probe_process() {
    if let Some(work) = std::env::var_os("AIRLOCK_TEST_ORPHAN") {
        orphan(Path::new(&work));
    }
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
    let (Some(bpffs), Some(work)) = (std::env::var_os(BPFFS), std::env::var_os(WORK)) else { return };
    let slice = std::env::var(SLICE).ok().filter(|slice| !slice.is_empty());
    let half =
        KernelHalf::start(&config(Path::new(&bpffs), slice.as_deref())).expect("preferred always starts");
    assert!(pins_layer(&half).0, "{}", half.report());
    let mut command = support::probe("unused");
    command.env.insert("AIRLOCK_TEST_ORPHAN".to_owned(), work.to_string_lossy().into_owned());
    let mut server = support::spawn(&half, &Pin::default(), &command);
    let mut output = BufReader::new(server.take_stdio().expect("its output"));
    let mut line = String::new();
    while output.read_line(&mut line).expect("a line") > 0 {
        if line.starts_with("SERVER ") {
            std::io::stdout().write_all(line.as_bytes()).expect("stdout");
        }
        line.clear();
    }
    panic!("the server ended");
}

/// A server that outlives its daemon: it waits for a word in a FIFO, tries both ways out and writes down what happened.
fn orphan(work: &Path) -> ! {
    println!("\nSERVER {}", std::process::id());
    loop {
        let words = fs::read_to_string(work.join("ask")).expect("the FIFO");
        let (tcp, unix) = words.trim().split_once(' ').expect("two addresses");
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(-1);
        let tcp = std::net::TcpStream::connect(tcp).map_or_else(errno, |_| 0);
        let unix = std::os::unix::net::UnixStream::connect(unix).map_or_else(errno, |_| 0);
        let cgroup = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2");
        fs::write(work.join("answer"), format!("{tcp} {unix} {cgroup}")).expect("the FIFO");
    }
}

/// Whether this host pins to bpffs at all; otherwise the reason.
fn place() -> Option<Place> {
    if std::env::var_os(support::MODE).is_some() {
        return None;
    }
    support::pinning()?;
    match Place::create() {
        Ok(place) => Some(place),
        Err(reason) => {
            support::skip(&format!("links cannot be pinned here: {reason}"));
            None
        }
    }
}

/// One after the other, because each moves the whole test process.
#[test]
fn restarts() {
    let Some(place) = place() else { return };
    killed_and_taken_over(&place);
    killed_with_its_servers(&place);
    killed_while_it_changes_the_names(&place);
    partial_and_foreign_sets_are_refused(&place);
}

fn killed_and_taken_over(place: &Place) {
    for name in ["ask", "answer"] {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, place.dir.join(name), rustix::fs::FileType::Fifo, mode, 0)
            .expect("a FIFO");
    }
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    // By a path: an abstract name is not to be found from another network namespace.
    let path = place.dir.join("listener");
    let _unix = UnixListener::bind(&path).expect("a listener");
    let words = format!("{} {}", tcp.local_addr().expect("an address"), path.display());
    let ask = || {
        fs::write(place.dir.join("ask"), &words).expect("the FIFO");
        fs::read_to_string(place.dir.join("answer")).expect("an answer")
    };

    let (mut daemon, server) = place.daemon();
    let pins = place.pins();
    assert!(pins.len() >= 18, "a link and a program for each hook: {pins:?}");
    daemon.kill().expect("kill -9");
    daemon.wait().expect("its end");
    assert_eq!(place.pins().len(), pins.len());
    assert!(Path::new(&format!("/proc/{server}")).exists(), "the server lives on");
    let answer = ask();
    let has_unix = pins.iter().any(|path| {
        ["connect_unix-link", "unix_stream_connect-link"]
            .iter()
            .any(|name| path.to_string_lossy().ends_with(name))
    });
    let mut answer = answer.split(' ');
    assert_eq!(answer.next(), Some("1"), "IP is refused with EPERM");
    assert_eq!(answer.next(), Some(if has_unix { "1" } else { "0" }), "unix is refused with EPERM");
    assert!(answer.next().is_some_and(|cgroup| cgroup.contains("/servers/probe-")), "it is where it was");

    // The next one takes the pins over, ends the orphan, and can start servers as ever.
    let half = place.start(KernelMode::Required).expect("a set of ours is taken over");
    let (active, detail) = pins_layer(&half);
    assert!(active && detail.contains("taken over"), "{detail}");
    assert!(half.report().rung >= Some(Rung::NoIp));
    assert_eq!(place.pins().len(), pins.len());
    assert!(!Path::new(&format!("/proc/{server}/exe")).exists(), "the orphan has ended");
    let mut next = support::spawn(&half, &Pin::default(), &support::probe("look"));
    assert_eq!(support::findings(&mut next)["inet.1"], "1");
    drop(next);
    drop(half);
    assert_eq!(place.pins(), Vec::<PathBuf>::new());
    assert!(!place.bpffs.join("v1").exists(), "nothing is left");
}

/// The usual case under systemd: it ends what is left and removes the cgroups, so the pins hold nobody. A slice stays, and so do the
/// units in it that do not heed its signal: nothing of what is refused to them is let through meanwhile.
fn killed_with_its_servers(place: &Place) {
    let Some(slice) = support::slice() else { return };
    let path = place.dir.join("datagrams");
    let _socket = UnixDatagram::bind(&path).expect("a socket");
    let tried = || support::probe_slice(&slice, &[path.display().to_string()]);
    let free = tried();
    assert_eq!((free["inet"].as_str(), free["inet6"].as_str(), free["datagram"].as_str()), ("0", "0", "0"));
    let (mut daemon, _) = place.daemon_with(Some(&slice));
    daemon.kill().expect("kill -9");
    daemon.wait().expect("its end");
    let sealed = place.pins().iter().any(|path| path.ends_with("cage_unix_may_send-link"));
    let after = tried();
    let unix = if sealed { "1" } else { "0" };
    assert_eq!(
        (after["inet"].as_str(), after["inet6"].as_str(), after["datagram"].as_str()),
        ("1", "1", unix)
    );
    place.kill_servers();
    if std::env::var_os("AIRLOCK_GUEST").is_none() {
        a_slice_is_taken_over(place, &slice);
    }
    for leaf in fs::read_dir(place.service.join("servers")).expect("servers").flatten() {
        if leaf.path().is_dir() {
            remove_cgroup(&leaf.path());
        }
    }
    remove_cgroup(&place.service.join("servers"));
    // As if an older daemon had left it, which had other programs: it holds nobody, so nobody has to clean it up.
    let set = Names::of(place).set;
    fs::rename(set.join("connect4-link"), set.join("older-link")).expect("another name");
    fs::remove_file(set.join("connect6-prog")).expect("one that is missing");
    let half = place.start(KernelMode::Required).expect("a dead set is replaced");
    let (active, detail) = pins_layer(&half);
    assert!(active && detail.contains("cgroup that is gone"), "{detail}");
    drop(half);
    // Nor of the slice, which the second daemon does not have.
    assert!(!place.bpffs.join("v1").exists(), "nothing is left");
    assert_eq!(tried()["inet"], "0");
}

/// Whatever an earlier daemon left on the slice, which lives on when its programs are of another version.
fn a_slice_is_taken_over(place: &Place, slice: &Slice) {
    let set = place
        .pins()
        .into_iter()
        .find_map(|path| is_of_slice(&path).then(|| path.parent().map(Path::to_path_buf))?);
    let set = set.expect("the set of the slice");
    fs::rename(set.join("connect4-link"), set.join("older-link")).expect("another name");
    fs::remove_file(set.join("connect6-prog")).expect("one that is missing");
    let half = place.start_with(&config(&place.bpffs, Some(&slice.name))).expect("preferred always starts");
    let (active, detail) = layer(&half, "slice");
    assert!(active && detail.contains("taken over from a daemon that died"), "{detail}");
    assert!(set.join("connect4-link").exists() && !set.join("older-link").exists());
    drop(half);
    assert!(!set.exists(), "an orderly end leaves nothing");
    let (mut daemon, _) = place.daemon_with(Some(slice));
    daemon.kill().expect("kill -9");
    daemon.wait().expect("its end");
    place.kill_servers();
}

/// Whether a pin is of the slice's set.
fn is_of_slice(pin: &Path) -> bool {
    pin.parent().is_some_and(|set| set.to_string_lossy().ends_with("_slice"))
}

/// Where the names of a set are changed: `NAME` is in force, `NAME_new` is pinned beside it, `NAME_old` is set aside.
struct Names {
    set: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

impl Names {
    /// Those of the set that is there.
    fn of(place: &Place) -> Self {
        let pins = place.pins();
        let pin = pins.iter().find(|pin| !is_of_slice(pin)).expect("a pin of the servers' set");
        let set = pin.parent().expect("its directory").to_path_buf();
        let beside = |end: &str| {
            let mut name = set.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        Self { new: beside("_new"), old: beside("_old"), set }
    }
}

/// The names in a directory; none where there is no directory.
fn listed(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("an entry").file_name()).collect()
}

/// Pins the first of a set in another directory once more.
fn pin_again(from: &Path, to: &Path, count: usize) {
    fs::create_dir(to).expect("a directory");
    for name in listed(from).into_iter().take(count) {
        fs::hard_link(from.join(&name), to.join(&name)).expect("another name of a pin");
    }
}

/// A daemon that takes over pins its own links beside those it found and changes two names. Wherever it was killed, the next one
/// finds a whole set, takes it over and leaves nothing else.
fn killed_while_it_changes_the_names(place: &Place) {
    type Leave = fn(&Names, usize);
    let moments: [(&str, Leave); 5] = [
        ("between the two names", |names, all| {
            fs::rename(&names.set, &names.old).expect("set aside");
            pin_again(&names.old, &names.new, all);
        }),
        ("while it pinned", |names, all| pin_again(&names.set, &names.new, all / 2)),
        ("before the first name", |names, all| pin_again(&names.set, &names.new, all)),
        ("after the second name", |names, all| pin_again(&names.set, &names.old, all)),
        ("while it removed the old", |names, all| pin_again(&names.set, &names.old, all / 2)),
    ];
    // Each is two daemons, which takes seconds in a guest; which directories are there does not depend on the kernel.
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        return support::note("not killed at the moments of a takeover: a test of the host");
    }
    for (moment, leave) in moments {
        let (mut daemon, server) = place.daemon();
        daemon.kill().expect("kill -9");
        daemon.wait().expect("its end");
        let names = Names::of(place);
        let whole = listed(&names.set);
        leave(&names, whole.len());
        let half = place.start(KernelMode::Required).unwrap_or_else(|error| panic!("{moment}: {error}"));
        let (active, detail) = pins_layer(&half);
        assert!(active && detail.contains("taken over"), "{moment}: {detail}");
        assert_eq!(listed(&names.set), whole, "{moment}");
        assert!(!names.new.exists() && !names.old.exists(), "{moment}: {:?}", place.pins());
        assert!(!Path::new(&format!("/proc/{server}/exe")).exists(), "{moment}: the orphan has ended");
        drop(half);
        assert!(!place.bpffs.join("v1").exists(), "{moment}: nothing is left");
    }
}

fn partial_and_foreign_sets_are_refused(place: &Place) {
    let (mut daemon, _) = place.daemon();
    daemon.kill().expect("kill -9");
    daemon.wait().expect("its end");
    let pins = place.pins();
    let set = pins[0].parent().expect("its directory").to_path_buf();
    let refused = |why: &str| {
        let before = place.pins();
        let error = place.start(KernelMode::Required).expect_err("refused");
        let text = error.to_string();
        assert!(matches!(error, KernelError::Pins(PinsError::Foreign { .. })), "{text}");
        assert!(text.contains(why) && text.contains(&format!("rm -r {}", set.display())), "{text}");
        let half = place.start(KernelMode::Preferred).expect("preferred always starts");
        let (active, detail) = pins_layer(&half);
        assert!(!active && detail.contains(why), "{detail}");
        // New servers are caged by this daemon's own links.
        assert!(half.report().rung >= Some(Rung::NoIp));
        drop(half);
        let mut after = place.pins();
        after.sort();
        let mut before = before;
        before.sort();
        assert_eq!(after, before, "what is refused is not touched");
    };
    // What is refused keeps its servers' cgroup alive, or it would be a dead set.
    let keep = place.service.join("servers/keep");
    fs::create_dir(&keep).expect("a cgroup");

    let moved = place.bpffs.join("aside");
    let (link, other) = (set.join("connect4-link"), set.join("connect6-link"));
    fs::rename(&link, &moved).expect("a pin that is gone");
    refused("connect4-link");
    // In a guest each start takes seconds; what else may be wrong with a set is the same on every kernel.
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        fs::remove_dir_all(&set).expect("as the message says");
        assert!(pins_layer(&place.start(KernelMode::Required).expect("after cleaning up")).0);
        return;
    }
    fs::rename(&other, &link).expect("a link in the place of another");
    fs::rename(&moved, &other).expect("and the other way round");
    refused("pinned beside it");
    fs::rename(set.join("connect4-prog"), &moved).expect("with its program");
    fs::rename(set.join("connect6-prog"), set.join("connect4-prog")).expect("the other");
    fs::rename(&moved, set.join("connect6-prog")).expect("and back");
    refused("attached at");

    // One that was set aside when a daemon was killed is put back, and is no better for it; what was pinned beside it stays.
    let names = Names::of(place);
    fs::rename(&names.set, &names.old).expect("set aside");
    let broken = listed(&names.old);
    pin_again(&names.old, &names.new, broken.len());
    let text = place.start(KernelMode::Required).expect_err("refused").to_string();
    assert!(text.contains("attached at") && text.contains(&format!("rm -r {}", set.display())), "{text}");
    assert_eq!((listed(&names.set), listed(&names.new)), (broken.clone(), broken));
    assert!(!names.old.exists());
    fs::remove_dir_all(&set).expect("as the message says");
    let half = place.start(KernelMode::Required).expect("after cleaning up");
    assert!(pins_layer(&half).0);
    assert!(!names.new.exists(), "what never was in force goes");
}
