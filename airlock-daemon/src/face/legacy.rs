//! The face of 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25: `initialize` opens a session, and requests name it.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::task::JoinSet;

use crate::audit::Event;
use crate::auth::principal::Principal;
use crate::mcp::client::{ClientCapabilities, ClientCapability};
use crate::mcp::envelope::{Envelope, Id};
use crate::mcp::error::code;
use crate::mcp::header::{self, PROTOCOL_VERSION, SESSION_ID};
use crate::mcp::level::Level;
use crate::mcp::method::Method;
use crate::mcp::object::{Object, quote};
use crate::mcp::param_header::Sent;
use crate::mcp::revision::{Era, Revision};
use crate::pipeline::call::{self, Cancellation, Requester, not_offered, upstream_failed};
use crate::pipeline::kind::{Kind, SET_LEVEL};
use crate::pipeline::open::failed;
use crate::pipeline::record::Outcome;
use crate::pipeline::refusal::Aim;
use crate::pipeline::route::Endpoint;
use crate::pipeline::subscribe::{self, Granted, SUBSCRIBE, UNSUBSCRIBE};
use crate::pipeline::{Context, Gateway, Refusal, Stage, level, limit, record};
use crate::upstream::driver::{self, META_LOG_LEVEL};
use crate::upstream::pool::Upstream;

use super::batch::Voice;
use super::outbox;
use super::reply::{self, Reply};
use super::session::{Served, Session};
use super::sessions::{Sessions, Unopened};
use super::shape::Shape;

/// Where a client's reading of a stream broke off.
const LAST_EVENT_ID: &str = "last-event-id";

/// What one request is served with.
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
    pub voice: Option<&'a Voice>,
}

