//! A daemon that dies with `kill -9`: its servers stay in the cage, and the next daemon takes the pinned
//! links over.
//!
//! The first daemon is this test binary, started again. The bpffs is the test's own, so that nothing of the
//! host is touched.

mod attack;
mod place;
mod slice;
#[path = "../support/kernel.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use airlock::config::schema::{KernelMode, Pin, Rung};
use airlock::kernel::{KernelError, KernelHalf, PinsError};
use place::{ANSWER, ASK, Names, Place, WORK, layer, listed, lives, place};

/// Not a test: what the test binary does when it was started as a daemon, or as its server.
#[test]
fn probe_process() {
    if let Some(work) = std::env::var_os("AIRLOCK_TEST_ORPHAN") {
        orphan(Path::new(&work));
    }
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
    attack::act();
    let (Some(config), Some(work)) = (Place::config_of_daemon(), std::env::var_os(WORK)) else { return };
    let half = KernelHalf::start(&config).expect("preferred always starts");
    assert!(layer(&half, "pins").0, "{}", half.report());
    let mut command = support::probe("unused");
    command.env.insert("AIRLOCK_TEST_ORPHAN".to_owned(), work.to_string_lossy().into_owned());
    let mut server = support::spawn(&half, &Pin::default(), &command);
    let mut output = BufReader::new(server.take_stdio().expect("its output"));
    let mut line = String::new();
    while output.read_line(&mut line).expect("a line") > 0 {
        if line.starts_with("SERVER ") {
            // It knows itself by another number: it has process ids of its own.
            println!("SERVER {}", server.pid());
        }
        line.clear();
    }
    panic!("the server ended");
}

/// A server that outlives its daemon: it waits for a word in a FIFO, tries both ways out and writes down what
/// happened.
fn orphan(work: &Path) -> ! {
    println!("\nSERVER {}", std::process::id());
    loop {
        let words = fs::read_to_string(work.join(ASK)).expect("the FIFO");
        let (tcp, unix) = words.trim().split_once(' ').expect("two addresses");
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(-1);
        let tcp = std::net::TcpStream::connect(tcp).map_or_else(errno, |_| 0);
        let unix = std::os::unix::net::UnixStream::connect(unix).map_or_else(errno, |_| 0);
        let cgroup = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2");
        fs::write(work.join(ANSWER), format!("{tcp} {unix} {cgroup}")).expect("the FIFO");
    }
}

#[test]
fn restarts() {
    let Some(place) = place() else { return };
    killed_and_taken_over(&place);
    a_dead_set_is_replaced(&place);
    killed_while_it_changes_the_names(&place);
    partial_and_foreign_sets_are_refused(&place);
}

