//! Finds what the shipped packs find, for measurements: reads one JSON object a line from its input, with
//! `id` and `text`, and writes one a line with the findings in the text as it stands (`hits`, in bytes), how
//! many there are in any spelling (`counts`), and the text as it would pass (`rest`).

use std::io::{self, BufRead as _, Write as _};

use airlock_dlp::{Action, Detectors, Digest, Plan, Shipped, redact, shipped};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let packs = shipped().iter().map(Shipped::load).collect::<Result<Vec<_>, _>>()?;
    let detectors = Detectors::new(packs.into_iter().flat_map(|pack| pack.detectors).collect());
    let actions = vec![Action::Redact; detectors.all().len()];
    let digest: &Digest<'_> = &|_| 0;
    let plan =
        Plan { detectors: &detectors, actions: &actions, digest, skip: &[], keep: &[], limit: 64 << 20 };
    let name = |place: usize| detectors.all()[place].name();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let entry: Value = serde_json::from_str(&line?)?;
        let text = entry["text"].as_str().unwrap_or_default();
        let hits: Vec<Value> = detectors
            .scan(text, |_| true)
            .iter()
            .map(|hit| json!([name(hit.detector), hit.range.start, hit.range.end]))
            .collect();
        let redacted = redact(&plan, &serde_json::to_string(&json!({ "text": text }))?)?;
        let counts: Vec<Value> =
            redacted.counts.iter().map(|(place, count)| json!([name(*place), count])).collect();
        let rest = redacted.text.map(|text| serde_json::from_str::<Value>(&text)).transpose()?;
        let rest = rest.as_ref().map(|rest| &rest["text"]);
        writeln!(out, "{}", json!({ "id": entry["id"], "hits": hits, "counts": counts, "rest": rest }))?;
    }
    Ok(())
}
