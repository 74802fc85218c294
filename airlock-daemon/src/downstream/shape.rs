//! An upstream's words, as the client's era wants them.

use http::StatusCode;

use crate::call::start;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;

/// How what is said to one client is written.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The client's era.
    pub era: Era,
    /// True where the result says how long it may be cached (2026-07-28).
    pub cacheable: bool,
}

/// The types that a result may have where nobody offered to handle anything else.
const COMPLETE: [&str; 1] = ["complete"];
/// The types that it may have where tasks were offered as well.
const COMPLETE_OR_TASK: [&str; 2] = ["complete", "task"];

impl Shape {
    /// A result; `upstream` is the era of the server that gave it.
    ///
    /// # Errors
    /// The fault, in words for the operator.
    pub fn result(self, text: String, upstream: Era) -> Result<String, String> {
        self.writer()(text, upstream)
    }

    /// A list that Airlock has put together: it has the words of either era, or none.
    ///
    /// # Errors
    /// The fault, in words for the operator.
    pub fn list(era: Era, text: String) -> Result<String, String> {
        let shape = Self { era, cacheable: true };
        match era {
            Era::Modern => shape.result(text, Era::Legacy),
            Era::Legacy => shape.result(text, Era::Modern),
        }
    }

    /// As the pipeline takes it.
    pub const fn writer(self) -> start::Shape {
        match (self.era, self.cacheable) {
            (Era::Legacy, _) => legacy,
            (Era::Modern, false) => |text, upstream| modern(text, upstream, false, &COMPLETE),
            (Era::Modern, true) => |text, upstream| modern(text, upstream, true, &COMPLETE),
        }
    }

    /// As the pipeline takes it, where the client has said that it can follow a task (the extension of
    /// 2026-07-28).
    pub const fn writer_of_tasks(self) -> start::Shape {
        match self.era {
            Era::Legacy => legacy,
            Era::Modern => |text, upstream| modern(text, upstream, false, &COMPLETE_OR_TASK),
        }
    }

    /// An upstream's error object, and the HTTP status that goes with it. A code that the client's revision
    /// must not see becomes the one that took its place; everything else passes as it came.
    pub fn error(self, text: String) -> (StatusCode, String) {
        // To a legacy client every status but 200 is a failure of the transport.
        if self.era == Era::Legacy {
            return (StatusCode::OK, text);
        }
        let Ok(mut error) = Object::parse(&text) else { return (StatusCode::OK, text) };
        match error.get("code").and_then(|code| code.parse::<i32>().ok()) {
            Some(code::LEGACY_RESOURCE_NOT_FOUND) => {
                error.set("code", code::INVALID_PARAMS.to_string());
                (StatusCode::OK, error.write())
            }
            Some(code::METHOD_NOT_FOUND) => (StatusCode::NOT_FOUND, text),
            Some(code::MISSING_CAPABILITY | code::HEADER_MISMATCH) => (StatusCode::BAD_REQUEST, text),
            _ => (StatusCode::OK, text),
        }
    }
}

/// A modern upstream's result passes as it is; a legacy one's is complete by nature. A result that was
/// filtered or allowed for one principal is that principal's alone, and for this moment.
fn modern(text: String, upstream: Era, cacheable: bool, allowed: &[&str]) -> Result<String, String> {
    let mut result = object(&text)?;
    is_one_of(&result, if upstream == Era::Modern { allowed } else { &COMPLETE })?;
    if upstream == Era::Modern && !cacheable {
        return Ok(text);
    }
    result.set("resultType", "\"complete\"");
    if cacheable {
        result.set("ttlMs", "0");
        result.set("cacheScope", "\"private\"");
    }
    Ok(result.write())
}

/// Takes out of a result what only the modern era knows; a legacy upstream's passes as it is.
fn legacy(text: String, upstream: Era) -> Result<String, String> {
    if upstream == Era::Legacy {
        return Ok(text);
    }
    let mut result = object(&text)?;
    is_one_of(&result, &COMPLETE)?;
    let changed = result.retain(|name| !matches!(name, "resultType" | "ttlMs" | "cacheScope"));
    Ok(if changed { result.write() } else { text })
}

