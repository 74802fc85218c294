//! `airlock block`: who is blocked, one more, one less.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::config::units::Period;
use crate::observe::escape::{printable, printable_json};

use super::admin::{self, Common, text};
use super::print;

/// Shows and changes which addresses are blocked.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which addresses are blocked.
    List(Common),
    /// Block an address. Its open connections end, its packets are dropped where the kernel does that, and
    /// what a trusted proxy passes on for it is refused.
    Add {
        /// The address; an IPv6 address stands for its /64.
        address: String,
        /// For how long, such as `10m` or `2h`; at most 30 days.
        #[arg(long = "for", default_value = "1h")]
        lasting: Period,
        /// Why, for the list and the audit log.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// Lift the block of an address, whoever ordered it or however it was earned.
    Remove {
        /// The address.
        address: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Runs the command. Exit code 0: done; 1: the daemon refuses; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    let (common, asked) = match &args.command {
        Command::List(common) => (common, admin::ask(&common.place, Method::GET, "/blocks", None)),
        Command::Add { address, lasting, reason, common } => {
            // Part of a second is one: a block is never shorter than it was ordered.
            let secs = u64::try_from(lasting.0.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
            let order = json!({ "address": address, "for_secs": secs, "reason": reason });
            (common, admin::ask(&common.place, Method::POST, "/blocks", Some(&order)))
        }
        Command::Remove { address, common } => {
            // A text that is no address cannot be a part of a path, either.
            let path = format!("/blocks/{}", address.replace('/', "%2F"));
            (common, admin::ask(&common.place, Method::DELETE, &path, None))
        }
    };
    let (status, answer) = match asked {
        Ok(answer) => answer,
        Err(problem) => {
            print::err(format_args!("airlock block: {problem}\n"));
            return ExitCode::from(2);
        }
    };
    if status != StatusCode::OK {
        print::err(format_args!("airlock block: {}\n", text(&answer["error"])));
        return ExitCode::FAILURE;
    }
    match &args.command {
        _ if common.json => print::out(format_args!("{}\n", printable_json(&format!("{answer:#}")))),
        Command::List(_) => print::out(format_args!("{}", table(&answer))),
        Command::Add { .. } => print::out(format_args!("blocked: {}\n", line(&answer))),
        Command::Remove { address, .. } => print::out(format_args!("not blocked any more: {address}\n")),
    }
    ExitCode::SUCCESS
}

fn table(answer: &Value) -> String {
    let blocks = answer["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    if blocks.is_empty() {
        return "no address is blocked\n".to_owned();
    }
    blocks.iter().map(|block| line(block) + "\n").collect()
}

fn line(block: &Value) -> String {
    let left = Period(Duration::from_secs(block["remaining_secs"].as_u64().unwrap_or_default()));
    let places: Vec<_> = block["dropped_on"].as_array().into_iter().flatten().map(text).collect();
    let place = if places.is_empty() {
        "requests are refused".to_owned()
    } else {
        format!("dropped on {}, {} packets", places.join(", "), text(&block["packets"]))
    };
    let by = match &block["added_by_uid"] {
        Value::Null => String::new(),
        uid => format!(", by user {uid}"),
    };
    let reason = match block["reason"].as_str() {
        Some(reason) if !reason.is_empty() => format!(": {}", printable(reason)),
        _ => String::new(),
    };
    format!("{:<40} {left} left, {place} ({}{by}){reason}", text(&block["address"]), text(&block["kind"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_why_where_and_for_how_long() {
        assert_eq!(table(&json!({"blocks": []})), "no address is blocked\n");
        let blocks = json!({"blocks": [
            {"address": "203.0.113.7", "kind": "operator", "reason": "scans", "added_by_uid": 0,
             "remaining_secs": 90, "dropped_on": ["eth0", "eth1"], "packets": 12},
            {"address": "2001:db8::/64", "kind": "rate_limit", "reason": null, "added_by_uid": null,
             "remaining_secs": 3600, "dropped_on": [], "packets": 0},
        ]});
        let shown = table(&blocks);
        let lines: Vec<_> = shown.lines().collect();
        assert!(
            lines[0].ends_with("90s left, dropped on eth0, eth1, 12 packets (operator, by user 0): scans"),
            "{shown}"
        );
        assert!(lines[1].ends_with("1h left, requests are refused (rate_limit)"), "{shown}");
    }
}
