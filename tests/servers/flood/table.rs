//! The figures as a person reads them.

use std::fmt::Write as _;

use crate::honest::CALL_TIMEOUT;
use crate::round::Round;

/// The work that was measured, and the machine.
pub(crate) fn preface(rounds: usize) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} cores, two used: one receives the host's packets and runs the daemon (1 worker; token, policy and audit on;\n\
         server over stdio), one makes the clients and the flood, which gives way to the clients. A veth pair between two\n\
         network namespaces for each row; generic XDP. Median of {rounds} round(s), rows in turn.\n\
         Honest client: 200 calls/s on 8 kept connections and 100/s on new ones; milliseconds since each was due; one\n\
         that failed counts as {CALL_TIMEOUT:?}. Flood: requests without a token from a blocked address, a connection each, given up\n\
         after 200 ms. refused: answered 429 by the daemon; dropped: by the kernel, a SYN each. daemon: its share of its\n\
         core; core: how much of that core was not idle, packets included. Ratios: p99 to the same row without a flood."
    )
}

/// How the figures are to be taken.
pub(crate) const CLOSING: &str = "
Where the daemon does not keep up, calls queue, and their times grow for as long as a round lasts (4 s). The same
attempts are not the same packets: one that is dropped ends with its SYN, one that is refused goes on to a handshake, a
request and an end (packets/s, to be compared across the blocks). Where `core` without a flood is far above `daemon`,
something else had the core, and the p99 are its.";

/// A figure of a round.
type Figure = fn(&Round) -> f64;
const KEPT_P99: Figure = |round| round.kept.at_percent(99);
const NEW_P99: Figure = |round| round.new.at_percent(99);

/// One flood: a row for each door, with ratios to the same door without a flood (`base`), and one from row to
/// row.
pub(crate) fn block(rate: u32, names: [&str; 2], rows: &[Vec<Round>], base: &[Vec<Round>]) -> String {
    let mut out = match rate {
        0 => "\nno flood\n".to_owned(),
        _ => format!("\n{rate} attempts/s asked for\n"),
    };
    let heads =
        ["attempts/s", "refused/s", "packets/s", "dropped/s"].map(|head| format!("{head:>11}")).concat();
    let _ = writeln!(
        out,
        "{:<8}{:>9}{:>9}{:>9}{:>9}{:>8}{heads}{:>8}{:>6}   {:>9}{:>9}",
        "", "kept p50", "p99", "new p50", "p99", "failed", "daemon", "core", "kept p99", "new p99"
    );
    for ((name, rounds), base) in names.iter().zip(rows).zip(base) {
        let of = |figure: Figure| median(rounds, figure);
        let failed: u32 = rounds.iter().map(|round| round.kept.failed + round.new.failed).sum();
        let _ = writeln!(
            out,
            "{name:<8}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{failed:>8}{:>11.0}{:>11.0}{:>11.0}{:>11.0}{:>8.2}{:>6.2}   {:>9}{:>9}",
            of(|round| round.kept.at_percent(50)),
            of(KEPT_P99),
            of(|round| round.new.at_percent(50)),
            of(NEW_P99),
            of(|round| round.made),
            of(|round| round.refused),
            of(|round| round.arrived),
            of(|round| round.dropped),
            of(|round| round.daemon),
            of(|round| round.host),
            ratio(rounds, base, KEPT_P99),
            ratio(rounds, base, NEW_P99),
        );
        let failures = rounds.iter().flat_map(|round| [&round.kept.failure, &round.new.failure]);
        if let Some(failure) = failures.flatten().next() {
            let _ = writeln!(out, "        a failure: {failure}");
        }
    }
    if let ([one, other], true) = (rows, rate > 0) {
        let figures: [(&str, Figure); 4] = [
            ("kept p99", KEPT_P99),
            ("new p99", NEW_P99),
            ("daemon", |round| round.daemon),
            ("core", |round| round.host),
        ];
        let told = figures.map(|(what, figure)| format!("{what} {}", ratio(one, other, figure))).join(", ");
        let _ = writeln!(out, "{} to {}: {told}", names[0], names[1]);
    }
    out
}

fn ratio(rounds: &[Round], base: &[Round], figure: Figure) -> String {
    let base = median(base, figure);
    if base > 0.0 { format!("{:.1}x", median(rounds, figure) / base) } else { "-".to_owned() }
}

/// Each figure has its own median: the round of a median p99 may have had an odd p50.
fn median(rounds: &[Round], figure: Figure) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
