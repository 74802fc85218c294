//! The certificate is changed while calls go on, and none is lost; a bad one changes nothing.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use airlock_tests::airlock::until;
use airlock_tests::authority::Authority;
use airlock_tests::curl::{curl, shown};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup};
use rustix::process::Signal;
use serde_json::json;

use super::{counted, with_metrics};

/// The fingerprint of the certificate that new connections get.
fn served(airlock: &Airlock) -> String {
    let address = airlock.address();
    let pipe = format!(
        "openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
    );
    let output = Command::new("sh").args(["-c", &pipe]).stdin(Stdio::null()).output().expect("openssl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_change_of_links_under_load_loses_no_call() {
    let authority = Authority::create();
    // As Kubernetes lays out a secret: links through a link that is turned.
    for version in ["one", "two"] {
        std::fs::create_dir(authority.file(version)).expect("ours");
        authority.write(&format!("{version}/host"), &authority.host());
    }
    symlink("one", authority.file("data")).expect("ours");
    for file in ["host.pem", "host.key"] {
        symlink(format!("data/{file}"), authority.file(file)).expect("ours");
    }
    let tls = json!({"cert_file": authority.file("host.pem"), "key_file": authority.file("host.key")});
    let airlock = Setup::default().server("tls", tls).start();
    let first = served(&airlock);
    assert!(!first.is_empty());
    let (token, ca) = (airlock.user(), shown(&authority.file("ca.pem")));
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = |http: &'static str| {
            let (airlock, token, ca, stop, done) = (&airlock, &token, &ca, &stop, &done);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"}));
                    let told = curl(airlock.address(), "https", &call.bearer(token), &["--cacert", ca, http]);
                    assert_eq!(told.status, 200, "{told:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let threads = [scope.spawn(load("--http2")), scope.spawn(load("--http1.1"))];
        let enough = |more: usize| {
            let goal = done.load(Ordering::Relaxed) + more;
            until(|| {
                (done.load(Ordering::Relaxed) >= goal
                    || threads.iter().any(std::thread::ScopedJoinHandle::is_finished))
                .then_some(())
            })
        };
        enough(4);
        symlink("two", authority.file("turned")).expect("ours");
        std::fs::rename(authority.file("turned"), authority.file("data")).expect("ours");
        let changed = until(|| (served(&airlock) != first).then_some(()));
        enough(4);
        stop.store(true, Ordering::Relaxed);
        assert!(changed.is_some(), "the change was not noticed; log:\n{}", airlock.log());
    });
    assert!(airlock.logs("new connections get another certificate"), "{}", airlock.log());
}

#[test]
fn a_bad_pair_changes_nothing_and_is_told() {
    let authority = Authority::create();
    let (metrics, setup) = with_metrics(Setup::default().server("tls", authority.tls()));
    let airlock = setup.start();
    let first = served(&airlock);
    std::fs::write(authority.file("host.key"), authority.host().1).expect("written");
    airlock.signal(Signal::HUP);
    let told = until(|| airlock.log().contains("server.tls.key_file: the key in").then_some(()));
    assert!(told.is_some(), "{}", airlock.log());
    assert_eq!(served(&airlock), first);
    // A good pair, and somebody who says so.
    authority.write("host", &authority.host());
    airlock.signal(Signal::HUP);
    assert!(until(|| (served(&airlock) != first).then_some(())).is_some(), "{}", airlock.log());
    assert!(counted(&airlock, metrics, "airlock_tls_reloads_refused_total", 1) >= 1);
}
