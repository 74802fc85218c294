//! `airlock check`: is this configuration good, without starting anything.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::packs::{self, Loaded};
use crate::config::schema::{Config, Dlp, DlpAction, DlpMode, DlpRule};
use crate::config::{self, Diagnostic};
use crate::kernel::{DEFAULT_PATH, user_id};
use crate::policy::vet::Vetting;
use crate::tool_locks;

/// Exit code for a configuration with mistakes. Wrong usage of the command line exits with 2.
const INVALID: u8 = 1;

/// Checks a configuration without starting.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = super::defaults::DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Do not look at what the file names on this host (programs, users, directories, ports): for a check
    /// elsewhere, as in CI.
    #[arg(long)]
    pub no_host: bool,
    /// Print mistakes and warnings as a JSON array of {severity, file, line, column, message, expected,
    /// help}.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// Exit code 0: no mistakes, though perhaps warnings; 1: mistakes, all of them printed.
#[expect(clippy::needless_pass_by_value, reason = "every command is run by the same kind of function")]
pub fn run(args: Args) -> ExitCode {
    run_with(&args, |config| {
        let mut mistakes = policy_compiles(config).err().unwrap_or_default();
        let faults = tool_locks::faults(config, args.no_host).into_iter();
        mistakes.extend(faults.map(|fault| of_locks(config, &fault)));
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    })
}

/// A sentence on the file of tool locks, whose remedy stands behind the last semicolon, if it has one.
fn of_locks(config: &Config, sentence: &str) -> Diagnostic {
    let general = "repair it, take it back from version control, or write another `tool_lock.file`";
    let (message, help) = sentence.rsplit_once("; ").unwrap_or((sentence, general));
    Diagnostic::of_file(config.tool_lock_file().display().to_string(), message, "", help)
}

/// The policy must be one that the daemon would run: one that compiles, passes its own tests and brings no
/// process down.
fn policy_compiles(config: &Config) -> Result<(), Vec<Diagnostic>> {
    Vetting::own_program().load(&config.policy.path).map(drop).map_err(|error| vec![error.diagnostic()])
}

/// Runs the command, and `deeper` on a configuration that has no mistakes of its own: what a file names is
/// checked there, such as the policy.
pub fn run_with(args: &Args, deeper: impl FnOnce(&Config) -> Result<(), Vec<Diagnostic>>) -> ExitCode {
    // A closed pipe on our side of the terminal changes nothing about the configuration, nor about the exit
    // code.
    ExitCode::from(check(args, deeper, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()))
}

fn check(
    args: &Args,
    deeper: impl FnOnce(&Config) -> Result<(), Vec<Diagnostic>>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let file = args.config.display();
    let checked =
        config::load(&args.config).map_err(|mistakes| mistakes.entries().to_vec()).and_then(|config| {
            deeper(&config)?;
            Ok(config)
        });
    let told = match &checked {
        Ok(config) => warnings(args, config),
        Err(mistakes) => mistakes.clone(),
    };
    if args.json {
        // Plain strings and numbers always serialise; what remains is a closed output.
        let _ = serde_json::to_writer_pretty(&mut *out, &told);
        let _ = writeln!(out);
    } else {
        for one in &told {
            let _ = writeln!(err, "{one}");
        }
    }
    match &checked {
        Ok(config) => {
            if !args.json {
                let warned = if told.is_empty() {
                    String::new()
                } else {
                    format!(", {}", count(told.len(), "warning"))
                };
                let _ = writeln!(out, "{file}: ok ({}{warned})", summary(config));
                let _ = redaction(&config.dlp, out);
            }
            0
        }
        Err(mistakes) => {
            if !args.json {
                let _ = writeln!(err, "{file}: {}", count(mistakes.len(), "mistake"));
            }
            INVALID
        }
    }
}

/// Warnings: values that are no mistake but have been one most times that they were written, and values that
/// do not fit this host.
fn warnings(args: &Args, config: &Config) -> Vec<Diagnostic> {
    // An error of the name service is no reason to warn: only its word that there is no such user.
    let has_user = |name: &str| !matches!(user_id(name), Ok(None));
    let host = config::Host { path: DEFAULT_PATH, has_user: &has_user };
    let mut told = config::advise(&args.config, config, (!args.no_host).then_some(&host));
    if !args.no_host {
        let hindrances = tool_locks::hindrances(config).into_iter();
        told.extend(hindrances.map(|why| of_locks(config, &why).as_warning()));
    }
    told
}

