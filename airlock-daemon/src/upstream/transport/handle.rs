//! The two kinds of links behind one handle: a pipe of lines, or HTTP.

use std::sync::Arc;

use crate::auth::principal::Token;
use crate::limits::budget::Account;
use crate::mcp::param_header::Mirrored;

use super::http::{HttpLink, HttpPending};
use super::link::{PipeLink, PipePending};
use crate::upstream::message::ask::Answered;
use crate::upstream::message::briefing::Briefing;
use crate::upstream::message::reply::{Ending, Reply, Takes};

/// A handle of a link; the link ends when the last one is dropped. It may go to any worker's thread.
#[derive(Clone)]
pub enum Link {
    /// One message a line.
    Pipe(PipeLink),
    /// One HTTP request a message.
    Http(HttpLink),
}

/// A call in flight; dropping it before its result tells the server that nobody waits any more.
pub enum Pending {
    /// On a pipe.
    Pipe(PipePending),
    /// Over HTTP.
    Http(HttpPending),
}

impl Link {
    /// True where the link can take a request.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Pipe(link) => link.is_alive(),
            Self::Http(link) => link.is_alive(),
        }
    }

    /// A handle whose requests are made for the principal of `token`, and their answers charged to `account`
    /// while they are read; a pipe knows nothing of either.
    pub(in crate::upstream) fn on_behalf_of(&self, token: Option<Arc<Token>>, account: Account) -> Self {
        match self {
            Self::Pipe(link) => Self::Pipe(link.clone()),
            Self::Http(link) => Self::Http(link.on_behalf_of(token, account)),
        }
    }

    /// The cause of the link's end, once it has ended.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Pipe(link) => link.ending(),
            Self::Http(link) => link.ending(),
        }
    }

    /// Sends a request whose text `write` makes for the id it is given, from a worker's thread. `None` when
    /// the link has ended.
    pub async fn request(&self, takes: Takes, write: impl FnOnce(u64) -> String) -> Option<Pending> {
        match self {
            Self::Pipe(link) => link.request(takes, write).await.map(Pending::Pipe),
            Self::Http(link) => link.request(takes, write).map(Pending::Http),
        }
    }

    /// Sends a request as [`Link::request`] does and waits for its answer. Nobody waits for anything else
    /// that the server says meanwhile.
    ///
    /// # Errors
    /// The cause, where no answer comes.
    pub async fn ask(&self, takes: Takes, write: impl FnOnce(u64) -> String) -> Result<Answered, Ending> {
        let mut pending = self.request(takes, write).await.ok_or_else(|| self.ending())?;
        loop {
            match pending.next().await {
                Some(Reply::Notification(..) | Reply::Ask(_)) => {}
                Some(Reply::Result(result)) => return Ok(Ok(result)),
                Some(Reply::Error(error)) => return Ok(Err(error)),
                None => return Err(pending.ending()),
            }
        }
    }

    /// True where the server has ended by itself, or has forgotten the session; not so when it was ended from
    /// this side.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Pipe(link) => link.is_lost(),
            Self::Http(link) => link.is_lost(),
        }
    }

    /// The messages that the server was told besides its calls.
    pub(in crate::upstream) fn briefing(&self) -> &Briefing {
        match self {
            Self::Pipe(link) => link.briefing(),
            Self::Http(link) => link.briefing(),
        }
    }

    /// As [`Link::request`], with headers that repeat arguments where the transport has headers.
    pub async fn request_mirrored(
        &self,
        takes: Takes,
        mirrored: Mirrored,
        write: impl FnOnce(u64) -> String,
    ) -> Option<Pending> {
        match self {
            Self::Pipe(link) => link.request(takes, write).await.map(Pending::Pipe),
            Self::Http(link) => link.request_mirrored(takes, mirrored, write).map(Pending::Http),
        }
    }

    /// Sends a notification; lost when the link has ended.
    pub async fn notify(&self, text: String) {
        match self {
            Self::Pipe(link) => link.notify(text).await,
            Self::Http(link) => link.notify(text).await,
        }
    }
}

impl Pending {
    /// The next message of the call; `None` when the link ended before the result, or there will be none.
    pub async fn next(&mut self) -> Option<Reply> {
        match self {
            Self::Pipe(pending) => pending.next().await,
            Self::Http(pending) => pending.next().await,
        }
    }

    /// Tells the server that nobody waits any more, as dropping it does.
    pub fn give_up(&mut self) {
        match self {
            Self::Pipe(pending) => pending.give_up(),
            Self::Http(pending) => pending.give_up(),
        }
    }

    /// Why there is no result.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Pipe(pending) => pending.ending(),
            Self::Http(pending) => pending.ending(),
        }
    }
}
