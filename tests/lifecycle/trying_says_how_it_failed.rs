//! An operator is never left guessing why a server does not start: the log, `airlock status` and `airlock
//! upstream try` say how it ended, what it said last and what the kernel refused it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use airlock_tests::airlock::{docs_upstream, run, stdio_upstream, until};
use airlock_tests::{Setup, Upstream, shown_dir, tools};
use serde_json::Value;

/// Wants the internet, and does not live without it.
const ONLINE: &str = "import socket\nfor _ in range(4):\n  try: socket.socket(socket.AF_INET)\n  except OSError as error: last = error\nraise SystemExit(f'no way out: {last}')\n";

fn attempt(name: &str, upstreams: String) -> (bool, String, String) {
    let folder = Setup { upstreams, ..Setup::default() }.write().expect("a configuration");
    let config = folder.path().join("airlock.yaml").display().to_string();
    run(&["upstream", "try", name, "--config", &config])
}

/// True where servers are stopped by hooks that tell of it.
fn is_told() -> bool {
    let (_, text, errors) = run(&["kernel", "doctor", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    let is_told = report["rung"].is_string();
    if !is_told {
        airlock_tests::skip("no hooks tell here what they refuse");
    }
    is_told
}

fn script(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    path.display().to_string()
}

#[test]
fn a_server_that_answers_says_what_it_speaks() {
    let (good, text, errors) = attempt("docs", docs_upstream());
    assert!(good && text.contains("docs: it answers, and speaks 2026-07-28"), "{text}{errors}");
    assert!(errors.contains("cage: "), "{errors}");
    let (good, _, errors) = attempt("dogs", docs_upstream());
    assert!(!good && errors.contains("has no upstream `dogs`; it has: docs"), "{errors}");
}

#[test]
fn a_server_that_ends_says_how_and_with_which_words() {
    let upstream = stdio_upstream("docs", &["/bin/sh", "-c", "echo no index at /srv/docs >&2; exit 3"]);
    let (good, _, errors) = attempt("docs", upstream.clone());
    assert!(!good && errors.contains("exit status: 3"), "{errors}");
    assert!(errors.contains("docs: no index at /srv/docs"), "{errors}");
    // The daemon says the same, and what to run.
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let setup = Setup { upstreams: upstream, only_listening: true, ..Setup::default() }
        .observability("admin_listen", &socket);
    let airlock = setup.start();
    let told =
        ["exit status: 3", "its last words: no index at /srv/docs", "`airlock upstream try docs` runs it"];
    let is_told = |text: &str| told.iter().all(|part| text.contains(part));
    let status = || run(&["status", "--socket", &socket]).1;
    assert!(until(|| is_told(&status()).then_some(())).is_some(), "{}", status());
    assert!(until(|| is_told(&airlock.log()).then_some(())).is_some(), "{}", airlock.log());
}

#[test]
fn a_server_that_ends_with_unread_messages_says_how_as_well() {
    // One byte of the first message is read; the rest is there when the process ends, which resets its
    // socket.
    let script = "head -c 1 >/dev/null; echo no index at /srv/docs >&2; exit 3";
    let (good, _, errors) = attempt("docs", stdio_upstream("docs", &["/bin/sh", "-c", script]));
    assert!(!good && errors.contains("ended (exit status: 3, its last words: no index"), "{errors}");
    assert!(!errors.contains("cannot be read"), "{errors}");
}

#[test]
fn the_cage_is_named_where_it_is_the_cause() {
    if !is_told() {
        return;
    }
    let upstream = stdio_upstream("online", &["/usr/bin/python3", "-c", ONLINE]);
    let (good, _, errors) = attempt("online", upstream);
    let told = [
        "exit status: 1, the kernel refused it AF_INET 4 times",
        "its last words: no way out: ",
        "has no network",
    ];
    assert!(!good && told.iter().all(|part| errors.contains(part)), "{errors}");
    // Whoever reads it can do nothing with the command by hand.
    let dir = shown_dir("airlock-npx-").expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let npx = script(dir.path(), "npx", &format!("#!/usr/bin/python3\n{ONLINE}"));
    let (good, _, errors) = attempt("docs", stdio_upstream("docs", &[&npx, "-y", "server-docs"]));
    let told = [
        "the kernel refused it AF_INET 4 times",
        "`npx` downloads, and a caged server has no network: install the package",
    ];
    assert!(!good && told.iter().all(|part| errors.contains(part)), "{errors}");
}

#[test]
fn a_path_that_fails_names_the_link_that_fails() {
    let dir = shown_dir("airlock-link-").expect("a directory");
    let python = dir.path().join("python");
    symlink("/nonexistent/bin/python3.12", &python).expect("ours");
    let (good, _, errors) = attempt("docs", stdio_upstream("docs", &[&python.display().to_string()]));
    let told = format!(
        "{} is a link to /nonexistent/bin/python3.12, and /nonexistent does not exist",
        python.display()
    );
    assert!(!good && errors.contains(&told), "{errors}");
    if !tools::is_root() {
        airlock_tests::skip("only root can start a server as another user");
        return;
    }
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).expect("ours");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("ours");
    let server = script(&closed, "server", "#!/bin/sh\n");
    let upstream = Upstream::stdio("docs", &[&server]).with("user", "nobody").to_string();
    let (good, _, errors) = attempt("docs", upstream);
    let told = format!("{} may not be passed through by the server's user", closed.display());
    assert!(!good && errors.contains(&told), "{errors}");
}
