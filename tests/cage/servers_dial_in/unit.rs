//! Under a real systemd: units in `airlock-mcp.slice` dial in, the shipped example among them; one elsewhere
//! does not get in.

use airlock_tests::{Upstream, skip, tools};
use serde_json::{Value, json};

use crate::lifecycle::machine;
use crate::lifecycle::units_run_under_systemd::{in_container, run};

/// Airlock in the container, with four servers that units start.
fn config() -> String {
    let dial_in = |name: &str, user: &str| Upstream::of(name, "dial_in").with("user", user);
    let bare = |name: &str| dial_in(name, "bare").with("unit", format!("{name}.service"));
    let upstreams = [
        dial_in("notes", "notes").with("pin", json!({"sockets": ["airlock", "journal"]})),
        bare("bare"),
        bare("loose").with("pin", json!({"network": "host"})),
        bare("stray"),
    ];
    in_container(&upstreams, &json!({"mode": "required", "slice": "airlock-mcp.slice"}))
}

/// The changes to the shipped example.
const OVERRIDE: &str = "[Service]
ExecStart=
ExecStart=/usr/bin/python3 /usr/local/lib/airlock/dial-in.py ${AIRLOCK_SOCKET} /usr/local/bin/docs-server
ExecStartPre=/bin/echo this unit begins
";

/// With nothing but the slice, so that whatever refuses is the cage.
const BARE: &str = "[Unit]
After=airlock.service
BindsTo=airlock.service
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/airlock/dial-in.py /run/airlock/dial-in/bare.sock /usr/local/bin/docs-server
User=bare
Slice=airlock-mcp.slice
Restart=always
RestartSec=100ms
";

/// One of the same user in the same slice, on the socket of the other.
const TWIN: &str = "[Unit]
After=airlock.service
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/airlock/dial-in.py /run/airlock/dial-in/bare.sock /usr/local/bin/docs-server
User=bare
Slice=airlock-mcp.slice
Restart=always
RestartSec=200ms
";

/// Nobody ends it with the daemon. It tries to get out all the time: while there is no daemon, while one
/// fails to start, and while one takes over.
const STUBBORN: &str = "[Unit]
After=airlock.service
[Service]
Type=exec
ExecStart=/usr/bin/python3 /usr/local/lib/airlock/stubborn.py /var/lib/stubborn/
StateDirectory=stubborn
User=bare
Slice=airlock-mcp.slice
";

const STUBBORN_PY: &str = "import os, socket, sys, time
def tried(act, *given):
    try:
        act(*given)
        return 0
    except OSError as error:
        return error.errno
least = {}
asked = ['ready', 'crashed', 'failed', 'recovered']
while asked:
    is_asked = asked[0] == 'ready' or os.path.exists('/run/' + asked[0])
    found = {
        'inet': tried(socket.socket, socket.AF_INET, socket.SOCK_STREAM),
        'inet6': tried(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM),
        'unix': tried(socket.socket(socket.AF_UNIX).connect, '/run/dbus/system_bus_socket'),
    }
    least = {name: min(errno, least.get(name, errno)) for name, errno in found.items()}
    if is_asked:
        place = sys.argv[1] + asked.pop(0)
        with open(place + '.new', 'w') as said:
            said.write(' '.join(f'{name}={errno}' for name, errno in least.items()))
        os.rename(place + '.new', place)
    time.sleep(0.01)
";

/// It is started again by the probe, when that has seen what happens without it. The doctor looks first each
/// time, beside what a daemon that died has left, and must not touch it.
const DROP_IN: &str = "[Service]
Restart=no
ExecStartPre=/usr/bin/airlock kernel doctor
";

const STRAY: &str = "[Unit]
After=airlock.service
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/airlock/dial-in.py /run/airlock/dial-in/stray.sock /usr/local/bin/docs-server
User=bare
Restart=always
RestartSec=200ms
";

