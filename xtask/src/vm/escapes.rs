//! The table of the escape suite: what each attempt came to, on every kernel that was tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use crate::shell::{cargo, root, stream, target};
use crate::summary::Counts;

/// The page that has the table.
const PAGE: &str = "docs/escapes.md";

/// Lines of the page between which the table is.
const BEGIN: &str = "<!-- escapes: begin -->";
const END: &str = "<!-- escapes: end -->";

/// One attempt of one user on one kernel, as the suite writes it down.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Its place in the table.
    place: u32,
    attempt: String,
    tries: String,
    user: String,
    /// The rung and the kernel.
    column: String,
    result: String,
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// The runs: series of kernels, whatever their rung, and whole columns.
    ran: Vec<String>,
}

impl Table {
    /// Adds what the guest of a series wrote down, be it nothing.
    pub(super) fn add_guest(&mut self, series: &str, lines: &[String]) {
        self.ran.push(series.to_owned());
        self.add(lines.iter().map(String::as_str));
    }

    fn add<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let [place, attempt, tries, user, release, rung, result] = fields.as_slice() else { continue };
            let Ok(place) = place.parse() else { continue };
            // The first two numbers of a release: what comes after them is Debian's or nobody's.
            let series: Vec<&str> = release.split('.').take(2).collect();
            self.rows.push(Row {
                place,
                attempt: (*attempt).to_owned(),
                tries: (*tries).to_owned(),
                user: (*user).to_owned(),
                column: format!("{rung}, Linux {}", series.join(".")),
                result: (*result).to_owned(),
            });
        }
    }

    /// Runs the suite on this host and adds what it wrote down.
    pub(super) fn add_host(&mut self) -> Result<Counts, String> {
        let file = target().join("vm/escapes.tsv");
        if file.exists() {
            fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        println!("\n== this host");
        let mut counts = Counts::default();
        let mut suite = cargo(&["test", "-p", "airlock-daemon", "--test", "escapes"]);
        let well = stream(suite.env("AIRLOCK_ESCAPE_TABLE", &file), |line| counts.read(line))?;
        if !well && counts.failed == 0 {
            counts.failed = 1;
        }
        let before = self.rows.len();
        self.add(fs::read_to_string(&file).unwrap_or_default().lines());
        // Its rung is its own, so it is told by its very column, if it came to one.
        self.ran.extend(self.rows.get(before).map(|row| row.column.clone()));
        Ok(counts)
    }

    /// The columns, in the order in which they came.
    fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !columns.contains(&row.column.as_str()) {
                columns.push(&row.column);
            }
        }
        columns
    }

    /// The result of an attempt on one kernel: one word if both users fared alike.
    fn cell(&self, attempt: &str, column: &str) -> String {
        let of = |user: &str| {
            let row = self
                .rows
                .iter()
                .find(|row| row.attempt == attempt && row.column == column && row.user == user);
            row.map_or("-", |row| row.result.as_str())
        };
        match (of("root"), of("nobody")) {
            (root, nobody) if root == nobody => root.to_owned(),
            (root, nobody) => format!("{root} / {nobody}"),
        }
    }

    /// The attempts with what they try, each once, in their order.
    fn attempts(&self) -> Vec<(&str, &str)> {
        let all = self.rows.iter().map(|row| (row.place, (row.attempt.as_str(), row.tries.as_str())));
        all.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The table in Markdown.
    pub(super) fn markdown(&self) -> String {
        let columns = self.columns();
        let mut text = format!("| attempt | what it tries | {} |\n", columns.join(" | "));
        text.push_str(&"|---".repeat(columns.len() + 2));
        text.push_str("|\n");
        for (attempt, tries) in self.attempts() {
            let cells: Vec<String> = columns.iter().map(|column| self.cell(attempt, column)).collect();
            text.extend(["| `", attempt, "` | ", tries, " | ", &cells.join(" | "), " |\n"]);
        }
        text
    }

    /// Prints it for a terminal, without what each attempt tries.
    pub(super) fn print(&self) {
        let columns = self.columns();
        if columns.is_empty() {
            return;
        }
        println!("\n== escapes: as root / as nobody");
        let line = |name: &str, cells: &[String]| {
            let mut line = format!("{name:<26}");
            for cell in cells {
                line.extend([cell.as_str(), &" ".repeat(26_usize.saturating_sub(cell.len()).max(1))]);
            }
            println!("{}", line.trim_end());
        };
        line("", &columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
        for (attempt, _) in self.attempts() {
            line(attempt, &columns.iter().map(|column| self.cell(attempt, column)).collect::<Vec<_>>());
        }
    }

    /// Compares it with the table of the page, for what was run. A claim of the page that this run did not
    /// see is a fault; where a kernel has come to know more or less, the table is only old, which is printed.
    pub(super) fn claims_too_much(&self) -> Result<Vec<String>, String> {
        let page = Page::open()?;
        let differences = self.differences(page.table(), &self.ran);
        let (faults, old): (Vec<_>, Vec<_>) = differences.into_iter().partition(Difference::is_fault);
        for difference in &old {
            println!("the table in {PAGE} is old: {difference}");
        }
        Ok(faults.iter().map(|fault| format!("{fault}: cargo xtask vm --all --write")).collect())
    }

    fn differences(&self, page: &str, run: &[String]) -> Vec<Difference> {
        let mut rows = page
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
        let columns = rows.next().unwrap_or_default();
        let told: BTreeMap<&str, Vec<&str>> =
            rows.filter_map(|row| Some((row.first()?.trim_matches('`'), row))).collect();
        let attempts: BTreeSet<&str> = self.attempts().into_iter().map(|(attempt, _)| attempt).collect();
        let all: BTreeSet<&str> =
            told.keys().copied().filter(|name| !name.starts_with("---")).chain(attempts).collect();
        let mut differences = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            // A result that was not run may be as it is told.
            let Some((_, kernel)) = column.rsplit_once(", Linux ") else { continue };
            if !run.iter().any(|run| run == kernel || run == column) {
                continue;
            }
            for attempt in &all {
                let told = told.get(attempt).and_then(|row| row.get(place)).copied().unwrap_or("nothing");
                let seen = self.cell(attempt, column);
                if told != seen || is_blank(&seen) {
                    let at = format!("{attempt} on {column}");
                    differences.push(Difference { at, told: told.to_owned(), seen });
                }
            }
        }
        differences
    }

    /// Puts it into the page.
    pub(super) fn write_page(&self) -> Result<(), String> {
        Page::open()?.write(&self.markdown())
    }
}

