//! The offer of a server, in the words of its capabilities.

use super::client::TASKS_EXTENSION;
use super::object::Object;
use super::revision::{Era, Revision};

/// A part of the protocol that Airlock carries across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `tools/*`.
    Tools,
    /// `prompts/*`.
    Prompts,
    /// `resources/*`.
    Resources,
    /// `completion/complete`.
    Completions,
    /// `logging/setLevel`, or the level in `_meta`.
    Logging,
    /// `notifications/tools/list_changed`.
    ToolsChanged,
    /// `notifications/prompts/list_changed`.
    PromptsChanged,
    /// `notifications/resources/list_changed`.
    ResourcesChanged,
    /// `resources/subscribe`, or `resourceSubscriptions` of `subscriptions/listen`.
    Subscribe,
    /// `tasks/get`, in either form of tasks.
    Tasks,
    /// `tasks/list` (2025-11-25).
    TasksList,
    /// `tasks/cancel`, in either form of tasks.
    TasksCancel,
    /// `params.task` of `tools/call`, and `tasks/result` (2025-11-25).
    TaskCalls,
    /// The extension `io.modelcontextprotocol/tasks` (2026-07-28): results that are tasks, and
    /// `tasks/update`.
    TasksExtension,
}

/// A set of [`Capability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u16);

