//! A server that somebody else starts connects to a socket of Airlock's, and is a server like any other.

mod slice;
mod unit;
mod units;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Airlock, Running, Setup, Upstream, skip, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Connects, and gives the connection to a program that knows nothing of it as its standard input and output;
/// again and again.
const WRAPPER: &str = "import socket, subprocess, sys, time
while True:
    with socket.socket(socket.AF_UNIX) as wire:
        try:
            wire.connect(sys.argv[1])
        except OSError:
            time.sleep(0.05)
            continue
        subprocess.run(sys.argv[2:], stdin=wire, stdout=wire)
";

/// A daemon with one upstream `far` that dials in.
struct House {
    airlock: Airlock,
    dir: TempDir,
}

impl House {
    /// A session of somebody who is alone in a tenant.
    fn session_of(&self, subject: &str) -> Session {
        let token = self.airlock.token(subject, subject, &["mcp.users"]);
        Session::open(self.airlock.address(), "/mcp/far", &token).expect("a session")
    }

    /// With servers of that user, and more keys of the upstream.
    fn start(user: &str, keys: &Value, setup: Setup) -> Self {
        let dir = tempfile::Builder::new().prefix("airlock-dial-in-").tempdir().expect("a directory");
        let searchable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), searchable).expect("ours");
        let socket = dir.path().join("far.sock");
        let far =
            Upstream::of("far", "dial_in").with("user", user).with("socket", socket.display().to_string());
        let keys = keys.as_object().expect("keys");
        let far = keys.iter().fold(far, |far, (key, value)| far.with(key, value.clone()));
        let airlock = Setup { only_listening: true, ..setup.upstreams(&[far]) }.start();
        Self { airlock, dir }
    }

    /// With servers of our own user that are not pinned.
    fn open(keys: &Value, setup: Setup) -> Self {
        Self::start(&own_user(), keys, Setup { kernel: "off".into(), ..setup })
    }

    /// The same with these `timeouts` of the daemon.
    fn open_within(timeouts: Value, keys: &Value) -> Self {
        Self::open(keys, Setup::default().server("timeouts", timeouts))
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("far.sock")
    }

    fn wire(&self) -> UnixStream {
        UnixStream::connect(self.socket()).expect("everybody may knock")
    }

    fn ready(&self) -> String {
        self.airlock.send(&Request::get("/ready")).text()
    }

    fn until_ready(&self) {
        until(|| (self.airlock.send(&Request::get("/ready?upstream=far")).status == 200).then_some(()))
            .unwrap_or_else(|| panic!("not ready: {}\n{}", self.ready(), self.airlock.log()));
    }

    fn is_absent(&self) -> bool {
        self.ready().contains(r#""upstreams":"not ready""#)
    }
}

fn own_user() -> String {
    let output = Command::new("id").arg("-un").output().expect("a program of every host");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn dial(socket: &Path, command: &[&str]) -> Running {
    let mut wrapper = Command::new("python3");
    wrapper.args(["-c", WRAPPER]).arg(socket).args(command).stdin(Stdio::null());
    Running::start(&mut wrapper)
}

/// A legacy server by hand on one connection: it is called `name`, hangs up on the tool `die`, and never
/// answers `think`.
fn serve_by_hand(wire: UnixStream, name: &'static str) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut write = wire.try_clone().expect("another handle");
        let mut calls = 0;
        for line in BufReader::new(wire).lines().map_while(Result::ok) {
            let asked: Value = serde_json::from_str(&line).expect("JSON");
            let result = match asked["method"].as_str() {
                Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                    "serverInfo": {"name": name, "version": "1"}}),
                Some("tools/call") if asked["params"]["name"] == "die" => return calls,
                Some("tools/call") if asked["params"]["name"] == "think" => continue,
                Some("tools/call") => {
                    calls += 1;
                    json!({"content": [{"type": "text", "text": format!("{name} {calls}")}]})
                }
                _ if asked["id"].is_null() => continue,
                _ => Value::Null,
            };
            let mut answer = json!({"jsonrpc": "2.0", "id": asked["id"]});
            if result.is_null() {
                answer["error"] = json!({"code": -32601, "message": "unknown method"});
            } else {
                answer["result"] = result;
            }
            let _ = writeln!(write, "{answer}");
        }
        calls
    })
}

/// The end of the other side is seen, however much it said before.
fn is_hung_up(mut wire: UnixStream) {
    wire.set_read_timeout(Some(std::time::Duration::from_mins(1))).expect("an option");
    wire.read_to_end(&mut Vec::new()).expect("the connection is closed");
}

