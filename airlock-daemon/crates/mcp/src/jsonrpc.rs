//! Messages of JSON-RPC 2.0 as they are written: every message that Airlock makes comes from here.

use std::fmt::Display;

use super::object::quote;

/// A request. `id` and `params` are JSON text, `method` is a name.
pub fn request(id: impl Display, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":{params}}}"#, quote(method))
}

/// A notification with parameters as JSON text.
pub fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{params}}}"#, quote(method))
}

/// The response with a result, which is JSON text like the id.
pub fn result(id: impl Display, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The response with an error object ([`fault`]).
pub fn error(id: impl Display, error: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

/// An error object.
pub fn fault(code: i32, message: &str) -> String {
    format!(r#"{{"code":{code},"message":{}}}"#, quote(message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_message_is_what_its_name_says() {
        let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        let version = "2.0";
        for (written, expected) in [
            (
                request(7, "tools/call", r#"{"a":1}"#),
                json!({"jsonrpc": version, "id": 7, "method": "tools/call", "params": {"a": 1}}),
            ),
            (
                notification("vendor/\"x", "{}"),
                json!({"jsonrpc": version, "method": "vendor/\"x", "params": {}}),
            ),
            (result("\"a\"", "{}"), json!({"jsonrpc": version, "id": "a", "result": {}})),
            (
                error("null", &fault(-32603, "it \"fails\"")),
                json!({"jsonrpc": version, "id": null, "error": {"code": -32603, "message": "it \"fails\""}}),
            ),
        ] {
            assert_eq!(read(written), expected);
        }
    }
}