/// A capability and the member that declares it.
type Named = (Capability, &'static str);

/// The plain capabilities, their members, and the flags in them that mean something to us.
const DECLARED: [(Capability, &str, &[Named]); 5] = [
    (Capability::Tools, "tools", &[(Capability::ToolsChanged, "listChanged")]),
    (Capability::Prompts, "prompts", &[(Capability::PromptsChanged, "listChanged")]),
    (
        Capability::Resources,
        "resources",
        &[(Capability::Subscribe, "subscribe"), (Capability::ResourcesChanged, "listChanged")],
    ),
    (Capability::Completions, "completions", &[]),
    (Capability::Logging, "logging", &[]),
];

/// Members of the tasks of 2025-11-25 alone.
const LEGACY_TASKS: Capabilities = Capabilities::NONE
    .with(Capability::Tasks)
    .with(Capability::TasksList)
    .with(Capability::TasksCancel)
    .with(Capability::TaskCalls);

impl Capability {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Capabilities {
    const NONE: Self = Self(0);
    /// Tools and nothing else: what is taken for granted of a server that was never reached.
    pub const TOOLS: Self = Self(Capability::Tools.bit());

    /// Reads the JSON text of a server's `capabilities`; what is no object offers nothing.
    pub fn parse(json: &str) -> Self {
        let declared = Object::parse(json).unwrap_or_default();
        let mut set = Self::default();
        for (capability, name, flags) in DECLARED {
            let Some(inner) = object(&declared, name) else { continue };
            set = set.with(capability);
            for (flag, name) in flags {
                if inner.get(name) == Some("true") {
                    set = set.with(*flag);
                }
            }
        }
        if let Some(tasks) = object(&declared, "tasks") {
            set = set.with(Capability::Tasks);
            if object(&tasks, "list").is_some() {
                set = set.with(Capability::TasksList);
            }
            if object(&tasks, "cancel").is_some() {
                set = set.with(Capability::TasksCancel);
            }
            let tools = object(&tasks, "requests")
                .and_then(|of| object(&of, "tools").map(|of| object(&of, "call").is_some()));
            if tools == Some(true) {
                set = set.with(Capability::TaskCalls);
            }
        }
        if object(&declared, "extensions").is_some_and(|of| object(&of, TASKS_EXTENSION).is_some()) {
            set = set.with(Capability::TasksExtension);
        }
        set
    }

    /// True where the capability is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// The set with one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// The set without one.
    #[must_use]
    pub const fn less(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// The union of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The part of a server's offer that a client of another revision can use. The two forms of tasks share
    /// nothing but their name: neither is carried over into the other, and before 2025-11-25 there was none.
    #[must_use]
    pub const fn between(self, client: Revision, server: Era) -> Self {
        let extension = Self::NONE.with(Capability::TasksExtension);
        match (client, server) {
            (Revision::V20251125, Era::Legacy) => self.without(extension),
            (Revision::V20260728, Era::Modern) if self.has(Capability::TasksExtension) => {
                self.without(LEGACY_TASKS).with(Capability::Tasks).with(Capability::TasksCancel)
            }
            _ => self.without(LEGACY_TASKS).without(extension),
        }
    }

    /// The set as a `capabilities` object.
    pub fn write(self) -> String {
        let mut members = Vec::new();
        for (capability, name, flags) in DECLARED {
            if self.has(capability) {
                let flags: Vec<_> = flags
                    .iter()
                    .filter(|(flag, _)| self.has(*flag))
                    .map(|(_, name)| format!("\"{name}\":true"))
                    .collect();
                members.push(format!("\"{name}\":{{{}}}", flags.join(",")));
            }
        }
        if self.has(Capability::TasksExtension) {
            members.push(format!("\"extensions\":{{\"{TASKS_EXTENSION}\":{{}}}}"));
        } else if self.has(Capability::Tasks) {
            let tasks: Vec<_> = [
                (Capability::TasksList, r#""list":{}"#),
                (Capability::TasksCancel, r#""cancel":{}"#),
                (Capability::TaskCalls, r#""requests":{"tools":{"call":{}}}"#),
            ]
            .iter()
            .filter(|(capability, _)| self.has(*capability))
            .map(|(_, text)| *text)
            .collect();
            members.push(format!("\"tasks\":{{{}}}", tasks.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }
}

/// A member that is an object.
fn object<'a>(of: &Object<'a>, name: &str) -> Option<Object<'a>> {
    of.kept(name).and_then(|raw| Object::parse(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_read_and_written_again() {
        let set =
            Capabilities::parse(r#"{"logging":{},"tools":{"listChanged":true},"vendor":{},"prompts":null}"#);
        assert_eq!(set.write(), r#"{"tools":{"listChanged":true},"logging":{}}"#);
        assert!(set.has(Capability::Tools) && !set.has(Capability::Prompts));
        assert_eq!(set.union(Capabilities::TOOLS), set);
        for nothing in ["", "[]", "{}", "null", r#"{"tools":true}"#] {
            assert_eq!(Capabilities::parse(nothing), Capabilities::default(), "{nothing}");
        }
        for text in [
            r#"{"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true}}"#,
            r#"{"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#,
            r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
            r#"{"resources":{"subscribe":true}}"#,
        ] {
            assert_eq!(Capabilities::parse(text).write(), text);
        }
        let weak =
            r#"{"resources":{"subscribe":"yes","listChanged":false},"tasks":{"requests":{"tools":{}}}}"#;
        assert_eq!(Capabilities::parse(weak).write(), r#"{"resources":{},"tasks":{}}"#);
    }

    #[test]
    fn the_two_forms_of_tasks_are_not_mixed() {
        let core = r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
        let extension = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let none = r#"{"tools":{}}"#;
        for (declared, client, server, offered) in [
            (core, Revision::V20251125, Era::Legacy, core),
            (core, Revision::V20250618, Era::Legacy, none),
            (core, Revision::V20260728, Era::Legacy, none),
            (core, Revision::V20260728, Era::Modern, none),
            (extension, Revision::V20260728, Era::Modern, extension),
            (extension, Revision::V20260728, Era::Legacy, none),
            (extension, Revision::V20251125, Era::Modern, none),
            (extension, Revision::V20251125, Era::Legacy, none),
        ] {
            let set = Capabilities::parse(declared).between(client, server);
            assert_eq!(set.write(), offered, "{declared} for {client} of {server:?}");
            assert_eq!(set.has(Capability::Tasks), offered != none);
        }
    }
}
