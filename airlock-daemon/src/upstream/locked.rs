//! Lists of a server beside their locks.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use airlock_tool_locks::definition::{Definition, Kind};
use serde_json::value::RawValue;
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use crate::mcp::capability::Capability;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::runtime::apart::{by_length, of_text};
use crate::tool_locks::{Standing, Viewer};

use super::error::UpstreamError;
use super::lists::listed::shape::{MAX_BYTES, MAX_ENTRIES, Shape};
use super::lists::schemas::{LIST_TIMEOUT, slot};
use super::pool::{Caller, Upstream};

impl Upstream {
    /// The page with those of its entries alone that are as they are locked. It is as the server wrote it:
    /// what detectors make of a name may be another one's. `changed` is what [`Upstream::changed`] was before
    /// the page was asked for.
    ///
    /// # Errors
    /// A page that is no list of the kind, or is too long.
    pub async fn trusted(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        shape: Shape,
        (page, changed): (String, u64),
        is_first: bool,
    ) -> Result<String, UpstreamError> {
        let Some(kind) = Kind::of_list(shape.method).filter(|_| self.guard.is_on()) else {
            return Ok(page);
        };
        let (definitions, is_last, count) =
            read(kind, &page).await.ok_or_else(|| UpstreamError::Protocol {
                upstream: self.name.to_string(),
                detail: format!("its answer to {} is no list that can be read, or is too long", shape.method),
            })?;
        let is_whole = is_first && is_last;
        if self.guard.awaits_first() {
            if is_whole {
                self.lock_first(caller, kind, &definitions).await;
            } else {
                // The walk takes it in as a whole, if the server says it as a whole.
                let names = self.schemas.page().without_schemas();
                let walk = self.list_all(shape_of(kind), caller, names);
                let _ = timeout(LIST_TIMEOUT.min(self.timeout), walk).await;
                if self.guard.awaits_first() {
                    return Ok(only(kind, page, BTreeSet::new()).await);
                }
            }
        }
        let names = self.guard.take(self.viewer(caller), kind, (&definitions, changed), is_whole).await;
        Ok(if names.len() < count { only(kind, page, names).await } else { page })
    }

    /// Locks the server as it is at its first use: this whole list, and those of the other kinds, which are
    /// asked for now. One that it does not offer, or does not answer as a whole, is locked without entries,
    /// so that nothing of a kind that comes later is trusted because it is the first.
    async fn lock_first(self: &Arc<Self>, caller: &Caller<'_>, kind: Kind, definitions: &[Definition]) {
        let all = Kind::ALL.map(|other| async move {
            if other == kind { definitions.to_vec() } else { self.first_of(caller, other).await }
        });
        let [tools, prompts, templates] = all;
        let (tools, prompts, templates) = tokio::join!(tools, prompts, templates);
        self.guard.lock_first(Kind::ALL.into_iter().zip([tools, prompts, templates]).collect()).await;
    }

    /// All definitions of a kind; none where the server does not say.
    async fn first_of(self: &Arc<Self>, caller: &Caller<'_>, kind: Kind) -> Vec<Definition> {
        let needs = match kind {
            Kind::Tools => Capability::Tools,
            Kind::Prompts => Capability::Prompts,
            Kind::ResourceTemplates => Capability::Resources,
        };
        if self.facts_for(caller.era()).is_some_and(|facts| !facts.offers.has(needs)) {
            return Vec::new();
        }
        let names = self.schemas.page().without_schemas();
        // Whoever waits for the list that was asked for waits for this as well.
        let walk =
            timeout(LIST_TIMEOUT.min(self.timeout) / 2, self.walk_all(shape_of(kind), caller, names)).await;
        walk.ok().flatten().map(|(_, definitions)| definitions).unwrap_or_default()
    }

    /// How often the server has said by now that a list has changed.
    pub fn changed(&self, shape: Shape) -> u64 {
        Kind::of_list(shape.method).map_or(0, |kind| self.guard.times(kind))
    }

    /// Its command or address, as a lock has it.
    pub fn bound_to(&self) -> &str {
        self.guard.bound_to()
    }

    pub(super) fn viewer(&self, caller: &Caller<'_>) -> Viewer {
        (self.lists_of(caller), caller.era())
    }

    /// How it stands with a tool or a prompt, as this caller sees the server.
    pub fn standing(&self, caller: &Caller<'_>, kind: Kind, name: &str) -> Standing {
        self.guard.standing(&self.viewer(caller), kind, name)
    }

    /// The same as far as it was seen, whatever the server says meanwhile.
    pub fn last_standing(&self, caller: &Caller<'_>, kind: Kind, name: &str) -> Standing {
        self.guard.last_standing(&self.viewer(caller), kind, name)
    }