fn killed_and_taken_over(place: &Place) {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    // By a path: an abstract name is not to be found from another network namespace.
    let path = place.dir.join("listener");
    let _unix = UnixListener::bind(&path).expect("a listener");
    let words = format!("{} {}", tcp.local_addr().expect("an address"), path.display());
    let ask = || {
        fs::write(place.dir.join(ASK), &words).expect("the FIFO");
        fs::read_to_string(place.dir.join(ANSWER)).expect("an answer")
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
    let (active, detail) = layer(&half, "pins");
    assert!(active && detail.contains("taken over"), "{detail}");
    assert!(half.report().rung >= Some(Rung::NoIp));
    assert_eq!(place.pins().len(), pins.len());
    assert!(!lives(server), "the orphan has ended");
    let mut next = support::spawn(&half, &Pin::default(), &support::probe("look"));
    assert_eq!(support::findings(&mut next)["inet.1"], "1");
    drop(next);
    drop(half);
    assert_eq!(place.pins(), Vec::<PathBuf>::new());
    assert!(place.is_clean(), "nothing is left");
}

/// The usual case under systemd: it ends what is left and removes the cgroups, so the pins hold nobody.
fn a_dead_set_is_replaced(place: &Place) {
    place.dead_daemon_with(&place.config());
    place.remove_servers();
    // As if an older daemon had left it, which had other programs: it holds nobody, so nobody has to clean it
    // up.
    let set = Names::of(place).set;
    fs::rename(set.join("connect4-link"), set.join("older-link")).expect("another name");
    fs::remove_file(set.join("connect6-prog")).expect("one that is missing");
    let half = place.start(KernelMode::Required).expect("a dead set is replaced");
    let (active, detail) = layer(&half, "pins");
    assert!(active && detail.contains("cgroup that is gone"), "{detail}");
    drop(half);
    assert!(place.is_clean(), "nothing is left");
}

/// Pins the first of a set in another directory once more.
fn pin_again(from: &Path, to: &Path, count: usize) {
    fs::create_dir(to).expect("a directory");
    for name in listed(from).into_iter().take(count) {
        fs::hard_link(from.join(&name), to.join(&name)).expect("another name of a pin");
    }
}

/// A daemon that takes over pins its own links beside those it found and changes two names. Wherever it was
/// killed, the next one finds a whole set, takes it over and leaves nothing else.
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
    // Each is two daemons, which takes seconds in a guest; which directories are there does not depend on the
    // kernel.
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        return support::note("not killed at the moments of a takeover: a test of the host");
    }
    for (moment, leave) in moments {
        let server = place.dead_daemon_with(&place.config());
        let names = Names::of(place);
        let whole = listed(&names.set);
        leave(&names, whole.len());
        let half = place.start(KernelMode::Required).unwrap_or_else(|error| panic!("{moment}: {error}"));
        let (active, detail) = layer(&half, "pins");
        assert!(active && detail.contains("taken over"), "{moment}: {detail}");
        assert_eq!(listed(&names.set), whole, "{moment}");
        assert!(!names.new.exists() && !names.old.exists(), "{moment}: {:?}", place.pins());
        assert!(!lives(server), "{moment}: the orphan has ended");
        drop(half);
        assert!(place.is_clean(), "{moment}: nothing is left");
    }
}

fn partial_and_foreign_sets_are_refused(place: &Place) {
    place.dead_daemon_with(&place.config());
    let pins = place.pins();
    let set = pins[0].parent().expect("its directory").to_path_buf();
    let refused = |why: &str| {
        let before = place.pins();
        let error = place.start(KernelMode::Required).expect_err("refused");
        let text = error.to_string();
        assert!(matches!(error, KernelError::Pins(PinsError::Foreign { .. })), "{text}");
        assert!(text.contains(why) && text.contains(&format!("rm -r {}", set.display())), "{text}");
        let half = place.start(KernelMode::Preferred).expect("preferred always starts");
        let (active, detail) = layer(&half, "pins");
        assert!(!active && detail.contains(why), "{detail}");
        // New servers are caged by this daemon's own links.
        assert!(half.report().rung >= Some(Rung::NoIp));
        drop(half);
        assert_eq!(place.pins(), before, "what is refused is not touched");
    };
    // A set that is refused keeps its servers' cgroup alive, or it would be a dead set.
    let keep = place.service.dir.join("servers/keep");
    fs::create_dir(&keep).expect("a cgroup");

    let moved = place.bpffs.join("aside");
    let (link, other) = (set.join("connect4-link"), set.join("connect6-link"));
    fs::rename(&link, &moved).expect("a pin that is gone");
    refused("connect4-link");
    // In a guest each start takes seconds; what else may be wrong with a set is the same on every kernel.
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        fs::remove_dir_all(&set).expect("as the message says");
        assert!(layer(&place.start(KernelMode::Required).expect("after cleaning up"), "pins").0);
        return;
    }
    fs::rename(&other, &link).expect("a link in the place of another");
    fs::rename(&moved, &other).expect("and the other way round");
    refused("pinned beside it");
    fs::rename(set.join("connect4-prog"), &moved).expect("with its program");
    fs::rename(set.join("connect6-prog"), set.join("connect4-prog")).expect("the other");
    fs::rename(&moved, set.join("connect6-prog")).expect("and back");
    refused("attached at");

    // One that was set aside when a daemon was killed is put back, and is no better for it; what was pinned
    // beside it stays.
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
    assert!(layer(&half, "pins").0);
    assert!(!names.new.exists(), "what never was in force goes");
}
