//! A list of a server's, before anybody looks into it: not longer than can be gone through for everybody who
//! asks.

use serde_json::value::RawValue;

use crate::mcp::object::Object;
use crate::mcp::strict;

/// Longest page of a list, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most entries of all pages of a list.
pub const MAX_ENTRIES: usize = 10_000;
/// A page from this length on is walked through by a thread that nobody waits for, in bytes.
const LONG: usize = 64 * 1024;

/// Why a page is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is too long.
    #[error(
        "its list is longer than {MAX_BYTES} bytes or {MAX_ENTRIES} entries; let it answer in pages, or offer less"
    )]
    TooLong,
    /// It is no object with such a list, or members stand twice in it: they would be judged by one name and
    /// read by another.
    #[error("its answer has no list `{0}`, or is no JSON that can be read in one way only")]
    Malformed(&'static str),
}

/// Checks a page whose entries are the member `entries`; gives it back with their number. Whoever shares the
/// worker is not held up by a long one.
///
/// # Errors
/// [`Fault`].
pub async fn checked(page: String, entries: &'static str) -> Result<(String, usize), Fault> {
    if page.len() > MAX_BYTES {
        return Err(Fault::TooLong);
    }
    if page.len() < LONG {
        return check(page, entries);
    }
    let checking = tokio::task::spawn_blocking(move || check(page, entries));
    checking.await.unwrap_or(Err(Fault::Malformed(entries)))
}

fn check(page: String, entries: &'static str) -> Result<(String, usize), Fault> {
    let malformed = Fault::Malformed(entries);
    strict::check(&page).map_err(|_| malformed.clone())?;
    let count = {
        let object = Object::parse(&page).map_err(|_| malformed.clone())?;
        let list = object.get(entries).ok_or_else(|| malformed.clone())?;
        let list: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| malformed)?;
        list.len()
    };
    if count > MAX_ENTRIES { Err(Fault::TooLong) } else { Ok((page, count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: usize) -> String {
        format!(r#"{{"tools":[{}]}}"#, vec![r#"{"name":"a"}"#; entries].join(","))
    }

    #[tokio::test]
    async fn a_list_is_bounded_in_bytes_and_entries() {
        for count in [0, 10, MAX_ENTRIES] {
            let page = list(count);
            assert_eq!(checked(page.clone(), "tools").await, Ok((page, count)));
        }
        assert_eq!(checked(list(MAX_ENTRIES + 1), "tools").await, Err(Fault::TooLong));
        let long = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(checked(long, "tools").await, Err(Fault::TooLong));
        for wrong in ["[]", r#"{"prompts":[]}"#, r#"{"tools":{}}"#, r#"{"tools":[],"tools":[]}"#] {
            assert_eq!(checked(wrong.to_owned(), "tools").await, Err(Fault::Malformed("tools")), "{wrong}");
        }
    }
}
