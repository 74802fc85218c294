//! `airlock policy explain`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;

use super::ended::{Bundle, NO, WRONG, unusable};
use super::log::{self, Line};
use crate::observe::escape::printable;
use crate::policy::{self, Asked, Explanation, Known, PolicyPiece, Rebuilt, Recorded, Verdict};

/// Parts of the input that name what was asked for.
const TARGETS: [&str; 3] = ["call.tool", "call.prompt", "call.resource"];

/// Arguments of `airlock policy explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    bundle: Bundle,
    /// An input document as JSON, as a policy sees it; `-` reads standard input.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "correlation_id",
        conflicts_with = "correlation_id"
    )]
    input: Option<PathBuf>,
    /// A decision of the audit log, by the id that the client was told.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The audit directory (`audit.dir`).
    #[arg(long, value_name = "DIR", default_value = super::super::defaults::DEFAULT_AUDIT_DIR)]
    audit_dir: PathBuf,
    /// The whole target of that call, where the record shows only a part of it; it is checked against the
    /// record's digest.
    #[arg(long, value_name = "TEXT", requires = "correlation_id")]
    target: Option<String>,
    /// The arguments of that call, byte for byte as they were sent; they are checked against the record's
    /// digest.
    #[arg(long, value_name = "FILE", requires = "correlation_id")]
    arguments: Option<PathBuf>,
    /// Print one JSON document: {`on_record`, `undecided`, `allow`, `rule_id`, reason, obligations,
    /// `decided_by`, error?, held, failed, evaluated, unknown, unclear?}.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let (asked, unknown, on_record) = match question(args) {
        Ok(question) => question,
        Err(error) => {
            writeln!(err, "airlock policy explain: {error}")?;
            return Ok(WRONG);
        }
    };
    let explanation = match policy::explain(&args.bundle.path, &asked, &unknown) {
        Ok(explanation) => explanation,
        Err(error) => {
            unusable(&error, args.json, out, err)?;
            return Ok(WRONG);
        }
    };
    let decided = if explanation.allow { Verdict::Allow } else { Verdict::Deny };
    // A name that is not known was not asked about: whatever comes of it, it is no answer about the call.
    let nameless = explanation.unknown.iter().any(|part| TARGETS.contains(&part.as_str()));
    let undecided = !explanation.unknown.is_empty()
        && on_record.as_ref().is_some_and(|it| nameless || it.decision != decided);
    if args.json {
        let told = ExplanationJson { on_record, undecided, explanation: &explanation };
        serde_json::to_writer_pretty(&mut *out, &told)?;
        writeln!(out)?;
    } else {
        if let Some(OnRecord { decision, stage, rule_id }) = &on_record {
            let verdict = if *decision == Verdict::Allow { "allowed" } else { "denied" };
            let stage = stage.as_deref().map(|stage| format!(" at {}", printable(stage))).unwrap_or_default();
            writeln!(out, "on record: {verdict}{stage} by {}", printable(rule_id))?;
        }
        if undecided {
            writeln!(
                out,
                "undecided: what is not on record keeps this policy from saying the same; what follows is not what happened\n"
            )?;
        }
        tell(&explanation, out)?;
    }
    if undecided {
        return Ok(WRONG);
    }
    let granted = explanation.allow && explanation.obligations.missing_scopes.is_empty();
    Ok(if granted { 0 } else { NO })
}

/// The log's account of the decision.
#[derive(Serialize)]
struct OnRecord {
    decision: Verdict,
    /// The stage that refused, in records since it is one of their fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    rule_id: String,
}

/// The answer as JSON.
#[derive(Serialize)]
struct ExplanationJson<'a> {
    /// None for an input that came from elsewhere.
    on_record: Option<OnRecord>,
    /// True where what is not on record keeps the decision from being told.
    undecided: bool,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

