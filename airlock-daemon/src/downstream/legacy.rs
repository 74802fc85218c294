//! The driver of clients of 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25: `initialize` opens a session,
//! and requests name it.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::task::JoinSet;

use crate::auth::principal::Principal;
use crate::call::open::failed;
use crate::call::start::{Cancellation, Means};
use crate::call::subscribe::{Granted, SUBSCRIBE, UNSUBSCRIBE};
use crate::call::{level, start, subscribe};
use crate::mcp::client::{ClientCapabilities, ClientCapability};
use crate::mcp::envelope::{Envelope, Id};
use crate::mcp::level::Level;
use crate::mcp::meta::META_LOG_LEVEL;
use crate::mcp::method::Method;
use crate::mcp::object::{Object, quote};
use crate::mcp::param_header::Sent;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::{jsonrpc, meta};
use crate::pipeline::methods::table::{MethodKind, SET_LEVEL};
use crate::pipeline::record::Outcome;
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal, admit, decode, limit, revision, route, upstream};
use crate::upstream::pool::Upstream;

use super::batch::BatchStream;
use super::reply;
use super::reply::Reply;
use super::session::{Served, Session};
use super::sessions::Sessions;
use super::shape::Shape;
use crate::downstream::event_store;

/// The parts that one request is served with.
pub struct Legacy<'a> {
    /// The gateway.
    pub gateway: &'a Arc<Gateway>,
    /// All sessions.
    pub sessions: &'a Sessions,
    /// The request.
    pub context: &'a Context,
    /// The verified principal.
    pub principal: &'a Arc<Principal>,
    /// Where it was sent.
    pub endpoint: &'a Endpoint,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Where it speaks, as one of a batch.
    pub stream: Option<&'a BatchStream>,
}