    /// Asks the server for the list that has this name; whoever else waits for the same list waits for one
    /// answer, no longer than for a call.
    ///
    /// # Errors
    /// When the server cannot be reached in time. One that does not list is remembered as silent.
    pub async fn look(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        kind: Kind,
        name: &str,
    ) -> Result<(), UpstreamError> {
        let table = if kind == Kind::Tools { &self.schemas } else { &self.prompt_names };
        let (key, came) = (self.lists_of(caller), self.guard.times(kind));
        let asking = Arc::clone(&slot(&mut table.lock(), key.clone(), Instant::now()).asking);
        let (viewer, shape) = (self.viewer(caller), shape_of(kind));
        let deadline = Deadline::now() + self.timeout;
        let _one_at_a_time =
            timeout_at(deadline, asking.lock()).await.map_err(|_| self.late(shape.method))?;
        if self.guard.standing_since(&viewer, kind, name, came) != Standing::Unseen {
            return Ok(());
        }
        let changed = self.guard.times(kind);
        let linked = timeout_at(deadline, self.link(caller)).await;
        let (_, facts) = linked.unwrap_or_else(|_| Err(self.late("its start")))?;
        // Headers repeat arguments in the modern era only.
        let learns = kind == Kind::Tools && facts.era == Era::Modern;
        let page = if learns { table.page() } else { table.page().without_schemas() };
        match timeout(LIST_TIMEOUT.min(self.timeout), self.list_all(shape, caller, page)).await {
            Ok(Some(page)) if learns => drop(table.learn(key, page, true)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                tracing::debug!(upstream = %self.name, "the server does not answer {}", shape.method);
                self.guard.is_silent(viewer, kind, changed);
                if learns {
                    table.unavailable(key);
                }
            }
        }
        Ok(())
    }

    /// Takes in a list that was read from its first page to its last.
    pub(super) async fn listed_whole(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        shape: Shape,
        (definitions, changed): (&[Definition], u64),
    ) {
        if let Some(kind) = Kind::of_list(shape.method).filter(|_| self.guard.is_on()) {
            if self.guard.awaits_first() {
                self.lock_first(caller, kind, definitions).await;
            }
            self.guard.take(self.viewer(caller), kind, (definitions, changed), true).await;
        }
    }

    /// The definition in an entry of a list that has locks.
    pub(super) async fn definition(&self, shape: Shape, entry: &str) -> Option<Definition> {
        let kind = Kind::of_list(shape.method).filter(|_| self.guard.is_on())?;
        of_text(entry, move |entry| Definition::read(kind, entry).ok()).await.ok().flatten()
    }
}

const fn shape_of(kind: Kind) -> Shape {
    Shape { method: kind.list(), entries: kind.entries(), name: kind.key() }
}

/// The page with the entries of these names alone.
async fn only(kind: Kind, page: String, names: BTreeSet<String>) -> String {
    let bytes = page.len();
    let only = move || {
        let mut object = Object::parse(&page).ok()?;
        let entries: Vec<&RawValue> = serde_json::from_str(object.get(kind.entries())?).ok()?;
        let is_kept =
            |entry: &&RawValue| name_of(kind, entry.get()).is_some_and(|name| names.contains(&name));
        let kept: Vec<&str> = entries.into_iter().filter(is_kept).map(RawValue::get).collect();
        let kept = format!("[{}]", kept.join(","));
        object.set(kind.entries(), kept);
        Some(object.write())
    };
    by_length(bytes, only).await.ok().flatten().unwrap_or_else(|| format!(r#"{{"{}":[]}}"#, kind.entries()))
}

/// The name of an entry as its server wrote it.
fn name_of(kind: Kind, entry: &str) -> Option<String> {
    Object::parse(entry).ok()?.string(kind.key()).map(Cow::into_owned)
}

/// The definitions of a page, true where no page follows, and the number of its entries; `None` for what is
/// no page.
async fn read(kind: Kind, page: &str) -> Option<(Vec<Definition>, bool, usize)> {
    if page.len() > MAX_BYTES {
        return None;
    }
    of_text(page, move |page| read_here(kind, page)).await.ok().flatten()
}

fn read_here(kind: Kind, page: &str) -> Option<(Vec<Definition>, bool, usize)> {
    let page = Object::parse(page).ok()?;
    let entries: Vec<&RawValue> = serde_json::from_str(page.get(kind.entries())?).ok()?;
    let count = entries.len();
    if count > MAX_ENTRIES {
        return None;
    }
    let mut times: HashMap<String, u32> = HashMap::new();
    for name in entries.iter().filter_map(|entry| name_of(kind, entry.get())) {
        *times.entry(name).or_default() += 1;
    }
    // An entry without a definition is malformed, and left out of the list for that. Two with one name have
    // neither: the good one may be left out of the list, and the other would take its place.
    let definitions = entries.into_iter().filter_map(|entry| Definition::read(kind, entry.get()).ok());
    let each_once = definitions.filter(|one| times.get(&one.name) == Some(&1)).collect();
    Some((each_once, matches!(page.get("nextCursor"), None | Some("null")), count))
}
