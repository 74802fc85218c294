//! Makes random secrets and numbers in the shapes that their issuers publish, for tests.

use crate::check::Check;

/// Random numbers that a seed repeats (xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// A secret as its issuer shapes it, the detector that finds it, and the text that must stand in front.
pub(crate) struct Shape {
    pub(crate) detector: &'static str,
    /// Literal text, and `{CN}` for N characters of class C (see [`class`]).
    pub(crate) form: &'static str,
    /// Stands in front, because the detector asks for a word.
    pub(crate) before: &'static str,
    /// The check that the last digits are chosen for.
    check: &'static str,
}

const fn shape(detector: &'static str, form: &'static str) -> Shape {
    Shape { detector, form, before: "", check: "" }
}

const fn near(
    detector: &'static str,
    before: &'static str,
    form: &'static str,
    check: &'static str,
) -> Shape {
    Shape { detector, form, before, check }
}

pub(crate) const SHAPES: &[Shape] = &[
    shape("aws-access-key", "AKIA{T16}"),
    shape("aws-access-key", "ASIA{T16}"),
    near("aws-secret-key", "aws_secret_access_key=", "{B40}", ""),
    shape("gcp-api-key", "AIza{W34}{A1}"),
    shape("gcp-oauth-secret", "GOCSPX-{W27}{A1}"),
    near("azure-storage-key", "AccountKey=", "{B86}==", ""),
    shape("azure-client-secret", "{A3}8Q~{W33}{A1}"),
    shape("azure-devops-token", "{A76}AZDO{A4}"),
    shape("digitalocean-token", "dop_v1_{X64}"),
    shape("github-token", "ghp_{A36}"),
    shape("github-token", "ghs_{A36}"),
    shape("github-token", "ghr_{A76}"),
    shape("github-fine-grained-token", "github_pat_{A22}_{A59}"),
    shape("gitlab-token", "glpat-{W19}{A1}"),
    shape("gitlab-token", "glrt-t1_{W27}"),
    shape("gitlab-token", "gldt-{W19}{A1}"),
    shape("bitbucket-token", "ATBB{A32}"),
    shape("npm-token", "npm_{A36}"),
    shape("pypi-token", "pypi-AgEIcHlwaS5vcmc{W120}{A1}"),
    shape("crates-io-token", "cio{A32}"),
    shape("rubygems-key", "rubygems_{X48}"),
    shape("docker-hub-token", "dckr_pat_{W26}{A1}"),
    shape("vault-token", "hvs.{A24}"),
    shape("terraform-token", "{A14}.atlasv1.{W66}{A1}"),
    shape("doppler-token", "dp.pt.{A43}"),
    shape("slack-token", "xoxb-{N12}-{N12}-{A24}"),
    shape("slack-token", "xoxp-{N11}-{N11}-{N12}-{X32}"),
    shape("slack-app-token", "xapp-1-A{U10}-{N13}-{X64}"),
    near("slack-webhook", "https://hooks.slack.com/services/", "T{U8}/B{U10}/{A24}", ""),
    near("discord-webhook", "https://discord.com/api/webhooks/123456789012345678/", "{W67}{A1}", ""),
    shape("telegram-bot-token", "{N10}:AA{W32}{A1}"),
    shape("twilio-key", "SK{X32}"),
    shape("sendgrid-key", "SG.{W22}.{W42}{A1}"),
    shape("mailgun-key", "key-{X32}"),
    shape("openai-key", "sk-proj-{W74}T3BlbkFJ{W73}{A1}"),
    shape("openai-key", "sk-{A20}T3BlbkFJ{A20}"),
    shape("anthropic-key", "sk-ant-api03-{W93}AA"),
    shape("huggingface-token", "hf_{A34}"),
    shape("groq-key", "gsk_{A52}"),
    shape("xai-key", "xai-{A80}"),
    shape("replicate-token", "r8_{A37}"),
    shape("stripe-key", "sk_live_{A24}"),
    shape("stripe-key", "rk_live_{A99}"),
    shape("stripe-webhook-secret", "whsec_{A32}"),
    shape("square-token", "sq0atp-{W21}{A1}"),
    shape("shopify-token", "shpat_{X32}"),
    shape("databricks-token", "dapi{X32}"),
    shape("atlassian-token", "ATATT3xFfGF0{W171}={X8}"),
    shape("linear-key", "lin_api_{A40}"),
    shape("notion-token", "ntn_{N11}{A35}"),
    shape("grafana-token", "glsa_{A32}_{X8}"),
    shape("sentry-token", "sntryu_{X64}"),
    shape("newrelic-key", "NRAK-{U27}"),
    shape("postman-key", "PMAK-{X24}-{X34}"),
    shape("pulumi-token", "pul-{X40}"),
    shape("age-secret-key", "AGE-SECRET-KEY-1{Q58}"),
    shape("jwt", "eyJhbGciOiJSUzI1NiJ9.{W80}.{W85}{A1}"),
    near("bearer-token", "Authorization: Bearer ", "{A40}x1y2", ""),
    near("twilio-auth-token", "TWILIO_AUTH_TOKEN=", "{X32}", ""),
    near("card", "", "4{D15}", "card"),
    near("card", "", "37{D13}", "card"),
    near("card", "", "51{D2} {D4} {D4} {D4}", "card"),
    near("card", "", "6759{D8}", "card"),
    near("iban", "", "DE{D20}", "iban"),
    near("iban", "", "GB{D2}{C4}{D14}", "iban"),
    near("us-routing-number", "routing number ", "{D9}", "aba"),
    near("us-ssn", "", "{N3}-{N2}-{D4}", "us-ssn"),
    near("uk-nhs", "NHS ", "{D10}", "uk-nhs"),
    near("de-tax-id", "Steuer-ID ", "{D11}", "de-tax-id"),
    near("pl-pesel", "PESEL ", "{D11}", "pl-pesel"),
    near("br-cpf", "", "{D3}.{D3}.{D3}-{D2}", "br-cpf"),
    near("ca-sin", "SIN ", "{N3} {D3} {D3}", "ca-sin"),
    near("in-aadhaar", "Aadhaar ", "{N4} {D4} {D4}", "in-aadhaar"),
    near("nl-bsn", "BSN ", "{D9}", "nl-bsn"),
    near("au-tfn", "TFN ", "{D9}", "au-tfn"),
    near("th-id", "Thai ", "{D13}", "th-id"),
    near("tr-id", "kimlik ", "{D11}", "tr-id"),
    near("il-id", "Israel ", "{D9}", "il-id"),
    near("hr-oib", "OIB ", "{D11}", "hr-oib"),
];

