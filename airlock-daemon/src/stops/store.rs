//! The state file of stops: read whole, and written so that it is the old one or the new one, never a part.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::order::{MOST, StopOrder, is_reason};
use super::target::StopTarget;
use crate::config::replaced;

/// Longest file, in bytes: more than as many stops as there can be need.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The version of the form.
const VERSION: u32 = 1;

/// The form of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopFile {
    version: u32,
    stops: Vec<StopOrder>,
}

/// The orders by what they stop.
pub(super) type OrdersByTarget = BTreeMap<StopTarget, Arc<StopOrder>>;

/// Reads the orders; none where there is no file.
///
/// # Errors
/// A sentence with place and reason.
pub(super) fn read(path: &Path) -> Result<OrdersByTarget, String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("{shown} cannot be read: {error}");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OrdersByTarget::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).map_err(|fault| format!("{shown} is no list of stops: {fault}"))
}

fn parse(bytes: &[u8]) -> Result<OrdersByTarget, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    let file: StopFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("it is of version {}, and this release reads {VERSION}", file.version));
    }
    if file.stops.len() > MOST + 1 {
        return Err(format!("it has {} stops, more than {MOST}", file.stops.len()));
    }
    let mut orders = OrdersByTarget::new();
    for order in file.stops {
        order.target.check().map_err(|fault| fault.to_string())?;
        if !is_reason(&order.reason) {
            return Err("a reason is empty, too long, or has control characters".to_owned());
        }
        if let Some(twice) = orders.insert(order.target.clone(), Arc::new(order)) {
            return Err(format!("{} is there twice", twice.target));
        }
    }
    Ok(orders)
}

/// Writes the orders, for the daemon's own user only.
///
/// # Errors
/// A sentence with place, reason and remedy.
pub(super) fn write(path: &Path, orders: &OrdersByTarget) -> Result<(), String> {
    let stops = orders.values().map(|order| (**order).clone()).collect();
    let text = serde_json::to_string_pretty(&StopFile { version: VERSION, stops });
    let written = text.map_err(io::Error::from).and_then(|text| replaced::write(path, &(text + "\n"), 0o600));
    written.map_err(|error| {
        format!("{} cannot be written: {error}; let Airlock write in its directory", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::each;
    use super::*;

    fn orders() -> OrdersByTarget {
        let order = |target: StopTarget| StopOrder {
            target,
            reason: "it leaks".into(),
            by: Some(0),
            since: 7,
            until: Some(9),
        };
        each().map(|target| (target.clone(), Arc::new(order(target)))).into()
    }

    #[test]
    fn orders_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stops.json");
        assert_eq!(read(&path), Ok(OrdersByTarget::new()));
        write(&path, &orders()).expect("written");
        assert_eq!(read(&path), Ok(orders()));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1);
        let error = write(&dir.path().join("none/stops.json"), &orders()).expect_err("no directory");
        assert!(error.contains("none/stops.json cannot be written: ") && error.contains("; let Airlock"));
    }

    #[test]
    fn a_file_with_any_fault_is_not_used_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stops.json");
        write(&path, &orders()).expect("written");
        let good = std::fs::read_to_string(&path).expect("a file");
        let one = r#"{"target":{"kind":"all"},"reason":"x","by":null,"since":0,"until":null}"#;
        let of = |stops: &str| format!(r#"{{"version":1,"stops":[{stops}]}}"#);
        assert_eq!(parse(of(one).as_bytes()).map(|orders| orders.len()), Ok(1));
        for (text, wanted) in [
            (String::new(), "EOF"),
            (good[..good.len() / 2].to_owned(), "EOF"),
            ("[]".to_owned(), "invalid"),
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("\"since\"", "\"sinse\""), "unknown field `sinse`"),
            (good.replace("it leaks", "it\\nleaks"), "control characters"),
            (good.replace("it leaks", ""), "a reason is empty"),
            (good.replace("it leaks", &"x".repeat(201)), "too long"),
            (good.replace("\"t-1\"", "\"\""), "a name has to be"),
            (good.replace("\"t-1\"", "\"sha256:1\""), "64 small hexadecimal digits"),
            (good.replace("\"since\": 7", "\"since\": -7"), "invalid value"),
            (of(&format!("{one},{one}")), "everything is there twice"),
            (of(&vec![one; MOST + 2].join(",")), "more than"),
            (format!("{} {}", of(one), of(one)), "trailing"),
        ] {
            std::fs::write(&path, &text).expect("written");
            let error = read(&path).expect_err(wanted);
            assert!(error.contains("stops.json is no list of stops: ") && error.contains(wanted), "{error}");
        }
        std::fs::write(&path, [0xff, 0xfe]).expect("written");
        read(&path).expect_err("no text");
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        assert!(read(&path).expect_err("a directory").contains("stops.json cannot be read: "));
    }
}
