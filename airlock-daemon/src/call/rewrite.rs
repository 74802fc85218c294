//! The URIs in a result, as the merged endpoint names them.
//!
//! The members that the protocol calls the address of a resource are renamed: `uri` of content blocks and of
//! contents, and of an error that says which resource is not there. Texts, `structuredContent` and `_meta`
//! are made up by the tools themselves: they pass as they came, as does everything that holds no URI.
//!
//! Members are looked at by their place, not by a block's `type`: another parser may read a type that is
//! given twice in another way. For the same reason a member whose name differs from one of these in nothing
//! but letter case spoils the result: some parsers would take it for the address.

use serde_json::value::RawValue;

use crate::mcp::envelope::variant;
use crate::mcp::object::{Object, quote};

use crate::pipeline::methods::kind::{Noun, Uris};
use crate::pipeline::methods::naming;

/// Spellings of a member `uri`; an `ı` is an `i` to those who fold letters without care.
const SPELLINGS: [&str; 7] = ["uri\"", "Uri\"", "URi\"", "uRi\"", "RI\"", "rI\"", "ı\""];

/// Writes an upstream's result for the merged endpoint.
///
/// # Errors
/// The fault of the result, in words for the operator.
pub fn result(upstream: &str, uris: Uris, text: String) -> Result<String, String> {
    if uris == Uris::Nowhere || !may_hold_uri(&text) {
        return Ok(text);
    }
    let mut result = Object::parse(&text).map_err(|error| format!("its result is no object: {error}"))?;
    let (member, changed) = match uris {
        Uris::Nowhere => return Ok(text),
        Uris::Content => ("content", list(upstream, &result, "content", block)),
        Uris::Messages => ("messages", list(upstream, &result, "messages", message)),
        Uris::Contents => ("contents", list(upstream, &result, "contents", contents)),
        Uris::Outcome => ("result", outcome(upstream, &result)),
    };
    match changed {
        Some(None) => Ok(text),
        Some(Some(changed)) => {
            // Written also where no entry changed: duplicates of the member go.
            result.set(member, changed);
            Ok(result.write())
        }
        None => Err(format!("`{member}` of its result does not hold what the specification says")),
    }
}

/// Writes an upstream's error object for the merged endpoint: the address of a resource that is not there
/// (2025-11-25, "Resources", error handling). Any other error passes as it came.
pub fn error(upstream: &str, uris: Uris, text: String) -> String {
    if uris != Uris::Contents || !may_hold_uri(&text) {
        return text;
    }
    let Ok(mut error) = Object::parse(&text) else { return text };
    let twice = error.names().filter(|name| *name == "data").count() > 1;
    let written = match error.get("data") {
        _ if variant(&error, &["data"]).is_some() => None,
        Some(data) if data.starts_with('{') => contents(upstream, data),
        Some(data) if twice => Some(data.to_owned()),
        _ => return text,
    };
    match written {
        Some(data) => error.set("data", data),
        // Data that can be read in more than one way are not passed on.
        None => {
            error.retain(|name| matches!(name, "code" | "message"));
        }
    }
    error.write()
}

/// True where a member `uri` may be there: spelled out, in some letter case, or with an escape in it.
fn may_hold_uri(text: &str) -> bool {
    SPELLINGS.iter().any(|spelling| text.contains(spelling)) || text.contains("\\u")
}

/// The inner option is none where there is no such list; the outer one where something in the list is not as
/// it should be.
type Changed = Option<Option<String>>;

/// Rewrites the list that is a member of an object.
fn list(upstream: &str, object: &Object<'_>, member: &str, one: fn(&str, &str) -> Option<String>) -> Changed {
    clear(object, &[member])?;
    let Some(entries) = object.get(member) else { return Some(None) };
    each(upstream, entries, one).map(Some)
}

/// Rewrites the result that a task came to, where it has come to one.
fn outcome(upstream: &str, task: &Object<'_>) -> Changed {
    clear(task, &["result"])?;
    let Some(text) = task.get("result") else { return Some(None) };
    let mut result = Object::parse(text).ok()?;
    let Some(content) = list(upstream, &result, "content", block)? else {
        return Some(Some(text.to_owned()));
    };
    result.set("content", content);
    Some(Some(result.write()))
}

/// None when a member differs from one of `names` in letter case only.
fn clear(object: &Object<'_>, names: &[&str]) -> Option<()> {
    variant(object, names).is_none().then_some(())
}

/// Rewrites the entries of a JSON array; `None` when it is none.
fn each(upstream: &str, list: &str, one: fn(&str, &str) -> Option<String>) -> Option<String> {
    let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let entries: Option<Vec<String>> = entries.into_iter().map(|entry| one(upstream, entry.get())).collect();
    Some(format!("[{}]", entries?.join(",")))
}

/// A message: its content is one block, or a list of them.
fn message(upstream: &str, text: &str) -> Option<String> {
    let mut message = Object::parse(text).ok()?;
    clear(&message, &["content"])?;
    let Some(content) = message.get("content") else { return Some(text.to_owned()) };
    let content =
        if content.starts_with('[') { each(upstream, content, block)? } else { block(upstream, content)? };
    message.set("content", content);
    Some(message.write())
}

