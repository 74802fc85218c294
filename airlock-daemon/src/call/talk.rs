//! The questions of one call: those on their way to the client, and those that wait for its answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::upstream::message::ask::{Answered, Ask};

/// How many questions of one call may wait at a time.
pub const AT_A_TIME: usize = 16;
/// How many questions a server may ask in one call.
const IN_ALL: usize = 256;

/// Where an answer goes.
pub enum To {
    /// To a legacy server that waits for it.
    Server(Ask),
    /// Into the next request to a modern server, under this key.
    Round(String),
}

/// A question that the client has.
pub struct ClientQuestion {
    /// Where the answer goes.
    pub to: To,
    /// The method.
    pub method: String,
    answered: oneshot::Receiver<Answered>,
    until: Instant,
}

/// The questions of a modern server, and the answers so far.
#[derive(Debug, Default)]
pub struct Round {
    /// The answers by their keys, as JSON text.
    pub answers: Vec<(String, String)>,
    /// The server's state.
    pub state: Option<String>,
}

/// All questions of a call.
#[derive(Default)]
pub struct Talk {
    outgoing: VecDeque<Ask>,
    waiting: Vec<ClientQuestion>,
    /// Since when the call waits for its client.
    since: Option<Instant>,
    asked: usize,
    /// The round of a modern server, as long as it is not answered.
    pub round: Option<Round>,
}

impl Talk {
    /// Asks; gives the destination back when there are too many questions already.
    pub fn ask(&mut self, to: To, method: &str, params: &str, patience: Duration) -> Result<(), To> {
        if self.waiting.len() >= AT_A_TIME || self.asked >= IN_ALL {
            return Err(to);
        }
        self.asked += 1;
        let now = Instant::now();
        self.since.get_or_insert(now);
        let (ask, answered) = Ask::new(method.to_owned(), params.to_owned());
        self.outgoing.push_back(ask);
        self.waiting.push(ClientQuestion { to, method: method.to_owned(), answered, until: now + patience });
        Ok(())
    }

    /// The next question for the client.
    pub fn outgoing(&mut self) -> Option<Ask> {
        self.outgoing.pop_front()
    }

    /// True where the client has nothing to answer.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Until when the first of the questions can be answered.
    pub fn until(&self) -> Option<Instant> {
        self.waiting.iter().map(|question| question.until).min()
    }

    /// The next question that is answered, or that nobody will answer. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> (ClientQuestion, Option<Answered>) {
        poll_fn(|cx| {
            for (place, question) in self.waiting.iter_mut().enumerate() {
                if let Poll::Ready(answered) = Pin::new(&mut question.answered).poll(cx) {
                    return Poll::Ready((self.waiting.swap_remove(place), answered.ok()));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Takes out the questions that have waited too long, or all of them.
    pub fn overdue(&mut self, all: bool) -> Vec<ClientQuestion> {
        let now = Instant::now();
        let (overdue, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|question| all || question.until <= now);
        self.waiting = waiting;
        overdue
    }

    /// How long the call has waited for its client, once nothing waits any more.
    pub fn rested(&mut self) -> Duration {
        if !self.is_quiet() {
            return Duration::ZERO;
        }
        self.since.take().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_out_in_the_order_in_which_they_are_given() {
        let mut talk = Talk::default();
        let patience = Duration::from_secs(9);
        for key in ["a", "b"] {
            assert!(talk.ask(To::Round(key.to_owned()), "elicitation/create", "{}", patience).is_ok());
        }
        let first = talk.outgoing().expect("a question");
        let second = talk.outgoing().expect("a question");
        assert!(talk.outgoing().is_none());
        second.answer(Ok("2".to_owned()));
        let (question, answered) = talk.next().await;
        assert!(matches!(question.to, To::Round(key) if key == "b"));
        assert_eq!(answered, Some(Ok("2".to_owned())));
        assert_eq!(talk.rested(), Duration::ZERO);
        drop(first);
        assert_eq!(talk.next().await.1, None);
        assert!(talk.rested() > Duration::ZERO);
        assert_eq!(talk.rested(), Duration::ZERO);
    }

    #[tokio::test]
    async fn questions_are_bounded_in_number_and_time() {
        let mut talk = Talk::default();
        let mut ask = |secs| talk.ask(To::Round(String::new()), "x", "{}", Duration::from_secs(secs)).is_ok();
        assert!(ask(0) && (1..AT_A_TIME).all(|_| ask(9)));
        assert!(!ask(9));
        assert_eq!(talk.overdue(false).len(), 1);
        assert_eq!(talk.overdue(true).len(), AT_A_TIME - 1);
        assert!(talk.is_quiet() && talk.until().is_none());
    }
}