impl Legacy<'_> {
    /// Serves one message; `body` is its text.
    ///
    /// # Errors
    /// A [`Refusal`] of any stage.
    pub async fn serve(&self, envelope: Envelope<'_>, body: &[u8]) -> Result<Reply, Refusal> {
        let Envelope { id, method, params, .. } = envelope;
        let Some(name) = method else { return self.response(id.as_ref(), body) };
        let method = Method::parse(&name);
        if method == Method::Initialize {
            return self.initialize(id.as_ref(), &params).await;
        }
        let session = self.session()?;
        let Some(id) = id else { return notification(&session, method, &params) };
        self.request(&session, id, method, &name, params).await
    }

    /// Ends the session that the request names.
    ///
    /// # Errors
    /// When it names none of this principal's.
    pub fn delete(&self) -> Result<Reply, Refusal> {
        let session = self.session()?;
        self.sessions.close(&session.id);
        self.gateway.upstreams.end_session(&session.id);
        Ok(Reply::Empty(StatusCode::NO_CONTENT))
    }

    /// Opens the standing stream, or goes on with the stream that an event id names (2025-11-25, "Listening
    /// for messages").
    ///
    /// # Errors
    /// When the session or the event id is none of this principal's.
    pub async fn get(&self) -> Result<Reply, Refusal> {
        let session = self.session()?;
        let last = revision::last_event(self.headers)?;
        let who = self.requester(&session);
        admit(self.gateway, &who, self.endpoint, Asked::Own("GET")).await?;
        // After all that may wait for the disk: nobody keeps a place from others while it waits.
        let places = limit::stream(self.gateway, self.principal)?;
        let standing = session.standing(&self.gateway.metrics);
        let standing = standing.ok_or_else(revision::session_ended)?;
        let (store, at) = match last {
            None => (standing, None),
            Some(last) => {
                let found =
                    event_store::parse_id(last).and_then(|(id, at)| Some((session.stream(id)?, Some(at))));
                let reason = "Last-Event-ID names no stream of this session that can still be read";
                found.ok_or_else(|| revision::no_event(reason))?
            }
        };
        session.listen(self.gateway, self.endpoint, &who);
        let until = super::until(self.gateway, self.principal, self.endpoint);
        let reader = store.read(&session, at, Some(until));
        let reader =
            reader.ok_or_else(|| revision::no_event("Last-Event-ID names no event of its stream"))?;
        Ok(Reply::Read(reader, places))
    }

    fn requester(&self, session: &Session) -> Requester {
        Requester {
            context: self.context.clone(),
            principal: Arc::clone(self.principal),
            session: Some(Arc::clone(&session.id)),
            revision: session.revision,
            capabilities: session.capabilities,
            level: session.level(),
            params: Sent::default(),
        }
    }

    /// The answer to something that a server asked: it goes to that server as it came.
    fn response(&self, id: Option<&Id>, body: &[u8]) -> Result<Reply, Refusal> {
        let session = self.session()?;
        let answered = decode::answer(body)?;
        if id.is_some_and(|id| session.answer(id, answered)) {
            Ok(Reply::Empty(StatusCode::ACCEPTED))
        } else {
            Err(revision::not_asked())
        }
    }

    async fn request(
        &self,
        session: &Arc<Session>,
        id: Id,
        method: Method,
        name: &str,
        mut params: Object<'_>,
    ) -> Result<Reply, Refusal> {
        let who = self.requester(session);
        if method == Method::Ping {
            return Ok(Reply::Json(StatusCode::OK, jsonrpc::result(&id, "{}")));
        }
        if let Some(method) = [SUBSCRIBE, UNSUBSCRIBE].into_iter().find(|known| *known == name) {
            return self.subscribe(session, &who, method, &params, &id).await;
        }
        match MethodKind::of(method) {
            Some(MethodKind::List(kind)) => {
                reply::list(self.gateway, kind, &who, self.endpoint, params, &id).await
            }
            Some(MethodKind::Call(kind)) if *kind == SET_LEVEL => {
                self.set_level(session, &who, &params, &id).await
            }
            Some(MethodKind::Call(kind)) => {
                let call = session.enter(&id).ok_or_else(revision::id_in_use)?;
                if let Some(level) = session.level() {
                    with_level(&mut params, level);
                }
                let cancellation = Cancellation { told: Arc::clone(&call.cancelled), entry: Box::new(call) };
                let means = Means::Legacy(Some(cancellation));
                let shape = Shape { era: Era::Legacy, cacheable: kind.cacheable }.writer();
                let running = start::enter(self.gateway, kind, who, self.endpoint, params, shape, means)
                    .await?
                    .begun()?;
                match self.stream {
                    Some(stream) => stream.follow(running, id).await,
                    None => reply::follow_in(session, running, id).await,
                }
            }
            None => Err(route::not_offered(name, session.revision)),
        }
    }

    /// Begins or ends to hear of the changes of a resource.
    async fn subscribe(
        &self,
        session: &Arc<Session>,
        who: &Requester,
        method: &'static str,
        params: &Object<'_>,
        id: &Id,
    ) -> Result<Reply, Refusal> {
        let Granted { mut open, upstream, uri } =
            subscribe::check(self.gateway, who, self.endpoint, method, params).await?;
        let merged = *self.endpoint == Endpoint::Merged;
        let begins = method == SUBSCRIBE;
        let answered = session.watch(self.gateway, &upstream, merged, who, &uri, begins).await;
        let text = match answered {
            Ok(Ok(_)) => {
                open.end(Outcome::Ok, 2, None);
                jsonrpc::result(id, "{}")
            }
            Ok(Err(error)) => {
                let error = open.sift_error(error).await;
                open.end(Outcome::Error, error.len(), None);
                jsonrpc::error(id, &error)
            }
            Err(error) => {
                open.end(failed(&error), 0, Some(&error));
                return Err(upstream::failed(&error).about(&open.aim));
            }
        };
        Ok(Reply::Json(StatusCode::OK, text))
    }

    async fn set_level(
        &self,
        session: &Session,
        who: &Requester,
        params: &Object<'_>,
        id: &Id,
    ) -> Result<Reply, Refusal> {
        let level = decode::level(params)?;
        let text = match level::set(self.gateway, who, self.endpoint, params).await? {
            Ok(_) => {
                session.set_level(level);
                jsonrpc::result(id, "{}")
            }
            Err(error) => jsonrpc::error(id, &error),
        };
        Ok(Reply::Json(StatusCode::OK, text))
    }

    async fn initialize(&self, id: Option<&Id>, params: &Object<'_>) -> Result<Reply, Refusal> {
        let id = id.ok_or_else(|| revision::no_id("`initialize`"))?;
        let revision = revision::negotiated(params)?;
        let capabilities = params.get("capabilities").map(ClientCapabilities::parse).unwrap_or_default();
        // Extensions belong to the modern era.
        let capabilities = capabilities.without(ClientCapability::Tasks);
        let who = Requester {
            context: self.context.clone(),
            principal: Arc::clone(self.principal),
            session: None,
            revision,
            capabilities,
            level: None,
            params: Sent::default(),
        };
        admit(self.gateway, &who, self.endpoint, Asked::Own("initialize")).await?;
        // Nothing reaches a server before the record; what is learned of it may change what is offered.
        self.learn(revision).await;
        let offer = super::offer(self.gateway, self.context, self.principal, self.endpoint, revision).await?;
        let opened = self.sessions.open_soon(self.principal, self.endpoint, revision, capabilities).await;
        let opened = opened.map_err(|unopened| limit::no_session(&unopened, unopened.key()))?;
        if let Some(gone) = opened.instead_of {
            self.gateway.metrics.limits.session_made_room(gone.share);
            self.gateway.upstreams.end_session(&gone.id);
        }
        let session = opened.session;
        let instructions =
            offer.instructions.map(|text| format!(r#","instructions":{text}"#)).unwrap_or_default();
        let result = format!(
            r#"{{"protocolVersion":{},"capabilities":{},"serverInfo":{}{instructions}}}"#,
            quote(revision.as_str()),
            offer.capabilities,
            meta::implementation(),
        );
        Ok(Reply::Opened(jsonrpc::result(id, &result), Arc::clone(&session.id)))
    }

    /// Learns of the servers of the endpoint what they have for clients of this era, all at once. Nothing
    /// reaches a server for a principal that may not use it.
    async fn learn(&self, revision: Revision) {
        let upstreams = &self.gateway.upstreams;
        let mut asked = JoinSet::new();
        let one = self.endpoint.upstream(upstreams).ok().flatten();
        let is_asked = |upstream: &Arc<Upstream>| {
            one.is_none_or(|one| Arc::ptr_eq(one, upstream))
                && super::may_use(self.gateway, self.context, self.principal, upstream, revision).is_some()
        };
        for upstream in upstreams.iter().filter(|upstream| is_asked(upstream)) {
            let upstream = Arc::clone(upstream);
            asked.spawn_local(async move { upstream.learn_legacy().await });
        }
        while asked.join_next().await.is_some() {}
    }

    /// The session that the request names.
    pub(super) fn session(&self) -> Result<Served, Refusal> {
        let named = revision::session(self.headers)?;
        let session = self.sessions.get(named, self.principal, self.endpoint);
        let session = session.ok_or_else(revision::no_session)?;
        revision::agreed(self.headers, session.revision)?;
        Ok(session)
    }
}

fn notification(session: &Session, method: Method, params: &Object<'_>) -> Result<Reply, Refusal> {
    if !method.is_notification() {
        return Err(revision::no_id("a request"));
    }
    if method == Method::Cancelled
        && let Some(id) = params.get("requestId").and_then(|id| Id::parse(id).ok())
    {
        session.cancel(&id);
    }
    Ok(Reply::Empty(StatusCode::ACCEPTED))
}

/// Writes the session's level where a modern server looks for it; legacy ones never see it.
fn with_level(params: &mut Object<'_>, level: Level) {
    let original = params.get("_meta").unwrap_or("{}").to_owned();
    // A `_meta` that is no object is left for the server to refuse.
    if let Ok(mut meta) = Object::parse(&original) {
        meta.set(META_LOG_LEVEL, quote(level.as_str()));
        params.set("_meta", meta.write());
    }
}

impl Legacy<'_> {
    /// The session of the request, where its revision has batches.
    pub fn takes_batches(&self) -> Option<Served> {
        self.session().ok().filter(|session| session.revision == Revision::V20250326)
    }
}
