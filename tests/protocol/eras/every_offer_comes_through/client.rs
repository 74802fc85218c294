//! One client of each era with the same words for both.

use airlock_tests::Airlock;
use airlock_tests::mcp::{Session, modern};
use serde_json::{Value, json};

/// A client of either era.
pub(crate) enum Client<'a> {
    Modern { airlock: &'a Airlock, token: &'a str, path: &'a str },
    Legacy { airlock: &'a Airlock, session: Box<Session> },
}

impl<'a> Client<'a> {
    /// One of each era.
    pub(crate) fn both(airlock: &'a Airlock, token: &'a str, path: &'a str) -> [Self; 2] {
        let session = Session::open(airlock.address(), path, token);
        let session = session.unwrap_or_else(|error| panic!("{path}: {error}\n{}", airlock.log()));
        [Client::Modern { airlock, token, path }, Client::Legacy { airlock, session: Box::new(session) }]
    }

    pub(crate) fn is_modern(&self) -> bool {
        matches!(self, Client::Modern { .. })
    }

    /// The HTTP status and the whole answer.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> (u16, Value) {
        let (airlock, response) = match self {
            Client::Modern { airlock, token, path } => {
                (*airlock, airlock.send(&modern(path, 9, method, params).bearer(token)))
            }
            Client::Legacy { airlock, session } => {
                (*airlock, session.request(method, params).expect("an answer"))
            }
        };
        let answer = response.answer();
        assert!(answer.is_object(), "{method}: {}\n{}", response.text(), airlock.log());
        (response.status, answer)
    }

    /// A result, in the words of the client's era.
    pub(crate) fn result(&mut self, method: &str, params: &Value) -> Value {
        let (status, answer) = self.ask(method, params);
        let result = answer["result"].clone();
        assert!(status == 200 && result.is_object(), "{method} {params}: HTTP {status} {answer}");
        let modern = self.is_modern();
        assert_eq!(result.get("resultType") == Some(&json!("complete")), modern, "{method}: {result}");
        let cacheable = modern && (method.ends_with("/list") || method == "resources/read");
        assert_eq!(result.get("ttlMs") == Some(&json!(0)), cacheable, "{method}: {result}");
        assert_eq!(result.get("cacheScope") == Some(&json!("private")), cacheable, "{method}: {result}");
        result
    }

    /// The code of an error, with the HTTP status.
    pub(crate) fn error(&mut self, method: &str, params: &Value) -> (u16, i64) {
        let (status, answer) = self.ask(method, params);
        let code = answer["error"]["code"].as_i64();
        (status, code.unwrap_or_else(|| panic!("{method} {params}: no error but {answer}")))
    }

    /// The result of `server/discover`.
    pub(crate) fn result_of_discover(&mut self) -> Value {
        let (status, answer) = self.ask("server/discover", &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }
}
