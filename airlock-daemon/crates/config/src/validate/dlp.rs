//! `dlp`: packs and detectors that there are, patterns that can be looked for, rules that fit something.

use std::collections::BTreeSet;

use airlock_dlp::Regions;

use super::credential::secret;
use super::{Checks, Files, at};
use crate::nearest;
use crate::packs::{self, Known, OWN};
use crate::pattern::Pattern;
use crate::schema::{Config, DlpDetector, DlpMode, DlpRule};
use crate::yaml::tree::{PathStep, brief};

/// Longest name of a detector, in bytes.
const MAX_NAME: usize = 48;
/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 4096;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>, files: Files) {
    let dlp = &config.dlp;
    if let Some(directory) = &dlp.directory
        && !directory.is_absolute()
    {
        checks.value(
            at!["dlp", "directory"],
            format!("`{}` is no absolute path", directory.display()),
            "an absolute path, such as `/etc/airlock/dlp`",
            "write the whole path of the directory",
        );
    }
    if let Some(file) = &dlp.hash_key_file {
        secret(at!["dlp", "hash_key_file"], file, checks);
    }
    for (place, code) in dlp.phone_regions.iter().enumerate() {
        if Regions::parse([code.as_str()]).is_err() {
            checks.value(
                at!["dlp", "phone_regions", place],
                format!("`{}` is no region", brief(code)),
                "a code of ISO 3166-1, such as `US` or `DE`",
                "write the code of two capital letters",
            );
        }
    }
    let mut names = BTreeSet::new();
    for (place, detector) in dlp.detectors.iter().enumerate() {
        single(place, detector, checks);
        if !names.insert(detector.name.as_str()) && checks.known(at!["dlp", "detectors", place, "name"]) {
            twice(place, detector, checks);
        }
    }
    let known = match packs::load(dlp, files == Files::Check) {
        Ok(packs) => packs.known,
        Err(faults) => {
            for fault in faults {
                checks.value(
                    at!["dlp", "directory"],
                    fault.message,
                    "a pack without mistakes",
                    &fault.remedy,
                );
            }
            return;
        }
    };
    for (place, detector) in dlp.detectors.iter().enumerate() {
        if known.iter().any(|known| known.single.is_none() && known.detector.name() == detector.name) {
            twice(place, detector, checks);
        }
    }
    // Without a look into the directory nobody knows what is not there.
    if dlp.directory.is_some() && files == Files::Ignore {
        return;
    }
    names_of_packs(config, &known, checks);
    for (place, one) in dlp.rules.iter().enumerate() {
        rule(config, &known, place, one, checks);
    }
    if dlp.mode == DlpMode::Off && !dlp.rules.is_empty() && checks.known(at!["dlp", "mode"]) {
        checks.key(
            at!["dlp", "rules"],
            "`dlp.mode` is `off`, so no rule does anything",
            "rules only with `mode: enforce` or `mode: report`",
            "remove the rules, or write `mode: report` to count what would be found",
        );
    }
}

fn twice(place: usize, detector: &DlpDetector, checks: &mut Checks<'_>) {
    checks.value(
        at!["dlp", "detectors", place, "name"],
        format!("there is a detector `{}` already", brief(&detector.name)),
        "a name that no other detector has",
        "give it another name",
    );
}

fn single(place: usize, detector: &DlpDetector, checks: &mut Checks<'_>) {
    let path = |key| at!["dlp", "detectors", place, key].to_vec();
    if !is_name(&detector.name) && checks.known(&path("name")) {
        checks.value(
            &path("name"),
            format!("`{}` is no name of a detector", brief(&detector.name)),
            "lower case letters, digits and single dashes, at most 48 of them, a letter first",
            "write such a name: placeholders, records and rules have it",
        );
    }
    if !checks.known(&path("pattern")) {
        return;
    }
    let fault = if detector.pattern.len() > MAX_PATTERN {
        format!("the pattern is longer than {MAX_PATTERN} bytes; split it into several detectors")
    } else {
        match packs::single(detector) {
            Ok(_) => return,
            // An error of the pattern's syntax shows the pattern on several lines.
            Err(error) => error.to_string().lines().last().unwrap_or_default().to_owned(),
        }
    };
    let (message, help) =
        fault.split_once("; ").unwrap_or((&fault, "correct it: docs.rs/regex tells the syntax"));
    let message = message.strip_prefix("error: ").unwrap_or(message);
    checks.value(
        &path("pattern"),
        message,
        "a regular expression in which every match has something to look for",
        help,
    );
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('-').all(is_part)
}

/// The packs that there are.
fn all_packs(known: &[Known]) -> Vec<&str> {
    let names: BTreeSet<&str> = known.iter().map(|known| known.detector.spec().pack.as_str()).collect();
    names.into_iter().filter(|name| *name != OWN).collect()
}

fn names_of_packs(config: &Config, known: &[Known], checks: &mut Checks<'_>) {
    let all = all_packs(known);
    for (place, name) in config.dlp.packs.iter().enumerate() {
        if all.contains(&name.as_str()) {
            continue;
        }
        let help = nearest(name, &all).map_or_else(
            || "correct the name, or write the pack into `dlp.directory`".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        let message = format!("there is no pack `{}`", brief(name));
        checks.value(at!["dlp", "packs", place], message, &one_of(&all), &help);
    }
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("one of {}", quoted.join(", "))
}

fn rule(config: &Config, known: &[Known], place: usize, rule: &DlpRule, checks: &mut Checks<'_>) {
    let path = |key| at!["dlp", "rules", place, key].to_vec();
    if let Some(name) = &rule.detector
        && checks.known(&path("detector"))
    {
        named(checks, &path("detector"), "detector", name, known, |known| known.detector.name());
    }
    if let Some(name) = &rule.pack
        && checks.known(&path("pack"))
    {
        named(checks, &path("pack"), "pack", name, known, |known| &known.detector.spec().pack);
    }
    if let Some(upstream) = &rule.upstream
        && checks.known(&path("upstream"))
        && checks.known(at!["upstreams"])
        && let Some(pattern) = Pattern::parse(&format!("{upstream}/*"))
        && !config.upstreams.iter().any(|one| pattern.concerns(&one.name))
    {
        checks.value(
            &path("upstream"),
            format!("`{}` is no upstream, so this rule fits nothing", brief(upstream)),
            "the name of an entry of `upstreams`; `*` stands for any text",
            "correct the name, or remove the rule",
        );
    }
}

/// A rule names a detector or a pack that is in use.
fn named(
    checks: &mut Checks<'_>,
    path: &[PathStep<'_>],
    noun: &str,
    name: &str,
    known: &[Known],
    of: fn(&Known) -> &str,
) {
    let fitting: Vec<&Known> = known.iter().filter(|known| of(known) == name).collect();
    if fitting.iter().any(|known| known.is_on) {
        return;
    }
    let (message, help) = if let Some(found) = fitting.first() {
        let help = format!("add `{}` to `dlp.packs`, or remove the rule", found.detector.spec().pack);
        (format!("the {noun} `{name}` is not in use, so this rule does nothing"), help)
    } else {
        let all: BTreeSet<&str> = known.iter().map(of).collect();
        let all: Vec<&str> = all.into_iter().collect();
        let help = nearest(name, &all).map_or_else(
            || "correct the name, or remove the rule".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        (format!("there is no {noun} `{}`", brief(name)), help)
    };
    checks.value(path, message, &format!("the name of a {noun} that is in use"), &help);
}
