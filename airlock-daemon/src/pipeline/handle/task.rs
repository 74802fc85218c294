//! Ids of tasks: sealed for the principal whose call became the task, and opened for nobody else.
//!
//! A server knows its tasks by ids, and whoever learns an id may use it. So clients never see ids: they get
//! handles ([`crate::pipeline::seal`]), which name the same task for as long as this process lives. At the
//! merged endpoint a handle says also whose it is ([`naming`]).

use std::sync::Arc;

use crate::auth::principal::{Identity, Principal};
use crate::mcp::capability::Capability;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::envelope::variant;
use crate::mcp::meta::META_RELATED_TASK;
use crate::mcp::object::{Object, quote};
use crate::mcp::strict;
use crate::upstream::error::UpstreamError;
use crate::upstream::pool::Upstream;

use crate::pipeline::methods::kind::{Call, Noun, Tasks, offered};
use crate::pipeline::methods::naming;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::seal::{Purpose, Sealer};
use crate::pipeline::{Gateway, Refusal, route};

/// Longest id of a task that a handle is made for, in bytes.
const MAX_ID: usize = 4096;

/// The tasks of one principal at one upstream, as an endpoint names them.
pub struct Ids<'a> {
    sealer: &'a Sealer,
    owner: Identity,
    upstream: &'a str,
    merged: bool,
}

/// The task is not one of this principal's at this upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// Starts the server and asks it for what a request needs, where that is not known yet; says whether it has
/// it. The intent is on record before.
///
/// # Errors
/// When the server has to be asked and cannot.
pub async fn ask(
    kind: &Call,
    needs: Capability,
    upstream: &Arc<Upstream>,
    who: &Requester,
) -> Result<bool, UpstreamError> {
    if let Some(known) = route::known(kind, needs, upstream, who.revision) {
        return Ok(known);
    }
    let facts = upstream.probe_for(&who.caller()).await?;
    Ok(offered(needs, &facts, who.revision))
}

/// Gives the server its own ids of the tasks that a call names; returns that of the task that it is aimed at,
/// where that is one.
///
/// # Errors
/// When a task is not one of this principal's.
pub fn opened(
    gateway: &Gateway,
    upstream: &Upstream,
    who: &Requester,
    own: Option<(Noun, &str)>,
    merged: bool,
    params: &mut Object<'_>,
) -> Result<Option<String>, Refusal> {
    let related = params.get("_meta").is_some_and(|meta| mentions(meta, META_RELATED_TASK));
    if !related && !matches!(own, Some((Noun::Task, _))) {
        return Ok(None);
    }
    let unknown = |_| route::unknown(Noun::Task, "", who.revision);
    let ids = Ids::new(&gateway.sealer, &who.principal, &upstream.name, merged);
    ids.brought(params).map_err(unknown)?;
    match own {
        Some((Noun::Task, handle)) => ids.open(handle).map(Some).map_err(unknown),
        _ => Ok(None),
    }
}

impl<'a> Ids<'a> {
    /// For what `principal` does at `upstream`; `merged` where it does so at the merged endpoint.
    pub fn new(sealer: &'a Sealer, principal: &Principal, upstream: &'a str, merged: bool) -> Self {
        Self { sealer, owner: principal.identity().clone(), upstream, merged }
    }

    /// True where they are named for the merged endpoint.
    pub fn is_merged(&self) -> bool {
        self.merged
    }

    /// The client's name for the server's id.
    ///
    /// # Errors
    /// For an id that is too long, in words for the operator.
    pub fn seal(&self, id: &str) -> Result<String, String> {
        if id.len() > MAX_ID {
            return Err(format!("the id of a task is longer than {MAX_ID} bytes"));
        }
        let handle = self.sealer.seal(Purpose::Task, &self.owner, &[self.upstream], id.as_bytes());
        Ok(if self.merged { naming::merged(Noun::Task, self.upstream, &handle) } else { handle })
    }

    /// The server's id for a handle without the name of its upstream.
    ///
    /// # Errors
    /// [`Unknown`] unless it was given to this principal for a task of this upstream.
    pub fn open(&self, handle: &str) -> Result<String, Unknown> {
        let id =
            self.sealer.open(Purpose::Task, &self.owner, &[self.upstream], handle).map_err(|_| Unknown)?;
        String::from_utf8(id).map_err(|_| Unknown)
    }

