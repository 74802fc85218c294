use crate::spawner_process::table::Startable;
use crate::spawner_process::table::Table;
use crate::{KernelHalf, ServerCommand};
use airlock_config::schema::{KernelMode, Pin};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::super::server::ServerProcess;
use super::*;
use airlock_config::schema::Kernel;

/// The name of the one server in the table, which says what it is told.
const ECHO: &str = "echo";

fn forked() -> Spawner {
    let command = || {
        Ok(ServerCommand {
            program: "/bin/cat".into(),
            args: Vec::new(),
            env: std::collections::BTreeMap::new(),
            working_dir: "/".into(),
            user: None,
            files: None,
        })
    };
    let servers = vec![Startable { name: ECHO.to_owned(), pin: Pin::default(), command: Box::new(command) }];
    Spawner::fork(Table { servers, mode: KernelMode::Off, hidden: Vec::new() }).expect("a process")
}

fn half(spawner: Spawner) -> std::sync::Arc<KernelHalf> {
    let config = Kernel { mode: KernelMode::Off, ..Kernel::default() };
    KernelHalf::start_with(&config, Some(spawner)).expect("switched off, it always starts")
}

fn started(half: &KernelHalf) -> Result<(ServerProcess, UnixStream), String> {
    let mut server = half.cage().start_server(ECHO, &Pin::default(), || panic!("not by this process"))?;
    let stdio = server.take_stdio().expect("once");
    Ok((server, stdio))
}

fn echoes(stdio: &mut UnixStream) {
    let mut said = [0; 5];
    stdio.write_all(b"hello").and_then(|()| stdio.read_exact(&mut said)).expect("it answers");
    assert_eq!(&said, b"hello");
}

fn control(half: &KernelHalf) -> &OwnedFd {
    &half.cage().spawner.as_ref().expect("given").control
}

/// Sends bytes with streams and a channel, and returns what is answered on that: nothing when it is closed
/// without a word.
fn forge(half: &KernelHalf, bytes: &[u8], take: usize) -> Option<Answer> {
    let (_ends, streams) = Streams::pair().expect("sockets");
    let (ours, theirs) = channel::pair().expect("sockets");
    let fds = [&streams.stdio, &streams.stderr, &theirs, &streams.stdio, &streams.stdio].map(|fd| fd.as_fd());
    channel::send(control(half), bytes, &fds[..take]).expect("it listens");
    drop(theirs);
    channel::answer(&ours).ok().map(|(answer, _)| answer)
}

#[test]
fn a_forged_request_starts_nothing_and_ends_nothing() {
    let half = half(forked());
    let (mut server, mut stdio) = started(&half).expect("a server");
    let start = |place, leaf| Request::Start { place, leaf }.encode();
    for (what, request) in [("unknown place", start(1, None)), ("the last place", start(u32::MAX, None))] {
        assert!(
            matches!(forge(&half, &request, 3), Some(Answer::Refused(why)) if why.contains("no such")),
            "{what}"
        );
    }
    let answer = forge(&half, &start(0, Some(7)), 3);
    assert!(matches!(&answer, Some(Answer::Refused(why)) if why.contains("cgroup")), "{answer:?}");
    let good = start(0, None);
    for (what, bytes, fds) in [
        ("no words", &[][..], 3),
        ("too short", &good[..15], 3),
        ("too long", &[&good[..], &[0]].concat()[..], 3),
        ("longer than is read", &vec![7; 8 * message::ANSWER][..], 3),
        ("garbage", &[0xff; message::REQUEST][..], 3),
        ("two descriptors", &good, 2),
        ("five descriptors", &good, 5),
        ("none", &good, 0),
        ("the end of a server where none is", &Request::End.encode(), 3),
        ("a second probe", &Request::Probe.encode(), 0),
        ("a second beginning", &Request::Begin { pinned: true }.encode(), 0),
        ("another beginning", &Request::Begin { pinned: true }.encode(), 2),
    ] {
        assert_eq!(forge(&half, bytes, fds), None, "{what}");
    }
    // A descriptor that is no unix socket of the right kind is handed to no server.
    let (_ends, streams) = Streams::pair().expect("sockets");
    let (file, tcp) =
        (File::open("/dev/null").expect("it"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    for foreign in [file.as_fd(), tcp.as_fd()] {
        let (ours, theirs) = channel::pair().expect("sockets");
        channel::send(control(&half), &good, &[foreign, streams.stderr.as_fd(), theirs.as_fd()])
            .expect("sent");
        drop(theirs);
        assert!(channel::answer(&ours).is_err());
    }
    echoes(&mut stdio);
    assert_eq!(half.cage().trouble(), None);
    let (mut other, mut other_stdio) = started(&half).expect("another");
    echoes(&mut other_stdio);
    for server in [&mut server, &mut other] {
        let status = server.kill().expect("its end is told");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(server.kill(), Some(status), "twice is once");
    }
}

#[test]
fn how_a_server_ends_by_itself_is_told() {
    let half = half(forked());
    let (mut server, stdio) = started(&half).expect("a server");
    assert_eq!(server.exited(), None);
    drop(stdio);
    let pidfd = server.pidfd().expect("a descriptor");
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("its end is seen");
    assert!(server.exited().expect("its end is told").success());
}

#[test]
fn a_killed_spawner_is_told_of_and_its_servers_go_on() {
    let half = half(forked());
    let (mut server, mut stdio) = started(&half).expect("a server");
    let spawner = half.cage().spawner.as_ref().expect("given").pid();
    kill_process(spawner, Signal::KILL).expect("ours");
    waitid(WaitId::Pid(spawner), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("its end");
    let error = started(&half).expect_err("nobody starts it");
    assert!(error.contains("the process that starts servers is gone"), "{error}");
    assert!(error.contains("systemctl restart airlock"), "{error}");
    assert!(half.cage().trouble().is_some_and(|trouble| trouble.contains("is gone")));
    echoes(&mut stdio);
    let pidfd = server.pidfd().expect("a descriptor");
    assert_eq!(server.kill(), None, "nobody waited for it");
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("its end is seen");
}

#[test]
fn it_has_no_descriptor_of_the_daemons() {
    let file = File::open("/etc/passwd").expect("a file");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    // Descriptors that no program inherits are inherited by a copy.
    assert!(file.as_raw_fd() > 2 && socket.as_raw_fd() > 2);
    let spawner = forked();
    let pid = spawner.pid();
    // It answers when it has settled.
    spawner.begin(None, false).expect("it answers");
    let mut open: Vec<(i32, String)> = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
        .expect("ours to look at")
        .flatten()
        .map(|entry| {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number");
            (number, std::fs::read_link(entry.path()).expect("open").display().to_string())
        })
        .collect();
    open.sort();
    let numbers: Vec<i32> = open.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 3], "{open:?}");
    assert_eq!((open[0].1.as_str(), open[1].1.as_str()), ("/dev/null", "/dev/null"));
    assert!(open[3].1.starts_with("socket:"), "{open:?}");
}
