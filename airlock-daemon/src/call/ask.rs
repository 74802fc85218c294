//! Questions of a server on their way to its client: one goes out where the client can answer it and the
//! policy lets the server ask.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::audit::Event;
use crate::mcp::client::{ClientCapabilities, ClientCapability};
use crate::mcp::error::code;
use crate::mcp::object::{Object, quote};
use crate::mcp::strict;
use crate::upstream::ask::Answered;
use crate::upstream::pool::Upstream;

use crate::pipeline::authorize::{Wish, authorize};
use crate::pipeline::refusal::Aim;
use crate::pipeline::requester::Requester;
use crate::pipeline::{Gateway, Refusal, decode, record};

/// Asks the user something.
pub const ELICIT: &str = "elicitation/create";
/// Asks for the client's model.
pub const SAMPLE: &str = "sampling/createMessage";
/// Asks for folders.
pub const ROOTS: &str = "roots/list";

/// Why a client is not asked.
#[derive(Debug)]
pub enum Unasked {
    /// It has not declared that it can do this.
    NotDeclared,
    /// The question is not one.
    Malformed(&'static str),
    /// The policy, or an audit log that cannot take the record.
    Refused(Refusal),
}

impl Unasked {
    /// The answer that the server gets instead of the client's.
    pub fn answer(&self, method: &str) -> Answered {
        match self {
            Self::NotDeclared => Err(error(code::METHOD_NOT_FOUND, "the client does not offer this")),
            Self::Malformed(reason) => Err(error(code::INVALID_PARAMS, reason)),
            Self::Refused(_) if method == ELICIT => Ok(r#"{"action":"decline"}"#.to_owned()),
            Self::Refused(_) => Err(error(code::INTERNAL_ERROR, "the client is not asked this here")),
        }
    }
}

/// The answer that a server gets where its client gave none.
pub fn unanswered(method: &str) -> Answered {
    if method == ELICIT {
        Ok(r#"{"action":"cancel"}"#.to_owned())
    } else {
        Err(error(code::INTERNAL_ERROR, "the client did not answer"))
    }
}

/// A JSON-RPC error object, as JSON text.
pub fn error(code: i32, message: &str) -> String {
    format!(r#"{{"code":{code},"message":{}}}"#, quote(message))
}

/// Checks a question and records it; what the client gets is what was checked.
///
/// # Errors
/// Why it is not asked; a refusal is on record already.
pub fn check(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    method: &str,
    params: &str,
) -> Result<(), Unasked> {
    strict::check(params).map_err(|_| Unasked::Malformed("the parameters are not acceptable JSON"))?;
    let object = Object::parse(params).map_err(|_| Unasked::Malformed("`params` must be an object"))?;
    let arguments: &RawValue =
        serde_json::from_str(params).map_err(|_| Unasked::Malformed("`params` must be an object"))?;
    if !declared(who.capabilities, method, &object) {
        return Err(Unasked::NotDeclared);
    }
    let aim =
        Aim { method: Some(method.into()), upstream: Some(Arc::clone(&upstream.name)), ..Aim::default() };
    let wish = Wish { method, subject: None, arguments: Some(arguments), revision: who.revision };
    let allowed = decode::arguments(gateway, wish.arguments)
        .and_then(|()| authorize(gateway, &who.context, &who.principal, upstream, wish))
        .and_then(|_| record::answered(gateway, &who.context, &who.principal, &aim, Event::Request));
    allowed.map_err(|refusal| {
        let refusal = refusal.about(&aim);
        record::refusal(gateway, &who.context, Some(&who.principal), &refusal);
        Unasked::Refused(refusal)
    })
}

/// True where a client said that it can answer this.
fn declared(can: ClientCapabilities, method: &str, params: &Object<'_>) -> bool {
    match method {
        ELICIT => match params.string("mode").as_deref() {
            Some("form") => can.has(ClientCapability::ElicitForm),
            None if params.get("mode").is_none() => can.has(ClientCapability::ElicitForm),
            Some("url") => can.has(ClientCapability::ElicitUrl),
            _ => false,
        },
        SAMPLE => {
            let with_tools = params.get("tools").is_some() || params.get("toolChoice").is_some();
            can.has(ClientCapability::Sample) && (!with_tools || can.has(ClientCapability::SampleTools))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_declared_is_asked() {
        let form = r#"{"elicitation":{}}"#;
        let url = r#"{"elicitation":{"url":{}}}"#;
        let model = r#"{"sampling":{}}"#;
        let tools = r#"{"sampling":{"tools":{}}}"#;
        for (capabilities, method, params, expected) in [
            (form, ELICIT, r#"{"message":"?"}"#, true),
            (form, ELICIT, r#"{"mode":"form"}"#, true),
            (form, ELICIT, r#"{"mode":"url"}"#, false),
            (url, ELICIT, r#"{"mode":"url"}"#, true),
            (url, ELICIT, r"{}", false),
            (url, ELICIT, r#"{"mode":7}"#, false),
            (form, ELICIT, r#"{"mode":"other"}"#, false),
            (form, SAMPLE, r"{}", false),
            (model, SAMPLE, r"{}", true),
            (model, SAMPLE, r#"{"tools":[]}"#, false),
            (model, SAMPLE, r#"{"toolChoice":{}}"#, false),
            (tools, SAMPLE, r#"{"tools":[]}"#, true),
            (tools, ROOTS, r"{}", false),
            ("{}", ELICIT, r"{}", false),
        ] {
            let params = Object::parse(params).expect("params");
            let can = ClientCapabilities::parse(capabilities);
            assert_eq!(
                declared(can, method, &params),
                expected,
                "{capabilities} {method} {}",
                params.write()
            );
        }
    }

    #[test]
    fn a_server_always_gets_an_answer_that_it_can_read() {
        for (method, answer) in [
            (ELICIT, Unasked::NotDeclared.answer(ELICIT)),
            (SAMPLE, Unasked::Malformed("x\"y").answer(SAMPLE)),
            (SAMPLE, unanswered(SAMPLE)),
            (ELICIT, unanswered(ELICIT)),
        ] {
            let (Ok(text) | Err(text)) = answer;
            assert!(Object::parse(&text).is_ok(), "{method}: {text}");
        }
    }
}
