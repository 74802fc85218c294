//! Under a real systemd with a real journald: the unit starts, a call is made, and its audit record is in the
//! journal.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::airlock::POLICY;
use airlock_tests::{Upstream, skip, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::machine;

/// Makes the call from inside and leaves what it saw in `/results`.
const PROBE: &str = r#"#!/bin/bash
cd /results || exit 1
systemctl is-active airlock.service > active
token_of() { airlock token --config /etc/airlock/airlock.yaml --subject "$1" --tenant acme --group mcp.users 2> token-error; }
token=$(token_of alice)
call() {
    local server=${3:-docs} body="{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"$1\",\"arguments\":$2,\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}}}}"
    exec 3<> /dev/tcp/127.0.0.1/8080 || return
    printf 'POST /mcp/%s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %s\r\nContent-Length: %d\r\n\r\n%s' "$server" "${4:-$token}" "$1" "${#body}" "$body" >&3
    cat <&3
    exec 3>&-
}
call search_docs '{"query":"roll back"}' > allowed
call search_docs '{"query":"card 4111 1111 1111 1111"}' > redacted
call phone_home '{"address":"127.0.0.1:9"}' > denied
# A server of bob's runs as the same user. alice's signals it, then a child of its own.
run() { call run "{\"words\":[\"sh\",\"-c\",\"$1\"]}" wild "$2"; }
run 'echo here' "$(token_of bob)" > neighbour
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm")" = wild-server ] && victim=${process#/proc/}
done 2> /dev/null
run "kill -TERM $victim; echo told \$?; sleep 99 & kill \$!; echo own \$?" "$token" > signals
[ "$(cat "/proc/$victim/comm")" = wild-server ] && echo lives > victim
# No swap for the daemon and what it starts, where the kernel counts memory.
cat "/sys/fs/cgroup$(systemctl show -p ControlGroup --value airlock.service)/memory.swap.max" > swap 2> /dev/null || echo uncounted > swap
# The server is there for the next call. Whose it is, and which of its namespaces are not the daemon's.
daemon=/proc/$(systemctl show -p MainPID --value airlock.service)
# Capabilities of its threads, and those of the process that starts servers.
grep -h '^Cap[IPEA]' "$daemon"/task/*/status | sort -u > capabilities
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm")" = airlock-spawner ] && grep '^CapEff' "$process/status"
done > spawner 2> /dev/null
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm")" = docs-server ] || continue
    stat -c %U "$process"
    for kind in net mnt; do [ "$(readlink "$process/ns/$kind")" = "$(readlink "$daemon/ns/$kind")" ] || echo "own $kind"; done
done > server 2> /dev/null
# The links of the cage are pinned; a daemon that was killed is started again and pins its own, and stopping removes them.
ls /sys/fs/bpf/airlock/v1/* > pins
systemctl kill --kill-who=main --signal=KILL airlock.service
until [ "$(systemctl show -p NRestarts --value airlock.service)" = 1 ] && systemctl is-active -q airlock.service; do sleep 0.1; done
ls /sys/fs/bpf/airlock/v1/* > pins-again
# Stopping writes what is still on its way.
systemctl stop airlock.service
ls /sys/fs/bpf/airlock > pins-left
systemctl show --property=Result airlock.service > result
journalctl --sync
journalctl --no-pager -t airlock-audit -o json > records
journalctl --no-pager -t airlock-audit AIRLOCK_DECISION=deny -o json > denials
journalctl --no-pager -t airlock-audit AIRLOCK_REDACTIONS=card -o json > redactions
airlock audit verify --dir /var/lib/airlock/audit > verified 2>&1 && echo well >> verified
"#;

const PROBE_UNIT: &str = "[Unit]
Description=A call from inside
After=airlock.service
Wants=airlock.service

[Service]
Type=oneshot
TimeoutStartSec=300s
ExecStart=/usr/local/bin/probe
ExecStopPost=/bin/sh -c 'journalctl --no-pager -b > /results/journal; if [ -c /dev/ttyS1 ]; then tar -C /results -c . | base64 > /dev/ttyS1; fi; systemctl poweroff --force --force'
";

/// The configuration of Airlock in the container: its addresses and places are those of probes and units.
pub(crate) fn in_container(upstreams: &[Upstream], kernel: &Value) -> String {
    let rest = json!({
        "server": {"listen": ["127.0.0.1:8080"]},
        "auth": {"development_issuer": {"listen": "127.0.0.1:9000"}},
        "policy": {"path": "/etc/airlock/policies"},
        "audit": {"dir": "/var/lib/airlock/audit", "journald": true},
        "kernel": kernel,
    });
    let upstreams: String = upstreams.iter().map(Upstream::to_string).collect();
    // JSON is YAML as well.
    let line = |(key, value): (&String, &Value)| format!("{key}: {value}\n");
    let rest: String = rest.as_object().into_iter().flatten().map(line).collect();
    format!("{rest}upstreams:\n{upstreams}")
}

/// A server of the container.
fn server(name: &str) -> Upstream {
    Upstream::stdio(name, &[&format!("/usr/local/bin/{name}-server")])
}

/// Airlock with two servers there.
fn config() -> String {
    in_container(&[server("docs"), server("wild")], &json!({"mode": "preferred"}))
}

/// A copy of the cached Debian root with everything in its place, and `more`: where, with what mode, and
/// what.
fn prepare(config: &str, probe: &str, more: &[(&str, u32, &str)]) -> Result<TempDir, String> {
    let cached = tools::container_root()?;
    let root = tempfile::Builder::new()
        .prefix("airlock-root-")
        .tempdir_in(cached.parent().unwrap_or(Path::new("/")))
        .map_err(|error| format!("no room for a container: {error}"))?;
    let copied =
        Command::new("cp").args(["-a", "--reflink=auto"]).arg(cached.join(".")).arg(root.path()).status();
    assert!(copied.is_ok_and(|status| status.success()), "the root cannot be copied");

    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let put = |to: &str, mode: u32, bytes: &[u8]| {
        let to = root.path().join(to);
        fs::create_dir_all(to.parent().expect("a parent")).expect("ours");
        fs::write(&to, bytes).expect("ours");
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    put("results/.keep", 0o644, b"");
    put("usr/bin/airlock", 0o755, &read(tools::airlock()));
    put("usr/local/bin/docs-server", 0o755, &read(tools::built("docs-server")));
    put("usr/local/bin/wild-server", 0o755, &read(tools::built("wild-server")));
    put("usr/local/bin/probe", 0o755, probe.as_bytes());
    put("etc/systemd/system/probe.service", 0o644, PROBE_UNIT.as_bytes());
    put("etc/airlock/airlock.yaml", 0o644, config.as_bytes());
    put("etc/airlock/policies/authz.rego", 0o644, POLICY.as_bytes());
    for (file, to) in [
        ("airlock.service", "etc/systemd/system/airlock.service"),
        ("airlock-mcp.slice", "etc/systemd/system/airlock-mcp.slice"),
        ("airlock.sysusers", "usr/lib/sysusers.d/airlock.conf"),
        ("airlock.tmpfiles", "usr/lib/tmpfiles.d/airlock.conf"),
        ("airlock.catalog", "usr/lib/systemd/catalog/airlock.catalog"),
    ] {
        put(to, 0o644, &read(units.join(file)));
    }
    for (to, mode, text) in more {
        put(to, *mode, text.as_bytes());
    }
    let users = Command::new("systemd-sysusers").arg(format!("--root={}", root.path().display())).output();
    let users = users.expect("systemd-sysusers is part of systemd");
    assert!(users.status.success(), "{}", String::from_utf8_lossy(&users.stderr));
    Ok(root)
}

/// A container or a machine that has run.
pub(crate) struct Ran {
    results: TempDir,
    /// True where it had a bpffs, on which links can be pinned.
    pub(crate) bpffs: bool,
}

impl Ran {
    /// The text that the probe wrote to a file; empty where there is none.
    pub(crate) fn told(&self, name: &str) -> String {
        fs::read_to_string(self.results.path().join(name)).unwrap_or_default()
    }

    /// The same as what `journalctl -o json` wrote.
    pub(crate) fn records(&self, name: &str) -> Vec<Value> {
        let told = self.told(name);
        told.lines().map(|line| serde_json::from_str(line).expect("journalctl writes JSON")).collect()
    }
}

/// Boots it until the probe has ended.
fn boot(root: &Path) -> Result<Ran, String> {
    let machine = machine::wanted();
    let bpffs = if machine.is_some() { None } else { Bpffs::mount() };
    let results = tempfile::tempdir().expect("a directory");
    let ran = Ran { results, bpffs: machine.is_some() || bpffs.is_some() };
    if let Some(machine) = machine {
        let said = machine::boot(&machine, root, ran.results.path())?;
        assert!(!ran.told("journal").is_empty(), "the machine did not come up:\n{said}");
        return Ok(ran);
    }
    // One container at a time: they share a cgroup, in which the manager of one would end what belongs to
    // another.
    let turn = File::create(root.parent().unwrap_or(Path::new("/")).join("container.lock")).expect("ours");
    turn.lock().expect("a turn");
    let groups = Cgroups::before();
    let output = Command::new("systemd-nspawn")
        .arg("--directory")
        .arg(root)
        .args(["--register=no", "--keep-unit", "--private-network", "--capability=all"])
        .args(["--system-call-filter=bpf", "--boot"])
        .arg(format!("--machine=airlock-test-{}", std::process::id()))
        .arg(format!("--bind={}:/results", ran.results.path().display()))
        .args(bpffs.as_ref().map(|bpffs| format!("--bind={}:/sys/fs/bpf", bpffs.0.path().display())))
        .args(["systemd.firstboot=off", "systemd.wants=probe.service"])
        .stdin(Stdio::null())
        .output();
    drop(groups);
    drop(turn);
    let output = output.map_err(|error| format!("systemd-nspawn cannot be run: {error}"))?;
    let console =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!ran.told("journal").is_empty(), "the container did not come up:\n{console}");
    Ok(ran)
}

/// Boots a root with this configuration, probe and more files, to its end. None, and the test is skipped,
/// where the host cannot do it.
pub(crate) fn run(config: &str, probe: &str, more: &[(&str, u32, &str)]) -> Option<Ran> {
    let ran = prepare(config, probe, more).and_then(|root| boot(root.path()));
    ran.map_err(|reason| skip(&reason)).ok()
}

#[test]
fn the_unit_starts_and_a_call_is_in_the_journal() {
    if !tools::is_root() {
        return skip("systemd-nspawn needs root");
    }
    let Some(ran) = run(&config(), PROBE, &[]) else { return };
    let told = |name: &str| ran.told(name);
    let journal = told("journal");

    assert_eq!(told("active").trim(), "active", "{journal}");
    let allowed = told("allowed");
    assert!(allowed.starts_with("HTTP/1.1 200") && allowed.contains("deployment.md"), "{allowed}\n{journal}");
    let denied = told("denied");
    assert!(denied.starts_with("HTTP/1.1 403") && denied.contains("no_phone_home"), "{denied}\n{journal}");
    let (neighbour, signals) = (told("neighbour"), told("signals"));
    assert!(neighbour.contains("here"), "{neighbour}\n{journal}");
    assert!(signals.contains("told 1") && signals.contains("own 0"), "{signals}\n{journal}");
    assert_eq!(told("victim"), "lives\n", "{signals}\n{journal}");
    assert_eq!(told("result").trim(), "Result=success", "{journal}");
    let swap = told("swap");
    assert!(["0", "uncounted"].contains(&swap.trim()), "{swap}\n{journal}");
    assert_eq!(told("server"), "airlock-mcp\nown net\nown mnt\n", "{journal}");
    // CAP_SETGID and CAP_SETUID are the one's that starts servers, and no others are.
    assert_eq!(told("spawner"), "CapEff:\t00000000000000c0\n", "{journal}");
    let capabilities = told("capabilities");
    let sets = capabilities.lines().filter_map(|line| line.split_whitespace().last());
    let sets: Vec<u64> = sets.filter_map(|set| u64::from_str_radix(set, 16).ok()).collect();
    assert!(!sets.is_empty() && sets.iter().all(|set| set & 0xc0 == 0), "{capabilities}\n{journal}");
    if ran.bpffs {
        assert!(told("pins").contains("sock_create-link"), "nothing was pinned:\n{journal}");
        assert_eq!(told("pins-again"), told("pins"), "{journal}");
        assert_eq!(told("pins-left"), "", "{journal}");
    }
    assert!(told("verified").trim_end().ends_with("well"), "{}\n{journal}", told("verified"));

    let of_alice = |records: &[Value], target: &str| {
        records
            .iter()
            .any(|record| record["AIRLOCK_SUBJECT"] == "alice" && record["AIRLOCK_TARGET"] == target)
    };
    let all = ran.records("records");
    assert!(of_alice(&all, "search_docs"), "{}", told("records"));
    for record in &all {
        assert!(record["MESSAGE"].as_str().is_some_and(|message| !message.is_empty()), "{record}");
        assert!(record["MESSAGE_ID"].is_string(), "{record}");
    }
    // Where process ids are in common it is a program of the cage that refuses, and tells.
    let of_kernel = |record: &Value| {
        record["AIRLOCK_EVENT"] == "kernel.denied" && record["AIRLOCK_TARGET"] == "task_kill"
    };
    assert_eq!(all.iter().any(of_kernel), machine::wanted().is_some(), "{}", told("records"));
    let denials = ran.records("denials");
    assert!(of_alice(&denials, "phone_home") && !of_alice(&denials, "search_docs"), "{}", told("denials"));
    // The record is found by its detector, and what that has found is nowhere.
    assert!(told("redacted").starts_with("HTTP/1.1 200"), "{}\n{journal}", told("redacted"));
    let redactions = ran.records("redactions");
    assert!(of_alice(&redactions, "search_docs"), "{}", told("records"));
    assert!(!told("records").contains("4111 1111") && !journal.contains("4111 1111"), "{journal}");
}

/// How many calls are made, and how many more with a journald that does not read; fewer where a machine is
/// interpreted.
fn calls() -> (usize, usize) {
    if machine::wanted().is_some() { (1_000, 200) } else { (15_000, 2_000) }
}

/// Makes many calls, then some with a journald that does not read.
const CROWD: &str = r#"#!/bin/bash
cd /results || exit 1
airlock token --config /etc/airlock/airlock.yaml --subject alice --tenant acme --group mcp.users > /run/token
calls() { /usr/local/bin/load-client --url http://127.0.0.1:8080/mcp/echo --tool echo --bytes 300 --concurrency 16 --requests "$1" --token-file /run/token; }
calls MANY > many 2>&1
journald=$(systemctl show -p MainPID --value systemd-journald.service)
kill -STOP "$journald"
calls STUCK > stuck 2>&1
wc -l < /var/lib/airlock/audit/00000000000000000000.jsonl > stored
kill -CONT "$journald"
systemctl stop airlock.service
systemctl show --property=Result airlock.service > result
journalctl --sync
journalctl --no-pager -t airlock-audit --output=cat | wc -l > copied
airlock audit verify --dir /var/lib/airlock/audit --journal > verified 2>&1 && echo well >> verified
"#;

#[test]
fn every_record_of_many_calls_is_in_the_journal() {
    if !tools::is_root() {
        return skip("systemd-nspawn needs root");
    }
    let echo =
        Upstream::stdio("echo", &["/usr/local/bin/echo-server", "--stdio"]).with("isolation", "shared");
    let config = in_container(&[echo, server("wild")], &json!({"mode": "preferred"}));
    // Tighter than what journald does unasked, which grows with the disk: the unit's own setting has to act.
    let limit = "[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=50\n";
    let limit = ("etc/systemd/journald.conf.d/limit.conf", 0o644, limit);
    let (many, stuck) = calls();
    let probe = CROWD.replace("MANY", &many.to_string()).replace("STUCK", &stuck.to_string());
    let root = match prepare(&config, &probe, &[limit]) {
        Ok(root) => root,
        Err(reason) => return skip(&reason),
    };
    for program in ["echo-server", "load-client"] {
        fs::copy(tools::built(program), root.path().join("usr/local/bin").join(program)).expect("ours");
    }
    let ran = match boot(root.path()) {
        Ok(ran) => ran,
        Err(reason) => return skip(&reason),
    };
    let (told, journal) = (|name: &str| ran.told(name), ran.told("journal"));
    let number = |name: &str| told(name).trim().parse::<usize>().unwrap_or_default();
    for calls in ["many", "stuck"] {
        assert!(told(calls).starts_with('{'), "{}\n{journal}", told(calls));
    }
    // An intent and an outcome each, also while journald stood still: the files went on.
    assert!(number("stored") >= 2 * many + 2 * stuck - 200, "{}\n{journal}", told("stored"));
    assert!(number("copied") >= 2 * many, "{} of them\n{}", told("copied"), told("verified"));
    assert_eq!(told("result").trim(), "Result=success", "{journal}");
    let verified = told("verified");
    assert!(verified.trim_end().ends_with("well") && !verified.contains("not in the journal"), "{verified}");
}

/// A bpffs for the container, which has none of its own; it is unmounted with its value.
struct Bpffs(TempDir);

impl Bpffs {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(dir.path()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir))
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Its directory is removed after this.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The empty cgroups that `systemd-nspawn` leaves below ours are taken away again.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn before() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut left = Vec::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            for mount in mounts.lines().filter(|mount| mount.contains(" - cgroup")) {
                let Some((place, kind)) = mount.split_once(" - ") else { continue };
                let same = if controllers.is_empty() {
                    kind.starts_with("cgroup2")
                } else {
                    kind.contains(controllers)
                };
                if let (true, Some(at)) = (same, place.split(' ').nth(4)) {
                    let dir = Path::new(at).join(path.trim_start_matches('/'));
                    left.extend(
                        ["payload", "supervisor"]
                            .map(|name| dir.join(name))
                            .into_iter()
                            .filter(|d| !d.exists()),
                    );
                }
            }
        }
        Self(left)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for dir in &self.0 {
            remove_groups(dir);
        }
    }
}

/// Removes a tree of cgroups: only its directories can be, and only once nothing runs in them.
fn remove_groups(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}