    /// Names the tasks in what a server answers to a call.
    ///
    /// # Errors
    /// The fault of the result, in words for the operator.
    pub fn result(&self, kind: &Call, can: ClientCapabilities, text: String) -> Result<String, String> {
        if !mentions(&text, "taskId") && kind.tasks != Tasks::Itself {
            return Ok(text);
        }
        let mut result = parse(&text)?;
        let itself = match kind.tasks {
            Tasks::Itself => true,
            Tasks::Created => result.string("resultType").as_deref() == Some("task"),
            Tasks::Nowhere => false,
        };
        let mut changed = self.related(&mut result)?;
        if itself {
            changed |= self.name(&mut result)?;
        }
        if kind.tasks == Tasks::Itself {
            // A text that another reader could read in another way is not judged by one of its readings.
            strict::check(&text).map_err(|error| format!("its task is not clear: {error}"))?;
            answerable(&result, can)?;
        }
        if kind.tasks == Tasks::Created
            && let Some(inner) = result.get("task").filter(|inner| inner.starts_with('{')).map(str::to_owned)
        {
            let mut task = parse(&inner)?;
            if self.name(&mut task)? {
                let task = task.write();
                result.set("task", task);
                changed = true;
            }
        }
        Ok(if changed { result.write() } else { text })
    }

    /// Names one task of a list.
    ///
    /// # Errors
    /// The fault of its id, in words for the operator.
    pub fn entry(&self, task: &mut Object<'_>) -> Result<(), String> {
        self.related(task)?;
        self.name(task).map(|_| ())
    }

    /// Names the tasks in the parameters of what a server says by itself, a notification or a question.
    ///
    /// # Errors
    /// The fault of the parameters, in words for the operator.
    pub fn said(&self, method: &str, params: String) -> Result<String, String> {
        if !mentions(&params, "taskId") {
            return Ok(params);
        }
        let mut object = parse(&params)?;
        let mut changed = self.related(&mut object)?;
        if matches!(method, "notifications/tasks/status" | "notifications/tasks") {
            changed |= self.name(&mut object)?;
        }
        Ok(if changed { object.write() } else { params })
    }

    /// Gives the server its own id of the task that a client's message belongs to; the object is the
    /// parameters of a request, or the result of an answer.
    ///
    /// # Errors
    /// [`Unknown`] where it names a task that is not the client's.
    pub fn brought(&self, object: &mut Object<'_>) -> Result<(), Unknown> {
        let Some(original) = object.get("_meta").filter(|meta| mentions(meta, META_RELATED_TASK)) else {
            return Ok(());
        };
        let original = original.to_owned();
        let mut meta = Object::parse(&original).map_err(|_| Unknown)?;
        let Some(inner) = meta.get(META_RELATED_TASK).map(str::to_owned) else { return Ok(()) };
        let mut related = Object::parse(&inner).map_err(|_| Unknown)?;
        let named = related.string("taskId").ok_or(Unknown)?;
        let handle = if self.merged {
            let (upstream, handle) = naming::own(Noun::Task, &named).ok_or(Unknown)?;
            if upstream != self.upstream {
                return Err(Unknown);
            }
            handle
        } else {
            &named
        };
        let id = quote(&self.open(handle)?);
        related.set("taskId", id);
        meta.set(META_RELATED_TASK, related.write());
        let meta = meta.write();
        object.set("_meta", meta);
        Ok(())
    }

    /// Names the task that an object is; says whether it is one.
    fn name(&self, object: &mut Object<'_>) -> Result<bool, String> {
        let Some(text) = object.get("taskId") else { return Ok(false) };
        let id =
            serde_json::from_str::<String>(text).map_err(|_| "the id of a task is no string".to_owned())?;
        let handle = quote(&self.seal(&id)?);
        object.set("taskId", handle);
        Ok(true)
    }

