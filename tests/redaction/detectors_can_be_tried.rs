//! `airlock dlp test` says what detectors find in a text, where, and what is done with it, and never shows
//! what it found unless it is told to.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use airlock_tests::tools;
use serde_json::{Value, json};

use super::arguments_are_looked_through::SECRET;

/// Exit code, standard output and standard error of `airlock dlp test` with arguments and this standard
/// input.
fn tried(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(tools::airlock());
    command.args(["dlp", "test"]).args(args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("started");
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A configuration in a directory, with this `dlp`.
fn configured(dir: &Path, dlp: &str) -> String {
    let policies = dir.join("policies");
    std::fs::create_dir_all(&policies).expect("made");
    let text = format!(
        "auth: {{issuers: [{{issuer: \"https://idp.example\", audience: [airlock]}}]}}\n\
         upstreams: [{{name: code, type: stdio, command: [sh]}}]\npolicy: {{path: {}}}\n{dlp}",
        policies.display()
    );
    let file = dir.join("airlock.yaml");
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

#[test]
fn plain_text_has_lines_and_json_has_pointers() {
    let (code, out, _) = tried(&["--json"], &format!("first line\nso {SECRET} it is"));
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told["passes"]), (Some(1), &json!("changed")), "{out}");
    let finding = &told["findings"][0];
    let place = ["line", "column", "start", "end"].map(|name| finding[name].clone());
    assert_eq!(place, [json!(2), json!(4), json!(14), json!(54)], "{out}");
    assert_eq!(finding["detectors"][0]["name"], "github-token", "{out}");
    assert_eq!(finding["detectors"][0]["pack"], "secrets", "{out}");
    assert_eq!((&finding["pointer"], &finding["matched"]), (&Value::Null, &Value::Null), "{out}");
    assert_eq!(told["text"], "first line\nso [redacted:github-token] it is");
    assert!(!out.contains(SECRET), "{out}");

    let message = json!({"a/b": [1, {"deep": SECRET}], SECRET: 4_111_111_111_111_111_u64}).to_string();
    let (code, out, _) = tried(&["--json"], &message);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let mut places: Vec<_> = told["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["pointer"], &one["in"]))
        .collect();
    places.sort_by_key(|(pointer, part)| (pointer.to_string(), part.to_string()));
    let name = json!("/[redacted:github-token]");
    let expected =
        [(&name, &json!("name")), (&name, &json!("number")), (&json!("/a~1b/1/deep"), &json!("text"))];
    assert_eq!((code, places), (Some(1), expected.to_vec()), "{out}");
    assert!(!out.contains(SECRET) && !out.contains("4111"), "{out}");
    // For reading, too; and the matches for who asks.
    let (_, out, _) = tried(&[], &message);
    assert!(out.contains("/a~1b/1/deep (1:") && out.contains("github-token of secrets, redact"), "{out}");
    assert!(!out.contains(SECRET), "{out}");
    assert!(tried(&["--show-matches"], &message).1.contains(SECRET));
    assert_eq!(tried(&["--text", "nothing to see"], "").0, Some(0));
}

#[test]
fn a_configuration_says_what_is_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = configured(
        dir.path(),
        "dlp:\n  packs: [secrets, pii]\n  request: mask\n  rules:\n\
         \x20   - {detector: github-token, direction: request, upstream: code, tool: run, action: block}\n\
         \x20   - {pack: pii, direction: response, action: report}\n",
    );
    let text = format!("{SECRET} alice@acme.com");
    let with = |more: &[&str]| {
        let args = [&["--config", &config, "--text", &text][..], more].concat();
        let (code, out, err) = tried(&args, "");
        assert!(!out.contains("318wPf"), "{more:?}: {out}{err}");
        (code, out)
    };
    let (code, out) = with(&["--direction", "request"]);
    assert!(code == Some(1) && out.contains("\n  ****g3af ****ecom"), "{out}");
    let (code, out) = with(&["--direction", "request", "--upstream", "code", "--tool", "run"]);
    assert!(code == Some(1) && out.contains("does not pass") && out.contains("`github-token`"), "{out}");
    // A finding that passes is not shown either.
    let (code, out) = with(&[]);
    assert!(code == Some(1) && out.contains("[redacted:github-token] [reported:email]"), "{out}");
    assert!(!out.contains("alice@"), "{out}");
    // Without `secrets` nothing is looked for but addresses.
    let out_of =
        |args: &[&str]| tried(&[&["--config", &config, "--text", "alice@acme.com"], args].concat(), "");
    let (code, out, _) = out_of(&["--pack", "pii"]);
    assert!(code == Some(0) && out.contains("email of pii, report") && !out.contains("alice@"), "{out}");
    let (code, out) = with(&["--pack", "payment", "--oblige", "secrets"]);
    assert!(code == Some(1) && out.contains("[redacted:github-token]"), "{out}");
}

#[test]
fn mistakes_have_a_place_a_reason_and_a_remedy() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("acme.yaml");
    let pack = "pack: acme\ndetectors:\n  - name: badge\n    about: Badges\n    pattern: 'AC-[0-9]{6}'\n    \
                positive: ['AC-000042', 'AC-42']\n    negative: ['AC-1']\n";
    std::fs::write(&file, pack).expect("written");
    let packs = dir.path().display().to_string();
    let own = ["--directory", &packs, "--pack", "acme", "--text", "AC-000042"];
    let (code, out, err) = tried(&own, "");
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    for part in ["acme.yaml:6: ", "detector `badge` fails its positive example \"AC-42\"", "help: correct"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    std::fs::write(&file, pack.replace(", 'AC-42'", "")).expect("written");
    let (code, out, err) = tried(&own, "");
    assert!(code == Some(1) && out.contains("badge of acme, redact"), "{out}{err}");
    for (args, parts) in [
        (&["--pack", "secret"][..], ["--> --pack", "no pack `secret`", "did you mean `secrets`?"]),
        (&["--as", "json"], ["--> standard input", "no JSON", "--as text"]),
        (&["--file", "/nowhere/at/all"], ["--> /nowhere/at/all", "cannot be read", "may read"]),
        (&["--oblige", "nonsense"], ["--> --oblige", "`nonsense`", "name a pack or a detector"]),
    ] {
        let (code, out, err) = tried(args, "{");
        assert!(code == Some(2) && out.is_empty(), "{args:?}: {out}");
        assert!(parts.iter().all(|part| err.contains(part)), "{args:?}: {err}");
    }
    let (code, out, _) = tried(&["--json", "--pack", "secret"], "");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told["mistakes"][0]["file"]), (Some(2), &json!("--pack")), "{out}");
}
