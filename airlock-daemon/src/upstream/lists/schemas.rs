//! The facts on the tools of a modern server: which of their arguments are repeated in headers.
//!
//! The same tables know the names of tools and prompts at the merged endpoint ([`super::safe_names`]).
//!
//! Learned from lists of tools that pass through, and asked for when a call needs it. One look-up a call
//! where it is known.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::auth::principal::Identity;
use crate::config::schema::MergedNames;
use crate::mcp::param_header::Annotations;

use super::safe_names::{Namer, Names};

/// A server that says again and again that its tools are others is asked for them once in this time.
pub(in crate::upstream) const MOMENT: Duration = Duration::from_secs(1);
/// How long a schema is believed without being seen again.
const FRESH: Duration = Duration::from_mins(5);
/// How long a server that did not say is not asked again.
const SILENT: Duration = Duration::from_secs(10);
/// How long a list may take when a call waits for it.
pub(in crate::upstream) const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Most tools that are remembered of one list.
const MAX_TOOLS: usize = 2048;
/// Most lists of one server that are remembered, where they differ from principal to principal.
const MAX_LISTS: usize = 256;

/// The headers of calls of a tool.
#[derive(Debug, Clone)]
pub enum Schema {
    /// Nothing.
    Plain,
    /// The content of these annotations.
    Annotated(Arc<Annotations>),
    /// Its annotations are against the specification, so the tool is not offered.
    Invalid,
    /// The server does not say.
    Unavailable,
}

/// The facts on the tools of one upstream.
#[derive(Default)]
pub struct Schemas {
    /// Maker of names, in a table that learns those instead of schemas.
    maker: Option<Namer>,
    lists: Mutex<HashMap<Option<Identity>, ListSlot>>,
    forgotten: Mutex<Forgotten>,
    /// True where what is known is to be forgotten as soon as a moment has passed.
    is_due: AtomicBool,
    /// How often all of it was forgotten: what was asked for before is not believed after.
    generation: AtomicU64,
}

/// When all of it was forgotten, and when it is to be forgotten again.
#[derive(Default)]
struct Forgotten {
    last: Option<Instant>,
    due: Option<Instant>,
}

#[derive(Default, Clone)]
pub(in crate::upstream) struct ListSlot {
    /// One asks, the others wait.
    pub(in crate::upstream) asking: Arc<tokio::sync::Mutex<()>>,
    pub(in crate::upstream) list: Option<Arc<List>>,
}

pub(in crate::upstream) struct List {
    pub(in crate::upstream) tools: HashMap<Box<str>, Schema>,
    /// Their names at the merged endpoint.
    pub(in crate::upstream) names: Arc<Names>,
    /// The verdict on a tool that is not among them; none where some of the pages are missing.
    pub(in crate::upstream) others: Option<Schema>,
    pub(in crate::upstream) since: Instant,
    pub(in crate::upstream) until: Instant,
}

impl List {
    /// True for a list that says of every tool what it is, and is not older than `age`.
    pub(in crate::upstream) fn is_whole_since(&self, age: Duration) -> bool {
        matches!(self.others, Some(Schema::Plain)) && self.since.elapsed() < age
    }
}

/// Tools as a server lists them, before they are remembered.
pub struct Page {
    pub(in crate::upstream) reads_schemas: bool,
    generation: u64,
    tools: HashMap<Box<str>, Schema>,
    full: bool,
}

impl Page {
    /// The same for names alone.
    pub(in crate::upstream) fn without_schemas(self) -> Self {
        Self { reads_schemas: false, ..self }
    }

    /// Takes in one tool.
    ///
    /// # Errors
    /// Why it must not be offered, for the operator.
    pub fn add(&mut self, name: &str, input_schema: Option<&str>) -> Result<(), String> {
        let (schema, verdict) = match input_schema.map_or(Ok(None), Annotations::read) {
            Ok(None) => (Schema::Plain, Ok(())),
            Ok(Some(annotations)) => (Schema::Annotated(Arc::new(annotations)), Ok(())),
            Err(reason) => (Schema::Invalid, Err(reason)),
        };
        if self.tools.len() < MAX_TOOLS {
            self.tools.insert(name.into(), schema);
        } else {
            self.full = true;
        }
        verdict
    }
}