impl Legacy<'_> {
    /// Serves one message; `body` is its text.
    ///
    /// # Errors
    /// A [`Refusal`] of any stage.
    pub async fn serve(&self, envelope: Envelope<'_>, body: &[u8]) -> Result<Reply, Refusal> {
        let Envelope { id, method, params, .. } = envelope;
        self.endpoint.upstream(&self.gateway.upstreams).map_err(|refusal| refusal.id(id.as_ref()))?;
        let Some(name) = method else { return self.response(id.as_ref(), body) };
        let method = Method::parse(&name);
        if method == Method::Initialize {
            return self.initialize(id.as_ref(), &params).await;
        }
        let session = self.session(id.as_ref())?;
        let Some(id) = id else { return notification(&session, method, &params) };
        self.request(&session, id, method, &name, params).await
    }

    /// Whether the session that the request names may send batches: 2025-03-26 has them, no other revision has.
    ///
    /// # Errors
    /// 400 when it may not, or 404 when there is no such session.
    pub fn may_batch(&self) -> Result<(), Refusal> {
        if header::single(self.headers, SESSION_ID).is_ok_and(|named| named.is_some())
            && self.session(None)?.revision == Revision::V20250326
        {
            return Ok(());
        }
        let reason = "batches belong to a session of 2025-03-26: send one message a request";
        Err(Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code::INVALID_REQUEST))
    }

    /// Ends the session that the request names.
    ///
    /// # Errors
    /// When it names none of this principal's.
    pub fn delete(&self) -> Result<Reply, Refusal> {
        let session = self.session(None)?;
        self.sessions.close(&session.id);
        self.gateway.upstreams.end_session(&session.id);
        Ok(Reply::Empty(StatusCode::NO_CONTENT))
    }

    /// Opens the standing stream, or goes on with the stream that an event id names (2025-11-25, "Listening for messages").
    ///
    /// # Errors
    /// When the session or the event id is none of this principal's.
    pub fn get(&self) -> Result<Reply, Refusal> {
        let session = self.session(None)?;
        let bad = |reason: String| Refusal::new(Stage::Http, StatusCode::BAD_REQUEST, reason);
        let last = header::single(self.headers, LAST_EVENT_ID).map_err(bad)?;
        let places = limit::stream(self.gateway, self.principal)?;
        let aim = Aim { method: Some("GET".into()), ..Aim::default() };
        record::answered(self.gateway, self.context, self.principal, &aim, Event::Request)?;
        let standing = session.standing(&self.gateway.metrics);
        let gone = || bad("there is no such session: send `initialize` again".to_owned());
        let standing = standing.ok_or_else(gone)?;
        let (outbox, at) = match last.filter(|last| !last.is_empty()) {
            None => (standing, None),
            Some(last) => {
                let found = outbox::parse_id(last).and_then(|(id, at)| Some((session.stream(id)?, Some(at))));
                let reason = "Last-Event-ID names no stream of this session that can still be read";
                found.ok_or_else(|| bad(reason.to_owned()))?
            }
        };
        session.listen(self.gateway, self.endpoint, &self.requester(&session));
        let until = super::until(self.gateway, self.principal);
        let reader = outbox.read(&session, at, Some(until));
        let reader = reader.ok_or_else(|| bad("Last-Event-ID names no event of its stream".to_owned()))?;
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
        let bad = |reason: &str| {
            Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code::INVALID_REQUEST)
        };
        let session = self.session(None)?;
        let text = std::str::from_utf8(body).unwrap_or_default();
        let message = Object::parse(text).map_err(|_| bad("a message is a JSON object"))?;
        let is_object = |text: &&str| text.starts_with('{');
        let answered = match (message.get("result"), message.get("error").filter(is_object)) {
            (Some(result), None) if result.starts_with('{') => Ok(result.to_owned()),
            (None, Some(error)) => Err(error.to_owned()),
            _ => return Err(bad("a response has an object `result` or an object `error`")),
        };
        if id.is_some_and(|id| session.answer(id, answered)) {
            Ok(Reply::Empty(StatusCode::ACCEPTED))
        } else {
            Err(bad("no request of ours waits for this response"))
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
        let identified = |refusal: Refusal| refusal.id(Some(&id));
        let who = self.requester(session);
        if method == Method::Ping {
            return Ok(Reply::Json(StatusCode::OK, reply::result(&id, "{}")));
        }
        if let Some(method) = [SUBSCRIBE, UNSUBSCRIBE].into_iter().find(|known| *known == name) {
            return self.subscribe(session, &who, method, &params, &id).await.map_err(identified);
        }
        match Kind::of(method) {
            Some(Kind::List(kind)) => reply::list(self.gateway, kind, &who, self.endpoint, params, &id).await,
            Some(Kind::Call(kind)) if *kind == SET_LEVEL => {
                self.set_level(session, &who, &params, &id).await.map_err(identified)
            }
            Some(Kind::Call(kind)) => {
                let Some(call) = session.enter(&id) else {
                    let reason = "this id is already in use by a call of the session, or too many run";
                    let refusal = Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason);
                    return Err(identified(refusal.code(code::INVALID_REQUEST)));
                };
                if let Some(level) = session.level() {
                    with_level(&mut params, level);
                }
                let cancellation = Cancellation { told: Arc::clone(&call.cancelled), entry: Box::new(call) };
                let shape = Shape { era: Era::Legacy, cacheable: kind.cacheable }.writer();
                let running =
                    call::start(self.gateway, kind, who, self.endpoint, params, shape, Some(cancellation))
                        .await
                        .map_err(identified)?;
                match self.voice {
                    Some(voice) => voice.follow(running, id).await,
                    None => reply::follow_in(session, running, id).await,
                }
            }
            None => Err(identified(not_offered(name, session.revision))),
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
            subscribe::check(self.gateway, who, self.endpoint, method, params)?;
        let merged = *self.endpoint == Endpoint::Merged;
        let begins = method == SUBSCRIBE;
        let answered = session.watch(self.gateway, &upstream, merged, who, &uri, begins).await;
        let text = match answered {
            Ok(Ok(_)) => {
                open.end(Outcome::Ok, 2, None);
                reply::result(id, "{}")
            }
            Ok(Err(error)) => {
                open.end(Outcome::Error, error.len(), None);
                reply::error(id, &error)
            }
            Err(error) => {
                open.end(failed(&error), 0, Some(&error));
                let mut refusal = upstream_failed(&error);
                refusal.aim = open.aim.clone();
                return Err(refusal);
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
        let level = params.string("level").and_then(|level| Level::parse(&level)).ok_or_else(|| {
            let reason =
                format!("`params.level` must be one of {}", Level::ALL.map(Level::as_str).join(", "));
            Refusal::new(Stage::Decode, StatusCode::OK, reason).code(code::INVALID_PARAMS)
        })?;
        let text = match level::set(self.gateway, who, self.endpoint, params).await? {
            Ok(_) => {
                session.set_level(level);
                reply::result(id, "{}")
            }
            Err(error) => reply::error(id, &error),
        };
        Ok(Reply::Json(StatusCode::OK, text))
    }

    async fn initialize(&self, id: Option<&Id>, params: &Object<'_>) -> Result<Reply, Refusal> {
        let bad = |status, code, reason: &str| Refusal::new(Stage::Decode, status, reason).code(code).id(id);
        let Some(id) = id else {
            return Err(bad(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, "`initialize` needs an `id`"));
        };
        let Some(requested) = params.string("protocolVersion") else {
            return Err(bad(
                StatusCode::BAD_REQUEST,
                code::INVALID_PARAMS,
                "`params.protocolVersion` must be a string",
            ));
        };
        // An unknown revision is answered with one that is spoken here (2025-11-25, "Version negotiation").
        let revision = Revision::parse(&requested)
            .filter(|revision| revision.era() == Era::Legacy)
            .unwrap_or(Revision::LATEST_LEGACY);
        let offer = || {
            super::offer(self.gateway, self.context, self.principal, self.endpoint, revision)
                .map_err(|refusal| refusal.id(Some(id)))
        };
        offer()?;
        let aim = Aim { method: Some("initialize".into()), ..Aim::default() };
        record::answered(self.gateway, self.context, self.principal, &aim, Event::Request)
            .map_err(|refusal| refusal.id(Some(id)))?;
        // Nothing reaches a server before the record; what is learned of it may change what is offered.
        self.learn(revision).await;
        let offer = offer()?;
        let capabilities = params.get("capabilities").map(ClientCapabilities::parse).unwrap_or_default();
        // Extensions belong to the modern era.
        let capabilities = capabilities.without(ClientCapability::Tasks);
        let opened = self.sessions.open_soon(self.principal, self.endpoint, revision, capabilities).await;
        let opened = opened.map_err(|unopened| no_room(unopened).id(Some(id)))?;
        if let Some(gone) = opened.instead_of {
            self.gateway.metrics.session_made_room(gone.share);
            self.gateway.upstreams.end_session(&gone.id);
        }
        let session = opened.session;
        let instructions =
            offer.instructions.map(|text| format!(r#","instructions":{text}"#)).unwrap_or_default();
        let result = format!(
            r#"{{"protocolVersion":{},"capabilities":{},"serverInfo":{}{instructions}}}"#,
            quote(revision.as_str()),
            offer.capabilities,
            driver::implementation(),
        );
        Ok(Reply::Opened(reply::result(id, &result), Arc::clone(&session.id)))
    }

    /// Learns of the servers of the endpoint what they have for clients of this era, all at once. Nothing
    /// reaches a server for a principal that may not use it.
    async fn learn(&self, revision: Revision) {
        let upstreams = &self.gateway.upstreams;
        let mut asked = JoinSet::new();
        let one = self.endpoint.upstream(upstreams).ok().flatten();
        let is_asked = |upstream: &Arc<Upstream>| {
            one.is_none_or(|one| Arc::ptr_eq(one, upstream))
                && super::may_use(self.gateway, self.context, self.principal, upstream, revision)
        };
        for upstream in upstreams.iter().filter(|upstream| is_asked(upstream)) {
            let upstream = Arc::clone(upstream);
            asked.spawn_local(async move { upstream.learn_legacy().await });
        }
        while asked.join_next().await.is_some() {}
    }

    /// The session that the request names.
    pub(super) fn session(&self, id: Option<&Id>) -> Result<Served, Refusal> {
        let bad = |status, reason: String| {
            Refusal::new(Stage::Decode, status, reason).code(code::INVALID_REQUEST).id(id)
        };
        let named = header::single(self.headers, SESSION_ID)
            .map_err(|reason| bad(StatusCode::BAD_REQUEST, reason))?
            .ok_or_else(|| {
                bad(
                    StatusCode::BAD_REQUEST,
                    "the header Mcp-Session-Id is missing: send `initialize` first".into(),
                )
            })?;
        let session = self.sessions.get(named, self.principal, self.endpoint).ok_or_else(|| {
            bad(StatusCode::NOT_FOUND, "there is no such session: send `initialize` again".into())
        })?;
        // 2025-06-18 and later name the agreed revision in every request; earlier ones do not.
        match header::single(self.headers, PROTOCOL_VERSION) {
            Ok(None) => Ok(session),
            Ok(Some(revision)) if revision == session.revision.as_str() => Ok(session),
            Ok(Some(_)) => Err(bad(
                StatusCode::BAD_REQUEST,
                format!("the header {PROTOCOL_VERSION} is not the revision agreed on"),
            )),
            Err(reason) => Err(bad(StatusCode::BAD_REQUEST, reason)),
        }
    }
}

/// The refusal of a session for which there is no place.
fn no_room(unopened: Unopened) -> Refusal {
    let mut refusal = Refusal::new(Stage::Limit, StatusCode::SERVICE_UNAVAILABLE, unopened.to_string());
    refusal.rule_id = unopened.key().map(Into::into);
    refusal.retry_after = Some(30);
    refusal
}

fn notification(session: &Session, method: Method, params: &Object<'_>) -> Result<Reply, Refusal> {
    if !method.is_notification() {
        let reason = "a request needs an `id`";
        return Err(Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code::INVALID_REQUEST));
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
    // What is no object is left for the server to refuse.
    if let Ok(mut meta) = Object::parse(&original) {
        meta.set(META_LOG_LEVEL, quote(level.as_str()));
        params.set("_meta", meta.write());
    }
}
