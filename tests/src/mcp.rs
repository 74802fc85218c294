//! MCP over the raw HTTP client, in both eras.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::{Request, Response};

/// The revision of the modern era.
pub const MODERN: &str = "2026-07-28";

/// The newest revision of the legacy era.
pub const LEGACY: &str = "2025-11-25";

/// A modern request: body, `_meta` and mirrored headers as the revision demands. `params` is an object or
/// null.
pub fn modern(path: &str, id: u64, method: &str, params: &Value) -> Request {
    let mut params = params.as_object().cloned().unwrap_or_default();
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    if meta.get("io.modelcontextprotocol/clientCapabilities").is_none() {
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "airlock-tests", "version": "1"});
    let name = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let request = Request::post(path, body.to_string())
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", method);
    match name {
        Some(name) => request.header("mcp-name", &name),
        None => request,
    }
}

/// A modern `tools/call`.
pub fn modern_call(path: &str, id: u64, tool: &str, arguments: &Value) -> Request {
    modern(path, id, "tools/call", &json!({"name": tool, "arguments": arguments}))
}

/// A legacy client's session at one endpoint.
#[derive(Debug)]
pub struct Session {
    address: SocketAddr,
    path: String,
    token: String,
    /// The session's id, where the server gave one.
    pub id: Option<String>,
    /// The revision that was agreed on.
    pub revision: String,
    /// The result of `initialize`.
    pub initialized: Value,
    next: u64,
}

impl Session {
    /// `initialize` and `notifications/initialized`. Errors tell the answer that was not expected.
    pub fn open(address: SocketAddr, path: &str, token: &str) -> Result<Self, String> {
        Self::open_as(address, path, token, LEGACY, &json!({}))
    }

    /// The same in another revision, and with these capabilities.
    pub fn open_as(
        address: SocketAddr,
        path: &str,
        token: &str,
        revision: &str,
        capabilities: &Value,
    ) -> Result<Self, String> {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": revision,
            "capabilities": capabilities, "clientInfo": {"name": "airlock-tests", "version": "1"}}});
        let response = Request::post(path, body.to_string())
            .bearer(token)
            .send(address)
            .map_err(|error| format!("initialize: {error}"))?;
        let initialized = response.answer()["result"].clone();
        let Some(revision) = initialized["protocolVersion"].as_str() else {
            return Err(format!("initialize: HTTP {}: {}", response.status, response.text()));
        };
        let session = Self {
            address,
            path: path.to_owned(),
            token: token.to_owned(),
            id: response.header("mcp-session-id").map(str::to_owned),
            revision: revision.to_owned(),
            initialized,
            next: 1,
        };
        let told = session.notify("notifications/initialized")?;
        if told.status == 202 { Ok(session) } else { Err(format!("initialized: HTTP {}", told.status)) }
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str) -> Result<Response, String> {
        let body = json!({"jsonrpc": "2.0", "method": method});
        self.prepare(&body).send(self.address).map_err(|error| format!("{method}: {error}"))
    }

    /// Sends a request and gives the whole HTTP answer.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Response, String> {
        let mut body = json!({"jsonrpc": "2.0", "id": self.next, "method": method});
        if !params.is_null() {
            body["params"] = params.clone();
        }
        self.next += 1;
        self.prepare(&body).send(self.address).map_err(|error| format!("{method}: {error}"))
    }

    /// A request whose result is wanted; an error answer is an error here.
    pub fn result(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        let response = self.request(method, params)?;
        match response.answer().get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(format!("{method}: HTTP {}: {}", response.status, response.text())),
        }
    }

    /// A tool call whose result is wanted.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, String> {
        self.result("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// The GET that opens the standing stream, or goes on after an event.
    pub fn listen(&self, last: Option<&str>) -> Request {
        let mut request = Request::get(&self.path)
            .bearer(&self.token)
            .header("accept", "text/event-stream")
            .header("mcp-protocol-version", &self.revision);
        if let Some(id) = &self.id {
            request = request.header("mcp-session-id", id);
        }
        match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    }

    /// The request of this session, ready to be sent.
    pub fn prepare(&self, body: &Value) -> Request {
        let request = Request::post(&self.path, body.to_string())
            .bearer(&self.token)
            .header("mcp-protocol-version", &self.revision);
        match &self.id {
            Some(id) => request.header("mcp-session-id", id),
            None => request,
        }
    }
}

/// The names in a `tools/list` result.
pub fn tool_names(result: &Value) -> Vec<String> {
    let tools = result["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect()
}

/// The text of a `tools/call` result's first block.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}