impl Schemas {
    /// A table of names at the merged endpoint, which learns only where they are to be safe.
    pub(in crate::upstream) fn of_names(names: MergedNames, upstream: &str) -> Self {
        let maker = (names == MergedNames::Safe).then(|| Namer::new(upstream));
        Self { maker, ..Self::default() }
    }

    /// Maker of the names of the merged endpoint, where they are to be safe.
    pub const fn maker(&self) -> Option<&Namer> {
        self.maker.as_ref()
    }

    pub(in crate::upstream) fn lock(&self) -> MutexGuard<'_, HashMap<Option<Identity>, ListSlot>> {
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        self.lists.lock()
    }

    /// A place for what a list will say; to be taken before the list is asked for.
    pub fn page(&self) -> Page {
        self.forget_what_is_due(Instant::now());
        let generation = self.generation.load(Ordering::Acquire);
        Page { reads_schemas: self.maker.is_none(), generation, tools: HashMap::new(), full: false }
    }

    /// Forgets everything: the server has said that its tools are others now, or acts as if they were. One
    /// that says so again and again has it forgotten once in [`MOMENT`], and after the last time.
    pub fn forget(&self) {
        self.forget_at(Instant::now());
    }

    fn forget_at(&self, now: Instant) {
        let mut forgotten = self.forgotten.lock();
        if let Some(last) = forgotten.last.filter(|last| now.duration_since(*last) < MOMENT) {
            forgotten.due = Some(last + MOMENT);
            self.is_due.store(true, Ordering::Release);
            return;
        }
        *forgotten = Forgotten { last: Some(now), due: None };
        self.is_due.store(false, Ordering::Release);
        drop(forgotten);
        self.forget_now();
    }

    fn forget_what_is_due(&self, now: Instant) {
        if self.is_due.load(Ordering::Acquire) {
            let due = self.forgotten.lock().due;
            if due.is_some_and(|due| due <= now) {
                self.forget_at(now);
            }
        }
    }

    fn forget_now(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let old = std::mem::take(&mut *self.lock());
        drop(old);
    }

    /// Remembers a page; `whole` when there are no more tools than these. Gives the names at the merged
    /// endpoint by which they are called from now on.
    pub fn learn(&self, key: Option<Identity>, page: Page, whole: bool) -> Arc<Names> {
        let Page { generation, mut tools, full, .. } = page;
        let others = match (whole, full) {
            (true, false) => Some(Schema::Plain),
            (true, true) => Some(Schema::Unavailable),
            (false, _) => None,
        };
        let now = Instant::now();
        let (names, old) = {
            let mut lists = self.lock();
            if self.generation.load(Ordering::Acquire) != generation {
                return self.names(&tools);
            }
            let slot = slot(&mut lists, key, now);
            let mut until = now + FRESH;
            // A page of a longer list goes to the others, and grows no older by it.
            if let (false, Some(before)) = (whole, slot.list.as_ref().filter(|list| list.until > now)) {
                until = before.until;
                for (name, schema) in &before.tools {
                    if tools.len() < MAX_TOOLS && !tools.contains_key(name) {
                        tools.insert(name.clone(), schema.clone());
                    }
                }
            }
            let names = self.names(&tools);
            let list = List { tools, names: Arc::clone(&names), others, since: now, until };
            (names, slot.list.replace(Arc::new(list)))
        };
        drop(old);
        names
    }

    /// Remembers that the server does not list.
    pub(in crate::upstream) fn unavailable(&self, key: Option<Identity>) {
        let now = Instant::now();
        let others = Some(Schema::Unavailable);
        let (tools, names) = (HashMap::new(), Arc::default());
        let list = List { tools, names, others, since: now, until: now + SILENT };
        slot(&mut self.lock(), key, now).list = Some(Arc::new(list));
    }

    fn names(&self, tools: &HashMap<Box<str>, Schema>) -> Arc<Names> {
        let own = || tools.keys().map(AsRef::as_ref);
        self.maker.as_ref().map(|maker| Names::of(maker, own())).unwrap_or_default().into()
    }

    /// The list that is remembered, if it is still believed.
    pub(in crate::upstream) fn list(&self, key: Option<&Identity>) -> Option<Arc<List>> {
        self.forget_what_is_due(Instant::now());
        // A borrowed key would need another map; identities are counted references.
        let list = self.lock().get(&key.cloned())?.list.clone()?;
        (list.until >= Instant::now()).then_some(list)
    }

    /// The facts on a tool; `None` when there are none.
    pub(crate) fn known(&self, key: Option<&Identity>, tool: &str) -> Option<Schema> {
        let list = self.list(key)?;
        list.tools.get(tool).or(list.others.as_ref()).cloned()
    }
}