/// The page, with the place of the table.
struct Page {
    path: PathBuf,
    text: String,
    table: Range<usize>,
}

impl Page {
    fn open() -> Result<Self, String> {
        let path = root().join(PAGE);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let begin = text
            .find(BEGIN)
            .ok_or_else(|| format!("{PAGE} has no line `{BEGIN}`: put it above the table"))?
            + BEGIN.len();
        let end = text.find(END).filter(|end| begin <= *end);
        let end = end.ok_or_else(|| format!("{PAGE} has no line `{END}`: put it below the table"))?;
        Ok(Self { path, text, table: begin..end })
    }

    fn table(&self) -> &str {
        self.text.get(self.table.clone()).unwrap_or_default()
    }

    fn write(mut self, table: &str) -> Result<(), String> {
        self.text.replace_range(self.table, &format!("\n\n{table}\n"));
        fs::write(&self.path, self.text).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// True where nobody, or only one of the two users, made an attempt.
fn is_blank(cell: &str) -> bool {
    cell.split(" / ").any(|result| result == "-")
}

/// A cell that is not what the page says.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// The attempt and the kernel.
    at: String,
    told: String,
    seen: String,
}

impl Difference {
    /// True where somebody is told of more than there is.
    fn is_fault(&self) -> bool {
        self.told == "nothing"
            || is_blank(&self.seen)
            || self.seen.contains("open") != self.told.contains("open")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {PAGE} says `{}`, this run `{}`", self.at, self.told, self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_kernels_meet_in_one_row() {
        let mut table = Table::default();
        table.add([
            "0\ttcp\tconnect\troot\t6.1.0-56-cloud-amd64\tsealed\tEPERM",
            "0\ttcp\tconnect\tnobody\t6.1.0-56-cloud-amd64\tsealed\tEPERM",
            "1\traw\traw IP\troot\t6.1.0-56-cloud-amd64\tsealed\tEPERM",
            "1\traw\traw IP\tnobody\t6.1.0-56-cloud-amd64\tsealed\tneeds root",
            "0\ttcp\tconnect\troot\t6.18.44\tno-network\topen",
            "not a row",
        ]);
        let expected = "| attempt | what it tries | sealed, Linux 6.1 | no-network, Linux 6.18 |\n\
                        |---|---|---|---|\n\
                        | `tcp` | connect | EPERM | open / - |\n\
                        | `raw` | raw IP | EPERM / needs root | - |\n";
        assert_eq!(table.markdown(), expected);

        let only = |run: &str| vec![run.to_owned()];
        let both = ["6.1", "6.18"].map(str::to_owned);
        // Nothing was seen there of the other user and of the other attempt.
        let blank = table.differences(expected, &both);
        assert_eq!(
            blank.iter().map(|one| (one.at.as_str(), one.is_fault())).collect::<Vec<_>>(),
            [("raw on no-network, Linux 6.18", true), ("tcp on no-network, Linux 6.18", true)]
        );
        assert_eq!(table.differences(expected, &only("6.1")), []);
        // The very column of a host, whose rung is its own.
        assert_eq!(table.differences(expected, &only("no-network, Linux 6.18")), blank);
        assert_eq!(table.differences(expected, &only("no-ip, Linux 6.18")), []);
        let faults = |page: &str, run: &str| {
            let found = table.differences(page, &only(run));
            let faults = found.iter().filter(|one| one.is_fault()).map(|one| one.at.clone());
            (found.len(), faults.collect::<Vec<_>>())
        };
        // A claim that was not seen; one of less than there is, which is only old.
        let claims = expected.replace("connect | EPERM", "connect | open").replace("needs root", "absent");
        assert_eq!(faults(&claims, "6.1"), (2, vec!["tcp on sealed, Linux 6.1".to_owned()]));
        // A row that the page lacks, and what it has alone: a row, and a column.
        let (short, _) = expected.rsplit_once("| `raw`").expect("a row");
        assert_eq!(faults(short, "6.1"), (1, vec!["raw on sealed, Linux 6.1".to_owned()]));
        let long = format!("{expected}| `udp` | send | EPERM | open |\n");
        assert_eq!(faults(&long, "6.1"), (1, vec!["udp on sealed, Linux 6.1".to_owned()]));
        let wide = expected.replace("no-network, Linux 6.18", "no-ip, Linux 6.1");
        assert_eq!(faults(&wide, "6.1").0, 2);
        // A kernel that was not run is nobody's claim.
        assert_eq!(table.differences(expected, &only("6.12")), []);
    }
}
