//! The facts of `/proc` on a process.

use std::io;
use std::path::PathBuf;

/// Time on a processor of a process (its threads that still live, not its children) so far, in microseconds.
pub fn cpu_micros(pid: u32) -> io::Result<u64> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    if nanos > 0 {
        return Ok(nanos / 1_000);
    }
    // A kernel without schedstat counts in ticks of some milliseconds.
    let ticks: u64 = [11, 12].iter().filter_map(|at| stat(pid).ok()?.get(*at)?.parse::<u64>().ok()).sum();
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok(line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// The number of open file descriptors of a process.
pub fn open_files(pid: u32) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The targets of a process's descriptors, for the message of a test that failed.
pub fn open_file_targets(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let target = |path: PathBuf| Some(std::fs::read_link(path).ok()?.display().to_string());
    let mut targets: Vec<String> = entries.filter_map(|entry| target(entry.ok()?.path())).collect();
    targets.sort();
    targets
}

/// Every process that descends from `pid`, without itself and the process that starts servers for it.
pub fn descendants(pid: u32) -> Vec<u32> {
    all_descendants(pid).into_iter().filter(|pid| !is_spawner(*pid)).collect()
}

/// The process that starts servers for a daemon.
pub fn spawner(pid: u32) -> Option<u32> {
    all_descendants(pid).into_iter().find(|pid| is_spawner(*pid))
}

fn is_spawner(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "airlock-spawner")
}

fn all_descendants(pid: u32) -> Vec<u32> {
    let mut pairs = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let parent = stat(child).ok().and_then(|fields| fields.get(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            pairs.push((parent, child));
        }
    }
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(pairs.iter().filter(|(p, _)| *p == parent).map(|(_, child)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// The servers that a daemon has started, and what they have started: its descendants but for those that only
/// reap, which are the first of a namespace of processes.
pub fn servers(pid: u32) -> Vec<u32> {
    descendants(pid).into_iter().filter(|pid| !is_first(*pid)).collect()
}

/// True where a process is the first of a namespace below this one.
pub fn is_first(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// The fields of `/proc/PID/stat` after the command name: state, parent, …
/// The niceness of a process (sched(7)).
pub fn niceness(pid: u32) -> io::Result<i64> {
    let field = stat(pid)?.get(16).and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::Error::other("no niceness in its stat"))
}

fn stat(pid: u32) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may itself hold some.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}
