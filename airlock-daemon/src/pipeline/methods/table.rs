//! The rows of the table of what is forwarded; [`super::kind`] says what the columns mean.

use crate::mcp::capability::Capability;
use crate::mcp::method::Method;
use crate::mcp::revision::Era;

use super::kind::{Call, List, Noun, Target, Tasks, Uris};

/// `tools/call`.
pub static TOOLS_CALL: Call = Call {
    method: "tools/call",
    capability: Capability::Tools,
    target: Target::Member(Noun::Tool, "name"),
    arguments: Some("arguments"),
    uris: Uris::Content,
    cacheable: false,
    era: None,
    carries: &["task"],
    tasks: Tasks::Created,
};
/// `prompts/get`.
pub static PROMPTS_GET: Call = Call {
    method: "prompts/get",
    capability: Capability::Prompts,
    target: Target::Member(Noun::Prompt, "name"),
    arguments: Some("arguments"),
    uris: Uris::Messages,
    cacheable: false,
    era: None,
    carries: &[],
    tasks: Tasks::Nowhere,
};
/// `resources/read`.
pub static RESOURCES_READ: Call = Call {
    method: "resources/read",
    capability: Capability::Resources,
    target: Target::Member(Noun::Resource, "uri"),
    arguments: None,
    uris: Uris::Contents,
    cacheable: true,
    era: None,
    carries: &[],
    tasks: Tasks::Nowhere,
};
/// `completion/complete`.
pub static COMPLETE: Call = Call {
    method: "completion/complete",
    capability: Capability::Completions,
    target: Target::Reference,
    arguments: Some("argument"),
    uris: Uris::Nowhere,
    cacheable: false,
    era: None,
    carries: &[],
    tasks: Tasks::Nowhere,
};
/// `logging/setLevel`, of the legacy era only.
pub static SET_LEVEL: Call = Call {
    method: "logging/setLevel",
    capability: Capability::Logging,
    target: Target::Server,
    arguments: None,
    uris: Uris::Nowhere,
    cacheable: false,
    era: Some(Era::Legacy),
    carries: &[],
    tasks: Tasks::Nowhere,
};

/// `tasks/get`: in the legacy era how it stands, in the modern one also what came of it.
pub static TASKS_GET: Call = Call {
    method: "tasks/get",
    capability: Capability::Tasks,
    target: Target::Member(Noun::Task, "taskId"),
    arguments: None,
    uris: Uris::Outcome,
    cacheable: false,
    era: None,
    carries: &[],
    tasks: Tasks::Itself,
};
/// `tasks/result`, of the legacy era only: the result of the call that became the task.
pub static TASKS_RESULT: Call = Call {
    method: "tasks/result",
    capability: Capability::TaskCalls,
    target: Target::Member(Noun::Task, "taskId"),
    arguments: None,
    uris: Uris::Content,
    cacheable: false,
    era: Some(Era::Legacy),
    carries: &[],
    tasks: Tasks::Nowhere,
};
/// `tasks/update`, of the modern era only: answers to what the server asks for the task.
pub static TASKS_UPDATE: Call = Call {
    method: "tasks/update",
    capability: Capability::TasksExtension,
    target: Target::Member(Noun::Task, "taskId"),
    arguments: Some("inputResponses"),
    uris: Uris::Nowhere,
    cacheable: false,
    era: Some(Era::Modern),
    carries: &["inputResponses"],
    tasks: Tasks::Nowhere,
};
/// `tasks/cancel`.
pub static TASKS_CANCEL: Call = Call {
    method: "tasks/cancel",
    capability: Capability::TasksCancel,
    target: Target::Member(Noun::Task, "taskId"),
    arguments: None,
    uris: Uris::Nowhere,
    cacheable: false,
    era: None,
    carries: &[],
    tasks: Tasks::Itself,
};

pub(in crate::pipeline) static TOOLS_LIST: List = List {
    method: "tools/list",
    entries: "tools",
    name: "name",
    noun: Noun::Tool,
    capability: Capability::Tools,
    call: &TOOLS_CALL,
};
pub(in crate::pipeline) static PROMPTS_LIST: List = List {
    method: "prompts/list",
    entries: "prompts",
    name: "name",
    noun: Noun::Prompt,
    capability: Capability::Prompts,
    call: &PROMPTS_GET,
};
pub(super) static RESOURCES_LIST: List = List {
    method: "resources/list",
    entries: "resources",
    name: "uri",
    noun: Noun::Resource,
    capability: Capability::Resources,
    call: &RESOURCES_READ,
};
pub(super) static TEMPLATES_LIST: List = List {
    method: "resources/templates/list",
    entries: "resourceTemplates",
    name: "uriTemplate",
    noun: Noun::Resource,
    capability: Capability::Resources,
    call: &RESOURCES_READ,
};
/// The list of tasks, of the legacy era only: nobody else is offered the capability.
pub(super) static TASKS_LIST: List = List {
    method: "tasks/list",
    entries: "tasks",
    name: "taskId",
    noun: Noun::Task,
    capability: Capability::TasksList,
    call: &TASKS_GET,
};

/// A method of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// A forwarded request.
    Call(&'static Call),
    /// A list.
    List(&'static List),
}

impl MethodKind {
    /// The table's row of a method; `None` for what Airlock answers itself or does not serve.
    pub const fn of(method: Method) -> Option<Self> {
        Some(match method {
            Method::ToolsCall => Self::Call(&TOOLS_CALL),
            Method::PromptsGet => Self::Call(&PROMPTS_GET),
            Method::ResourcesRead => Self::Call(&RESOURCES_READ),
            Method::Complete => Self::Call(&COMPLETE),
            Method::SetLevel => Self::Call(&SET_LEVEL),
            Method::ToolsList => Self::List(&TOOLS_LIST),
            Method::PromptsList => Self::List(&PROMPTS_LIST),
            Method::ResourcesList => Self::List(&RESOURCES_LIST),
            Method::TemplatesList => Self::List(&TEMPLATES_LIST),
            Method::TasksGet => Self::Call(&TASKS_GET),
            Method::TasksResult => Self::Call(&TASKS_RESULT),
            Method::TasksUpdate => Self::Call(&TASKS_UPDATE),
            Method::TasksCancel => Self::Call(&TASKS_CANCEL),
            Method::TasksList => Self::List(&TASKS_LIST),
            Method::Initialize
            | Method::Discover
            | Method::Ping
            | Method::Initialized
            | Method::Cancelled
            | Method::OtherNotification
            | Method::Unknown => return None,
        })
    }
}
