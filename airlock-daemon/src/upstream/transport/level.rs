//! The log level of modern clients at legacy servers: a modern call carries it, a legacy server is told of it
//! beforehand.

use crate::mcp::capability::Capability;
use crate::mcp::jsonrpc;
use crate::mcp::level::Level;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::Era;

use super::handle::Link;
use crate::mcp::meta::META_LOG_LEVEL;
use crate::upstream::era::facts::Facts;
use crate::upstream::message::reply::Takes;

/// The request that sets the level of a legacy server.
const SET_LEVEL: &str = "logging/setLevel";

impl Link {
    /// Tells a legacy server the log level that a call carries, where it is another than the last one.
    pub async fn follow_level(&self, facts: &Facts, method: &str, params: &Object<'_>) {
        if facts.era == Era::Modern || !facts.offers.has(Capability::Logging) {
            return;
        }
        if method == SET_LEVEL {
            if let Some(level) = params.string("level").and_then(|level| Level::parse(&level)) {
                self.briefing().level(level);
            }
            return;
        }
        let Some(level) = params.get("_meta").and_then(level_of) else { return };
        if !self.briefing().level(level) {
            return;
        }
        let wanted = format!(r#"{{"level":{}}}"#, quote(level.as_str()));
        // The call is sent behind it; the call's deadline holds for this as well.
        match self.ask(Takes::Result, |id| jsonrpc::request(id, SET_LEVEL, &wanted)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(error, "the server refuses the log level of a call"),
            Err(_) => self.briefing().forget_level(),
        }
    }
}

fn level_of(meta: &str) -> Option<Level> {
    // A call that says nothing of a level is not parsed for it.
    memchr::memmem::find(meta.as_bytes(), META_LOG_LEVEL.as_bytes())?;
    Level::parse(&Object::parse(meta).ok()?.string(META_LOG_LEVEL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_read_from_meta() {
        let meta = r#"{"io.modelcontextprotocol/logLevel":"warning"}"#;
        assert_eq!(level_of(meta).map(Level::as_str), Some("warning"));
        for none in ["{}", r#"{"io.modelcontextprotocol/logLevel":"loud"}"#, "null"] {
            assert_eq!(level_of(none), None, "{none}");
        }
    }
}