#[test]
fn a_server_that_nobody_here_wrote_dials_in() {
    let server = match tools::python("mcp-server-time") {
        Ok(server) => server.display().to_string(),
        Err(reason) => return skip(&reason),
    };
    let house = House::open(&json!({}), Setup::default());
    assert!(house.is_absent(), "{}", house.ready());
    let _dialler = dial(&house.socket(), &[&server, "--local-timezone", "UTC"]);
    house.until_ready();
    let (airlock, token) = (&house.airlock, house.airlock.user());
    let arguments = json!({"timezone": "Europe/Berlin"});
    // As often as the server has to dial in anew, or not.
    for number in 1..=2 {
        let call = modern_call("/mcp/far", number, "get_current_time", &arguments).bearer(&token);
        let answer = airlock.send(&call).answer();
        assert!(text(&answer["result"]).contains("Europe/Berlin"), "{answer}\n{}", airlock.log());
    }
    let mut session = Session::open(airlock.address(), "/mcp/far", &token).expect("a session");
    let told = session.call("get_current_time", &arguments).expect("a result");
    assert!(text(&told).contains("Europe/Berlin"), "{told}");
}

#[test]
fn one_connection_of_a_modern_server_serves_all() {
    let house = House::open(&json!({"era": "modern", "isolation": "shared"}), Setup::default());
    let _dialler = dial(&house.socket(), &[&tools::built("docs-server").display().to_string()]);
    house.until_ready();
    for subject in ["alice", "bob"] {
        let token = house.airlock.token(subject, subject, &["mcp.users"]);
        let call = modern_call("/mcp/far", 1, "search_docs", &json!({"query": "roll back"})).bearer(&token);
        let answer = house.airlock.send(&call).answer();
        assert!(text(&answer["result"]).contains("deployment.md"), "{answer}\n{}", house.airlock.log());
    }
    assert_eq!(house.airlock.log().matches("a server has dialled in").count(), 1, "{}", house.airlock.log());
    // A reload of the policy touches neither the connection nor the socket.
    house.airlock.signal(rustix::process::Signal::HUP);
    until(|| house.airlock.log().contains("policy").then_some(())).expect("it is heard");
    let token = house.airlock.user();
    let call = modern_call("/mcp/far", 2, "search_docs", &json!({"query": "roll back"})).bearer(&token);
    assert_eq!(house.airlock.send(&call).status, 200);
    assert_eq!(house.airlock.log().matches("a server has dialled in").count(), 1, "{}", house.airlock.log());
}

#[test]
fn who_is_not_there_is_named() {
    let house = House::open_within(json!({"connect": "50ms"}), &json!({}));
    let call = modern_call("/mcp/far", 1, "any", &json!({})).bearer(&house.airlock.user());
    let answer = house.airlock.send(&call);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the server is not connected"), "{}", answer.text());
    assert!(house.is_absent(), "{}", house.ready());
    // As often as it is missed: the circuit of one that was never there stays closed.
    for number in 2..10 {
        let call = modern_call("/mcp/far", number, "any", &json!({})).bearer(&house.airlock.user());
        assert!(house.airlock.send(&call).text().contains("the server is not connected"));
    }
    // The first is asked what it is; nobody's client was named to it, so it serves nobody.
    let server = serve_by_hand(house.wire(), "late");
    assert_eq!(server.join().expect("its connection is closed"), 0);
    let again = serve_by_hand(house.wire(), "later");
    house.until_ready();
    let mut session =
        Session::open(house.airlock.address(), "/mcp/far", &house.airlock.user()).expect("open");
    assert_eq!(text(&session.call("hello", &json!({})).expect("a result")), "later 1");
    drop((session, house));
    assert_eq!(again.join().expect("it ends with the daemon"), 1);
}

#[test]
fn two_principals_never_share_a_connection_of_a_legacy_server() {
    let house = House::open(&json!({"era": "legacy"}), Setup::default());
    let probed = serve_by_hand(house.wire(), "probed");
    assert_eq!(probed.join().expect("it was asked what it is"), 0);
    let servers = ["one", "two"].map(|name| serve_by_hand(house.wire(), name));
    let (mut alice, mut bob) = (house.session_of("alice"), house.session_of("bob"));
    let told = |session: &mut Session| text(&session.call("hello", &json!({})).expect("a result")).to_owned();
    let hers = told(&mut alice);
    let his = told(&mut bob);
    assert_eq!((hers.as_str(), his.as_str()), ("one 1", "two 1"));
    assert_eq!((told(&mut alice).as_str(), told(&mut bob).as_str()), ("one 2", "two 2"));
    // A token that one has used is nobody's afterwards.
    let mut end = alice.listen(None);
    "DELETE".clone_into(&mut end.method);
    assert_eq!(house.airlock.send(&end).status, 204);
    let [one, two] = servers;
    assert_eq!(one.join().expect("its connection is closed"), 2);
    drop(house);
    assert_eq!(two.join().expect("it ends with the daemon"), 2);
}

