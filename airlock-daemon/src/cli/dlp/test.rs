//! `airlock dlp test`.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::ended::{CLEAN, FOUND, WRONG};
use super::input::{self, Form, wrong};
use super::shown::Shown;
use crate::auth::principal::{Bearer, Principal};
use crate::config::Diagnostic;
use crate::config::packs::Packs;
use crate::config::schema::{Config, DlpDirection as Direction, DlpMode};
use crate::config::units::ByteSize;
use crate::observe::metrics::Metrics;
use crate::redaction::{MessageFindings, Purpose, Redaction};

/// Arguments of `airlock dlp test`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The text. Other users of this host may read the command line: a real secret belongs on standard input,
    /// which is read where neither --text nor --file is given.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    text: Option<String>,
    /// A file with the text; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the text for this; without it an object or array is JSON, and anything else is text.
    #[arg(long = "as", value_name = "FORM", value_enum)]
    form: Option<Form>,
    /// The configuration whose `dlp` is tried. Without one that of this host is, and where there is none the
    /// defaults are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use this pack instead of those of `dlp.packs`; may be repeated.
    #[arg(long, value_name = "PACK")]
    pack: Vec<String>,
    /// Use the packs of this directory instead of those of `dlp.directory`.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Where the text goes: `request` to a server, `response` from it.
    #[arg(long, value_name = "DIRECTION", value_enum, default_value = "response")]
    direction: Way,
    /// The server, for `dlp.rules` that name one.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The tool that is called, for `dlp.rules` that name one.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// A pack or detector that a policy obliges to (`obligations.redact`); may be repeated.
    #[arg(long, value_name = "NAME")]
    oblige: Vec<String>,
    /// Show what was found.
    #[arg(long)]
    show_matches: bool,
    /// Print one JSON document: {passes: "unchanged" | "changed" | "refused", reason?, mode, direction,
    /// findings: [{detectors: [{name, pack, about, action}], pointer?, in: "text" | "name" | "number",
    /// encoded, line, column, start, end, instead?, matched?}], text?}; `start` and `end` are bytes. Where
    /// something cannot be used, {mistakes: [{severity, file, line, column, message, expected, help}]}.
    #[arg(long)]
    json: bool,
}

/// The direction, as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    Request,
    Response,
}

pub(super) fn run(
    args: &Args,
    stdin: &mut impl Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    match tried(args, stdin) {
        Ok(shown) => {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &shown.document())?;
                writeln!(out)?;
            } else {
                shown.page(out)?;
            }
            Ok(if shown.is_unchanged() { CLEAN } else { FOUND })
        }
        Err(mistakes) => {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &serde_json::json!({"mistakes": mistakes}))?;
                writeln!(out)?;
            } else {
                for mistake in &mistakes {
                    write!(err, "{mistake}")?;
                }
            }
            Ok(WRONG)
        }
    }
}

fn tried(args: &Args, stdin: &mut impl Read) -> Result<Shown, Vec<Diagnostic>> {
    let (source, mut config) = match input::config(args.config.as_deref())? {
        Some((path, config)) => (path.display().to_string(), config),
        None => ("defaults".to_owned(), Config::default()),
    };
    if let Some(name) = &args.upstream
        && !config.upstreams.is_empty()
        && config.upstreams.iter().all(|upstream| upstream.name != *name)
    {
        let names: Vec<&str> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let help = format!("name one of {}", names.join(", "));
        return Err(wrong("--upstream", format!("{source} has no upstream `{name}`"), &help));
    }
    if !args.pack.is_empty() {
        config.dlp.packs.clone_from(&args.pack);
    }
    if args.directory.is_some() {
        config.dlp.directory.clone_from(&args.directory);
    }
    let redaction = redaction(&config)?;
    let (name, text) = input::text(args.text.as_deref(), args.file.as_deref(), stdin)?;
    let is_json = input::is_json(&name, &text, args.form)?;
    let obliged: Vec<_> = args.oblige.iter().map(|name| name.as_str().into()).collect();
    if let Some(reason) = redaction.cannot(&obliged) {
        let help = "name a pack or a detector that there is: the call would be refused";
        return Err(wrong("--oblige", reason, help));
    }
    let direction = match args.direction {
        Way::Request => Direction::Request,
        Way::Response => Direction::Response,
    };
    let purpose = Purpose {
        upstream: args.upstream.as_deref().unwrap_or_default(),
        tool: args.tool.as_deref(),
        obliged: &obliged,
    };
    let nothing = || MessageFindings { places: Vec::new(), outcome: Ok(None) };
    let sieve = redaction.sieve(&nobody(), purpose);
    let told = sieve.map_or_else(nothing, |sieve| sieve.tell(direction, &text, is_json));
    Ok(Shown {
        told,
        name,
        source,
        text,
        is_json,
        direction,
        mode: config.dlp.mode,
        shows_matches: args.show_matches,
    })
}

/// The detectors and actions of a configuration, as the daemon has them. The key of digests is made for the
/// occasion.
fn redaction(config: &Config) -> Result<Redaction, Vec<Diagnostic>> {
    let packs = if config.dlp.mode == DlpMode::Off { Packs::default() } else { input::packs(&config.dlp)? };
    let limits = [config.server.max_request_bytes, config.server.max_response_bytes];
    Redaction::new(&config.dlp, packs, None, limits.map(ByteSize::as_usize), &Metrics::new())
        .map_err(|error| wrong("dlp", format!("no random numbers ({error})"), "look at the kernel's log"))
}

/// A caller of whom nothing is known: no rule of `dlp` is about callers.
fn nobody() -> Principal {
    Principal::new(Bearer {
        subject: String::new(),
        tenant: None,
        groups: Vec::new(),
        scopes: Vec::new(),
        issuer: String::new(),
        claims: serde_json::Map::new(),
        expires_at: 0,
    })
}
