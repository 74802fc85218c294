//! Strangers, principals and the host itself against the audit log.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use airlock_tests::airlock::{free_address, run, until};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Running, Setup, tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A daemon that a test starts itself; it is ended with its value.
/// Ends a daemon by SIGTERM; true where it ends well.
fn end(mut daemon: Running) -> bool {
    let _ = kill_process(Pid::from_child(&daemon), Signal::TERM);
    until(|| daemon.try_wait().ok().flatten()).is_some_and(|status| status.success())
}

fn serve(config: &std::path::Path, err: Stdio) -> Running {
    let mut command = Command::new(tools::airlock());
    command.args(["serve", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(err);
    Running::start(&mut command)
}

fn call(airlock: &Airlock, token: &str, tool: &str) -> u16 {
    let arguments = json!({"query": "timeline of the review", "address": "127.0.0.1:9"});
    airlock.send(&modern_call("/mcp/docs", 1, tool, &arguments).bearer(token)).status
}

fn verified(airlock: &Airlock) -> bool {
    run(&["audit", "verify", "--dir", &airlock.dir().join("audit").display().to_string()]).0
}

/// The daemon is killed as soon as the last answer is there. Before, most intents were in its memory alone.
#[test]
fn a_daemon_that_is_killed_has_every_answered_call_on_record() {
    const CALLS: usize = 60;
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    for _ in 0..CALLS {
        assert_eq!(call(&airlock, &token, "search_docs"), 200);
    }
    airlock.signal(Signal::KILL);
    airlock.wait();
    let again = serve(&airlock.config(), Stdio::null());
    // It stores what it finds before it records its own start.
    until(|| (events(&airlock, "start").len() == 2).then_some(())).expect("it starts again");
    assert_eq!(events(&airlock, "call.intent").len(), CALLS);
    assert!(events(&airlock, "call.outcome").len() >= CALLS - 1, "the last may not have been made");
    assert!(end(again));
    assert!(verified(&airlock), "{:#?}", airlock.audit());
}

fn events(airlock: &Airlock, event: &str) -> Vec<Value> {
    airlock.audit().into_iter().filter(|record| record["event"] == event).collect()
}

/// Requests without a token, as fast as they are answered, on one connection. Gives how many were refused.
fn flood(address: SocketAddr, requests: usize) -> usize {
    const AT_ONCE: usize = 50;
    let head = format!("POST /mcp/docs HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    let (mut refused, mut line) = (0, Vec::new());
    for _ in 0..requests / AT_ONCE {
        if stream.write_all(head.repeat(AT_ONCE).as_bytes()).is_err() {
            break;
        }
        let mut seen = 0;
        while seen < AT_ONCE {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return refused,
                Ok(_) if line.starts_with(b"HTTP/1.1 4") => seen += 1,
                // The body of an answer has no newline at its end, so the next head may stand behind it.
                Ok(_) if line.windows(10).any(|part| part == b"HTTP/1.1 4") => seen += 1,
                Ok(_) => {}
            }
        }
        refused += seen;
    }
    refused
}

/// Two strangers flood the door; somebody known is refused meanwhile. Before, a fifth of those refusals was
/// lost.
#[test]
fn strangers_cannot_drown_the_records_of_the_known() {
    const FLOOD: usize = 20_000;
    const DENIED: usize = 40;
    let mut airlock = Setup { log: "info".to_owned(), ..Setup::default() }.start();
    let (token, address) = (airlock.user(), airlock.address());
    let refused = std::thread::scope(|scope| {
        let strangers = [(), ()].map(|()| scope.spawn(move || flood(address, FLOOD / 2)));
        for _ in 0..DENIED {
            assert_eq!(call(&airlock, &token, "phone_home"), 403);
        }
        strangers.map(|stranger| stranger.join().expect("no panic")).iter().sum::<usize>()
    });
    assert!(refused > FLOOD / 2, "the flood was one: {refused}");
    assert!(airlock.stop().success());
    let refusals = events(&airlock, "refusal");
    let known = refusals.iter().filter(|record| record["rule_id"] == "no_phone_home").count();
    assert_eq!(known, DENIED);
    let strangers: Vec<_> = refusals.iter().filter(|record| record["subject"].is_null()).collect();
    let told: u64 = strangers.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
    assert!(told >= refused as u64, "each is counted: {told} of {refused}");
    assert!(strangers.len() < FLOOD / 20, "{} records of strangers", strangers.len());
    assert!(events(&airlock, "gap").is_empty());
    assert!(verified(&airlock));
}

/// A supervisor keeps the other end of standard error and never reads it. Before, the first thread that
/// logged into the full pipe stood still for ever, and SIGTERM was not heeded.
#[test]
fn a_supervisor_that_does_not_read_the_log_stops_nothing() {
    let address = free_address().expect("a port");
    let setup = Setup { listen: vec![address.to_string()], log: "trace".to_owned(), ..Setup::default() };
    let dir = setup.write().expect("a directory");
    let config = dir.path().join("airlock.yaml");
    let mut daemon = serve(&config, Stdio::piped());
    let unread = daemon.stderr.take().expect("a pipe");
    let pipe = rustix::pipe::fcntl_setpipe_size(&unread, 4_096).expect("a small pipe");
    let ready = airlock_tests::http::Request::get("/ready");
    until(|| ready.send(address).ok().filter(|answer| answer.status == 200)).expect("it becomes ready");
    let (_, token, _) = run(&[
        "token",
        "--config",
        &config.display().to_string(),
        "--subject",
        "alice",
        "--tenant",
        "acme",
        "--group",
        "mcp.users",
    ]);
    // Far more lines than a pipe takes.
    for _ in 0..300 {
        let request = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"}));
        let answer = request.bearer(token.trim()).send(address).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let waiting = rustix::io::ioctl_fionread(&unread).expect("a pipe");
    assert!(usize::try_from(waiting).is_ok_and(|waiting| waiting + 1_024 >= pipe), "{waiting} of {pipe}");
    assert!(end(daemon), "it ends in good order while nobody reads");
    drop(unread);
}
