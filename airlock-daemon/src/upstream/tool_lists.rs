//! Lists of a server's tools, asked for where what was listed is not known.

use super::era::driver;
use super::error::UpstreamError;
use super::lists::listed::shape::{Shape, TOOLS, shorten};
use super::lists::listed::{MAX_PAGES, Walk};
use super::lists::schemas::{LIST_TIMEOUT, MOMENT, Page, Schema, Schemas, slot};
use super::message::reply::Takes;
use super::pool::{Caller, Upstream};
use crate::auth::principal::Identity;
use crate::config::schema::Isolation;
use crate::mcp::error::code;
use crate::mcp::jsonrpc;
use crate::mcp::object::Object;
use crate::runtime::pacer::Pacer;
use airlock_tool_locks::definition::Definition;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// Why a list was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwalked {
    /// The server has no such list.
    NoMethod,
    /// A clause: why.
    Failed(String),
}

impl Unwalked {
    /// The server answers the list with this error object.
    fn refused(shape: Shape, error: &str) -> Self {
        let number = Object::parse(error).ok().and_then(|error| error.get("code")?.parse::<i32>().ok());
        if number == Some(code::METHOD_NOT_FOUND) {
            return Self::NoMethod;
        }
        Self::Failed(format!("it answers {} with {}", shape.method, shorten(error)))
    }
}

impl Upstream {
    /// The owner of the list of tools: everybody, or this caller.
    pub fn lists_of(&self, caller: &Caller<'_>) -> Option<Identity> {
        let shared = self.config.isolation.is_none_or(|isolation| isolation == Isolation::Shared);
        (!shared || self.is_for_each()).then(|| caller.identity.clone())
    }

    /// Remembers the tools of a list that passed through; `whole` when it has no other pages.
    pub fn learn(&self, caller: &Caller<'_>, page: Page, whole: bool) {
        self.schemas.learn(self.lists_of(caller), page, whole);
    }

    /// The headers of a call of `tool`, as this caller sees the server.
    pub async fn schema(self: &Arc<Self>, caller: &Caller<'_>, tool: &str) -> Schema {
        let key = self.lists_of(caller);
        if let Some(schema) = self.schemas.known(key.as_ref(), tool) {
            return schema;
        }
        let asking = Arc::clone(&slot(&mut self.schemas.lock(), key.clone(), Instant::now()).asking);
        // A server that says with each list that it has changed would have them wait one after another.
        let Ok(_one_at_a_time) = timeout(self.timeout, asking.lock()).await else {
            return Schema::Unavailable;
        };
        if let Some(schema) = self.schemas.known(key.as_ref(), tool) {
            return schema;
        }
        let page = self.schemas.page();
        let listed = timeout(LIST_TIMEOUT.min(self.timeout), self.list_all(TOOLS, caller, page)).await;
        if let Ok(Some(page)) = listed {
            self.schemas.learn(key.clone(), page, true);
        } else {
            tracing::debug!(upstream = %self.name, "the server does not list its tools");
            self.schemas.unavailable(key.clone());
        }
        self.schemas.known(key.as_ref(), tool).unwrap_or(Schema::Unavailable)
    }

    /// All entries of a list of the server's; `None` when it does not say, or says too much. Schemas are read
    /// for a table of schemas only.
    pub(super) async fn list_all(
        self: &Arc<Self>,
        shape: Shape,
        caller: &Caller<'_>,
        page: Page,
    ) -> Option<Page> {
        let changed = self.changed(shape);
        let walked = self.walk_all(shape, caller, page);
        let (walked, others) = tokio::join!(walked, self.lists_beside(caller, shape));
        let (page, definitions) = walked.ok()?;
        self.listed_whole(caller, shape, (definitions, changed), others).await;
        Some(page)
    }

    /// The same without a word to the locks; gives the definitions of those that have them.
    ///
    /// # Errors
    /// Where the list has no end that is reached, or the server does not say it.
    pub(super) async fn walk_all(
        self: &Arc<Self>,
        shape: Shape,
        caller: &Caller<'_>,
        mut page: Page,
    ) -> Result<(Page, Vec<Definition>), Unwalked> {
        let failed = |why: &dyn Display| Unwalked::Failed(why.to_string());
        let (link, facts) = self.link(caller).await.map_err(|error| failed(&error))?;
        let mut walk = Walk::new(shape, self.limit);
        let mut definitions = Vec::new();
        loop {
            let mut params = Object::default();
            walk.ask(&mut params);
            let answer = link.ask(Takes::List, |id| {
                let text = driver::params(facts.era, params, caller.capabilities, id).0;
                jsonrpc::request(id, shape.method, &text)
            });
            let answered = answer.await.map_err(|ending| failed(&self.ended(&ending)))?;
            let answer = answered.map_err(|error| Unwalked::refused(shape, &error))?;
            let listed = walk.take(answer).await.map_err(|fault| failed(&fault))?;
            let mut pacer = Pacer::default();
            for entry in &listed.entries {
                pacer.breathe().await;
                let tool = Object::parse(entry).map_err(|error| failed(&error))?;
                // The walk has left out what has no name.
                let Some(name) = tool.string(shape.name) else { continue };
                definitions.extend(self.definition(shape, entry).await);
                let schema = if page.reads_schemas { tool.get("inputSchema") } else { None };
                if let Err(reason) = page.add(&name, schema) {
                    walk.leave_out(&name, &reason);
                }
            }
            if !walk.goes_on() {
                let is_whole = !walk.was_cut();
                self.walked(shape, walk, is_whole);
                let cut = || Unwalked::Failed(format!("its list has more than {MAX_PAGES} pages"));
                return if is_whole { Ok((page, definitions)) } else { Err(cut()) };
            }
        }
    }
}

impl Upstream {
    /// The server's own name for what the merged endpoint shows by a name that may have been made; `None`
    /// when it is nobody's. The server is asked for its list where that is not known.
    ///
    /// # Errors When the server cannot be asked, or does not list.
    pub async fn own_name(
        self: &Arc<Self>,
        shape: Shape,
        table: &Schemas,
        caller: &Caller<'_>,
        shown: &str,
    ) -> Result<Option<String>, UpstreamError> {
        let key = self.lists_of(caller);
        let asking = Arc::clone(&slot(&mut table.lock(), key.clone(), Instant::now()).asking);
        let named = async {
            let _one_at_a_time = asking.lock().await;
            if let Some(list) = table.list(key.as_ref()) {
                let own = list.names.own(shown).map(str::to_owned);
                if own.is_some() || list.is_whole_since(MOMENT) {
                    return Ok(own);
                }
            }
            let page = table.page();
            self.link(caller).await?;
            let listed = self.list_all(shape, caller, page).await;
            let page = listed.ok_or_else(|| UpstreamError::Protocol {
                upstream: self.name.to_string(),
                detail: format!(
                    "it does not answer {}, which is needed to know a shortened name",
                    shape.method
                ),
            })?;
            table.learn(key.clone(), page, true);
            Ok(table.list(key.as_ref()).and_then(|list| list.names.own(shown).map(str::to_owned)))
        };
        timeout(self.timeout, named).await.unwrap_or_else(|_| Err(self.late(shape.method)))
    }

    /// The same where it is known already.
    pub fn known_name(&self, table: &Schemas, caller: &Caller<'_>, shown: &str) -> Option<String> {
        let list = table.list(self.lists_of(caller).as_ref())?;
        list.names.own(shown).map(str::to_owned)
    }
}
