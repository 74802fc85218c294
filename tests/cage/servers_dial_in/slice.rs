//! A server in a slice that Airlock has pinned dials in, and reaches nothing else by network.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use airlock_tests::mcp::{modern_call, text};
use airlock_tests::slice::Slice;
use airlock_tests::{Running, Setup, skip, tools};
use serde_json::{Value, json};

use super::{House, WRAPPER, dial, is_hung_up, own_user};

/// A dialler that is in the slice before it does anything.
fn dialler(slice: &Slice, house: &House, command: &[&str]) -> Running {
    let mut shell = Command::new("sh");
    let script = "echo $$ > \"$0\" && exec python3 -c \"$@\"";
    shell.args(["-c", script]).arg(slice.entrance()).arg(WRAPPER).arg(house.socket()).args(command);
    Running::start(shell.stdin(Stdio::null()).process_group(0))
}

/// A daemon that starts only where it pins the slice of that name.
fn required(slice: &str, setup: Setup) -> Setup {
    Setup { kernel: "required".into(), ..setup }.kernel("slice", slice)
}

/// A daemon that pins the slice; none, and the test is skipped, where the host cannot.
fn start(slice: &Slice, keys: &Value, setup: Setup) -> Option<House> {
    let doctor = airlock_tests::airlock::run(&["kernel", "doctor"]);
    if !doctor.0 {
        skip(&format!("no kernel half here: {}", doctor.1));
        return None;
    }
    Some(House::start(&own_user(), keys, required(&slice.name, setup)))
}

fn slice() -> Option<Slice> {
    if !tools::is_root() {
        skip("the kernel programs need root");
        return None;
    }
    Slice::create().map_err(|reason| skip(&format!("no cgroup can be made here: {reason}"))).ok()
}

