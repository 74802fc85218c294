//! `airlock check` on the host warns of what `airlock serve` would fail on, and of what is seldom meant.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use airlock_tests::tools;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

/// The outcome of `airlock check` on a configuration with these lines: exit code, and its JSON.
fn checked(text: &str, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    checked_by(&[], text, more)
}

/// The same, run by these words.
fn checked_by(runner: &[&str], text: &str, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let dir = tempfile::tempdir().expect("a directory");
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let config = dir.path().join("airlock.yaml");
    let (policies, audit) = (policies.display(), dir.path().join("audit"));
    let text = format!("{text}policy: {{path: \"{policies}\"}}\naudit: {{dir: \"{}\"}}\n", audit.display());
    fs::write(&config, text).expect("written");
    let airlock = tools::airlock();
    let mut words = runner.iter().map(OsStr::new).chain([airlock.as_os_str()]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).args(["check", "--json", "--config"]).arg(&config).args(more);
    let output = command.output().expect("the built airlock");
    let told = serde_json::from_slice(&output.stdout);
    (output.status.code(), told.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

fn text(told: &[Value], key: &str) -> Vec<String> {
    told.iter().map(|one| one[key].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_the_host_does_not_have_is_warned_of() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let config = format!(
        "server: {{listen: [\"{address}\"], unix_socket: /nonexistent/run/airlock.sock}}\n\
         auth: {{development_issuer: {{listen: \"127.0.0.1:0\"}}}}\n\
         upstreams:\n\
         - {{name: a, type: stdio, command: [/nonexistent/server], user: no-such-user}}\n\
         - {{name: b, type: stdio, command: [no-such-program-here], working_dir: /nonexistent/dir}}\n\
         - {{name: c, type: stdio, command: [/bin/true], files: {{read: [/nonexistent/data], write: []}}}}\n\
         - {{name: d, type: stdio, command: [/bin/true], env_from: {{KEY: /nonexistent/key}}}}\n"
    );
    let (code, told) = checked(&config, &[]);
    assert_eq!(code, Some(0), "{told:?}");
    let (messages, lines) =
        (text(&told, "message"), told.iter().map(|one| one["line"].as_u64()).collect::<Vec<_>>());
    let wanted = [
        (1, format!("something listens on {address} already")),
        (1, "there is no directory `/nonexistent/run`".to_owned()),
        (4, "there is no program `/nonexistent/server` on this host".to_owned()),
        (4, "this host has no user `no-such-user`".to_owned()),
        (5, "there is no program `no-such-program-here` in `/usr/local/bin:/usr/bin:/bin`".to_owned()),
        (5, "there is no directory `/nonexistent/dir`".to_owned()),
        (6, "there is no `/nonexistent/data` on this host".to_owned()),
        (
            7,
            "the secret in `/nonexistent/key` cannot be read: No such file or directory (os error 2)"
                .to_owned(),
        ),
    ];
    for (line, message) in &wanted {
        let at = messages.iter().position(|told| told == message);
        assert_eq!(at.and_then(|at| lines[at]), Some(*line), "{message}: {told:?}");
    }
    assert_eq!(messages.len(), wanted.len(), "{told:?}");
    assert!(told.iter().all(|one| one["severity"] == "warning" && one["help"] != ""), "{told:?}");
    // Elsewhere, all of this says nothing.
    assert_eq!(checked(&config, &["--no-host"]), (Some(0), Vec::new()));
}

#[test]
fn a_lock_file_that_would_not_be_used_is_a_mistake_and_one_that_cannot_be_written_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.lock");
    let config = |file: &Path| {
        format!(
            "auth: {{development_issuer: {{listen: \"127.0.0.1:0\"}}}}\n\
             upstreams: [{{name: a, type: stdio, command: [/bin/true]}}]\n\
             tool_lock: {{mode: trust_first_use, file: \"{}\"}}\n",
            file.display()
        )
    };
    let is_told = |told: &[Value], severity: &str, file: &Path, words: &str| {
        let [one] = told else { panic!("{words}: {told:?}") };
        let message = one["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{words}: {told:?}");
        assert!(one["severity"] == severity && one["help"] != "", "{told:?}");
        assert_eq!(one["file"].as_str(), file.to_str());
    };
    for (text, words) in [
        ("<<<<<<< ours", "it is no JSON that can be read"),
        (r#"{"version": 7, "upstreams": {}}"#, "it is of version 7"),
        (r#"{"version": 1, "host": 7}"#, "host: it has to be a string"),
    ] {
        fs::write(&file, text).expect("written");
        for more in [&[][..], &["--no-host"]] {
            let (code, told) = checked(&config(&file), more);
            assert_eq!(code, Some(1), "{told:?}");
            is_told(&told, "error", &file, words);
        }
    }
    let (code, told) = checked(&config(folder.path()), &[]);
    assert_eq!(code, Some(1), "{told:?}");
    is_told(&told, "error", folder.path(), "cannot be read: ");
    fs::write(&file, r#"{"version": 1, "host": "elsewhere", "upstreams": {}}"#).expect("written");
    assert_eq!(checked(&config(&file), &["--no-host"]), (Some(0), Vec::new()));
    is_told(&checked(&config(&file), &[]).1, "error", &file, "it was made on the host `elsewhere`");
    let away = folder.path().join("none/tools.lock");
    let (code, told) = checked(&config(&away), &[]);
    assert_eq!(code, Some(0), "{told:?}");
    is_told(&told, "warning", &away, "none/tools.lock cannot be written: ");
    assert_eq!(checked(&config(&away), &["--no-host"]), (Some(0), Vec::new()));
}

#[test]
fn a_lock_file_that_this_user_may_not_read_is_no_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.lock");
    fs::write(&file, "<<<<<<< ours").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("a mode");
    let config = format!(
        "auth: {{development_issuer: {{listen: \"127.0.0.1:0\"}}}}\n\
         upstreams: [{{name: a, type: stdio, command: [/bin/true]}}]\n\
         tool_lock: {{mode: trust_first_use, file: \"{}\"}}\n",
        file.display()
    );
    // Root may read everything, but for these capabilities.
    let without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let runner = if rustix::process::geteuid().is_root() { &without[..] } else { &[] };
    let (code, told) = checked_by(runner, &config, &[]);
    let messages = text(&told, "message");
    assert_eq!(code, Some(0), "{told:?}");
    assert!(
        messages.iter().any(|message| message.contains("was not looked at: Permission denied")),
        "{told:?}"
    );
    let helps = text(&told, "help").concat();
    assert!(helps.contains("check as the user that runs Airlock"), "{told:?}");
    assert_eq!(checked_by(runner, &config, &["--no-host"]), (Some(0), Vec::new()));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.yaml");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let (pipe, folder) = (pipe.display(), folder.path().display());
    let auth = "auth: {development_issuer: {listen: \"127.0.0.1:0\"}}\n";
    let secret = format!("{{name: d, type: stdio, command: [/bin/true], env_from: {{KEY: {pipe}}}}}");
    for (config, code, wanted) in [
        (
            format!("upstreams: [{secret}]\n"),
            0,
            format!("the secret in `{pipe}` cannot be read: it is no regular"),
        ),
        (
            format!("tool_lock: {{mode: approve, file: {pipe}}}\n"),
            1,
            format!("the lock file {pipe} cannot be read"),
        ),
        (format!("dlp: {{directory: {folder}}}\n"), 1, format!("the pack `{pipe}` is no file")),
        (
            format!("server: {{listen: [\"127.0.0.1:0\"], tls: {{cert_file: {pipe}, key_file: {pipe}}}}}\n"),
            1,
            format!("`{pipe}` cannot be read: it is no regular file"),
        ),
    ] {
        let (found, told) = checked(&format!("{auth}{config}"), &[]);
        assert_eq!(found, Some(code), "{told:?}");
        assert!(text(&told, "message").iter().any(|message| message.contains(&wanted)), "{wanted}: {told:?}");
    }
}

#[test]
fn what_is_seldom_meant_is_warned_of() {
    let (code, told) = checked(
        "server: {listen: [\"127.0.0.1:8080\"], public_url: \"https://door.example\"}\n\
         auth: {issuers: [{issuer: \"https://idp.example/.well-known/openid-configuration\", audience: [\"https://door.example/mcp\"]}]}\n\
         observability: {metrics_listen: \"127.0.0.1:8080\"}\n\
         upstreams:\n\
         - {name: a, type: stdio, command: [npx, -y, some-server], env: {DATA: \"${HOME}/data\"}}\n\
         - {name: b, type: stdio, command: [/bin/cat, \"~/notes\", /srv/elsewhere/x], files: {read: [/srv/data], write: []}}\n",
        &["--no-host"],
    );
    assert_eq!(code, Some(0), "{told:?}");
    let messages = text(&told, "message").join("\n");
    for words in [
        "`127.0.0.1:8080` is listened on twice; first on line 1",
        "the address of the provider's metadata, and not the issuer",
        "`npx` needs the network to start anything",
        "no shell reads this",
        "the server does not see `/srv/elsewhere/x`",
    ] {
        assert!(messages.contains(words), "{words}: {told:?}");
    }
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(text(&told, "help").iter().any(|help| help.contains("`https://idp.example`")), "{told:?}");
    assert!(text(&told, "help").iter().any(|help| help.contains("npm install -g")), "{told:?}");
}

#[test]
fn keys_of_other_programs_get_the_answer_that_is_needed() {
    let (code, told) = checked(
        "auth: {development_issuer: {listen: \"127.0.0.1:0\"}}\n\
         mcpServers: {a: {command: npx}}\n\
         roots: []\n\
         upstreams: [{name: a, type: stdio, command: [/bin/true], args: [x]}]\n",
        &["--no-host"],
    );
    assert_eq!(code, Some(1), "{told:?}");
    let helps = text(&told, "help");
    assert!(
        helps
            .iter()
            .any(|help| help.contains("`command: [PROGRAM, ARGUMENT, …]`") && help.contains("behind")),
        "{told:?}"
    );
    assert!(helps.iter().any(|help| help.contains("list each server below `upstreams`")), "{told:?}");
    let mut messages = text(&told, "message");
    let all = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!((messages.len(), all), (3, 3), "each stands once: {told:?}");
}
