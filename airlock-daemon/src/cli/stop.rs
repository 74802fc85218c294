//! `airlock stop`, `airlock resume` and `airlock stops`: the switch for a bad night.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::audit::hex;
use crate::config::units::Period;
use crate::observe::escape::{printable, printable_json};
use crate::stops::target::StopTarget;

use super::admin::{self, Common, text};
use super::print;

/// Longest token that is read, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// Stops everything, or somebody or something, at once: new calls are refused, those under way are cancelled.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    what: What,
    /// Why; clients are told it.
    #[arg(long)]
    reason: String,
    /// For how long, such as `10m` or `2h`; without it, until `airlock resume`.
    #[arg(long = "for")]
    lasting: Option<Period>,
    #[command(flatten)]
    common: Common,
}

/// Takes a stop back: name what was stopped.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    common: Common,
}

/// Shows what is stopped.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// The target of a stop.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct What {
    /// Everything, for everybody.
    #[arg(long, conflicts_with_all = ["tenant", "principal", "token", "upstream", "tool"])]
    all: bool,
    /// All principals of this tenant.
    #[arg(long, value_name = "TENANT", conflicts_with_all = ["token", "upstream", "tool"])]
    tenant: Option<String>,
    /// The principal of this subject (`sub`), in every tenant or in the one that `--tenant` names.
    #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["token", "upstream", "tool"])]
    principal: Option<String>,
    /// One token: its claim `jti`, `sha256:` and its digest, or the token itself, of which only the digest is
    /// sent. With `-` the token is read from standard input, and is in no list of processes.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["upstream", "tool"])]
    token: Option<String>,
    /// This server.
    #[arg(long, value_name = "UPSTREAM", conflicts_with = "tool")]
    upstream: Option<String>,
    /// This tool, by the server's own name.
    #[arg(long, value_name = "UPSTREAM/TOOL")]
    tool: Option<String>,
}

impl What {
    fn target(&self) -> Result<StopTarget, String> {
        let owned = str::to_owned;
        if let Some(principal) = &self.principal {
            return Ok(StopTarget::Principal { principal: principal.clone(), tenant: self.tenant.clone() });
        }
        if let Some(tenant) = &self.tenant {
            return Ok(StopTarget::Tenant { tenant: tenant.clone() });
        }
        if let Some(token) = &self.token {
            return Ok(StopTarget::Token { token: named(token)? });
        }
        if let Some(upstream) = &self.upstream {
            return Ok(StopTarget::Upstream { upstream: upstream.clone() });
        }
        if let Some(tool) = &self.tool {
            let (upstream, tool) = tool
                .split_once('/')
                .ok_or("`--tool` is an upstream and its tool, such as `--tool docs/read_file`")?;
            return Ok(StopTarget::Tool { upstream: owned(upstream), tool: owned(tool) });
        }
        Ok(StopTarget::All {})
    }
}

/// The name of a token: a token itself is named by its digest.
fn named(token: &str) -> Result<String, String> {
    let read = |to: &mut String| std::io::stdin().lock().take(MAX_TOKEN).read_to_string(to);
    if token == "-" {
        let mut text = String::new();
        read(&mut text).map_err(|error| format!("the token cannot be read from standard input: {error}"))?;
        let text = text.trim();
        return if is_token(text) { Ok(digest(text)) } else { Err("this is no token".to_owned()) };
    }
    Ok(if is_token(token) { digest(token) } else { token.to_owned() })
}

/// True for a JWT: three parts, the first of which begins as JSON does.
fn is_token(text: &str) -> bool {
    text.starts_with("ey") && text.split('.').count() == 3
}

fn digest(token: &str) -> String {
    format!("sha256:{}", hex(&crate::audit::digest(token.as_bytes())))
}

/// Runs `airlock stop`. Exit code 0: it is stopped; 1: the daemon refuses; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn stop(args: StopArgs) -> ExitCode {
    // Part of a second is one: a stop is never shorter than it was ordered.
    let secs = args.lasting.map(|time| u64::try_from(time.0.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX));
    let order = |target| json!({ "target": target, "reason": args.reason, "for_secs": secs });
    ordered("stop", &args.what, &args.common, "/stops", order, |answer| {
        format!("stopped: {}\n", line(answer))
    })
}

/// Runs `airlock resume`. Exit codes as for [`stop`].
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn resume(args: ResumeArgs) -> ExitCode {
    let order = |target| json!({ "target": target });
    ordered("resume", &args.what, &args.common, "/stops/resume", order, |answer| {
        let left = match answer["stops_left"].as_u64() {
            None | Some(0) => String::new(),
            Some(1) => "; one stop is still in force (`airlock stops`)".to_owned(),
            Some(left) => format!("; {left} stops are still in force (`airlock stops`)"),
        };
        format!("resumed: {}{left}\n", text(&answer["what"]))
    })
}

