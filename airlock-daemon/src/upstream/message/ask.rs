//! Questions of a server to its client: elicitation and sampling.

use tokio::sync::oneshot;

/// The answer to `roots/list`, in either era: a client has no say in which folders of this host a server
/// looks at.
pub const NO_ROOTS: &str = r#"{"roots":[]}"#;

/// The outcome of a question: the result's JSON text, or the error object's.
pub type Answered = Result<String, String>;

/// A request of a server's that waits for its answer. Dropping it tells the server that nobody answers.
#[derive(Debug)]
pub struct Ask {
    /// The method: `elicitation/create` or `sampling/createMessage`.
    pub method: String,
    /// Its parameters as JSON text, as the server wrote them.
    pub params: String,
    answer: oneshot::Sender<Answered>,
}

impl Ask {
    /// A question, and where its answer comes out. The receiver fails when the question was dropped: nobody
    /// answers it.
    pub fn new(method: String, params: String) -> (Self, oneshot::Receiver<Answered>) {
        let (answer, answered) = oneshot::channel();
        (Self { method, params, answer }, answered)
    }

    /// True where the server does not wait for the answer any more.
    pub fn is_withdrawn(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers it; lost when the server does not wait any more.
    pub fn answer(self, answered: Answered) {
        let _ = self.answer.send(answered);
    }

    /// Waits until the server does not want the answer any more: it has cancelled its request, or its
    /// connection is gone.
    pub async fn withdrawn(&mut self) {
        self.answer.closed().await;
    }
}
