//! cargo-deny as a part of `cargo xtask check`: the rules of `deny.toml` for dependencies, and known
//! vulnerabilities where the database of advisories can be fetched.

use crate::shell::{command, run};
use crate::tools;

/// Seconds for the database of advisories. A network that drops packets would take longer to say so.
const FETCH_SECONDS: &str = "60";

/// Runs what can be run here. The rest goes to `skips`, with its reason.
pub(crate) fn check(skips: &mut Vec<String>) -> Result<(), String> {
    let deny = match tools::cargo_deny() {
        Ok(deny) => deny,
        Err(reason) => {
            skips.push(format!("cargo deny: {}", in_one_line(&reason)));
            return Ok(());
        }
    };
    let rules = run(&mut command(&deny, &["--locked", "check", "bans", "licenses", "sources"]));
    let mut fetch = command("timeout", &[FETCH_SECONDS]);
    fetch.arg(&deny).args(["--locked", "fetch", "db"]);
    let advisories = match fetch.output() {
        Ok(fetched) if fetched.status.success() => {
            run(&mut command(&deny, &["--locked", "check", "--disable-fetch", "advisories"]))
        }
        Ok(fetched) => {
            skips.push(unreachable(&String::from_utf8_lossy(&fetched.stderr)));
            Ok(())
        }
        Err(error) => {
            skips.push(unreachable(&error.to_string()));
            Ok(())
        }
    };
    rules.and(advisories)
}

/// The reason why no advisories were looked up. The last line of what the program wrote is that of git.
fn unreachable(written: &str) -> String {
    let reason = written.lines().map(str::trim).rfind(|line| !line.is_empty());
    let reason = reason.unwrap_or("it took too long");
    format!("cargo deny check advisories: the database of RustSec cannot be fetched: {reason}")
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line() {
        let written = "[ERROR] failed to fetch\nCloning into 'x'...\nfatal: could not resolve host\n\n";
        assert!(unreachable(written).ends_with("cannot be fetched: fatal: could not resolve host"));
        assert!(unreachable("").ends_with("it took too long"));
    }
}