    /// Names the task that a message belongs to; says whether there is one.
    fn related(&self, object: &mut Object<'_>) -> Result<bool, String> {
        let Some(original) = object.get("_meta").filter(|meta| mentions(meta, META_RELATED_TASK)) else {
            return Ok(false);
        };
        let original = original.to_owned();
        let mut meta = parse(&original)?;
        let Some(inner) = meta.get(META_RELATED_TASK).map(str::to_owned) else { return Ok(false) };
        let mut related = parse(&inner)?;
        self.name(&mut related)?;
        meta.set(META_RELATED_TASK, related.write());
        let meta = meta.write();
        object.set("_meta", meta);
        Ok(true)
    }
}

/// True for a text that may hold a member of that name: spelled out, or with an escape in it.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    text.contains(name) || text.contains("\\u") || (name.contains('/') && text.contains("\\/"))
}

fn parse(text: &str) -> Result<Object<'_>, String> {
    Object::parse(text).map_err(|error| format!("what it says of a task is no object: {error}"))
}

/// A task may ask its client only for what the client has said it can do; never for roots, which are not the
/// client's to give.
fn answerable(task: &Object<'_>, can: ClientCapabilities) -> Result<(), String> {
    if let Some(name) = variant(task, &["inputRequests"]) {
        return Err(format!("its task has a member `{name}`, which some read as `inputRequests`"));
    }
    let Some(requests) = task.get("inputRequests") else { return Ok(()) };
    let requests = parse(requests)?;
    for key in requests.names() {
        let request = requests.get(key).and_then(|request| Object::parse(request).ok()).unwrap_or_default();
        let method = request.string("method").unwrap_or_default();
        let params = Object::parse(request.get("params").unwrap_or("{}")).unwrap_or_default();
        if !can.answers(&method, &params) {
            return Err("its task asks the client for something that the client cannot do".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::client::ClientCapability;
    use crate::pipeline::methods::table::{TASKS_GET, TASKS_RESULT, TOOLS_CALL};

    fn principal(subject: &str, tenant: &str) -> Principal {
        Principal::named(subject, Some(tenant))
    }

    fn field<'a>(value: &'a serde_json::Value, path: &str) -> &'a str {
        value.pointer(path).and_then(serde_json::Value::as_str).expect(path)
    }

    #[test]
    fn a_task_opens_for_its_owner_at_its_upstream_only() {
        let key = Sealer::new().expect("a key");
        let alice = principal("alice", "acme");
        let ids = Ids::new(&key, &alice, "docs", false);
        let handle = ids.seal("task-1").expect("short");
        assert!(!handle.contains("task-1"));
        assert_eq!(ids.seal("task-1").expect("short"), handle, "a task keeps its name");
        assert_eq!(ids.open(&handle), Ok("task-1".to_owned()));
        for (thief, upstream) in [
            (principal("mallory", "acme"), "docs"),
            (principal("alice", "globex"), "docs"),
            (principal("alice", "acme"), "code"),
        ] {
            assert_eq!(Ids::new(&key, &thief, upstream, false).open(&handle), Err(Unknown));
        }
        for made_up in ["task-1", "", "AAAA", "docs.AAAA"] {
            assert_eq!(ids.open(made_up), Err(Unknown));
        }
        let merged = Ids::new(&key, &alice, "docs", true);
        assert_eq!(merged.seal("task-1").expect("short"), format!("docs.{handle}"));
        assert!(ids.seal(&"x".repeat(MAX_ID + 1)).is_err());
    }

    #[test]
    fn ids_of_every_place_are_sealed_and_the_rest_is_kept() {
        let key = Sealer::new().expect("a key");
        let ids = Ids::new(&key, &principal("alice", "acme"), "docs", true);
        for (kind, text, places) in [
            (
                &TOOLS_CALL,
                r#"{"task":{"taskId":"t1","ttl":1.50},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}"#,
                &["/task/taskId", "/_meta/io.modelcontextprotocol~1related-task/taskId"][..],
            ),
            (&TOOLS_CALL, r#"{"resultType":"task","taskId":"t1"}"#, &["/taskId"][..]),
            (&TOOLS_CALL, r#"{"resultType":"task","task\u0049d":"t1"}"#, &["/taskId"][..]),
            (&TASKS_GET, r#"{"taskId":"t1","status":"working"}"#, &["/taskId"][..]),
            (&TOOLS_CALL, r#"{"resultType":"task","taskId":"t1","taskId":"t2"}"#, &["/taskId"][..]),
            (
                &TASKS_RESULT,
                r#"{"content":[],"_meta":{"io.modelcontextprotocol\/related-task":{"taskId":"t1"},"x":[1 ,2]}}"#,
                &["/_meta/io.modelcontextprotocol~1related-task/taskId"][..],
            ),
        ] {
            let sealed = ids.result(kind, ClientCapabilities::default(), text.to_owned()).expect(text);
            assert!(!sealed.contains("\"t1\"") && !sealed.contains("\"t2\""), "{sealed}");
            let value: serde_json::Value = serde_json::from_str(&sealed).expect("JSON");
            for place in places {
                let (upstream, handle) = naming::own(Noun::Task, field(&value, place)).expect("merged");
                assert_eq!((upstream, ids.open(handle)), ("docs", Ok("t1".to_owned())), "{sealed}");
            }
            assert_eq!(sealed.contains("1.50"), text.contains("1.50"));
            assert_eq!(sealed.contains("[1 ,2]"), text.contains("[1 ,2]"));
        }
        for untouched in
            [r#"{"content":[{"text" : "taskId"}]}"#, r#"{"taskId" : "a field of the tool's own"}"#]
        {
            assert_eq!(
                ids.result(&TOOLS_CALL, ClientCapabilities::default(), untouched.to_owned()).expect("kept"),
                untouched
            );
        }
        assert!(ids.result(&TASKS_GET, ClientCapabilities::default(), r#"{"taskId":7}"#.to_owned()).is_err());
    }

    #[test]
    fn what_is_said_of_a_task_comes_under_its_handle_and_back() {
        let key = Sealer::new().expect("a key");
        for merged in [false, true] {
            let ids = Ids::new(&key, &principal("alice", "acme"), "docs", merged);
            let said =
                ids.said("notifications/tasks/status", r#"{"taskId":"t1","status":"working"}"#.to_owned());
            let said: serde_json::Value = serde_json::from_str(&said.expect("said")).expect("JSON");
            assert_eq!(field(&said, "/taskId"), ids.seal("t1").expect("short"));
            let asked = r#"{"message":"?","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}"#;
            let sealed = ids.said("elicitation/create", asked.to_owned()).expect("asked");
            assert!(!sealed.contains("\"t1\""));
            let mut back = Object::parse(&sealed).expect("params");
            ids.brought(&mut back).expect("ours");
            assert_eq!(back.write(), asked);
            let other = Ids::new(&key, &principal("mallory", "acme"), "docs", merged);
            let mut stolen = Object::parse(&sealed).expect("params");
            assert_eq!(other.brought(&mut stolen), Err(Unknown));
            let mut raw = Object::parse(asked).expect("params");
            assert_eq!(ids.brought(&mut raw), Err(Unknown));
        }
    }

    #[test]
    fn a_task_asks_for_what_the_client_can_do() {
        let key = Sealer::new().expect("a key");
        let ids = Ids::new(&key, &principal("alice", "acme"), "docs", false);
        let forms = ClientCapabilities::default().with(ClientCapability::ElicitForm);
        let asks = |method: &str| {
            format!(r#"{{"taskId":"t","inputRequests":{{"a":{{"method":"{method}","params":{{}}}}}}}}"#)
        };
        assert!(ids.result(&TASKS_GET, forms, asks("elicitation/create")).is_ok());
        assert!(ids.result(&TASKS_GET, ClientCapabilities::default(), asks("elicitation/create")).is_err());
        assert!(ids.result(&TASKS_GET, forms, asks("sampling/createMessage")).is_err());
        assert!(ids.result(&TASKS_GET, forms, asks("roots/list")).is_err());
        let hidden =
            asks("elicitation/create").replacen("\"a\"", "\"a\":{\"method\":\"roots/list\"},\"a\"", 1);
        assert!(ids.result(&TASKS_GET, forms, hidden).is_err());
        let spelled = asks("roots/list").replace("inputRequests", "InputRequests");
        assert!(ids.result(&TASKS_GET, forms, spelled).is_err());
    }
}
