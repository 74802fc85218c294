//! The abilities of a client for a server: to answer its questions, to lend it a model.

use super::object::Object;
use super::revision::Era;

/// Asks the user something.
pub const ELICIT: &str = "elicitation/create";
/// Asks for the client's model.
pub const SAMPLE: &str = "sampling/createMessage";
/// Asks for folders.
pub const ROOTS: &str = "roots/list";

/// One thing a client may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCapability {
    /// `elicitation/create` with a form.
    ElicitForm,
    /// `elicitation/create` with a URL to visit.
    ElicitUrl,
    /// `sampling/createMessage`.
    Sample,
    /// `sampling/createMessage` with tools.
    SampleTools,
    /// `sampling/createMessage` with context of other servers.
    SampleContext,
    /// Results that are tasks (extension `io.modelcontextprotocol/tasks`, modern era).
    Tasks,
}

/// A set of [`ClientCapability`]. Roots are never among them: what a client has no say in is not asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientCapabilities(u8);

/// The extension under which modern clients declare tasks.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

impl ClientCapability {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl ClientCapabilities {
    /// Reads the JSON text of a client's `capabilities` of either era; what is no object can do nothing.
    pub fn parse(json: &str) -> Self {
        let declared = Object::parse(json).unwrap_or_default();
        let inner = |object: &Object<'_>, name: &str| {
            object.get(name).filter(|text| text.starts_with('{')).map(str::to_owned)
        };
        let mut set = Self::default();
        if let Some(elicitation) = inner(&declared, "elicitation") {
            let elicitation = Object::parse(&elicitation).unwrap_or_default();
            let (form, url) = (inner(&elicitation, "form").is_some(), inner(&elicitation, "url").is_some());
            // An empty object is from before there were two modes, and means forms (2025-11-25,
            // "Elicitation").
            if form || !url {
                set = set.with(ClientCapability::ElicitForm);
            }
            if url {
                set = set.with(ClientCapability::ElicitUrl);
            }
        }
        if let Some(sampling) = inner(&declared, "sampling") {
            let sampling = Object::parse(&sampling).unwrap_or_default();
            set = set.with(ClientCapability::Sample);
            if inner(&sampling, "tools").is_some() {
                set = set.with(ClientCapability::SampleTools);
            }
            if inner(&sampling, "context").is_some() {
                set = set.with(ClientCapability::SampleContext);
            }
        }
        let extensions = inner(&declared, "extensions");
        if extensions.is_some_and(|text| {
            Object::parse(&text).is_ok_and(|extensions| inner(&extensions, TASKS_EXTENSION).is_some())
        }) {
            set = set.with(ClientCapability::Tasks);
        }
        set
    }

    /// The set with one more.
    #[must_use]
    pub const fn with(self, capability: ClientCapability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// The set without one.
    #[must_use]
    pub const fn without(self, capability: ClientCapability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// True where the capability is in the set.
    pub const fn has(self, capability: ClientCapability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// True where the client can do nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True where the client has said that it answers a question with these parameters. Before 2025-11-25
    /// there was one mode of elicitation, and no member to name it.
    pub fn answers(self, method: &str, params: &Object<'_>) -> bool {
        match method {
            ELICIT => match params.string("mode").as_deref() {
                Some("form") => self.has(ClientCapability::ElicitForm),
                None if params.get("mode").is_none() => self.has(ClientCapability::ElicitForm),
                Some("url") => self.has(ClientCapability::ElicitUrl),
                _ => false,
            },
            SAMPLE => {
                let with_tools = params.get("tools").is_some() || params.get("toolChoice").is_some();
                self.has(ClientCapability::Sample) && (!with_tools || self.has(ClientCapability::SampleTools))
            }
            _ => false,
        }
    }

    /// The set as a `capabilities` object for a server of an era.
    pub fn write(self, era: Era) -> String {
        let mut members = Vec::new();
        let sub = |pairs: &[(ClientCapability, &str)]| {
            let inner: Vec<_> = pairs
                .iter()
                .filter(|(capability, _)| self.has(*capability))
                .map(|(_, name)| format!("\"{name}\":{{}}"))
                .collect();
            format!("{{{}}}", inner.join(","))
        };
        let modes = [(ClientCapability::ElicitForm, "form"), (ClientCapability::ElicitUrl, "url")];
        if modes.iter().any(|(mode, _)| self.has(*mode)) {
            members.push(format!("\"elicitation\":{}", sub(&modes)));
        }
        if self.has(ClientCapability::Sample) {
            let extras =
                [(ClientCapability::SampleTools, "tools"), (ClientCapability::SampleContext, "context")];
            members.push(format!("\"sampling\":{}", sub(&extras)));
        }
        if era == Era::Modern && self.has(ClientCapability::Tasks) {
            members.push(format!("\"extensions\":{{\"{TASKS_EXTENSION}\":{{}}}}"));
        }
        format!("{{{}}}", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_read_and_written_again() {
        for (declared, written) in [
            ("{}", "{}"),
            (r#"{"roots":{"listChanged":true}}"#, "{}"),
            (r#"{"elicitation":{}}"#, r#"{"elicitation":{"form":{}}}"#),
            (r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            (
                r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#,
                r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}}}"#,
            ),
            (r#"{"sampling":null,"elicitation":true}"#, "{}"),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"vendor/x":{}}}"#,
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
            ),
        ] {
            assert_eq!(ClientCapabilities::parse(declared).write(Era::Modern), written);
        }
        let tasks = ClientCapabilities::default().with(ClientCapability::Tasks);
        assert_eq!(tasks.write(Era::Legacy), "{}");
        assert!(tasks.without(ClientCapability::Tasks).is_empty());
    }

    #[test]
    fn only_what_was_declared_is_asked() {
        let form = r#"{"elicitation":{}}"#;
        let url = r#"{"elicitation":{"url":{}}}"#;
        let model = r#"{"sampling":{}}"#;
        let tools = r#"{"sampling":{"tools":{}}}"#;
        for (capabilities, method, params, expected) in [
            (form, ELICIT, r#"{"message":"?"}"#, true),
            (form, ELICIT, r#"{"mode":"form"}"#, true),
            (form, ELICIT, r#"{"mode":"url"}"#, false),
            (url, ELICIT, r#"{"mode":"url"}"#, true),
            (url, ELICIT, r"{}", false),
            (url, ELICIT, r#"{"mode":7}"#, false),
            (form, ELICIT, r#"{"mode":"other"}"#, false),
            (form, SAMPLE, r"{}", false),
            (model, SAMPLE, r"{}", true),
            (model, SAMPLE, r#"{"tools":[]}"#, false),
            (model, SAMPLE, r#"{"toolChoice":{}}"#, false),
            (tools, SAMPLE, r#"{"tools":[]}"#, true),
            (tools, ROOTS, r"{}", false),
            ("{}", ELICIT, r"{}", false),
        ] {
            let params = Object::parse(params).expect("params");
            let can = ClientCapabilities::parse(capabilities);
            assert_eq!(can.answers(method, &params), expected, "{capabilities} {method} {}", params.write());
        }
    }
}
