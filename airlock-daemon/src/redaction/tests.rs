//! Which action meets a finding: by direction, server, tool and detector, mode and obligation.

use airlock_dlp::Path;

use super::*;
use crate::auth::principal::Principal;
use crate::config::from_text;
use crate::config::packs;
use crate::config::schema::Config;
use crate::observe::metrics::Metrics;

const TOKEN: &str = "ghp_318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af";

const AUTH: &str = "auth: {issuers: [{issuer: \"https://idp.example\", audience: [airlock]}]}\n\
    upstreams: [{name: code, type: stdio, command: [x]}, {name: docs, type: stdio, command: [x]}]\n";

fn redaction(dlp: &str) -> Redaction {
    let config: Config = from_text("airlock.yaml", &format!("{AUTH}{dlp}")).expect("good");
    let packs = packs::load(&config.dlp, false).expect("packs");
    Redaction::new(&config.dlp, packs, Some(b"key"), [1 << 20; 2], &Metrics::new()).expect("random numbers")
}

fn alice(tenant: &str) -> Principal {
    Principal::named("alice", Some(tenant))
}

fn purpose<'a>(upstream: &'a str, tool: Option<&'a str>) -> Purpose<'a> {
    Purpose { upstream, tool, obliged: &[] }
}

/// The text that takes the place of one, or `barred by`.
fn sifted(redaction: &Redaction, way: Direction, purpose: Purpose<'_>, text: &str) -> String {
    let Some(sieve) = redaction.sieve(&alice("acme"), purpose) else { return text.to_owned() };
    let json = serde_json::to_string(text).expect("JSON");
    match sieve.sift(way, &json, Paths::default()) {
        Ok(sifted) => serde_json::from_str(&sifted.text.unwrap_or(json)).expect("JSON"),
        Err(barred) => format!("barred by {}", barred.detector().expect("a detector")),
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let redaction = redaction(
        "dlp:\n  request: mask\n  rules:\n\
         \x20   - {detector: github-token, direction: request, upstream: code, tool: 'read_*', action: block}\n\
         \x20   - {pack: secrets, upstream: 'c*', tool: read_all, action: off}\n\
         \x20   - {upstream: docs, direction: response, action: report}\n",
    );
    let is = |way, upstream, tool, expected: &str| {
        assert_eq!(sifted(&redaction, way, purpose(upstream, tool), TOKEN), expected, "{upstream} {tool:?}");
    };
    let (request, response) = (Direction::Request, Direction::Response);
    is(request, "code", Some("read_all"), "barred by github-token");
    is(response, "code", Some("read_all"), TOKEN);
    is(request, "code", Some("write"), "****g3af");
    is(response, "code", Some("write"), "[redacted:github-token]");
    is(response, "docs", Some("read_all"), TOKEN);
    is(request, "docs", Some("read_all"), "****g3af");
    // A rule about tools fits nothing else.
    is(request, "code", None, "****g3af");
}

#[test]
fn single_detectors_have_a_direction_and_an_action() {
    let redaction = redaction(
        "dlp: {detectors: [{name: ticket, pattern: 'TCK-[0-9]{6}', action: block, direction: response}]}\n",
    );
    let ticket = |way| sifted(&redaction, way, purpose("docs", None), "see TCK-123456");
    assert_eq!(ticket(Direction::Request), "see TCK-123456");
    assert_eq!(ticket(Direction::Response), "barred by ticket");
}

#[test]
fn the_policy_can_oblige_to_more_and_never_to_less() {
    let mail = "alice@acme.com";
    let redaction = redaction("dlp: {rules: [{detector: github-token, action: block}]}\n");
    let obliged = ["pii".into(), "github-token".into()];
    for way in [Direction::Request, Direction::Response] {
        assert_eq!(sifted(&redaction, way, purpose("docs", None), mail), mail);
        let obliged = Purpose { obliged: &obliged, ..purpose("docs", None) };
        assert_eq!(sifted(&redaction, way, obliged, mail), "[redacted:email]");
        assert_eq!(sifted(&redaction, way, obliged, TOKEN), "barred by github-token");
    }
    assert_eq!(redaction.cannot(&obliged), None);
    let unknown = redaction.cannot(&["pii".into(), "nonsense".into()]).expect("unknown");
    assert!(unknown.contains("`nonsense`"), "{unknown}");
    let off = super::tests::redaction("dlp: {mode: off}\n");
    assert!(off.cannot(&obliged).is_some_and(|reason| reason.contains("switched off")));
    assert!(off.sieve(&alice("acme"), purpose("docs", None)).is_none());
}

#[test]
fn telephone_numbers_are_those_of_the_regions() {
    let found = |dlp: &str, text: &str| {
        sifted(&redaction(dlp), Direction::Response, purpose("docs", None), text).contains("[redacted:phone")
    };
    for (regions, german, american) in [("", true, true), ("[DE]", true, false), ("[US, FR]", false, true)] {
        let regions = if regions.is_empty() { String::new() } else { format!(", phone_regions: {regions}") };
        let dlp = format!("dlp: {{packs: [pii]{regions}}}\n");
        assert_eq!(found(&dlp, "Tel.: 030 901820"), german, "{dlp}");
        assert_eq!(found(&dlp, "call 415-555-2671"), american, "{dlp}");
        assert!(found(&dlp, "call +49 30 901820"), "{dlp}");
    }
}

#[test]
fn a_report_changes_nothing_and_counts() {
    let redaction = redaction("dlp: {mode: report, request: block, binary: refuse}\n");
    let sieve = redaction.sieve(&alice("acme"), purpose("docs", None)).expect("a sieve");
    let keep: &[Path] = &[&[]];
    let json = format!("\"{TOKEN}\"");
    let sifted = sieve.sift(Direction::Request, &json, Paths { skip: &[], keep }).expect("it passes");
    assert_eq!(sifted.text, None);
    let counted = sifted.found.on_record().expect("counted");
    assert_eq!(counted[..], [("github-token".into(), 1)]);
}

#[test]
fn a_digest_is_stable_within_a_tenant_and_differs_across() {
    let redaction = redaction("dlp: {response: hash}\n");
    let hashed = |tenant: &str| {
        let sieve = redaction.sieve(&alice(tenant), purpose("docs", None)).expect("a sieve");
        let sifted = sieve.sift(Direction::Response, &format!("[\"{TOKEN}\"]"), Paths::default());
        sifted.expect("it passes").text.expect("changed")
    };
    assert!(hashed("acme").starts_with("[\"[github-token:") && !hashed("acme").contains(TOKEN));
    assert_eq!(hashed("acme"), hashed("acme"));
    assert_ne!(hashed("acme"), hashed("globex"));
}
