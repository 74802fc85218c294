//! The words of a server that belong to no call: they are looked through as the policy obliges to, and what
//! is found in them is on a record of its own.

use std::sync::Arc;

use crate::audit::RecordWait;
use crate::pipeline::refusal::Aim;
use crate::pipeline::{Context, Gateway, record, redact};
use crate::redaction::{Barred, Found, Purpose, Sieve};
use crate::upstream::message::ask::Ask;
use crate::upstream::pool::Upstream;

use super::ask::{check, unanswered};
use super::sifted::{self, SiftedKind};
use crate::auth::principal::Principal;
use crate::pipeline::request::requester::Requester;

/// A message of a server's outside of calls, and for whom it is.
#[derive(Clone, Copy)]
pub(crate) struct Aside<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) context: &'a Context,
    pub(crate) principal: &'a Principal,
    pub(crate) upstream: &'a Upstream,
    /// The method of the message, or of the request whose answer it is a part of.
    pub(crate) method: &'a str,
}

impl<'a> Aside<'a> {
    /// For whoever sent a request.
    pub(crate) fn to(
        gateway: &'a Gateway,
        who: &'a Requester,
        upstream: &'a Upstream,
        method: &'a str,
    ) -> Self {
        Self { gateway, context: &who.context, principal: &who.principal, upstream, method }
    }

    /// Looks through such messages, with what the policy obliges to.
    pub(crate) async fn sieve(&self, obliged: &[Arc<str>]) -> Option<Arc<Sieve>> {
        self.gateway.redaction.ready(obliged).await;
        let purpose = Purpose { upstream: &self.upstream.name, tool: None, obliged };
        self.gateway.redaction.sieve(self.principal, purpose)
    }

    /// The message as it may pass; none where it may not, and is left out.
    pub(crate) async fn pass(
        &self,
        sieve: Option<&Arc<Sieve>>,
        kind: SiftedKind,
        text: String,
    ) -> Option<String> {
        let mut found = Found::default();
        let passed = sifted::message(sieve, kind, text, &mut found).await;
        self.note(&found, passed.as_ref().err());
        passed.ok()
    }

    /// Puts on record what was found in the message, and that it may not pass.
    pub(crate) fn note(&self, found: &Found, barred: Option<&Barred>) {
        let upstream = &self.upstream.name;
        if let Some(barred) = barred {
            tracing::debug!(%upstream, method = self.method, "a message is left out: it {}", barred.reason());
        }
        let aim =
            Aim { method: Some(self.method.into()), upstream: Some(Arc::clone(upstream)), ..Aim::default() };
        record::found(self.gateway, self.context, self.principal, &aim, (found, barred));
    }

    /// A question as it may be asked; none where it may not, and its server has been told.
    pub(crate) async fn question(&self, sieve: Option<&Arc<Sieve>>, mut asked: Ask) -> Option<Ask> {
        let params = std::mem::take(&mut asked.params);
        if let Some(params) = self.pass(sieve, SiftedKind::Plain, params).await {
            asked.params = params;
            return Some(asked);
        }
        let answer = unanswered(&asked.method);
        asked.answer(answer);
        None
    }
}

/// A question of no call that may be asked: redacted as the policy obliges to for it, as its answer will be.
/// None where it may not, and its server has been told.
pub(crate) async fn ask(
    gateway: &Arc<Gateway>,
    who: &Requester,
    upstream: &Arc<Upstream>,
    asked: Ask,
) -> Option<Ask> {
    let method = asked.method.clone();
    let aside = Aside::to(gateway, who, upstream, &method);
    let mut sieve = aside.sieve(&[]).await;
    let mut asked = aside.question(sieve.as_ref(), asked).await?;
    let question = (method.as_str(), asked.params.as_str());
    let obliged = match check(gateway, who, upstream, question, &mut RecordWait::default()).await {
        Ok(obliged) => obliged,
        Err(unasked) => {
            asked.answer(unasked.answer(&method));
            return None;
        }
    };
    if !obliged.is_empty() {
        sieve = aside.sieve(&obliged).await;
        asked = aside.question(sieve.as_ref(), asked).await?;
    }
    Some(answered(sieve, asked, (gateway, who, upstream)))
}

/// A question whose answer is looked through on its way to the server.
pub(crate) fn answered(
    sieve: Option<Arc<Sieve>>,
    mut asked: Ask,
    (gateway, who, upstream): (&Arc<Gateway>, &Requester, &Arc<Upstream>),
) -> Ask {
    let Some(sieve) = sieve else { return asked };
    let params = std::mem::take(&mut asked.params);
    let (passed, answered) = Ask::new(asked.method.clone(), params);
    let (gateway, who, upstream) = (Arc::clone(gateway), who.clone(), Arc::clone(upstream));
    tokio::task::spawn_local(async move {
        let answered = tokio::select! {
            answered = answered => answered.ok(),
            // The client's side is told by the end of the channel.
            () = asked.withdrawn() => return,
        };
        let passed = match answered {
            Some(answered) => {
                let aside = Aside::to(&gateway, &who, &upstream, &asked.method);
                match redact::answered(&sieve, answered).await {
                    Ok((answer, found)) => {
                        aside.note(&found, None);
                        Some(answer)
                    }
                    Err(barred) => {
                        aside.note(&barred.found(), Some(&barred));
                        None
                    }
                }
            }
            None => None,
        };
        let answer = passed.unwrap_or_else(|| unanswered(&asked.method));
        asked.answer(answer);
    });
    passed
}
