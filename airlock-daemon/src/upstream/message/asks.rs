//! The requests of one server: some are answered at once, some wait for a client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::mcp::client::ClientCapabilities;
use crate::mcp::jsonrpc;
use crate::mcp::object::Object;

use super::ask::{Answered, Ask, NO_ROOTS};

/// Most questions of one server that wait at a time.
const MAX_ASKS: usize = 16;
/// Longest parameters of a question in bytes; a conversation for a model is longer than a form.
const MAX_FORM: usize = 64 * 1024;
const MAX_CONVERSATION: usize = 1024 * 1024;
/// Nobody thinks longer about a question; a call's own deadline is usually nearer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(10);

/// A request of a server's.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct ServerQuestion<'a> {
    /// Its id as JSON text.
    pub(in crate::upstream) id: &'a str,
    /// Its method.
    pub(in crate::upstream) method: &'a str,
    /// Its parameters.
    pub(in crate::upstream) params: Option<&'a RawValue>,
}

/// The questions of one server that wait for their answers, by their ids as JSON text.
#[derive(Default)]
pub(in crate::upstream) struct Asks(Mutex<HashMap<String, oneshot::Sender<()>>>);

/// The fate of a request.
pub(in crate::upstream) enum Taken {
    /// This is the answer, as a message.
    Answer(String),
    /// A client was asked.
    Waits(Waiting),
}

/// A question until it is answered.
pub(in crate::upstream) struct Waiting {
    asks: Arc<Asks>,
    id: String,
    answered: oneshot::Receiver<Answered>,
    withdrawn: oneshot::Receiver<()>,
}

impl Asks {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        self.0.lock()
    }

    /// True where none waits.
    pub(in crate::upstream) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes in a request. `offer` hands a question to a client and says whether there was one to hand it to;
    /// only what was declared to the server gets so far.
    pub(in crate::upstream) fn take(
        self: &Arc<Self>,
        question: ServerQuestion<'_>,
        declared: ClientCapabilities,
        offer: impl FnOnce(Ask) -> bool,
    ) -> Taken {
        let ServerQuestion { id, method, params } = question;
        let params = params.map_or("{}", RawValue::get);
        let limit = match method {
            "ping" => return Taken::Answer(jsonrpc::result(id, "{}")),
            "roots/list" => return Taken::Answer(jsonrpc::result(id, NO_ROOTS)),
            "elicitation/create" => MAX_FORM,
            "sampling/createMessage" => MAX_CONVERSATION,
            _ => return Taken::Answer(not_offered(id)),
        };
        if params.len() > limit {
            return Taken::Answer(error(id, -32603, &format!("params are longer than {limit} bytes")));
        }
        if !is_declared(method, params, declared) {
            return Taken::Answer(not_offered(id));
        }
        let (withdraw, withdrawn) = oneshot::channel();
        {
            let mut open = self.lock();
            if open.contains_key(id) {
                return Taken::Answer(error(id, -32600, "the id is in use"));
            }
            if open.len() >= MAX_ASKS {
                return Taken::Answer(error(id, -32603, "too many questions wait already"));
            }
            open.insert(id.to_owned(), withdraw);
        }
        let (ask, answered) = Ask::new(method.to_owned(), params.to_owned());
        let waiting = Waiting { asks: Arc::clone(self), id: id.to_owned(), answered, withdrawn };
        if offer(ask) { Taken::Waits(waiting) } else { Taken::Answer(not_offered(id)) }
    }

    /// The server is gone: nobody wants an answer any more.
    pub(in crate::upstream) fn withdraw_all(&self) {
        self.lock().clear();
    }

    /// The server does not want the answer any more; `params` are those of its `notifications/cancelled`.
    pub(in crate::upstream) fn cancelled(&self, params: &str) {
        if let Some(id) = Object::parse(params).ok().as_ref().and_then(|params| params.get("requestId")) {
            self.lock().remove(id);
        }
    }
}

