//! A decision that was kept is the decision that would be made.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::engine::cache::Counts;

/// Policies that read this and that, each as far as random questions can tell.
const POLICIES: [&str; 9] = [
    "allow if input.subject.tenant == \"acme\"",
    "allow if input.call.tool == \"read_file\"",
    "allow if input.call.arguments.path == \"/guide.md\"",
    "allow if { c := input.call; c.arguments.path == \"/guide.md\" }",
    "allow if input.client.address == \"192.0.2.1\"",
    "allow if input.client.uid == 1000\nrule_id := input.client.certificate",
    "allow if input.time % 2 == 0",
    "allow if { some k; input[k].tool == \"read_file\" }\nobligations := {\"scopes\": [input.call.upstream]}",
    "deny contains {\"rule_id\": \"x\", \"reason\": input.subject.id} if input.call.prompt\nallow := true\nreason := input.call.revision",
];

struct Pair {
    plain: PolicyEngine,
    cached: PolicyEngine,
    counts: Arc<Counts>,
    _folder: Option<tempfile::TempDir>,
}

impl Pair {
    fn of(path: &std::path::Path, folder: Option<tempfile::TempDir>) -> Self {
        let counts = Arc::default();
        let plain = PolicyEngine::load(path).unwrap();
        let cached = PolicyEngine::load(path).unwrap().with_cache(Some(Duration::from_mins(5)), &counts);
        Self { plain, cached, counts, _folder: folder }
    }

    fn all() -> Vec<Self> {
        let own = POLICIES.iter().map(|body| {
            let folder = bundle(body);
            let path = folder.path().to_path_buf();
            Self::of(&path, Some(folder))
        });
        std::iter::once(Self::of(&shipped(), None)).chain(own).collect()
    }

    /// The answer of both, which is one.
    fn ask(&self, question: &Question<'_>) -> Decision {
        let decision = self.cached.decide(question);
        assert_eq!(decision, self.plain.decide(question), "{question:?}");
        decision
    }
}

