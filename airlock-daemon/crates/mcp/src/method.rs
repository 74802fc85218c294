//! The methods that Airlock knows; everything else is refused as unknown.

/// The methods of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `initialize` (legacy).
    Initialize,
    /// `server/discover` (modern).
    Discover,
    /// `ping` (legacy).
    Ping,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`.
    ToolsCall,
    /// `prompts/list`.
    PromptsList,
    /// `prompts/get`.
    PromptsGet,
    /// `resources/list`.
    ResourcesList,
    /// `resources/templates/list`.
    TemplatesList,
    /// `resources/read`.
    ResourcesRead,
    /// `completion/complete`.
    Complete,
    /// `logging/setLevel` (legacy).
    SetLevel,
    /// `tasks/list` (2025-11-25).
    TasksList,
    /// `tasks/get`.
    TasksGet,
    /// `tasks/result` (2025-11-25).
    TasksResult,
    /// `tasks/update` (the extension of 2026-07-28).
    TasksUpdate,
    /// `tasks/cancel`.
    TasksCancel,
    /// `notifications/initialized` (legacy).
    Initialized,
    /// `notifications/cancelled`.
    Cancelled,
    /// Any other notification.
    OtherNotification,
    /// Any other request.
    Unknown,
}

impl Method {
    /// Reads a method name.
    pub fn parse(name: &str) -> Self {
        match name {
            "initialize" => Self::Initialize,
            "server/discover" => Self::Discover,
            "ping" => Self::Ping,
            "tools/list" => Self::ToolsList,
            "tools/call" => Self::ToolsCall,
            "prompts/list" => Self::PromptsList,
            "prompts/get" => Self::PromptsGet,
            "resources/list" => Self::ResourcesList,
            "resources/templates/list" => Self::TemplatesList,
            "resources/read" => Self::ResourcesRead,
            "completion/complete" => Self::Complete,
            "logging/setLevel" => Self::SetLevel,
            "tasks/list" => Self::TasksList,
            "tasks/get" => Self::TasksGet,
            "tasks/result" => Self::TasksResult,
            "tasks/update" => Self::TasksUpdate,
            "tasks/cancel" => Self::TasksCancel,
            "notifications/initialized" => Self::Initialized,
            "notifications/cancelled" => Self::Cancelled,
            name if name.starts_with("notifications/") => Self::OtherNotification,
            _ => Self::Unknown,
        }
    }

    /// The name, or `other` for what Airlock does not know: bounded, so that it can label a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::TemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::Complete => "completion/complete",
            Self::SetLevel => "logging/setLevel",
            Self::TasksList => "tasks/list",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::Initialized => "notifications/initialized",
            Self::Cancelled => "notifications/cancelled",
            Self::OtherNotification | Self::Unknown => "other",
        }
    }

    /// True where the method is a notification, so that it must come without an id.
    pub const fn is_notification(self) -> bool {
        matches!(self, Self::Initialized | Self::Cancelled | Self::OtherNotification)
    }
}
