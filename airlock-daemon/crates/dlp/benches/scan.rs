//! The scanner beside one regex of all patterns and beside a loop of one regex each, on the same texts in the
//! same run. The ratios between rows count; the times are those of this machine.

use std::fmt::Write as _;
use std::hint::black_box;

use airlock_dlp::{Action, Detectors, Pack, Plan, redact};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use regex_automata::meta::Regex;

/// The size of the large texts, in bytes.
const LARGE: usize = 256 << 10;

/// A generator of pseudo-random numbers (xorshift), so that every run has the same texts.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.next() % of.len() as u64).unwrap_or(0)]
    }
}

/// Words of plain prose and code, none of them near a secret.
const WORDS: [&str; 40] = [
    "the",
    "quick",
    "brown",
    "server",
    "returns",
    "a",
    "list",
    "of",
    "files",
    "and",
    "each",
    "entry",
    "has",
    "name",
    "size",
    "when",
    "it",
    "was",
    "changed",
    "fn",
    "main()",
    "let",
    "value",
    "=",
    "parse(input)?;",
    "if",
    "x",
    ">",
    "10",
    "else",
    "return",
    "Err(e)",
    "struct",
    "Config",
    "impl",
    "for",
    "where",
    "section",
    "4.2",
    "report",
];

fn clean(bytes: usize) -> String {
    let mut dice = Dice(7);
    let mut text = String::from(r#"{"jsonrpc":"2.0","id":7,"result":{"content":["#);
    while text.len() < bytes {
        text.push_str(r#"{"type":"text","text":""#);
        for word in 0..60 {
            text.push_str(dice.pick(&WORDS));
            text.push_str(if word % 12 == 11 { "\\n" } else { " " });
        }
        text.push_str(r#""},"#);
    }
    text.pop();
    text.push_str("]}}");
    text
}

fn dirty(bytes: usize) -> String {
    let mut text = clean(bytes);
    let mut at = 2_048;
    while at < text.len() {
        let Some(space) = text[at..].find(' ') else { break };
        text.insert_str(at + space, " ghp_\u{33}18wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af");
        at += space + 2_048;
    }
    text
}

fn base64(bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut dice = Dice(9);
    let data: String = (0..bytes).map(|_| char::from(LETTERS[(dice.next() % 64) as usize])).collect();
    format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"image","data":"{data}"}}]}}}}"#)
}

fn rows(bytes: usize) -> String {
    let mut dice = Dice(11);
    let mut text = String::from(r#"{"jsonrpc":"2.0","id":7,"result":{"rows":["#);
    while text.len() < bytes {
        let number = dice.next();
        let _ = write!(
            text,
            "[{},{}.{},\"2026-11-{:02}\"],",
            number % 100_000,
            number % 977,
            number % 89,
            number % 28 + 1
        );
    }
    text.pop();
    text.push_str("]}}");
    text
}

/// One string that repeats a part.
fn repeated(part: &str, bytes: usize) -> String {
    format!(r#"{{"text":"{}"}}"#, part.repeat(bytes / part.len()))
}

fn deep(bytes: usize) -> String {
    format!("{}{}", r#"{"a":["#.repeat(bytes / 8), "]}".repeat(bytes / 8))
}

fn texts() -> Vec<(&'static str, String)> {
    vec![
        ("clean_300", clean(100)),
        ("clean", clean(LARGE)),
        ("dirty", dirty(LARGE)),
        ("base64", base64(LARGE)),
        ("rows", rows(LARGE)),
        ("ats", repeated("@", LARGE)),
        ("addresses", repeated("a@b.", LARGE)),
        ("table", repeated("2026-11-07,12345,678.9\\n", LARGE)),
        ("cards", repeated("4111 1111 1111 1112, ", LARGE)),
        ("hex", repeated("9f86d081884c7d65", LARGE)),
        ("prefixes", repeated("eyJ-ghp_", LARGE)),
        ("passwords", repeated("password = ", LARGE)),
        ("percent", repeated("%2541", LARGE)),
        ("escapes", repeated(r"\\\\u0041", LARGE)),
        ("cyrillic", repeated("\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} ", LARGE)),
        ("deep", deep(LARGE)),
    ]
}

/// All packs that are on by default, and personal data.
fn detectors() -> Detectors {
    let packs =
        airlock_dlp::shipped().iter().map(|pack| Pack::parse(pack.file, pack.text).expect("a shipped pack"));
    Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
}

/// The same patterns in one regex, and in one each. Building them takes minutes.
struct Beside {
    combined: Regex,
    each: Vec<Regex>,
}

impl Beside {
    fn new(detectors: &Detectors) -> Self {
        let patterns: Vec<&str> = detectors.all().iter().map(|of| of.spec().pattern.as_str()).collect();
        let combined = Regex::builder()
            .configure(Regex::config().nfa_size_limit(Some(256 << 20)))
            .build_many(&patterns)
            .expect("all patterns at once");
        let each = patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern")).collect();
        Self { combined, each }
    }
}

fn scan(criterion: &mut Criterion) {
    let detectors = detectors();
    let beside = std::env::var_os("BESIDE").map(|_| Beside::new(&detectors));
    let actions = vec![Action::Redact; detectors.all().len()];
    let plan = Plan {
        detectors: &detectors,
        actions: &actions,
        digest: &|_| 0,
        skip: &[&["id"]],
        keep: &[],
        limit: usize::MAX,
    };
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(10);
    for (name, text) in texts() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("airlock", name), &text, |bencher, text| {
            bencher.iter(|| black_box(redact(&plan, text)));
        });
        let Some(Beside { combined, each }) =
            beside.as_ref().filter(|_| ["clean_300", "clean", "dirty", "rows"].contains(&name))
        else {
            continue;
        };
        group.bench_with_input(BenchmarkId::new("combined", name), &text, |bencher, text| {
            bencher.iter(|| black_box(combined.find_iter(text).count()));
        });
        group.bench_with_input(BenchmarkId::new("each", name), &text, |bencher, text| {
            bencher.iter(|| each.iter().map(|of| black_box(of.find_iter(text).count())).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