impl Waiting {
    /// The answer, as a message; `None` when the server does not want it any more.
    pub(in crate::upstream) async fn message(mut self) -> Option<String> {
        tokio::select! {
            biased;
            answered = &mut self.answered => Some(match answered {
                Ok(Ok(text)) => jsonrpc::result(&self.id, &text),
                Ok(Err(text)) => jsonrpc::error(&self.id, &text),
                Err(_) => error(&self.id, -32603, "nobody answered"),
            }),
            _ = &mut self.withdrawn => None,
            () = tokio::time::sleep(ANSWER_TIMEOUT) => Some(error(&self.id, -32603, "nobody answered")),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.asks.lock().remove(&self.id);
    }
}

/// True where the server was told that its client can do this.
fn is_declared(method: &str, params: &str, declared: ClientCapabilities) -> bool {
    Object::parse(params).is_ok_and(|params| declared.answers(method, &params))
}

fn error(id: &str, code: i32, message: &str) -> String {
    jsonrpc::error(id, &jsonrpc::fault(code, message))
}

fn not_offered(id: &str) -> String {
    error(id, -32601, "not offered")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::client::ClientCapability;

    fn can(capabilities: &[ClientCapability]) -> ClientCapabilities {
        capabilities.iter().fold(ClientCapabilities::default(), |set, each| set.with(*each))
    }

    fn question<'a>(id: &'a str, method: &'a str) -> ServerQuestion<'a> {
        ServerQuestion { id, method, params: None }
    }

    fn answer(taken: Taken) -> String {
        match taken {
            Taken::Answer(text) => text,
            Taken::Waits(_) => panic!("it waits"),
        }
    }

    #[test]
    fn what_was_not_declared_is_not_asked() {
        use ClientCapability::{ElicitForm, ElicitUrl, Sample, SampleTools};
        let form = "elicitation/create";
        let sample = "sampling/createMessage";
        for (method, params, declared, asked) in [
            (form, "{}", can(&[ElicitForm]), true),
            (form, r#"{"mode":"form"}"#, can(&[ElicitForm]), true),
            (form, r#"{"mode":"url"}"#, can(&[ElicitForm]), false),
            (form, r#"{"mode":"url"}"#, can(&[ElicitUrl]), true),
            (form, "{}", can(&[ElicitUrl]), false),
            (form, r#"{"mode":7}"#, can(&[ElicitForm]), false),
            (form, r#"{"mode":"other"}"#, can(&[ElicitForm, ElicitUrl]), false),
            (form, "[]", can(&[ElicitForm]), false),
            (sample, "{}", can(&[Sample]), true),
            (sample, r#"{"includeContext":"thisServer"}"#, can(&[Sample]), true),
            (sample, r#"{"tools":[]}"#, can(&[Sample]), false),
            (sample, r#"{"tools":[]}"#, can(&[Sample, SampleTools]), true),
            (sample, "{}", can(&[ElicitForm]), false),
        ] {
            assert_eq!(is_declared(method, params, declared), asked, "{method} {params}");
        }
    }

    #[test]
    fn some_requests_are_answered_at_once() {
        let asks = Arc::<Asks>::default();
        let all = can(&[ClientCapability::ElicitForm, ClientCapability::Sample]);
        let take = |method| answer(asks.take(question("\"r\"", method), all, |_| panic!("offered")));
        assert_eq!(take("ping"), r#"{"jsonrpc":"2.0","id":"r","result":{}}"#);
        assert_eq!(take("roots/list"), r#"{"jsonrpc":"2.0","id":"r","result":{"roots":[]}}"#);
        assert!(take("tools/call").contains("-32601"));
        let nobody = asks.take(question("1", "elicitation/create"), all, |_| false);
        assert!(answer(nobody).contains("-32601"));
        assert!(asks.is_empty());
        let long = RawValue::from_string(format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_FORM))).expect("JSON");
        let long = ServerQuestion { params: Some(&long), ..question("1", "elicitation/create") };
        assert!(answer(asks.take(long, all, |_| true)).contains("longer"));
    }

    #[tokio::test]
    async fn an_answer_goes_back_by_the_servers_own_id() {
        let asks = Arc::<Asks>::default();
        let all = can(&[ClientCapability::ElicitForm]);
        let asked = std::cell::RefCell::new(Vec::new());
        let take = |id| {
            let taken = asks.take(question(id, "elicitation/create"), all, |ask| {
                asked.borrow_mut().push(ask);
                true
            });
            let Taken::Waits(waiting) = taken else { panic!("it was answered at once") };
            waiting
        };
        let [first, second, third, fourth] = [take("\"a\""), take("7"), take("8"), take("9")];
        let mut asked = asked.take().into_iter();
        let mut next = || asked.next().expect("asked");
        next().answer(Ok(r#"{"action":"accept"}"#.to_owned()));
        assert_eq!(
            first.message().await.expect("wanted"),
            r#"{"jsonrpc":"2.0","id":"a","result":{"action":"accept"}}"#
        );
        drop(next());
        assert!(second.message().await.expect("wanted").contains("nobody answered"));
        next().answer(Err(r#"{"code":-1,"message":"no"}"#.to_owned()));
        assert!(third.message().await.expect("wanted").contains(r#""error":{"code":-1"#));
        let mut kept = next();
        asks.cancelled(r#"{"requestId":9}"#);
        assert_eq!(fourth.message().await, None);
        kept.withdrawn().await;
        assert!(asks.is_empty());
    }

    #[tokio::test]
    async fn questions_are_bounded() {
        let asks = Arc::<Asks>::default();
        let all = can(&[ClientCapability::Sample]);
        let mut kept = Vec::new();
        let mut waits = Vec::new();
        for id in 0..=MAX_ASKS {
            let id = id.to_string();
            match asks.take(question(&id, "sampling/createMessage"), all, |ask| {
                kept.push(ask);
                true
            }) {
                Taken::Waits(waiting) => waits.push(waiting),
                Taken::Answer(text) => assert!(text.contains("too many"), "{text}"),
            }
        }
        assert_eq!((waits.len(), kept.len()), (MAX_ASKS, MAX_ASKS));
        assert!(answer(asks.take(question("0", "sampling/createMessage"), all, |_| true)).contains("in use"));
        waits.clear();
        assert!(asks.is_empty());
    }
}
