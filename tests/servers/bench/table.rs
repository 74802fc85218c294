//! The figures as a person reads them.

use std::fmt::Write as _;

/// One round of one route. Times are in microseconds.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Processor time of the process under test, a call.
    pub(crate) cpu: f64,
    /// Processor time of the server behind it, a call.
    pub(crate) upstream_cpu: f64,
    /// Resident memory, in MiB.
    pub(crate) resident: f64,
    /// How much of one core the load client used.
    pub(crate) client_share: f64,
}

/// The meaning of the columns, and the machine that was measured.
pub(crate) fn preface(repetitions: usize) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("\t: unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} cores; client, proxies and servers share them. Median of {repetitions} round(s), rows in turn.\n\
         direct: echo-server over HTTP. nginx: 1 worker, plain proxy. airlock: 1 worker, token, policy and audit on,\n\
         to the same server over HTTP, or to its twin over stdio. CPU: microseconds a call of the process in question\n\
         (of echo-server itself in row direct); server CPU: of the server behind it; client: share of one core that\n\
         the load client used.",
        model.trim_start_matches(['\t', ' ', ':'])
    )
}

/// How one sees that the load client is not what was measured.
pub(crate) const CLOSING: &str = "\nThe load client never held a row back where its share stays below 1.00 and row `direct`, which runs over the same\nclient, is well above the row in question.";

/// The row of median rate.
pub(crate) fn median(mut rows: Vec<Row>) -> Option<Row> {
    rows.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let middle = rows.len() / 2;
    let mut row = rows.get(middle)?.clone();
    // Each figure has its own median: the round of median rate may have had an odd tail.
    let of = |figure: fn(&Row) -> f64| {
        let mut figures: Vec<f64> = rows.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[middle]
    };
    row.p50 = of(|row| row.p50);
    row.p99 = of(|row| row.p99);
    row.cpu = of(|row| row.cpu);
    row.upstream_cpu = of(|row| row.upstream_cpu);
    row.client_share = of(|row| row.client_share);
    Some(row)
}

/// One size at one concurrency: the figures, and each as a ratio to nginx (or to direct where there is no
/// nginx).
pub(crate) fn block(size: usize, concurrency: usize, requests: usize, rows: &[Row]) -> String {
    let mut out = format!("\n{size} bytes, {concurrency} at once, {requests} calls a round\n");
    let _ = writeln!(
        out,
        "{:<24}{:>10}{:>10}{:>10}{:>9}{:>12}{:>9}{:>8}   {:>7}{:>7}{:>7}",
        "", "calls/s", "p50 us", "p99 us", "CPU us", "server CPU", "RSS MiB", "client", "rate", "p99", "CPU"
    );
    let base = rows.iter().find(|row| row.name == "nginx").or(rows.first());
    for row in rows {
        let _ = write!(
            out,
            "{:<24}{:>10.0}{:>10.0}{:>10.0}{:>9.1}{:>12.1}{:>9.1}{:>8.2}   ",
            row.name, row.rate, row.p50, row.p99, row.cpu, row.upstream_cpu, row.resident, row.client_share
        );
        if let Some(base) = base {
            let ratio =
                |own: f64, other: f64| if other > 0.0 { format!("{:.2}x", own / other) } else { "-".into() };
            let _ = write!(
                out,
                "{:>7}{:>7}{:>7}",
                ratio(row.rate, base.rate),
                ratio(row.p99, base.p99),
                ratio(row.cpu, base.cpu)
            );
        }
        out.push('\n');
    }
    out
}