/// A content block: a link has a `uri`, an embedded resource has one inside.
fn block(upstream: &str, text: &str) -> Option<String> {
    let mut block = Object::parse(text).ok()?;
    clear(&block, &["uri", "resource"])?;
    let mut changed = rename(upstream, &mut block);
    if let Some(inner) = block.get("resource").map(str::to_owned) {
        let resource = if inner.starts_with('{') { contents(upstream, &inner)? } else { inner.clone() };
        block.set("resource", resource);
        changed = true;
    }
    Some(if changed { block.write() } else { text.to_owned() })
}

/// One of the contents of a resource.
fn contents(upstream: &str, text: &str) -> Option<String> {
    let mut contents = Object::parse(text).ok()?;
    clear(&contents, &["uri"])?;
    Some(if rename(upstream, &mut contents) { contents.write() } else { text.to_owned() })
}

/// Renames the member `uri`; says whether there was one. A value that is no string is kept, without its
/// duplicates.
fn rename(upstream: &str, object: &mut Object<'_>) -> bool {
    let Some(value) = object.get("uri") else { return false };
    let renamed = match object.string("uri") {
        Some(uri) => quote(&naming::merged(Noun::Resource, upstream, &uri)),
        None => value.to_owned(),
    };
    object.set("uri", renamed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(uris: Uris, text: &str) -> String {
        result("docs", uris, text.to_owned()).expect(text)
    }

    #[test]
    fn uris_of_every_place_are_renamed_and_the_rest_is_kept() {
        assert_eq!(
            rewritten(Uris::Contents, r#"{"contents":[{"uri":"f:a","text":"x", "big":1.50}],"v":[1 ,2]}"#),
            r#"{"contents":[{"uri":"airlock+docs+f:a","text":"x","big":1.50}],"v":[1 ,2]}"#
        );
        assert_eq!(
            rewritten(
                Uris::Content,
                r#"{"content":[{"type":"text","text":"f:a"},{"type":"resource_link","uri":"f:a"},{"type":"resource","resource":{"uri":"f:b","text":"uri"}}]}"#
            ),
            r#"{"content":[{"type":"text","text":"f:a"},{"type":"resource_link","uri":"airlock+docs+f:a"},{"type":"resource","resource":{"uri":"airlock+docs+f:b","text":"uri"}}]}"#
        );
        assert_eq!(
            rewritten(
                Uris::Messages,
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"f:b"}}},{"role":"user","content":[{"type":"resource_link","uri":"f:c"}]}]}"#
            ),
            r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"airlock+docs+f:b"}}},{"role":"user","content":[{"type":"resource_link","uri":"airlock+docs+f:c"}]}]}"#
        );
    }

    #[test]
    fn what_has_no_uri_is_not_touched() {
        for text in
            [r#"{"content" : [{"type":"text", "text":"hello"}]}"#, r#"{ "content":"odd, but not ours" }"#]
        {
            assert_eq!(rewritten(Uris::Content, text), text);
        }
        let text = r#"{"completion":{"values":["uri"]}, "uri":"f:x"}"#;
        assert_eq!(rewritten(Uris::Nowhere, text), text);
    }

    #[test]
    fn a_uri_cannot_hide_from_it() {
        for text in [
            r#"{"content":[{"type":"resource_link","\u0075ri":"f:a"}]}"#,
            r#"{"content":[{"type":"text","type":"resource_link","uri":"f:a"}]}"#,
            r#"{"content":[{"type":"resource_link","uri":"f:a","uri":"airlock+other+f:x"}]}"#,
            r#"{"content":[{"type":"resource_link","uri":"f:a"}],"content":[{"uri":"airlock+other+f:x"}]}"#,
        ] {
            let written = rewritten(Uris::Content, text);
            let read: serde_json::Value = serde_json::from_str(&written).expect("JSON");
            assert_eq!(read["content"][0]["uri"], "airlock+docs+f:a", "{text}");
            assert!(!written.contains("other"), "{written}");
        }
        for text in [
            r#"{"content":[{"resource":{},"resource":{"uri":"airlock+other+f:x"}}]}"#,
            r#"{"content":[{"resource":{"uri":1,"uri":"airlock+other+f:x"}}]}"#,
            r#"{"content":[{"uri":null,"uri":"airlock+other+f:x"}]}"#,
        ] {
            let written = rewritten(Uris::Content, text);
            assert!(!written.contains("other"), "{written}");
        }
        assert!(result("docs", Uris::Contents, r#"{"contents":{"uri":"f:a"}}"#.to_owned()).is_err());
    }

    #[test]
    fn another_letter_case_spoils_the_result() {
        for (uris, text) in [
            (Uris::Content, r#"{"content":[{"type":"resource_link","URI":"airlock+other+f:x"}]}"#),
            (
                Uris::Content,
                r#"{"content":[{"type":"resource_link","uri":"f:a","Uri":"airlock+other+f:x"}]}"#,
            ),
            (Uris::Content, r#"{"content":[{"type":"resource_link","urı":"airlock+other+f:x"}]}"#),
            (Uris::Content, r#"{"content":[{"Resource":{"uri":"airlock+other+f:x"}}]}"#),
            (Uris::Content, r#"{"content":[{"resource":{"uRI":"airlock+other+f:x"}}]}"#),
            (Uris::Content, r#"{"Content":[{"uri":"airlock+other+f:x"}]}"#),
            (Uris::Contents, r#"{"contents":[{"\u0055RI":"airlock+other+f:x"}]}"#),
            (Uris::Messages, r#"{"messages":[{"Content":{"uri":"airlock+other+f:x"}}]}"#),
            (Uris::Outcome, r#"{"result":{"content":[{"URI":"airlock+other+f:x"}]}}"#),
        ] {
            assert!(result("docs", uris, text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_outcome_of_a_task_is_a_result() {
        assert_eq!(
            rewritten(
                Uris::Outcome,
                r#"{"taskId":"t","result":{"content":[{"uri":"f:a"}],"isError":false}}"#
            ),
            r#"{"taskId":"t","result":{"content":[{"uri":"airlock+docs+f:a"}],"isError":false}}"#
        );
        for untouched in [
            r#"{"taskId" : "t","status":"uri"}"#,
            r#"{"taskId":"t","result":{"structuredContent" : {"uri":"f:a"}}}"#,
        ] {
            assert_eq!(rewritten(Uris::Outcome, untouched), untouched);
        }
    }

    #[test]
    fn an_error_names_the_resource_as_it_was_asked_for() {
        let renamed = |text: &str| error("docs", Uris::Contents, text.to_owned());
        assert_eq!(
            renamed(r#"{"code":-32002,"message":"x","data":{"uri":"f:a", "n":1}}"#),
            r#"{"code":-32002,"message":"x","data":{"uri":"airlock+docs+f:a","n":1}}"#
        );
        assert_eq!(renamed(r#"{"code":1,"data":{"URI":"airlock+other+f:x"}}"#), r#"{"code":1}"#);
        for untouched in [r#"{"code":1, "data":"uri"}"#, r#"{"code":1, "message":"\"uri\""}"#] {
            assert_eq!(renamed(untouched), untouched);
        }
        let twice = r#"{"code":1,"data":"x","data":{"uri":"airlock+other+f:x"}}"#;
        assert_eq!(renamed(twice), r#"{"code":1,"data":"x"}"#);
        let tools = r#"{"code":1, "data":{"uri":"f:a"}}"#;
        assert_eq!(error("docs", Uris::Content, tools.to_owned()), tools);
    }

    /// Objects and lists with members of our names, in all spellings, once or more often.
    fn json() -> impl Strategy<Value = String> {
        let key = proptest::sample::select(vec![
            "content",
            "Content",
            "contents",
            "messages",
            "result",
            "Result",
            "resource",
            "Resource",
            "data",
            "uri",
            "URI",
            "u\\u0072i",
            "\\u0055ri",
            "urı",
            "type",
        ]);
        let leaf = proptest::sample::select(vec!["1", "null", "\"airlock+other+f:x\"", "\"f:a\""]);
        leaf.prop_map(str::to_owned).prop_recursive(5, 40, 4, move |inner| {
            let members = proptest::collection::vec((key.clone(), inner.clone()), 0..4);
            let object = members.prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            });
            let list =
                proptest::collection::vec(inner, 0..3).prop_map(|list| format!("[{}]", list.join(",")));
            prop_oneof![3 => object, 1 => list]
        })
    }

    /// No member of any spelling is the address of another server's resource.
    fn clean(object: &serde_json::Value) -> bool {
        object.as_object().into_iter().flatten().all(|(name, value)| {
            !name.eq_ignore_ascii_case("uri")
                || value.as_str().is_none_or(|uri| name == "uri" && uri.starts_with("airlock+docs+"))
        })
    }

    fn clean_blocks(content: &serde_json::Value) -> bool {
        content.as_array().into_iter().flatten().all(|block| clean(block) && clean(&block["resource"]))
    }

    proptest! {
        #[test]
        fn no_address_of_another_server_comes_out(text in json()) {
            for uris in [Uris::Content, Uris::Contents, Uris::Messages, Uris::Outcome] {
                let Ok(written) = result("docs", uris, text.clone()) else { continue };
                let read: serde_json::Value = serde_json::from_str(&written).expect("JSON");
                prop_assert!(match uris {
                    Uris::Content => clean_blocks(&read["content"]),
                    Uris::Outcome => clean_blocks(&read["result"]["content"]),
                    Uris::Contents => read["contents"].as_array().into_iter().flatten().all(clean),
                    _ => read["messages"].as_array().into_iter().flatten().all(|message| {
                        let content = &message["content"];
                        clean_blocks(content) && clean(content) && clean(&content["resource"])
                    }),
                }, "{} of {}", written, text);
            }
            let error = error("docs", Uris::Contents, text);
            let read: serde_json::Value = serde_json::from_str(&error).expect("JSON");
            prop_assert!(clean(&read["data"]), "{}", error);
        }
    }
}
