//! A disk of the audit log that is full, read-only or slow is told in every place that somebody looks at,
//! stops what cannot be recorded and nothing else, and loses no record in silence.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use airlock_tests::airlock::{free_address, run, start_in, until};
use airlock_tests::events::Events;
use airlock_tests::http::{Request, Response};
use airlock_tests::little::{Book, Little, Seen, chatty};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::{Airlock, Running, Setup, Upstream, skip, tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::disk::{Disk, HeldWriter};

/// A daemon on that disk, and those who may ask how it is.
struct House {
    /// Unmounted before the directory is removed.
    disk: Option<Disk>,
    airlock: Airlock,
    token: String,
    metrics: std::net::SocketAddr,
    socket: String,
    _folder: TempDir,
}

/// A daemon before the echo server.
fn before_echo() -> Setup {
    let echo = Upstream::stdio("echo", &[&tools::built("echo-server").display().to_string(), "--stdio"]);
    Setup { log: "info".to_owned(), ..Setup::default() }.upstreams(&[echo.with("isolation", "shared")])
}

fn house(setup: Setup, disk: fn(&TempDir) -> Result<Disk, String>) -> Result<House, String> {
    if !tools::is_root() {
        return Err("only root can mount a disk of its own".to_owned());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let metrics = free_address().expect("a port");
    let setup = setup.observability("admin_listen", &socket).observability("metrics_listen", metrics);
    let dir = setup.write().expect("a configuration");
    let disk = Some(disk(&dir)?);
    let airlock = start_in(dir).unwrap_or_else(|failed| panic!("{}", failed.log));
    let token = airlock.user();
    Ok(House { disk, airlock, token, metrics, socket, _folder: folder })
}

impl House {
    fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it is mounted")
    }

    fn call(&self) -> Response {
        let call = modern_call("/mcp/echo", 1, "echo", &json!({"bytes": 10}));
        self.airlock.send(&call.bearer(&self.token))
    }

    fn status(&self) -> Value {
        let (_, text, errors) = run(&["status", "--json", "--socket", &self.socket]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"))
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let text = Request::get("/metrics").send(self.metrics).expect("an answer").text();
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    }

    /// Calls until one is refused for the log's sake.
    fn refused(&self) -> Response {
        let refused =
            until(|| Some(self.call()).filter(|answer| answer.status != 200)).expect("it is refused");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.header("retry-after"), Some("1"), "{:?}", refused.headers);
        refused
    }

    /// The log is in trouble, and everybody is told: the word of `/ready`, the alarm, the metric.
    fn is_told(&self, alarm: &str) {
        let ready = self.airlock.send(&Request::get("/ready"));
        let parts: Value = serde_json::from_slice(&ready.body).expect("JSON");
        assert_eq!((ready.status, &parts["parts"]["audit"]), (503, &json!("not ready")));
        let told = |status: &Value| status["ready"] == false && status["alarms"].to_string().contains(alarm);
        let status = until(|| Some(self.status()).filter(told));
        assert!(status.is_some(), "no `{alarm}` in {:#}", self.status());
        assert_eq!(self.metric("airlock_audit_healthy"), 0);
    }

    /// Waits until the log is well again, by itself, and a call passes.
    fn recovers(&self) {
        until(|| (self.airlock.send(&Request::get("/ready")).status == 200).then_some(()))
            .expect("it recovers");
        assert_eq!(self.call().status, 200);
        assert_eq!(self.metric("airlock_audit_healthy"), 1);
    }

    /// Ends the daemon in good order; the records, of which gap records say that so many are missing. Each
    /// call that was let through has its intent and its end.
    fn records(&mut self, lost: u64) -> Vec<Value> {
        assert!(self.airlock.stop().success(), "{}", self.airlock.log());
        let records = self.airlock.audit();
        let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
        let gaps: u64 = of("gap").iter().filter_map(|gap| gap["lost"].as_u64()).sum();
        assert_eq!(gaps, lost, "{:#?}", of("gap"));
        assert_eq!(of("call.intent").len(), of("call.outcome").len());
        assert!(verified(self.airlock.dir()), "the chain is whole");
        records
    }
}

fn verified(dir: &Path) -> bool {
    run(&["audit", "verify", "--dir", &dir.join("audit").display().to_string()]).0
}

#[test]
fn a_disk_that_is_nearly_full_stops_calls_before_it_is_full() {
    let mut house = match house(before_echo(), Disk::in_memory) {
        Ok(house) => house,
        Err(reason) => return skip(&reason),
    };
    assert_eq!(house.call().status, 200);
    house.disk().leave(400 << 10);
    // The writer looks how much there is with each batch.
    house.refused();
    house.is_told("audit: the disk of the audit log is nearly full; free space below audit.dir");
    assert_eq!(house.status()["audit"]["space"], "gone");
    assert!(house.airlock.logs("less than half of audit.reserve is free below audit.dir"));
    assert!(house.airlock.logs("requests are refused with 503: the disk of the audit log is nearly full"));
    house.disk().make_room();
    house.recovers();
    assert!(house.airlock.logs("there is room again below audit.dir"));
    assert!(house.airlock.logs("every record is taken at once again"));
    let lost = house.metric("airlock_audit_refused_total");
    assert!(lost > 0);
    house.records(lost);
}

#[test]
fn a_disk_that_is_full_keeps_records_in_memory_or_refuses() {
    for mode in ["buffer", "refuse"] {
        let setup = before_echo().audit("reserve", "0B").audit("on_failure", mode);
        let mut house = match house(setup, Disk::in_memory) {
            Ok(house) => house,
            Err(reason) => return skip(&reason),
        };
        house.disk().leave(0);
        // The last page of the segment has room for a few.
        let full = || house.metric("airlock_audit_store_failures_total") > 0;
        until(|| {
            let answer = house.call();
            assert!(answer.status == 200 || mode == "refuse", "{}", answer.text());
            full().then_some(())
        })
        .expect("it is full");
        house.is_told("No space left on device (os error 28); free space there");
        assert!(house.airlock.logs("audit log: cannot append to "));
        if mode == "refuse" {
            house.refused();
            assert!(house.airlock.logs("requests are refused with 503: the audit log cannot be written"));
        } else {
            assert_eq!(house.call().status, 200, "there is room in memory");
        }
        house.disk().make_room();
        house.recovers();
        assert!(house.airlock.logs("audit log: the store works again"));
        let lost = house.metric("airlock_audit_refused_total");
        assert_eq!(lost > 0, mode == "refuse");
        house.records(lost);
    }
}

#[test]
fn a_disk_that_has_become_read_only_ends_nothing_and_loses_nothing_that_it_had() {
    let setup = before_echo().audit("on_failure", "refuse");
    let mut house = match house(setup, Disk::in_image) {
        Ok(house) => house,
        Err(reason) => return skip(&reason),
    };
    for _ in 0..20 {
        assert_eq!(house.call().status, 200);
    }
    let ends = |house: &House| house.airlock.audit().iter().filter(|r| r["event"] == "call.outcome").count();
    // A line can be read before it is synced; no record waits any more once all are.
    let stored = || ends(&house) == 20 && house.metric("airlock_audit_queue") == 0;
    until(|| stored().then_some(())).expect("they are stored");
    if let Err(reason) = house.disk().find_error() {
        return skip(&reason);
    }
    house.refused();
    house.is_told("Read-only file system (os error 30); remount it writable");
    assert!(house.airlock.logs("requests are refused with 503: the audit log cannot be written"));
    // It goes on as long as it is let, and says at its end what could not be stored.
    house.refused();
    assert!(!house.airlock.stop().success());
    assert!(house.airlock.logs("records could not be stored before the end"), "{}", house.airlock.log());
    house.disk().repair();
    let mut command = Command::new(tools::airlock());
    command.args(["serve", "--config"]).arg(house.airlock.config());
    let mut again = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let starts = || house.airlock.audit().iter().filter(|record| record["event"] == "start").count();
    until(|| (starts() == 2).then_some(())).expect("it starts again");
    assert!(ends(&house) >= 20, "all that was stored is there");
    let _ = kill_process(Pid::from_child(&again), Signal::TERM);
    let ended = until(|| again.try_wait().ok().flatten());
    assert!(ended.is_some_and(|status| status.success()));
    assert!(verified(house.airlock.dir()));
}

/// Calls, many at once; true where each was let through.
fn crowd(house: &House, requests: usize, at_once: usize) -> bool {
    let file = house.airlock.dir().join("token");
    std::fs::write(&file, &house.token).expect("ours");
    let mut command = Command::new(tools::built("load-client"));
    command.args(["--url", &format!("http://{}/mcp/echo", house.airlock.address()), "--tool", "echo"]);
    command.args(["--requests", &requests.to_string(), "--concurrency", &at_once.to_string()]);
    command.arg("--token-file").arg(&file).stdin(Stdio::null()).output().is_ok_and(|end| end.status.success())
}

#[test]
fn a_disk_that_stands_still_slows_calls_then_refuses_them_and_says_what_is_missing() {
    /// An intent and an end each: nearly as many as nobody waits for.
    const AT_ONCE: usize = 3_900;
    let setup = before_echo().audit("wait", "250ms");
    let mut house = match house(setup, Disk::in_memory) {
        Ok(house) => house,
        Err(reason) => return skip(&reason),
    };
    let held = match HeldWriter::of(house.airlock.pid()) {
        Ok(held) => held,
        Err(reason) => return skip(&reason),
    };
    assert!(crowd(&house, AT_ONCE, 16), "{}", house.airlock.log());
    assert_eq!(house.metric("airlock_audit_waited_total"), 0);
    assert_eq!(house.airlock.send(&Request::get("/ready")).status, 200);
    // The next ones wait, and are let through while those who have waited find room.
    let waits = || house.metric("airlock_audit_waited_total") > 0;
    until(|| {
        assert_eq!(house.call().status, 200);
        waits().then_some(())
    })
    .expect("they wait");
    let alarms = house.status()["alarms"].to_string();
    assert!(alarms.contains("audit: the disk of audit.dir does not keep up: requests wait"), "{alarms}");
    assert!(house.airlock.logs("requests wait up to audit.wait: the disk of audit.dir does not keep up"));
    assert!(!crowd(&house, 2_000, 64), "some are refused in the end");
    house.refused();
    house.is_told("audit records wait for the store, which does not keep up");
    assert!(house.airlock.logs("requests are refused with 503: the disk of audit.dir has not kept up for"));
    drop(held);
    house.recovers();
    assert!(house.airlock.logs("every record is taken at once again"));
    let lost = house.metric("airlock_audit_refused_total");
    assert!(lost > 0);
    let records = house.records(lost);
    let intents = records.iter().filter(|record| record["event"] == "call.intent").count();
    assert!(intents > AT_ONCE, "{intents}");
}

/// The server of a call that was let through before may speak.
static MAY_SPEAK: AtomicBool = AtomicBool::new(false);

fn late(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    if seen.rpc() == "tools/call" {
        until(|| MAY_SPEAK.load(Ordering::SeqCst).then_some(()));
    }
    chatty(seen, stream, book)
}

#[test]
fn who_waits_for_a_disk_keeps_no_stream_from_others() {
    let server = Little::start(late);
    let mut setup = before_echo().audit("wait", "60s");
    setup.upstreams += &server.entry("late").with("era", "modern").to_string();
    let house =
        match house(setup.with("rate_limiting", json!({"per_principal": {"streams": 1}})), Disk::in_memory) {
            Ok(house) => house,
            Err(reason) => return skip(&reason),
        };
    let session = Session::open(house.airlock.address(), "/mcp/echo", &house.token).expect("a session");
    let held = match HeldWriter::of(house.airlock.pid()) {
        Ok(held) => held,
        Err(reason) => return skip(&reason),
    };
    let fill = |places: u64| {
        until(|| {
            let is_full = house.metric("airlock_audit_queue") >= places;
            assert!(is_full || house.call().status == 200);
            is_full.then_some(())
        })
        .expect("they are taken");
    };
    assert!(crowd(&house, 3_900, 16), "{}", house.airlock.log());
    fill(7_980);
    std::thread::scope(|scope| {
        let count = json!({"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}});
        let call = modern("/mcp/late", 5, "tools/call", &count).bearer(&house.token);
        let airlock = &house.airlock;
        let call = scope.spawn(move || airlock.send(&call).messages());
        server.until(|book| book.seen.iter().find(|seen| seen.rpc() == "tools/call").map(|_| ()));
        fill(8_000);
        let listens = scope.spawn(|| Events::open(airlock.address(), &session.listen(None)));
        until(|| (house.metric("airlock_audit_waited_total") == 1).then_some(())).expect("it waits");
        MAY_SPEAK.store(true, Ordering::SeqCst);
        let messages = call.join().expect("no panic");
        assert!(messages.len() > 1, "the only place is the call's: {messages:?}");
        drop(held);
        assert_eq!(listens.join().expect("no panic").expect("an answer").status, 200);
    });
}

/// A daemon that is killed while it refuses: the next one says how many records are missing.
#[test]
fn what_was_refused_before_a_kill_is_told_by_the_next_daemon() {
    let setup = before_echo().audit("reserve", "0B").audit("on_failure", "refuse");
    let mut house = match house(setup, Disk::in_memory) {
        Ok(house) => house,
        Err(reason) => return skip(&reason),
    };
    house.disk().leave(0);
    house.refused();
    house.refused();
    let lost = house.metric("airlock_audit_refused_total");
    assert!(lost >= 2);
    house.airlock.signal(Signal::KILL);
    house.airlock.wait();
    house.disk().make_room();
    let mut command = Command::new(tools::airlock());
    command.args(["serve", "--config"]).arg(house.airlock.config());
    let mut again = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let gap = house.airlock.audited(|record| record["event"] == "gap");
    assert_eq!(gap["lost"], lost, "{gap}");
    let _ = kill_process(Pid::from_child(&again), Signal::TERM);
    assert!(until(|| again.try_wait().ok().flatten()).is_some_and(|status| status.success()));
    assert!(verified(house.airlock.dir()));
}