/// A question with room for everything that it borrows.
#[derive(Debug, Clone)]
struct Made {
    tenant: Option<&'static str>,
    subject: &'static str,
    groups: Vec<&'static str>,
    method: &'static str,
    upstream: &'static str,
    named: [Option<&'static str>; 4],
    arguments: Option<&'static str>,
    revision: &'static str,
    address: Option<&'static str>,
    certificate: Option<&'static str>,
    uid: Option<u32>,
    time: u64,
}

impl Made {
    fn ask(&self, of: impl FnOnce(&Question<'_>) -> Decision) -> Decision {
        let subject = Principal::new(Bearer {
            subject: self.subject.into(),
            ..(*principal(self.tenant, &self.groups)).clone()
        });
        let raw = self.arguments.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        let [tool, prompt, resource, root] = self.named;
        of(&Question {
            subject: &subject,
            call: Call {
                method: self.method,
                upstream: self.upstream,
                tool,
                prompt,
                resource,
                root,
                arguments: raw.as_deref(),
                revision: self.revision,
            },
            client: Client { address: self.address, certificate: self.certificate, uid: self.uid },
            time: self.time,
        })
    }
}

fn of<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(values)
}

fn questions() -> impl Strategy<Value = Made> {
    let name =
        || of(&[None, Some("read_file"), Some("write_file"), Some("/guide.md"), Some("docs"), Some("")]);
    let who = (
        of(&[None, Some("acme"), Some("globex"), Some("")]),
        of(&["alice", "bob"]),
        prop::sample::subsequence(vec!["mcp.users", "mcp.admins"], 0..3),
    );
    let what = (
        of(&["tools/call", "tools/list", "completion/complete", "resources/read"]),
        of(&["docs", "billing"]),
        [name(), name(), name(), name()],
        of(&["2026-07-28", "2025-11-25"]),
    );
    let arguments = of(&[
        None,
        Some("{}"),
        Some("null"),
        Some(r#"{"path": "/guide.md"}"#),
        Some(r#"{"path":"/guide.md"}"#),
        Some(r#"{"path": "/secret/key"}"#),
        Some(r#"{"path": "/guide.md", "path": "/secret/key"}"#),
        Some(r#"{"n": 1e300}"#),
        Some("9007199254740993.0"),
    ]);
    let client = (
        of(&[None, Some("192.0.2.1"), Some("192.0.2.2")]),
        of(&[None, Some("CN=a"), Some("CN=b")]),
        of(&[None, Some(0), Some(1000)]),
        0_u64..4,
    );
    (who, what, arguments, client).prop_map(
        |(
            (tenant, subject, groups),
            (method, upstream, named, revision),
            arguments,
            (address, certificate, uid, time),
        )| Made {
            tenant,
            subject,
            groups,
            method,
            upstream,
            named,
            arguments,
            revision,
            address,
            certificate,
            uid,
            time,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kept_decision_is_the_one_that_would_be_made(asked in prop::collection::vec(questions(), 1..60)) {
        thread_local! { static PAIRS: Vec<Pair> = Pair::all(); }
        PAIRS.with(|pairs| {
            for pair in pairs {
                // Twice, so that the second round finds what the first one left.
                for made in asked.iter().chain(&asked) {
                    made.ask(|question| pair.ask(question));
                }
            }
        });
    }
}

fn one() -> Made {
    Made {
        tenant: Some("acme"),
        subject: "alice",
        groups: vec!["mcp.users"],
        method: "tools/call",
        upstream: "docs",
        named: [Some("read_file"), None, None, None],
        arguments: Some(r#"{"path": "/guide.md"}"#),
        revision: "2026-07-28",
        address: Some("192.0.2.1"),
        certificate: None,
        uid: None,
        time: 1,
    }
}

#[test]
fn a_cache_that_may_be_used_is_used_and_no_other() {
    let hits = |body: &str, second: Made| {
        let folder = bundle(body);
        let pair = Pair::of(folder.path(), None);
        one().ask(|question| pair.ask(question));
        second.ask(|question| pair.ask(question));
        pair.counts.hits()
    };
    let elsewhere = Made { address: Some("192.0.2.2"), time: 2, ..one() };
    let other_arguments = Made { arguments: Some("{}"), ..elsewhere.clone() };
    // A field that is not read makes no difference.
    assert_eq!(hits("allow if input.call.tool == \"read_file\"", other_arguments.clone()), 1);
    assert_eq!(hits("allow if input.call.arguments.path == \"/guide.md\"", elsewhere.clone()), 1);
    // A field that is read does, and the time is never the same.
    assert_eq!(hits("allow if input.call.arguments.path == \"/guide.md\"", other_arguments), 0);
    assert_eq!(hits("allow if input.client.address == \"192.0.2.1\"", elsewhere), 0);
    assert_eq!(hits("allow if input.time > 0", one()), 0);
    assert_eq!(hits("allow if rand.intn(\"a\", 2) == 0\nallow := true\nrule_id := \"any\"", one()), 0);
    // An error is not kept.
    assert_eq!(hits("allow if input.call.arguments.path + 1 > 0", one()), 0);
    // The shipped policy can be cached, arguments and all.
    let pair = Pair::of(&shipped(), None);
    assert!(one().ask(|question| pair.ask(question)).allow);
    assert!(one().ask(|question| pair.ask(question)).allow);
    assert_eq!((pair.counts.hits(), pair.cached.fickle()), (1, None));
}

/// Everything that a bearer says of itself is tried to come by a decision that was made for another tenant.
#[test]
fn no_tenant_finds_the_decision_of_another() {
    let folder = bundle(
        "allow if input.subject.tenant == \"acme\"\nrule_id := concat(\"\", [\"for \", input.subject.tenant]) if true",
    );
    let pair = Pair::of(folder.path(), None);
    let acme = one().ask(|question| pair.ask(question));
    assert_eq!((acme.allow, &*acme.rule_id), (true, "for acme"));
    let claims = |json: serde_json::Value| json.as_object().unwrap().clone();
    for (tenant, subject, issuer, claims) in [
        (None, "alice", "https://idp.example.com", claims(serde_json::json!({"tenant": "acme"}))),
        (Some("globex"), "alice", "https://idp.example.com", claims(serde_json::json!({}))),
        (Some("globex"), "alice", "https://idp.example.com", claims(serde_json::json!({"tid": "acme"}))),
        (Some(""), "acme", "https://idp.example.com", claims(serde_json::json!({}))),
        (Some("acme "), "alice", "https://idp.example.com", claims(serde_json::json!({}))),
        (Some("acme\0"), "alice", "https://idp.example.com", claims(serde_json::json!({}))),
        (Some("\",\"tenant\":\"acme"), "alice", "https://idp.example.com", claims(serde_json::json!({}))),
        (None, "alice\",\"tenant\":\"acme", "acme", claims(serde_json::json!({}))),
    ] {
        let bearer = Bearer {
            subject: subject.into(),
            tenant: tenant.map(Into::into),
            issuer: issuer.into(),
            claims,
            ..(*principal(None, &["mcp.users"])).clone()
        };
        let subject = Principal::new(bearer);
        let before = pair.counts.hits();
        one().ask(|question| {
            let decision = pair.ask(&Question { subject: &subject, ..*question });
            assert!(!decision.allow, "{:?}", subject.tenant);
            decision
        });
        assert_eq!(pair.counts.hits(), before, "{:?} found something", subject.tenant);
    }
    // Names that run into each other are other names.
    let parts = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")];
    let folder = bundle("allow := true\nrule_id := concat(\"|\", [input.call.method, input.call.upstream])");
    let pair = Pair::of(folder.path(), None);
    for (method, upstream) in parts {
        let decision = Made { method, upstream, ..one() }.ask(|question| pair.ask(question));
        assert_eq!(&*decision.rule_id, format!("{method}|{upstream}"));
    }
    assert_eq!(pair.counts.hits(), 0);
}

#[test]
fn a_reload_forgets() {
    let engines: Vec<Pair> = (0..3)
        .map(|number| {
            let folder = bundle(&format!("allow := true\nrule_id := \"r{number}\""));
            let pair = Pair::of(folder.path(), None);
            Pair { _folder: Some(folder), ..pair }
        })
        .collect();
    for _ in 0..2 {
        for (number, pair) in engines.iter().enumerate() {
            assert_eq!(&*one().ask(|question| pair.ask(question)).rule_id, format!("r{number}"));
        }
    }
}