fn summary(config: &Config) -> String {
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    format!(
        "{}, {}, listening on {}",
        count(config.upstreams.len(), "upstream"),
        count(config.auth.issuers.len(), "issuer"),
        listen.join(", ")
    )
}

/// True for the name of a pack that comes with Airlock.
fn is_embedded(pack: &str) -> bool {
    airlock_dlp::shipped().iter().any(|shipped| Path::new(shipped.file).file_stem() == Some(pack.as_ref()))
}

/// Says what is looked for and what is done with it. Packs have been read before, and are good.
fn redaction(dlp: &Dlp, out: &mut impl Write) -> io::Result<()> {
    let word = |action: DlpAction| action.action().name();
    match dlp.mode {
        DlpMode::Off => return writeln!(out, "redaction: off, so nothing is looked for"),
        DlpMode::Report => write!(out, "redaction: report, so findings are counted and pass")?,
        DlpMode::Enforce => {
            write!(out, "redaction: {} in requests, {} in responses", word(dlp.request), word(dlp.response))?;
        }
    }
    let rules = match dlp.rules.len() {
        0 => String::new(),
        rules => format!("; {}", count(rules, "rule")),
    };
    writeln!(out, "{rules}")?;
    for Loaded { name, file, detectors, is_on } in packs::load(dlp, true).unwrap_or_default().loaded() {
        let state = if is_on { "on " } else { "off" };
        let from = match &file {
            Some(file) if is_embedded(&name) => format!("{file}, in place of the embedded one"),
            Some(file) => file.to_string(),
            None if name == packs::OWN => "dlp.detectors".to_owned(),
            None => "embedded".to_owned(),
        };
        writeln!(out, "  {state}  {name:<12} {:<14} {from}", count(detectors, "detector"))?;
    }
    // A rule about one server, tool or direction leaves the detector on elsewhere.
    let is_general =
        |rule: &&DlpRule| rule.action == DlpAction::Off && rule.upstream.is_none() && rule.tool.is_none();
    for rule in dlp.rules.iter().filter(is_general) {
        let subject = match (&rule.detector, &rule.pack) {
            (Some(detector), _) => format!("the detector {detector}"),
            (None, Some(pack)) => format!("the pack {pack}"),
            (None, None) => "everything".to_owned(),
        };
        let way = rule.direction.map_or("both directions".to_owned(), |way| format!("{}s", way.name()));
        writeln!(out, "  off  {subject} in {way}, by a rule")?;
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "auth: {issuers: [{issuer: https://idp.example, audience: [\"http://127.0.0.1:8080/mcp\"]}]}\n\
                        upstreams: [{name: a, type: stdio, command: [x]}]\n";

    /// Writes the file, checks it, and gives exit code, standard output and standard error.
    fn outcome(text: &str, json: bool, deeper: Result<(), Vec<Diagnostic>>) -> (u8, String, String) {
        let dir = tempfile::tempdir().expect("directory");
        let config = dir.path().join("airlock.yaml");
        let text = format!("{text}policy: {{path: {:?}}}\n", dir.path());
        std::fs::write(&config, text).expect("write");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(&Args { config, json, no_host: true }, |_| deeper, &mut out, &mut err);
        (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn a_good_file_is_said_to_be_good() {
        let (code, out, err) = outcome(GOOD, false, Ok(()));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            out.contains("airlock.yaml: ok (1 upstream, 1 issuer, listening on 127.0.0.1:8080)\n"),
            "{out}"
        );
        assert_eq!(outcome(GOOD, true, Ok(())), (0, "[]\n".to_owned(), String::new()));
    }

    #[test]
    fn it_says_what_is_looked_for_and_what_is_done() {
        let lines = |dlp: &str| {
            let (code, out, err) = outcome(&format!("{GOOD}{dlp}"), false, Ok(()));
            assert_eq!((code, err.as_str()), (0, ""), "{out}");
            let lines = out.lines().skip(1);
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        let plain = lines("");
        assert_eq!(plain[0], "redaction: redact in requests, redact in responses");
        let is = |line: &str, state: &str, name: &str| {
            line.starts_with(&format!("{state} {name} ")) && line.ends_with(" detectors embedded")
        };
        for (line, (state, name)) in plain.iter().skip(1).zip([
            ("on", "secrets"),
            ("on", "payment"),
            ("off", "pii"),
            ("off", "network"),
        ]) {
            assert!(is(line, state, name), "{line}");
        }
        assert_eq!(lines("dlp: {mode: off}\n"), ["redaction: off, so nothing is looked for"]);
        let dir = tempfile::tempdir().expect("directory");
        let pack = "pack: payment\ndetectors:\n  - {name: badge, about: x, pattern: 'AC-[0-9]{6}', \
                    positive: [AC-000042], negative: [AC-1]}\n";
        let file = dir.path().join("pay.yaml");
        std::fs::write(&file, pack).expect("written");
        let own = lines(&format!(
            "dlp:\n  directory: {}\n  request: mask\n  packs: [payment]\n\
             \x20 detectors: [{{name: ticket, pattern: 'TCK-[0-9]{{6}}'}}]\n\
             \x20 rules: [{{detector: badge, direction: request, action: off}}]\n",
            dir.path().display()
        ));
        assert_eq!(own[0], "redaction: mask in requests, redact in responses; 1 rule");
        for expected in [
            &format!("on payment 1 detector {}, in place of the embedded one", file.display()),
            "on own 1 detector dlp.detectors",
            "off the detector badge in requests, by a rule",
        ] {
            assert!(own.iter().any(|line| line == expected), "{expected}: {own:?}");
        }
        std::fs::write(&file, pack.replace("[AC-000042]", "[AC-42]")).expect("written");
        let broken = format!("{GOOD}dlp: {{directory: {}}}\n", dir.path().display());
        let (code, _, err) = outcome(&broken, false, Ok(()));
        assert_eq!(code, 1);
        for part in ["pay.yaml:3: ", "fails its positive example \"AC-42\"", "help: correct the pattern"] {
            assert!(err.contains(part), "{part}: {err}");
        }
    }

    #[test]
    fn an_audience_that_no_client_asks_for_is_warned_of() {
        let with = |audience: &str| {
            format!(
                "server: {{public_url: \"https://airlock.example\"}}\n\
                 auth: {{issuers: [{{issuer: \"https://idp.example\", audience: [\"{audience}\"]}}]}}\n\
                 upstreams: [{{name: a, type: stdio, command: [x]}}]\n"
            )
        };
        let (code, out, err) = outcome(&with("api://airlock"), false, Ok(()));
        assert!(code == 0 && out.contains(": ok ("), "{out}{err}");
        assert!(
            err.contains("warning: no `audience` of https://idp.example is `https://airlock.example/mcp`"),
            "{err}"
        );
        for good in ["https://airlock.example/mcp", "https://airlock.example/mcp/a"] {
            assert_eq!(outcome(&with(good), false, Ok(())).2, "", "{good}");
        }
    }

    #[test]
    fn all_mistakes_go_to_standard_error() {
        let (code, out, err) = outcome("sever: {}\nupstreams: 5\n", false, Ok(()));
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("airlock.yaml:1:1") && err.contains("airlock.yaml:2:12"), "{err}");
        assert!(err.ends_with("airlock.yaml: 3 mistakes\n"), "{err}");
    }

    #[test]
    fn json_is_an_array_of_mistakes() {
        let (code, out, err) = outcome(&format!("server: {{listen: [nowhere]}}\n{GOOD}"), true, Ok(()));
        assert_eq!((code, err.as_str()), (1, ""));
        let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let [one] = told.as_array().expect("array").as_slice() else { panic!("{out}") };
        assert_eq!((&one["line"], &one["column"]), (&1.into(), &19.into()));
        assert!(one["file"].as_str().is_some_and(|file| file.ends_with("airlock.yaml")));
        assert!(one["message"].as_str().is_some_and(|message| message.contains("nowhere")));
        assert!(one["expected"].as_str().is_some_and(|expected| expected.contains("port")));
    }

    #[test]
    fn what_lies_deeper_is_told_as_well() {
        let mistake = Diagnostic::of_file("authz.rego", "no rule", "a rule", "write one");
        let (code, _, err) = outcome(GOOD, false, Err(vec![mistake]));
        assert_eq!(code, 1);
        assert!(err.contains("no rule") && err.contains("--> authz.rego"), "{err}");
    }
}