/// The place of one list; where there are too many, old ones go first.
pub(in crate::upstream) fn slot(
    lists: &mut HashMap<Option<Identity>, ListSlot>,
    key: Option<Identity>,
    now: Instant,
) -> &mut ListSlot {
    if lists.len() >= MAX_LISTS && !lists.contains_key(&key) {
        lists.retain(|_, slot| slot.list.as_ref().is_some_and(|list| list.until > now));
        if lists.len() >= MAX_LISTS
            && let Some(one) = lists.keys().next().cloned()
        {
            lists.remove(&one);
        }
    }
    lists.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOTATED: &str = r#"{"properties":{"r":{"type":"string","x-mcp-header":"Region"}}}"#;

    fn page(schemas: &Schemas, names: &[&str]) -> Page {
        let mut page = schemas.page();
        for name in names {
            page.add(name, Some(ANNOTATED)).expect("valid");
        }
        page
    }

    #[test]
    fn pages_are_remembered_and_forgotten() {
        let schemas = Schemas::default();
        schemas.learn(None, page(&schemas, &["a"]), false);
        assert!(matches!(schemas.known(None, "a"), Some(Schema::Annotated(_))));
        assert!(schemas.known(None, "b").is_none(), "it may stand on another page");
        schemas.learn(None, page(&schemas, &["b"]), false);
        assert!(schemas.known(None, "a").is_some() && schemas.known(None, "b").is_some());
        schemas.learn(None, page(&schemas, &["c"]), true);
        assert!(
            matches!(schemas.known(None, "a"), Some(Schema::Plain)),
            "a whole list takes the place of its parts"
        );
        let before = page(&schemas, &["a"]);
        schemas.forget();
        assert!(schemas.known(None, "c").is_none());
        schemas.learn(None, before, true);
        assert!(schemas.known(None, "a").is_none(), "what was asked for before the change is old");
    }

    #[test]
    fn a_storm_of_changes_forgets_once_in_a_moment_and_after_its_end() {
        let schemas = Schemas::default();
        let start = Instant::now();
        let mut forgotten = 0;
        for number in 0..500_u32 {
            schemas.learn(None, page(&schemas, &["a"]), true);
            schemas.forget_at(start + Duration::from_millis(10) * number);
            forgotten += usize::from(!schemas.lock().contains_key(&None));
        }
        assert_eq!(forgotten, 5);
        schemas.learn(None, page(&schemas, &["a"]), true);
        schemas.forget_what_is_due(start + Duration::from_secs(6));
        assert!(schemas.lock().is_empty(), "what was said last is not lost");
    }

    #[test]
    fn nothing_grows_without_end() {
        let schemas = Schemas::default();
        let mut page = schemas.page();
        assert!(page.add("bad", Some(r#"{"x-mcp-header":"N"}"#)).is_err());
        for number in 0..=MAX_TOOLS {
            page.add(&number.to_string(), None).expect("plain");
        }
        assert_eq!(page.tools.len(), MAX_TOOLS);
        schemas.learn(None, page, true);
        assert!(matches!(schemas.known(None, "bad"), Some(Schema::Invalid)));
        assert!(matches!(schemas.known(None, "beyond"), Some(Schema::Unavailable)));
    }
}
