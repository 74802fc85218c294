//! The table of the escape suite: what each attempt came to, on every kernel that was tried.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use crate::shell::{cargo, root, stream, target};
use crate::summary::Counts;

/// The lines of README.md between which the table is.
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
pub(super) struct Table(Vec<Row>);

impl Table {
    /// Adds what a guest or this host wrote down.
    pub(super) fn add<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let [place, attempt, tries, user, release, rung, result] = fields.as_slice() else { continue };
            let Ok(place) = place.parse() else { continue };
            // The first two numbers of a release: what comes after them is Debian's or nobody's.
            let series: Vec<&str> = release.split('.').take(2).collect();
            self.0.push(Row {
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
        self.add(fs::read_to_string(&file).unwrap_or_default().lines());
        Ok(counts)
    }

    /// The columns, in the order in which they came.
    fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for row in &self.0 {
            if !columns.contains(&row.column.as_str()) {
                columns.push(&row.column);
            }
        }
        columns
    }

    /// What an attempt came to on one kernel: one word if both users fared alike.
    fn cell(&self, attempt: &str, column: &str) -> String {
        let of = |user: &str| {
            let row =
                self.0.iter().find(|row| row.attempt == attempt && row.column == column && row.user == user);
            row.map_or("-", |row| row.result.as_str())
        };
        match (of("root"), of("nobody")) {
            (root, nobody) if root == nobody => root.to_owned(),
            (root, nobody) => format!("{root} / {nobody}"),
        }
    }

    /// The attempts with what they try, each once, in their order.
    fn attempts(&self) -> Vec<(&str, &str)> {
        let all = self.0.iter().map(|row| (row.place, (row.attempt.as_str(), row.tries.as_str())));
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

    /// Compares it with the table in README.md, as far as that has the same kernels. What the README claims and this run did not
    /// see is a fault; where a kernel has come to know more or less, the table is only old, which is printed.
    pub(super) fn claims_too_much(&self) -> Result<Vec<String>, String> {
        let path = root().join("README.md");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let differences = self.differences(&text);
        let (faults, old): (Vec<_>, Vec<_>) = differences.into_iter().partition(Difference::is_fault);
        for difference in &old {
            println!("the table in README.md is old: {difference}");
        }
        Ok(faults.iter().map(|fault| format!("{fault}: cargo xtask vm --all --readme")).collect())
    }

    fn differences(&self, readme: &str) -> Vec<Difference> {
        let table = readme.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let mut rows = table
            .map_or("", |(table, _)| table)
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
        let columns = rows.next().unwrap_or_default();
        let told: BTreeMap<&str, Vec<&str>> =
            rows.filter_map(|row| Some((row.first()?.trim_matches('`'), row))).collect();
        let mut differences = Vec::new();
        for column in self.columns() {
            // A kernel that the README does not speak of.
            let Some(place) = columns.iter().position(|told| *told == column) else { continue };
            for (attempt, _) in self.attempts() {
                let told = told.get(attempt).and_then(|row| row.get(place)).copied().unwrap_or("nothing");
                let seen = self.cell(attempt, column);
                if told != seen {
                    let at = format!("{attempt} on {column}");
                    differences.push(Difference { at, told: told.to_owned(), seen });
                }
            }
        }
        differences
    }

    /// Puts it into README.md.
    pub(super) fn write_readme(&self) -> Result<(), String> {
        let path = root().join("README.md");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (before, rest) = text.split_once(BEGIN).ok_or("README.md has no line that begins the table")?;
        let (_, after) = rest.split_once(END).ok_or("README.md has no line that ends the table")?;
        let text = format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown());
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// A cell that is not what README.md says.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// The attempt and the kernel.
    at: String,
    told: String,
    seen: String,
}

impl Difference {
    /// Whether somebody is told of more than there is.
    fn is_fault(&self) -> bool {
        self.told == "nothing" || self.seen.contains("open") != self.told.contains("open")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: README.md says `{}`, this run `{}`", self.at, self.told, self.seen)
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

        let readme = |table: &str| format!("text\n{BEGIN}\n\n{table}\n{END}\n| no | table |\n");
        assert_eq!(table.differences(&readme(expected)), []);
        let claims = readme(&expected.replace("open / -", "EPERM").replace("EPERM / needs root", "absent"));
        let found = table.differences(&claims);
        let faults: Vec<&str> =
            found.iter().filter(|one| one.is_fault()).map(|fault| fault.at.as_str()).collect();
        assert_eq!(
            (found.len(), faults.as_slice()),
            (2, &["tcp on no-network, Linux 6.18"][..]),
            "{found:?}"
        );
        let missing = table.differences(&readme(expected.rsplit_once("| `raw`").expect("a row").0));
        assert!(missing.iter().all(Difference::is_fault) && missing.len() == 2, "{missing:?}");
        // What the README does not speak of is nobody's claim.
        assert_eq!(table.differences("no table"), []);
    }
}
