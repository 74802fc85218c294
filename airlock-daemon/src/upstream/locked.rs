//! Lists of a server beside their locks.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_tool_locks::definition::{Definition, Kind};
use serde_json::value::RawValue;
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use crate::config::units::Period;
use crate::mcp::capability::Capability;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::runtime::apart::{by_length, of_text};
use crate::tool_locks::{Lists, Standing, Viewer};

use super::error::UpstreamError;
use super::lists::listed::shape::{MAX_BYTES, MAX_ENTRIES, Shape};
use super::lists::schemas::{LIST_TIMEOUT, slot};
use super::pool::{Caller, Upstream};
use super::tool_lists::Unwalked;

impl Upstream {
    /// The page with those of its entries alone that are as they are locked. It is as the server wrote it:
    /// what detectors make of a name may be another one's. `changed` is what [`Upstream::changed`] was before
    /// the page was asked for, and `others` what [`Upstream::lists_beside`] gave beside it.
    ///
    /// # Errors
    /// A page that is no list of the kind, or is too long.
    pub async fn trusted(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        shape: Shape,
        (page, changed): (String, u64),
        is_first: bool,
        others: Option<Lists>,
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
        match others {
            Some(others) if is_whole => self.lock_first(kind, definitions.clone(), others).await,
            Some(others) => self.lock_walked(caller, kind, others).await,
            None => {}
        }
        let names = self.guard.take(self.viewer(caller), kind, (&definitions, changed), is_whole).await;
        Ok(if names.len() < count { only(kind, page, names).await } else { page })
    }

    /// The lists of the other kinds, where this one is the first of a server that is still to be locked; to
    /// be waited for beside it, since there is no time for one after the other.
    pub async fn lists_beside(self: &Arc<Self>, caller: &Caller<'_>, shape: Shape) -> Option<Lists> {
        let kind = Kind::of_list(shape.method).filter(|_| self.guard.awaits_first())?;
        let each = Kind::ALL.map(|other| async move {
            if other == kind { None } else { Some((other, self.first_of(caller, other).await)) }
        });
        let [tools, prompts, templates] = each;
        let (tools, prompts, templates) = tokio::join!(tools, prompts, templates);
        Some([tools, prompts, templates].into_iter().flatten().collect())
    }

    /// Locks the server as it is at its first use: this whole list, and those of the other kinds. One that
    /// it does not offer is locked without entries, so that nothing of a kind that comes later is trusted
    /// because it is the first.
    async fn lock_first(&self, kind: Kind, definitions: Vec<Definition>, others: Lists) {
        self.guard.lock_first(others.into_iter().chain([(kind, Ok(definitions))]).collect()).await;
    }

    /// The same for a list of several pages, which is read from its first page to its last: one page alone is
    /// not what the server offers.
    async fn lock_walked(self: &Arc<Self>, caller: &Caller<'_>, kind: Kind, others: Lists) {
        let (names, changed) = (self.schemas.page().without_schemas(), self.guard.times(kind));
        let limit = LIST_TIMEOUT.min(self.timeout);
        let walk = timeout(limit, self.walk_all(shape_of(kind), caller, names)).await;
        match walk.unwrap_or_else(|_| Err(Unwalked::Failed(slow(kind, limit)))) {
            Ok((_, definitions)) => {
                let list = (definitions, changed);
                self.listed_whole(caller, shape_of(kind), list, Some(others)).await;
            }
            Err(Unwalked::Failed(why)) => self.guard.first_failed(&why),
            Err(Unwalked::NoMethod) => {
                self.guard.first_failed(&format!("it has no {} any more", kind.list()));
            }
        }
    }

    /// All definitions of a kind; none where the server has no such list.
    ///
    /// # Errors
    /// A clause: why nobody knows.
    async fn first_of(self: &Arc<Self>, caller: &Caller<'_>, kind: Kind) -> Result<Vec<Definition>, String> {
        let needs = match kind {
            Kind::Tools => Capability::Tools,
            Kind::Prompts => Capability::Prompts,
            Kind::ResourceTemplates => Capability::Resources,
        };
        if self.facts_for(caller.era()).is_some_and(|facts| !facts.offers.has(needs)) {
            return Ok(Vec::new());
        }
        let names = self.schemas.page().without_schemas();
        // Whoever waits for the list that was asked for waits for this as well.
        let limit = LIST_TIMEOUT.min(self.timeout) / 2;
        match timeout(limit, self.walk_all(shape_of(kind), caller, names)).await {
            Ok(Ok((_, definitions))) => Ok(definitions),
            Ok(Err(Unwalked::NoMethod)) => Ok(Vec::new()),
            Ok(Err(Unwalked::Failed(why))) => Err(why),
            Err(_) => Err(slow(kind, limit)),
        }
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

    /// Takes in a list that was read from its first page to its last; `others` is what
    /// [`Upstream::lists_beside`] gave beside it.
    pub(super) async fn listed_whole(
        &self,
        caller: &Caller<'_>,
        shape: Shape,
        (definitions, changed): (Vec<Definition>, u64),
        others: Option<Lists>,
    ) {
        if let Some(kind) = Kind::of_list(shape.method).filter(|_| self.guard.is_on()) {
            if let Some(others) = others {
                self.lock_first(kind, definitions.clone(), others).await;
            }
            self.guard.take(self.viewer(caller), kind, (&definitions, changed), true).await;
        }
    }

    /// The definition in an entry of a list that has locks.
    pub(super) async fn definition(&self, shape: Shape, entry: &str) -> Option<Definition> {
        let kind = Kind::of_list(shape.method).filter(|_| self.guard.is_on())?;
        of_text(entry, move |entry| Definition::read(kind, entry).ok()).await.ok().flatten()
    }
}

/// Why a list is not known that was waited for in vain.
fn slow(kind: Kind, limit: Duration) -> String {
    format!("it did not answer {} within {}", kind.list(), Period(limit))
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
