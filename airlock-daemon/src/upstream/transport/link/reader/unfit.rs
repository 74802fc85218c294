//! Answers of a server that are not as they have to be: the call that they are meant for fails at once and
//! says why, instead of waiting for its deadline.

use std::sync::atomic::Ordering;

use serde_json::value::RawValue;

use crate::mcp::error::code;
use crate::mcp::message::Meant;
use crate::mcp::object::Object;

use super::{Counts, Reading};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::reply::{Reply, Takes};

impl Reading {
    /// Takes in such an answer; says how it counts.
    pub(super) fn unfit(&self, meant: Meant, error: Option<&RawValue>, fault: &str) -> Counts {
        let is_nobodys = meant == Meant::Nobody;
        // An error without an id is what a server answers to what it cannot read (JSON-RPC 2.0, section 5).
        if let (true, Some(error)) = (is_nobodys, error)
            && !self.is_about_notification(error)
            && let Some(id) = self.only_call()
        {
            return self.answered(id, Reply::Error(error.get().to_owned()));
        }
        let call = match meant {
            Meant::Call(id) => Some(id),
            Meant::Nobody if error.is_some() => None,
            Meant::Nobody | Meant::Stranger => self.only_call(),
        };
        let waiter = call.and_then(|id| self.waiting.borrow_mut().remove(&id));
        if self.shared.is_unfit_told.swap(true, Ordering::AcqRel) {
            tracing::debug!(upstream = %self.upstream, "an answer of the server is wrong: {fault}");
        } else {
            tracing::warn!(upstream = %self.upstream, "an answer of the server is wrong: {fault}");
        }
        match (waiter, meant) {
            (Some(waiter), _) => {
                let error =
                    UpstreamError::Protocol { upstream: self.upstream.to_string(), detail: fault.to_owned() };
                // Let go with this set, the call reads it.
                let _ = waiter.failure.set(error);
                Counts::Not
            }
            (None, Meant::Call(_)) => Counts::Once,
            (None, _) => Counts::ByLength,
        }
    }

    /// The call in flight where there is one alone; a subscription is none. From a server that has worked for
    /// several principals it may be about a call of another one that was given up.
    fn only_call(&self) -> Option<u64> {
        if self.hub.several && self.shared.briefing.is_mixed() {
            return None;
        }
        let waiting = self.waiting.borrow();
        let mut calls = waiting.iter().filter(|(_, call)| call.takes != Takes::Changes);
        let (id, _) = calls.next()?;
        calls.next().is_none().then_some(*id)
    }

    /// True where an error without an id may be the answer to a notification, which wants none. Servers are
    /// known to answer `notifications/initialized` so. A server that can read the name of a method can read
    /// the id of a request.
    fn is_about_notification(&self, error: &RawValue) -> bool {
        let code = Object::parse(error.get()).ok().and_then(|error| error.get("code")?.parse::<i32>().ok());
        self.shared.briefing.declared().is_some() && code == Some(code::METHOD_NOT_FOUND)
    }
}
