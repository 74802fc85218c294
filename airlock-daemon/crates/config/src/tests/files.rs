//! Reading files, and what a file names.

use std::fs;

use super::super::{MAX_BYTES, from_text, load};

fn refused(path: &std::path::Path, words: &[&str]) {
    let told = load(path).expect_err("must be refused").to_string();
    for word in words {
        assert!(told.contains(word), "{word:?} is missing in {told}");
    }
    assert!(told.contains(&path.display().to_string()), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_a_remedy() {
    let dir = tempfile::tempdir().expect("directory");
    refused(&dir.path().join("absent.yaml"), &["No such file", "--config FILE"]);
    refused(dir.path(), &["cannot read", "= help:"]);
    let path = dir.path().join("a.yaml");
    fs::write(&path, b"server:\n  io: \xff\n").expect("write");
    refused(&path, &["not UTF-8", "line 2"]);
    fs::write(&path, vec![b'#'; MAX_BYTES + 1]).expect("write");
    refused(&path, &["too large", "1048576"]);
    assert!(from_text("a.yaml", &"#".repeat(MAX_BYTES + 1)).is_err());
}

#[test]
fn the_policy_directory_must_exist() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("a.yaml");
    let policies = dir.path().join("policies");
    let write = |policy: &std::path::Path| {
        let text = format!("{}policy: {{path: {policy:?}}}\n", super::AUTH);
        fs::write(&path, text).expect("write");
    };
    write(&policies);
    refused(&path, &[":2:16", "policy directory", "No such file"]);
    fs::write(&policies, "").expect("write");
    refused(&path, &[":2:16", "Not a directory"]);
    fs::remove_file(&policies).expect("remove");
    fs::create_dir(&policies).expect("create");
    assert_eq!(load(&path).expect("good").policy.path, policies);
}

#[test]
fn the_default_policy_directory_is_named_as_such() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("a.yaml");
    fs::write(&path, super::AUTH).expect("write");
    if !std::path::Path::new("/etc/airlock/policies").exists() {
        refused(&path, &["/etc/airlock/policies` (the default)"]);
    }
}

#[test]
fn the_example_of_the_package_is_good() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../systemd/config.example.yaml");
    let config = super::good(&fs::read_to_string(path).expect("the example"));
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.auth.issuers.len(), 1);
    assert_eq!(config.kernel.mode, crate::schema::KernelMode::Required);
}

/// A default that the example shows, commented out, is the default.
#[test]
fn the_commented_defaults_of_the_example_are_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../systemd/config.example.yaml");
    let text = fs::read_to_string(path).expect("the example");
    let keys = [
        "io",
        "workers",
        "max_request_bytes",
        "max_response_bytes",
        "timeouts",
        "jwks_cache_ttl",
        "clock_skew",
        "algorithms",
        "journald",
        "on_failure",
        "era",
        "working_dir",
    ];
    let mut found = 0;
    let full: Vec<String> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if keys.iter().any(|key| rest.starts_with(&format!("{key}: "))) => {
                found += 1;
                line.replacen("# ", "", 1)
            }
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(found, keys.len());
    let mut given = super::good(&full.join("\n"));
    assert_eq!(given.upstreams[0].working_dir.take(), Some("/".into()));
    assert_eq!(format!("{given:?}"), format!("{:?}", super::good(&text)));
}

/// Gives a file or directory a mode.
fn with_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
}

#[test]
fn what_everybody_may_write_is_told_with_place_and_remedy() {
    let dir = tempfile::tempdir().expect("directory");
    let policies = dir.path().join("policies");
    fs::create_dir(&policies).expect("create");
    let (path, secret) = (dir.path().join("a.yaml"), dir.path().join("secret"));
    fs::write(&secret, "s").expect("write");
    let text = format!(
        "{}policy: {{path: {policies:?}}}\nupstreams:\n  - {{name: a, type: stdio, command: [x], env_from: {{KEY: {secret:?}}}}}\n",
        super::AUTH
    );
    fs::write(&path, text).expect("write");
    load(&path).expect("good");

    with_mode(&path, 0o646);
    refused(&path, &["everybody on this host may write the file", "mode 0646", "chmod o-w"]);
    with_mode(&path, 0o664);
    with_mode(&policies, 0o1777);
    refused(&path, &[":2:16", "put files into the directory", "chmod o-w"]);
    with_mode(&policies, 0o755);
    with_mode(&secret, 0o606);
    refused(&path, &[":4:", "secret", "write the file", "chmod o-w"]);
    with_mode(&secret, 0o600);
    load(&path).expect("good again");
    // A directory above in which the file could be replaced as a whole.
    with_mode(dir.path(), 0o777);
    refused(&path, &["put files into the directory", "chmod o-w"]);
    with_mode(dir.path(), 0o1777);
    load(&path).expect("nobody but its owner replaces it");
}

#[test]
fn the_admin_socket_is_where_commands_look_unless_it_is_said_otherwise() {
    use crate::schema::AdminListen;
    let listen = |text: &str| super::good(&format!("{}{text}", super::AUTH)).observability.admin_listen;
    assert_eq!(listen("").socket().and_then(std::path::Path::to_str), Some("/run/airlock/admin.sock"));
    assert_eq!(listen("observability: {admin_listen: null}\n"), AdminListen::Off);
    assert_eq!(listen("observability: {admin_listen: null}\n").socket(), None);
    let at = listen("observability: {admin_listen: /run/other/admin.sock}\n");
    assert_eq!(at, AdminListen::At("/run/other/admin.sock".into()));
}

/// The example has every key of the schema.
#[test]
fn the_example_shows_every_key() {
    let manifest = env!("CARGO_MANIFEST_DIR");
    let example =
        fs::read_to_string(format!("{manifest}/../../../systemd/config.example.yaml")).expect("the example");
    let mut schema = fs::read_to_string(format!("{manifest}/src/schema.rs")).expect("the schema");
    for entry in fs::read_dir(format!("{manifest}/src/schema")).expect("the schema") {
        schema += &fs::read_to_string(entry.expect("an entry").path()).expect("the schema");
    }
    let mut keys = std::collections::BTreeSet::new();
    let mut renamed = None;
    for line in schema.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#[serde(rename = \"") {
            renamed = name.split('"').next();
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.insert(renamed.take().unwrap_or(name));
        }
    }
    assert!(keys.len() > 80, "{keys:?}");
    let is_shown = |key: &&&str| {
        example.match_indices(**key).any(|(at, _)| {
            let is_whole = !example[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            is_whole && example[at + key.len()..].starts_with(':')
        })
    };
    let missing: Vec<_> = keys.iter().filter(|key| !is_shown(key)).collect();
    assert!(missing.is_empty(), "the example does not show {missing:?}");
}
