//! A delegated cgroup, as systemd gives one to a service with `Delegate=yes`: the daemon steps aside into a
//! leaf of it.
//!
//! Alone in its file, because it moves the whole test process.

#[path = "support/kernel.rs"]
mod support;

use airlock::config::schema::Pin;
use support::{Service, cgroup_of};

/// Not a test: what the test binary does when it was started as a server.
#[test]
fn probe_process() {
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
}

#[test]
fn in_a_delegated_cgroup_the_daemon_steps_aside() {
    if std::env::var_os(support::MODE).is_some() {
        return;
    }
    let service = match Service::create() {
        Ok(service) => service,
        Err(reason) => return support::skip(&format!("no cgroup can be delegated here: {reason}")),
    };
    // The second time is a daemon that was executed again in place: it is already in its leaf.
    service.enter();
    for _ in 0..2 {
        let half = support::start_unsealed();
        assert!(half.report().to_string().contains("delegated by systemd"), "{}", half.report());
        assert_eq!(cgroup_of("self").expect("a cgroup"), service.dir.join("daemon"));
        let mut server = support::spawn(&half, &Pin::default(), &support::probe("look"));
        let found = support::findings(&mut server);
        assert!(found["cgroup"].contains(".service/servers/probe-"), "{}", found["cgroup"]);
        // Both get less of the processors than the daemon's own cgroup, which has 100.
        let controllers = std::fs::read_to_string(service.dir.join("cgroup.controllers")).expect("a list");
        if controllers.split_whitespace().any(|name| name == "cpu") {
            for servers in ["servers", "unpinned"] {
                let weight = std::fs::read_to_string(service.dir.join(servers).join("cpu.weight"));
                assert_eq!(weight.expect("a weight").trim(), "33", "{servers}");
            }
        } else {
            support::skip("no processors are shared out by cgroup here");
        }
        drop(server);
        drop(half);
        assert!(!service.dir.join("servers").exists());
    }
}
