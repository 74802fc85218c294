//! `airlock block` on the admin interface: the list, one more, one less.

use std::net::IpAddr;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::order::{self, refused};
use crate::http::body::{Body, json};
use crate::limits::Limits;
use crate::limits::block::Block;

/// The order of an operator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The address, or an IPv6 /64.
    pub(super) address: String,
    /// For how many seconds.
    pub(super) for_secs: u64,
    /// Why, in the operator's words.
    #[serde(default)]
    pub(super) reason: String,
}

/// The list of the blocked addresses. Its JSON form is a stable contract: members are added, never renamed or
/// removed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listed<T> {
    /// Each address.
    pub(super) blocks: Vec<T>,
}

/// `GET /blocks`.
pub(super) fn list(limits: &Limits) -> Response<Body> {
    answer(StatusCode::OK, &Listed::<Block> { blocks: limits.blocks() })
}

/// `POST /blocks`, by that user.
pub(super) fn add(limits: &Limits, order: &[u8], by: u32) -> Response<Body> {
    let order: Order = match order::parse(order) {
        Ok(order) => order,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    let address = match source(&order.address) {
        Ok(address) => address,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    match limits.block(address, Duration::from_secs(order.for_secs), order.reason, by) {
        Ok(block) => answer(StatusCode::OK, &block),
        Err(error) => refused(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// `DELETE /blocks/ADDRESS`, by that user.
pub(super) fn remove(limits: &Limits, address: &str, by: u32) -> Response<Body> {
    match source(address) {
        Ok(address) if limits.unblock(address, by) => answer(StatusCode::OK, &serde_json::json!({})),
        Ok(address) => refused(StatusCode::NOT_FOUND, &format!("{address} is not blocked")),
        Err(problem) => refused(StatusCode::BAD_REQUEST, &problem),
    }
}

/// An address as an operator writes it, or as the list shows it: an IPv6 address stands for its /64.
fn source(text: &str) -> Result<IpAddr, String> {
    let expected = || {
        format!(
            "`{}` cannot be blocked: write an IPv4 address, or an IPv6 address, which stands for its /64; whole networks are a firewall's",
            text.escape_debug()
        )
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let fits = matches!(
        (address.to_canonical(), prefix),
        (_, None) | (IpAddr::V4(_), Some("32")) | (IpAddr::V6(_), Some("64" | "128"))
    );
    if fits { Ok(address) } else { Err(expected()) }
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Every part of it is text, numbers and lists.
    json(status, serde_json::to_string(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_names_one_source() {
        for (text, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::"),
            ("2001:db8::7/128", "2001:db8::7"),
        ] {
            assert_eq!(source(text), Ok(address.parse().expect(text)));
        }
        for text in
            ["", "host", "203.0.113.0/24", "2001:db8::/48", "203.0.113.7/64", "203.0.113.7:80", "::/0"]
        {
            assert!(source(text).expect_err(text).contains("a firewall's"), "{text}");
        }
    }
}
