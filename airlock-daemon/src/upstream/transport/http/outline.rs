//! The headers of a message, read off its text.

use http::{HeaderName, HeaderValue};

use crate::mcp::object::Object;
use crate::mcp::param_header::Mirrored;

/// The members that the headers of a modern request mirror.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Outline {
    pub(in crate::upstream) method: String,
    /// The member of `params` that `Mcp-Name` repeats.
    pub(in crate::upstream) name: Option<String>,
    /// `Mcp-Param-*`.
    pub(in crate::upstream) params: Vec<(HeaderName, HeaderValue)>,
}

impl Outline {
    /// Reads a message that was written here, and repeats of its arguments what its tool wants to be
    /// repeated.
    pub(super) fn mirroring(text: &str, mirrored: &Mirrored) -> Self {
        let mut outline = Self::read(text);
        outline.params.clone_from(&mirrored.others);
        if let Some(annotations) = &mirrored.annotations
            && let Ok(message) = Object::parse(text)
            && let Some(params) = message.kept("params").and_then(|params| Object::parse(params.get()).ok())
        {
            outline.params.extend(annotations.write(params.get("arguments").unwrap_or("{}")));
        }
        outline
    }

    /// Reads a message that was written here.
    pub(in crate::upstream) fn read(text: &str) -> Self {
        let Ok(message) = Object::parse(text) else { return Self::default() };
        let method = message.string("method").unwrap_or_default().into_owned();
        let member = match method.as_str() {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => return Self { method, ..Self::default() },
        };
        let params = message.get("params").and_then(|params| Object::parse(params).ok()).unwrap_or_default();
        Self { name: params.string(member).map(std::borrow::Cow::into_owned), method, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_off_the_message() {
        for (text, method, name) in [
            (
                r#"{"method":"tools/call","params":{"name":"gr\u00fc","arguments":{"name":"x"}}}"#,
                "tools/call",
                Some("grü"),
            ),
            (
                r#"{"method":"resources/read","params":{"name":"x","uri":"a://b"}}"#,
                "resources/read",
                Some("a://b"),
            ),
            (r#"{"method":"tasks/get","params":{"taskId":"t1"}}"#, "tasks/get", Some("t1")),
            (r#"{"method":"tools/list","params":{"name":"x"}}"#, "tools/list", None),
            (r#"{"id":1,"result":{}}"#, "", None),
        ] {
            let wanted =
                Outline { method: method.to_owned(), name: name.map(str::to_owned), ..Outline::default() };
            assert_eq!(Outline::read(text), wanted);
        }
    }
}