#[test]
fn after_a_hang_up_the_next_connection_is_used() {
    let house = House::open(&json!({"era": "legacy", "isolation": "subject"}), Setup::default());
    let probed = serve_by_hand(house.wire(), "probed");
    probed.join().expect("it was asked what it is");
    // One that has gone before anybody needed it is passed over.
    drop(house.wire());
    let first = serve_by_hand(house.wire(), "first");
    let second = serve_by_hand(house.wire(), "second");
    let token = house.airlock.user();
    let call = |tool: &str| house.airlock.send(&modern_call("/mcp/far", 1, tool, &json!({})).bearer(&token));
    assert_eq!(text(&call("hello").answer()["result"]), "first 1", "{}", house.airlock.log());
    let lost = call("die");
    assert_eq!(lost.status, 502, "{}", lost.text());
    assert_eq!(first.join().expect("it hung up"), 1);
    assert_eq!(text(&call("hello").answer()["result"]), "second 1", "{}", house.airlock.log());
    drop(house);
    second.join().expect("it ends with the daemon");
}

/// A legacy server that is started anew when its connection ends, and has one at a time.
fn serve_one_at_a_time(socket: PathBuf) {
    std::thread::spawn(move || {
        // Until the daemon is gone.
        while let Ok(wire) = UnixStream::connect(&socket) {
            let _ = serve_by_hand(wire, "only").join();
        }
    });
}

#[test]
fn an_idle_session_does_not_hold_the_only_connection() {
    let house =
        House::open_within(json!({"connect": "4s"}), &json!({"era": "legacy", "yield_after": "100ms"}));
    serve_one_at_a_time(house.socket());
    house.until_ready();
    let (mut alice, mut bob) = (house.session_of("alice"), house.session_of("bob"));
    assert_eq!(text(&alice.call("hello", &json!({})).expect("a result")), "only 1");
    // She does nothing more, and he has a server all the same; then she is told.
    assert_eq!(text(&bob.call("hello", &json!({})).expect("a result")), "only 1", "{}", house.airlock.log());
    assert!(house.airlock.logs("stands idle"), "{}", house.airlock.log());
    let lost = alice.call("hello", &json!({})).expect_err("her server has ended");
    assert!(lost.contains("send `initialize` again"), "{lost}");
    let mut again = house.session_of("alice");
    assert_eq!(text(&again.call("hello", &json!({})).expect("a result")), "only 1");
}

#[test]
fn a_session_in_a_call_keeps_its_connection() {
    let house = House::open_within(
        json!({"connect": "400ms", "drain": "500ms"}),
        &json!({"era": "legacy", "yield_after": "1ms"}),
    );
    serve_one_at_a_time(house.socket());
    house.until_ready();
    let (mut alice, mut bob) = (house.session_of("alice"), house.session_of("bob"));
    let (asked, is_asked) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        alice.call("hello", &json!({})).expect("a result");
        asked.send(()).expect("somebody waits");
        alice.call("think", &json!({})).is_ok()
    });
    is_asked.recv().expect("she has a server");
    until(|| house.airlock.audit().iter().any(|record| record["target"] == "think").then_some(()))
        .expect("her call is on record");
    let refused = bob.call("hello", &json!({})).expect_err("the only connection is in use");
    assert!(refused.contains("not connected"), "{refused}");
    drop(house);
    assert!(!waiting.join().expect("her call ends with the daemon"));
}

#[test]
fn a_dialler_that_says_nothing_is_sent_away() {
    let house = House::open(&json!({"timeout": "200ms"}), Setup::default());
    let wire = house.wire();
    is_hung_up(wire);
    assert_eq!(house.airlock.send(&Request::get("/ready?upstream=far")).status, 503);
}

#[test]
fn another_user_is_refused_and_it_is_on_record() {
    let setup = Setup { kernel: "off".into(), ..Setup::default() };
    let other = if own_user() == "nobody" { "root" } else { "nobody" };
    let house = House::start(other, &json!({}), setup);
    is_hung_up(house.wire());
    let record = house.airlock.audited(|record| record["rule_id"] == "dial_in");
    assert_eq!((&record["decision"], &record["upstream"]), (&json!("deny"), &json!("far")), "{record}");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("its user is not")), "{record}");
    assert!(record["client"].as_str().is_some_and(|client| client.contains("uid ")), "{record}");
    assert!(house.is_absent(), "{}", house.ready());
}

#[test]
fn too_many_that_wait_are_refused() {
    // Nobody is asked anything as long as one thinks about the first question.
    let house = House::open(&json!({"timeout": "1h"}), Setup::default());
    let waiting: Vec<UnixStream> = (0..66).map(|_| house.wire()).collect();
    let refused = house.airlock.audited(|record| record["rule_id"] == "dial_in");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("64 of its")), "{refused}");
    drop(waiting);
}