type Question = (Asked, BTreeSet<&'static str>, Option<OnRecord>);

fn question(args: &Args) -> Result<Question, String> {
    let text = |path: &Path| {
        let read =
            if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
        read.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    if let Some(input) = &args.input {
        let asked = Asked::parse(&text(input)?).map_err(|error| format!("{}: {error}", input.display()))?;
        return Ok((asked, BTreeSet::new(), None));
    }
    let Some(id) = &args.correlation_id else {
        return Err("give --input or --correlation-id".to_owned());
    };
    let recorded = find(&args.audit_dir, id)?;
    let arguments = args.arguments.as_deref().map(text).transpose()?;
    let Rebuilt { asked, unknown } =
        recorded.rebuild(Known { arguments: arguments.as_deref(), target: args.target.as_deref() })?;
    let on_record = OnRecord {
        decision: recorded.verdict(),
        stage: recorded.stage.clone(),
        rule_id: recorded.rule_id.clone().unwrap_or_default(),
    };
    Ok((asked, unknown, Some(on_record)))
}

/// The decision of the log with this id.
fn find(dir: &Path, id: &str) -> Result<Recorded, String> {
    let mut other = None;
    let mut found = None;
    log::walk(dir, |place, line| {
        // Most lines are skipped without being read.
        if found.is_some() || !line.windows(id.len().max(1)).any(|window| window == id.as_bytes()) {
            return Ok(());
        }
        match Recorded::read(line) {
            Ok(Some(record)) if record.correlation_id.as_deref() == Some(id) => found = Some(record),
            Ok(_) => other = Some(place.to_string()),
            Err(error) => return Err(Line { place: place.clone(), error }),
        }
        Ok(())
    })?;
    found.ok_or_else(|| match other {
        Some(place) => format!(
            "{place}: the record of {id} is no decision of the policy; what was refused before it, or answered without it, \
             has none"
        ),
        None => format!("{}: no record has the correlation id {id}", dir.display()),
    })
}

fn tell(explanation: &Explanation, out: &mut impl Write) -> io::Result<()> {
    let place = |source: &PolicyPiece| format!("{}:{}: {}", source.file, source.line, source.text);
    let verdict = if explanation.allow { "allowed" } else { "denied" };
    writeln!(out, "{verdict} by {}: {}", printable(&explanation.rule_id), printable(&explanation.reason))?;
    if let Some(unclear) = &explanation.unclear {
        writeln!(
            out,
            "but such a call is refused before the policy is asked, unless `policy.arguments` is `lenient`: {}",
            printable(unclear)
        )?;
    }
    for source in &explanation.decided_by {
        writeln!(out, "  {}", place(source))?;
    }
    if let Some(error) = &explanation.error {
        writeln!(
            out,
            "{}\n  such an error refuses the call, whatever else holds: look at the type first, as with `is_string`",
            printable(error)
        )?;
    }
    let asks = &explanation.obligations;
    if !asks.scopes.is_empty() {
        writeln!(out, "the token must carry the scopes {}", printable(&asks.scopes.join(" ")))?;
    }
    if !asks.missing_scopes.is_empty() {
        writeln!(
            out,
            "it lacks {}: the client is refused and told so",
            printable(&asks.missing_scopes.join(" "))
        )?;
    }
    if !asks.redact.is_empty() {
        writeln!(out, "the answer is redacted by {}", printable(&asks.redact.join(" ")))?;
    }
    if asks.durable {
        writeln!(out, "the record must be on disk before the call")?;
    }
    for part in &explanation.unknown {
        let remedy = match part.as_str() {
            "call.arguments" => ": give --arguments",
            part if TARGETS.contains(&part) => " in full: give --target and --arguments",
            _ => "",
        };
        writeln!(out, "the policy reads input.{part}, which is not on record{remedy}")?;
    }
    let name = |rule: &str, rule_id: Option<&String>| {
        let short = rule.strip_prefix("airlock.authz.").unwrap_or(rule);
        rule_id.map_or_else(|| short.to_owned(), |id| format!("{short} {id}"))
    };
    writeln!(out, "\nwhat holds:")?;
    for held in &explanation.held {
        writeln!(out, "  {}", place(&held.source))?;
        writeln!(out, "      {} = {}", name(&held.rule, held.rule_id.as_ref()), printable(&held.value))?;
    }
    writeln!(out, "\nwhat does not:")?;
    for failed in &explanation.failed {
        writeln!(out, "  {}", place(&failed.source))?;
        let what = name(&failed.rule, failed.rule_id.as_ref());
        match (&failed.at, &failed.error) {
            (Some(at), Some(error)) => {
                let text = printable(&at.text);
                writeln!(out, "      {what}: an error at line {}: {text}: {}", at.line, printable(error))?;
            }
            (Some(at), None) => {
                writeln!(out, "      {what}: not true at line {}: {}", at.line, printable(&at.text))?;
            }
            (None, _) => writeln!(out, "      {what}: cannot be told apart from the rest of its rule")?,
        }
    }
    Ok(())
}