const PROBE: &str = r#"#!/bin/bash
cd /results || exit 1
systemctl is-active airlock.service > active
airlock kernel doctor > doctor 2>&1
systemctl start notes.service bare.service loose.service stray.service twin.service
login() {
    token=$(airlock token --config /etc/airlock/airlock.yaml --subject oscar --tenant acme --group mcp.users --group mcp.operators 2> token-error)
}
login
until_there() {
    for attempt in $(seq 300); do
        [ -e "$1" ] && break
        sleep 0.1
    done
}
call() {
    local body="{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"$2\",\"arguments\":$3,\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}}}}"
    exec 3<> /dev/tcp/127.0.0.1/8080 || return
    printf 'POST /mcp/%s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %s\r\nContent-Length: %d\r\n\r\n%s' "$1" "$token" "$2" "${#body}" "$body" >&3
    cat <&3
    exec 3>&-
}
search='{"query":"roll back"}'
# Units that have just been started take their time.
until_served() {
    for attempt in $(seq 30); do
        call "$1" search_docs "$search" > "$2"
        head -1 "$2" | grep -q ' 200' && break
        sleep 0.5
    done
}
for upstream in notes bare loose; do
    until_served $upstream $upstream
done
call bare phone_home '{"address":"127.0.0.1:8080","socket":"/run/dbus/system_bus_socket"}' > home
call notes phone_home '{"address":"127.0.0.1:8080"}' > hardened
call stray search_docs "$search" > stray
systemctl show --property=ControlGroup bare.service > place
# The doctor leaves the doors of the running daemon as they are.
airlock kernel doctor > /dev/null 2>&1
systemctl restart notes.service
until_served notes again
# The daemon crashes; the next one finds what it left, and fails; the one after that serves.
systemctl start stubborn.service
until_there /var/lib/stubborn/ready
systemctl kill --kill-who=main --signal=KILL airlock.service
for attempt in $(seq 300); do
    systemctl is-failed -q airlock.service && break
    sleep 0.1
done
touch /run/crashed
until_there /var/lib/stubborn/crashed
sed -i.good 's/127.0.0.1:8080/192.0.2.1:8080/' /etc/airlock/airlock.yaml
systemctl start airlock.service > start-error 2>&1
systemctl is-failed airlock.service > not-started
touch /run/failed
until_there /var/lib/stubborn/failed
mv /etc/airlock/airlock.yaml.good /etc/airlock/airlock.yaml
systemctl start airlock.service notes.service bare.service
login
until_served notes recovered
touch /run/recovered
until_there /var/lib/stubborn/recovered
for moment in ready crashed failed recovered; do
    echo "$moment $(cat /var/lib/stubborn/$moment)"
done > tried
journalctl --sync
journalctl --no-pager -o cat -t echo -u notes.service > said
# Its cage goes with the daemon, and so must it.
systemctl stop airlock.service
systemctl is-active notes.service bare.service > after
ls /sys/fs/bpf/airlock > pins-left 2>&1
journalctl --sync
journalctl --no-pager -t airlock-audit AIRLOCK_DECISION=deny -o json > denials
"#;