/// Refuses a type that is not allowed: a result that is not complete is only for a client that has said that
/// it can go on from there.
fn is_one_of(result: &Object<'_>, allowed: &[&str]) -> Result<(), String> {
    // The type is read as the laxest client would: a second one, or one in another letter case, may be the
    // one that counts.
    let said = result.names().filter(|name| name.eq_ignore_ascii_case("resultType")).count();
    match said {
        0 => Ok(()),
        1 if result.string("resultType").is_some_and(|said| allowed.contains(&said.as_ref())) => Ok(()),
        _ => Err("it answered with something other than a complete result, which nobody offered to handle"
            .to_owned()),
    }
}

fn object(text: &str) -> Result<Object<'_>, String> {
    Object::parse(text).map_err(|error| format!("its result is no object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: Shape = Shape { era: Era::Modern, cacheable: false };
    const MODERN_READ: Shape = Shape { era: Era::Modern, cacheable: true };
    const LEGACY: Shape = Shape { era: Era::Legacy, cacheable: true };

    fn result(shape: Shape, upstream: Era, text: &str) -> String {
        shape.result(text.to_owned(), upstream).expect(text)
    }

    #[test]
    fn each_era_gets_its_own_words() {
        let public = r#"{"resultType":"complete","contents":[],"ttlMs":60000,"cacheScope":"public"}"#;
        assert_eq!(result(LEGACY, Era::Modern, public), r#"{"contents":[]}"#);
        assert_eq!(
            result(MODERN_READ, Era::Modern, public),
            r#"{"resultType":"complete","contents":[],"ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            result(MODERN_READ, Era::Legacy, r#"{"contents":[]}"#),
            r#"{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            result(MODERN, Era::Legacy, r#"{"content":[]}"#),
            r#"{"content":[],"resultType":"complete"}"#
        );
    }

    #[test]
    fn what_need_not_change_does_not() {
        let text = r#"{ "resultType":"complete", "x" : 1 }"#;
        assert_eq!(result(MODERN, Era::Modern, text), text);
        assert_eq!(result(LEGACY, Era::Legacy, r#"{ "ttlMs":1 }"#), r#"{ "ttlMs":1 }"#);
        for shape in [LEGACY, MODERN, MODERN_READ] {
            assert!(shape.result(r#"{"resultType":"input_required"}"#.to_owned(), Era::Modern).is_err());
        }
    }

    #[test]
    fn a_task_is_for_those_who_can_follow_it() {
        let task = r#"{"resultType":"task", "taskId":"t"}"#.to_owned();
        let with_tasks = MODERN.writer_of_tasks();
        assert_eq!(with_tasks(task.clone(), Era::Modern), Ok(task.clone()));
        assert!(with_tasks(task.clone(), Era::Legacy).is_err());
        assert!(LEGACY.writer_of_tasks()(task.clone(), Era::Modern).is_err());
        assert!(MODERN.result(task, Era::Modern).is_err());
        let asks = r#"{"resultType":"input_required"}"#.to_owned();
        assert!(with_tasks(asks, Era::Modern).is_err());
    }

    #[test]
    fn a_code_of_the_other_era_is_replaced_and_nothing_else() {
        let old = r#"{"code":-32002,"message":"Resource not found","data":{"uri":"a:b"}}"#;
        let new = r#"{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}"#;
        let ok = |text: &str| (StatusCode::OK, text.to_owned());
        assert_eq!(MODERN.error(old.to_owned()), ok(new));
        assert_eq!(LEGACY.error(old.to_owned()), ok(old));
        assert_eq!(LEGACY.error(new.to_owned()), ok(new));
        for (status, other) in [
            (404, r#"{"code":-32601, "message":"x"}"#),
            (400, r#"{"code":-32020, "message":"x"}"#),
            (400, r#"{"code":-32021, "data":{"requiredCapabilities":{"sampling":{}}}}"#),
            (200, r#"{"code":7, "message":"x"}"#),
            (200, r#"{"code":"odd"}"#),
        ] {
            assert_eq!(LEGACY.error(other.to_owned()), ok(other));
            let (given, text) = MODERN.error(other.to_owned());
            assert_eq!((given.as_u16(), text.as_str()), (status, other));
        }
    }
}
