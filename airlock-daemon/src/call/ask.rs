//! Questions of a server on their way to its client: one goes out where the client can answer it and the
//! policy lets the server ask.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::audit::{Event, RecordWait};
use crate::mcp::client::ELICIT;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::{jsonrpc, strict};
use crate::redaction::Found;
use crate::upstream::message::ask::Answered;
use crate::upstream::pool::Upstream;

use crate::pipeline::authorize::authorize;
use crate::pipeline::methods::wish::Wish;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::{Gateway, Refusal, decode, record, stopped};

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
            Self::NotDeclared => {
                Err(jsonrpc::fault(code::METHOD_NOT_FOUND, "the client does not offer this"))
            }
            Self::Malformed(reason) => Err(jsonrpc::fault(code::INVALID_PARAMS, reason)),
            Self::Refused(_) if method == ELICIT => Ok(r#"{"action":"decline"}"#.to_owned()),
            Self::Refused(_) => {
                Err(jsonrpc::fault(code::INTERNAL_ERROR, "the client is not asked this here"))
            }
        }
    }
}

/// The answer that a server gets where its client gave none.
pub fn unanswered(method: &str) -> Answered {
    if method == ELICIT {
        Ok(r#"{"action":"cancel"}"#.to_owned())
    } else {
        Err(jsonrpc::fault(code::INTERNAL_ERROR, "the client did not answer"))
    }
}

/// Checks a question and records it. The client gets what was checked, with the redaction that is returned:
/// that to which the policy obliges for it. The questions that a server asks at once share a `wait`.
///
/// # Errors
/// Why it is not asked; a refusal is on record already.
pub async fn check(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    (method, params): (&str, &str),
    wait: &mut RecordWait,
) -> Result<Vec<Arc<str>>, Unasked> {
    strict::check(params).map_err(|_| Unasked::Malformed("the parameters are not acceptable JSON"))?;
    let object = Object::parse(params).map_err(|_| Unasked::Malformed("`params` must be an object"))?;
    let arguments: &RawValue =
        serde_json::from_str(params).map_err(|_| Unasked::Malformed("`params` must be an object"))?;
    if !who.capabilities.answers(method, &object) {
        return Err(Unasked::NotDeclared);
    }
    let aim =
        Aim { method: Some(method.into()), upstream: Some(Arc::clone(&upstream.name)), ..Aim::default() };
    let wish = Wish { method, subject: None, arguments: Some(arguments), revision: who.revision };
    let allowed = async {
        stopped::server(gateway, &who.principal, upstream)?;
        decode::arguments(gateway, wish.arguments)?;
        let decision = authorize(gateway, who, upstream, wish, wait).await?;
        record::answered(gateway, who, &aim, (Event::Request, &Found::default()), wait).await?;
        Ok(decision.obligations.redact)
    };
    allowed.await.map_err(|refusal: Refusal| {
        let refusal = refusal.about(&aim);
        record::refusal(gateway, &who.context, Some(&who.principal), &refusal);
        Unasked::Refused(refusal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::client::SAMPLE;

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