/// Runs `airlock stops`. Exit code 0: the daemon has said it; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn list(args: ListArgs) -> ExitCode {
    match admin::ask(&args.common.place, Method::GET, "/stops", None) {
        Ok((_, answer)) if args.common.json => {
            print::out(format_args!("{}\n", printable_json(&format!("{answer:#}"))));
        }
        Ok((_, answer)) => print::out(format_args!("{}", table(&answer))),
        Err(problem) => {
            print::err(format_args!("airlock stops: {problem}\n"));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Gives an order and prints what came of it.
fn ordered(
    command: &str,
    what: &What,
    common: &Common,
    path: &str,
    order: impl FnOnce(StopTarget) -> Value,
    told: impl FnOnce(&Value) -> String,
) -> ExitCode {
    let asked =
        what.target().and_then(|target| admin::ask(&common.place, Method::POST, path, Some(&order(target))));
    let (status, answer) = match asked {
        Ok(answer) => answer,
        Err(problem) => {
            print::err(format_args!("airlock {command}: {problem}\n"));
            return ExitCode::from(2);
        }
    };
    if status != StatusCode::OK {
        print::err(format_args!("airlock {command}: {}\n", text(&answer["error"])));
        return ExitCode::FAILURE;
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        print::err(format_args!("airlock {command}: warning: {}\n", text(warning)));
    }
    if common.json {
        print::out(format_args!("{}\n", printable_json(&format!("{answer:#}"))));
    } else {
        print::out(format_args!("{}", told(&answer)));
    }
    ExitCode::SUCCESS
}

fn table(answer: &Value) -> String {
    let alarms = answer["alarms"].as_array().into_iter().flatten();
    let alarms = alarms.fold(String::new(), |told, alarm| told + "ALARM  " + &text(alarm) + "\n");
    let stops = answer["stops"].as_array().map(Vec::as_slice).unwrap_or_default();
    if stops.is_empty() {
        return alarms + "nothing is stopped\n";
    }
    alarms + &stops.iter().map(|stop| line(stop) + "\n").collect::<String>()
}

/// A stop as a line for reading.
pub(super) fn line(stop: &Value) -> String {
    let left = match stop["remaining_secs"].as_u64() {
        Some(secs) => format!("{} left", Period(Duration::from_secs(secs))),
        None => "until it is taken back".to_owned(),
    };
    let by = match &stop["by_uid"] {
        Value::Null => String::new(),
        uid => format!(", by user {uid}"),
    };
    let reason = match stop["reason"].as_str() {
        Some(reason) if !reason.is_empty() => format!(": {}", printable(reason)),
        _ => String::new(),
    };
    format!("{} since {}, {left}{by}{reason}", text(&stop["what"]), text(&stop["since"]))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        what: What,
    }

    fn target(words: &[&str]) -> Option<StopTarget> {
        let parsed = Line::try_parse_from(["airlock"].iter().chain(words)).ok()?;
        parsed.what.target().ok()
    }

    #[test]
    fn one_target_is_named() {
        let text = |name: &str| name.to_owned();
        assert_eq!(target(&["--all"]), Some(StopTarget::All {}));
        assert_eq!(target(&["--tenant", "acme"]), Some(StopTarget::Tenant { tenant: text("acme") }));
        let alice = |tenant| Some(StopTarget::Principal { principal: text("alice"), tenant });
        assert_eq!(target(&["--principal", "alice"]), alice(None));
        assert_eq!(target(&["--principal", "alice", "--tenant", "acme"]), alice(Some(text("acme"))));
        let tool = StopTarget::Tool { upstream: text("docs"), tool: text("a/b") };
        assert_eq!(target(&["--tool", "docs/a/b"]), Some(tool));
        for wrong in [
            &[][..],
            &["--all", "--tenant", "acme"],
            &["--tenant", "acme", "--upstream", "docs"],
            &["--upstream", "docs", "--tool", "docs/read"],
            &["--token", "a", "--principal", "alice"],
            &["--tool", "docs"],
        ] {
            assert_eq!(target(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_itself_is_named_by_its_digest() {
        let token = |text| match target(&["--token", text]) {
            Some(StopTarget::Token { token }) => token,
            other => panic!("{other:?}"),
        };
        assert_eq!(token("a-1"), "a-1");
        // printf %s eyJ.b.c | sha256sum
        let digest = "sha256:2a64776f1662a3c8312771642032ad5bd18d33c45ea913eb90cbf24066504fb4";
        assert_eq!(token("eyJ.b.c"), digest);
        assert_eq!(token(digest), digest);
    }

    #[test]
    fn the_table_says_what_by_whom_why_and_for_how_long() {
        assert_eq!(table(&json!({"stops": []})), "nothing is stopped\n");
        let stops = json!({"alarms": ["it cannot be written"], "stops": [
            {"what": "everything", "reason": "", "by_uid": null, "since": "T", "remaining_secs": null},
            {"what": "upstream docs", "reason": "a\u{1b} leak", "by_uid": 0, "since": "T", "remaining_secs": 90},
        ]});
        assert_eq!(
            table(&stops),
            "ALARM  it cannot be written\neverything since T, until it is taken back\n\
             upstream docs since T, 90s left, by user 0: a\\u{1b} leak\n"
        );
    }
}