#[test]
fn a_server_in_the_slice_is_called_and_cannot_phone_home() {
    let Some(slice) = slice() else { return };
    let Some(house) = start(&slice, &json!({"pin": {"sockets": ["airlock"]}}), Setup::default()) else {
        return;
    };
    let server = tools::built("docs-server").display().to_string();

    // Outside of it the same user with the same program is refused.
    {
        let _outside = dial(&house.socket(), &[&server]);
        let record = house.airlock.audited(|record| record["rule_id"] == "dial_in");
        let reason = record["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("it is not in {}, so not pinned", slice.name)), "{record}");
        assert!(house.is_absent(), "{}", house.ready());
    }

    // Doors that would open: somebody listens behind each of them.
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let udp = UdpSocket::bind(address).expect("the same port of UDP");
    tcp.set_nonblocking(true).expect("an option");
    udp.set_nonblocking(true).expect("an option");

    let _dialler = dialler(&slice, &house, &[&server]);
    house.until_ready();
    let airlock = &house.airlock;
    let search = modern_call("/mcp/far", 1, "search_docs", &json!({"query": "roll back"}));
    let answer = airlock.send(&search.bearer(&airlock.user())).answer();
    assert!(text(&answer["result"]).contains("deployment.md"), "{answer}\n{}", airlock.log());

    let operator = airlock.token("oscar", "acme", &["mcp.users", "mcp.operators"]);
    let arguments = json!({"address": address.to_string(), "socket": "/nonexistent"});
    let call = modern_call("/mcp/far", 2, "phone_home", &arguments).bearer(&operator);
    let answer = airlock.send(&call).answer();
    let told = text(&answer["result"]);
    for protocol in ["tcp", "udp"] {
        let line = told.lines().find(|line| line.starts_with(protocol)).unwrap_or_default();
        assert!(line.contains("errno 1 "), "{answer}\nlog:\n{}", airlock.log());
    }
    assert!(tcp.accept().is_err(), "somebody came through over TCP");
    assert!(udp.recv(&mut [0; 64]).is_err(), "something came through over UDP");
}

/// The network that the test above sees refused is there to be had: the same server without a cage gets out.
#[test]
fn a_server_that_need_not_be_pinned_reaches_the_network() {
    let setup = Setup { kernel: "preferred".into(), ..Setup::default() };
    let house = House::start(&own_user(), &json!({"pin": {"network": "host"}}), setup);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let _dialler = dial(&house.socket(), &[&tools::built("docs-server").display().to_string()]);
    house.until_ready();
    let operator = house.airlock.token("oscar", "acme", &["mcp.users", "mcp.operators"]);
    let arguments = json!({"address": address.to_string(), "socket": "/nonexistent"});
    let call = modern_call("/mcp/far", 1, "phone_home", &arguments).bearer(&operator);
    let answer = house.airlock.send(&call).answer();
    assert!(text(&answer["result"]).contains(&format!("tcp {address}: reached")), "{answer}");
    tcp.accept().expect("it came through");
}

#[test]
fn who_was_in_the_slice_before_it_was_pinned_is_refused() {
    let Some(slice) = slice() else { return };
    // It begins before the daemon does, and dials in once there is a socket.
    let waits = tempfile::tempdir().expect("a directory");
    let path = waits.path().join("path");
    let script = "import os, socket, sys, time
open(sys.argv[1], 'w').write(str(os.getpid()))
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
wire = socket.socket(socket.AF_UNIX)
wire.connect(open(sys.argv[2]).read())
wire.recv(1)
";
    let mut shell = Command::new("sh");
    let run = "echo $$ > \"$0\" && exec python3 -c \"$@\"";
    let go = waits.path().join("go");
    shell.args(["-c", run]).arg(slice.entrance()).arg(script).arg(&path).arg(&go);
    let _early = Running::start(shell.stdin(Stdio::null()));
    airlock_tests::airlock::until(|| path.exists().then_some(())).expect("it has begun");
    let Some(house) = start(&slice, &json!({}), Setup::default()) else { return };
    fs::write(waits.path().join("go.new"), house.socket().display().to_string()).expect("ours");
    fs::rename(waits.path().join("go.new"), &go).expect("ours");
    let record = house.airlock.audited(|record| record["rule_id"] == "dial_in");
    let reason = record["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("started before") && reason.contains("restart it"), "{record}");
}

#[test]
fn a_slice_that_was_made_anew_is_not_believed_in() {
    let Some(slice) = slice() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let admin = folder.path().join("admin.sock").display().to_string();
    let Some(house) = start(&slice, &json!({}), Setup::default().observability("admin_listen", &admin))
    else {
        return;
    };
    let status = || airlock_tests::airlock::run(&["status", "--socket", &admin]).1;
    let told = status();
    assert!(told.contains(&slice.name), "{told}");
    assert!(!told.contains("is not pinned") && !told.contains("besides Airlock"), "{told}");
    fs::remove_dir(&slice.dir).expect("nothing is in it");
    fs::create_dir(&slice.dir).expect("ours");
    assert!(status().contains("its new cgroup is not pinned; restart Airlock"), "{}", status());
    let _dialler = dialler(&slice, &house, &["true"]);
    let record = house.airlock.audited(|record| record["rule_id"] == "dial_in");
    assert!(
        record["reason"].as_str().is_some_and(|reason| reason.contains("is not pinned; restart")),
        "{record}"
    );
}

#[test]
fn a_slice_cannot_stand_higher_than_its_hooks() {
    let Some(slice) = slice() else { return };
    let info = airlock_tests::airlock::run(&["kernel", "doctor"]).1;
    if !info.contains("rung     no-network") && !info.contains("rung     sealed") {
        return skip("this host does not reach the rung that is demanded");
    }
    let setup = || Setup { only_listening: true, ..Setup::default() };
    // Without the seal, whether this host could have it or not.
    let demanding = required(&slice.name, setup()).kernel("minimum_rung", "no-network").kernel("seal", "off");
    let failed = demanding.try_start().expect_err("its units stand on no-ip");
    assert!(failed.log.contains("stand on rung `no-ip`, and `no-network` is demanded"), "{}", failed.log);

    let failed =
        required("airlocktest-nowhere.slice", setup()).try_start().expect_err("there is no such slice");
    assert!(failed.log.contains("start the slice before Airlock"), "{}", failed.log);
    drop(slice);
}

/// Where nothing can be pinned, whoever has to be pinned is not let in.
#[test]
fn without_its_slice_a_server_is_refused() {
    let setup = Setup::default().kernel("slice", "airlocktest-nowhere.slice");
    let house = House::start(&own_user(), &json!({}), setup);
    is_hung_up(house.wire());
    let record = house.airlock.audited(|record| record["rule_id"] == "dial_in");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("kernel.slice")), "{record}");
}