#[test]
fn a_unit_in_the_slice_dials_in_and_reaches_nothing_else() {
    if !tools::is_root() {
        return skip("systemd-nspawn needs root");
    }
    let example = include_str!("../../../docs/examples/dial-in/notes.service");
    // One that need not be pinned, and is all the same: it finds the way to its socket.
    let loose = BARE.replace("bare.sock", "loose.sock");
    let more = [
        (
            "usr/local/lib/airlock/dial-in.py",
            0o644,
            include_str!("../../../docs/examples/dial-in/dial-in.py"),
        ),
        ("usr/lib/sysusers.d/bare.conf", 0o644, "u bare - \"Bare\" /\n"),
        ("etc/systemd/system/notes.service", 0o644, example),
        ("etc/systemd/system/notes.service.d/test.conf", 0o644, OVERRIDE),
        ("etc/systemd/system/bare.service", 0o644, BARE),
        ("etc/systemd/system/loose.service", 0o644, loose.as_str()),
        ("etc/systemd/system/stray.service", 0o644, STRAY),
        ("etc/systemd/system/twin.service", 0o644, TWIN),
        ("etc/systemd/system/stubborn.service", 0o644, STUBBORN),
        ("usr/local/lib/airlock/stubborn.py", 0o644, STUBBORN_PY),
        ("etc/systemd/system/airlock.service.d/test.conf", 0o644, DROP_IN),
    ];
    let Some(ran) = run(&config(), PROBE, &more) else { return };
    let told = |name: &str| ran.told(name);
    let journal = told("journal");
    assert_eq!(told("active").trim(), "active", "{journal}");
    let sealed = told("doctor").contains("rung     sealed");
    assert!(
        sealed || machine::wanted().is_none(),
        "Debian's kernel can be sealed: {}\n{journal}",
        told("doctor")
    );
    let slice = if sealed {
        "airlock-mcp.slice: sealed but for its doors"
    } else {
        "airlock-mcp.slice: the IP hooks"
    };
    assert!(told("doctor").contains(slice), "{}", told("doctor"));
    assert!(told("place").contains("airlock.slice/airlock-mcp.slice/bare.service"), "{}", told("place"));

    for upstream in ["notes", "bare", "loose", "again", "recovered"] {
        let answer = told(upstream);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("deployment.md"),
            "{answer}\n{journal}"
        );
    }
    // EPERM is the cage's word.
    let home = told("home");
    for protocol in ["tcp", "udp"] {
        let line = format!("{protocol} 127.0.0.1:8080: failed, errno 1 ");
        assert!(home.contains(&line), "{home}\n{journal}");
    }
    // A unix socket that everybody may connect to: on the rung without a seal it is for the unit to hide.
    let reached = if sealed { "failed, errno 1 " } else { "reached" };
    assert!(home.contains(&format!("unix /run/dbus/system_bus_socket: {reached}")), "{home}\n{journal}");
    // This one asked for a unix socket too, that of the journal: its unit shows it none but Airlock's.
    let hardened = told("hardened");
    for protocol in ["tcp 127.0.0.1:8080", "udp 127.0.0.1:8080", "unix /run/systemd/journal/stdout"] {
        assert!(hardened.contains(&format!("{protocol}: failed, errno ")), "{hardened}\n{journal}");
    }
    // A unit that outlives the daemon has no moment without the cage.
    assert_eq!(told("not-started").trim(), "failed", "{}\n{journal}", told("start-error"));
    if ran.bpffs {
        let refused = format!("inet=1 inet6=1 unix={}", u8::from(sealed));
        let moments =
            ["ready", "crashed", "failed", "recovered"].map(|moment| format!("{moment} {refused}\n"));
        assert_eq!(told("tried"), moments.concat(), "{journal}");
        assert_eq!(told("pins-left"), "", "{journal}");
    }
    // The output of units is in the journal.
    assert!(told("said").contains("this unit begins"), "{}\n{journal}", told("said"));
    let stray = told("stray");
    assert!(stray.starts_with("HTTP/1.1 503"), "{stray}\n{journal}");
    let refused = ran
        .records("denials")
        .iter()
        .any(|record| record.to_string().contains("it is not in airlock-mcp.slice, so not pinned"));
    assert!(refused, "{}\n{journal}", told("denials"));
    let of_twin =
        |record: &Value| record.to_string().contains("it belongs to twin.service, not to bare.service");
    assert!(ran.records("denials").iter().any(of_twin), "{}\n{journal}", told("denials"));
    if sealed {
        let records = ran.records("denials");
        let of = |unit: &'static str| records.iter().filter(move |record| record["AIRLOCK_UNIT"] == unit);
        let refused = of("bare.service").any(|record| record["AIRLOCK_METHOD"] == "unix_stream_connect");
        assert!(refused, "{}\n{journal}", told("denials"));
        // The steps of systemd to start a unit are not refused and on record each time, but for the loopback
        // of its empty network.
        let is_of_systemd = |record: &&Value| !record["AIRLOCK_CLIENT"].to_string().contains("(docs-server)");
        let noise: Vec<&Value> = of("notes.service").filter(is_of_systemd).collect();
        let of_loopback = noise.iter().filter(|record| record["AIRLOCK_TARGET"] == "AF_NETLINK").count();
        assert_eq!((of_loopback, noise.len()), (3, 3), "one at each of three starts: {noise:#?}\n{journal}");
    }
    let after = told("after");
    let ended = after.lines().filter(|state| ["inactive", "failed"].contains(state)).count();
    assert_eq!((ended, after.lines().count()), (2, 2), "{after}\n{journal}");
}