/// The characters of a class, by its letter.
fn class(letter: char) -> &'static str {
    match letter {
        'D' => "0123456789",
        'N' => "123456789",
        'X' => "0123456789abcdef",
        'L' => "abcdefghijklmnopqrstuvwxyz0123456789",
        'U' => "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        'C' => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        'T' => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        'Q' => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
        'A' => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        'W' => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
        'B' => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        other => panic!("{other} is no class"),
    }
}

impl Shape {
    /// Makes one.
    pub(crate) fn make(&self, random: &mut Random) -> String {
        loop {
            let mut made = String::new();
            let mut rest = self.form;
            while let Some((before, after)) = rest.split_once('{') {
                made.push_str(before);
                let (inner, after) = after.split_once('}').expect("a form closes what it opens");
                let letters = class(inner.chars().next().expect("a form names a class"));
                let count: usize = inner[1..].parse().expect("a form counts");
                made.extend((0..count).map(|_| char::from(letters.as_bytes()[random.below(letters.len())])));
                rest = after;
            }
            made.push_str(rest);
            if self.check.is_empty() {
                return made;
            }
            // Check digits are found by trial: one text of a few thousand at worst has the right ones.
            if Check::named(self.check).expect("a shape names a check").holds(&made) {
                return made;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::pack::{Pack, shipped};

    #[test]
    fn what_is_made_is_found_wherever_it_stands() {
        let packs: Vec<_> = shipped().iter().map(|pack| Pack::parse(pack.file, pack.text).unwrap()).collect();
        let detectors: BTreeMap<_, _> = packs
            .iter()
            .flat_map(|pack| &pack.detectors)
            .map(|detector| (detector.name(), detector))
            .collect();
        let mut random = Random::new(17);
        let mut missed = BTreeMap::<_, Vec<String>>::new();
        for shape in SHAPES {
            let detector = detectors[shape.detector];
            for _ in 0..24 {
                let made = shape.make(&mut random);
                for (before, after) in [
                    ("", ""),
                    ("use ", " now"),
                    ("{\"k\":\"", "\"}"),
                    ("(", ")"),
                    ("a, ", "; b"),
                    ("\n", "\n"),
                    ("'", "',"),
                ] {
                    let start = before.len() + shape.before.len();
                    let text = format!("{before}{}{made}{after}", shape.before);
                    if !detector.find_all(&text).contains(&(start..start + made.len())) {
                        missed.entry(shape.detector).or_default().push(text);
                    }
                }
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }
}
