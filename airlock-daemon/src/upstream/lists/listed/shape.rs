//! Kinds of lists, and faults of their entries.

/// Most entries of all pages of a list.
pub const MAX_ENTRIES: usize = 10_000;

/// Longest cursor of a server, in bytes.
pub const MAX_CURSOR: usize = 16 * 1024;

/// Most characters of a name or a reason that are kept.
pub const SHOWN: usize = 200;

/// One kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its method.
    pub method: &'static str,
    /// The member of the result that holds the entries.
    pub entries: &'static str,
    /// The member of an entry that names it.
    pub name: &'static str,
}

/// The list of tools.
pub const TOOLS: Shape = Shape { method: "tools/list", entries: "tools", name: "name" };

/// Why a page is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is too long.
    #[error(
        "its list is longer than {MAX_BYTES} bytes or {MAX_ENTRIES} entries; let it answer in pages, or offer less"
    )]
    TooLong,
    /// All pages together are larger than an answer may be.
    #[error("its answer to {0} is larger than server.max_response_bytes")]
    TooLarge(&'static str),
    /// It is no object with such a list, or what stands around the list could be read in several ways: it
    /// would be judged by one reading and used by another.
    #[error("its answer is no JSON object with a list `{0}` that can be read in one way only: {1}")]
    Malformed(&'static str, String),
}

/// Something of a list that is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The entry's name in backquotes, its place where it has none, or the pages it stands for.
    pub entry: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    /// An entry that has a name.
    pub fn named(name: &str, reason: &str) -> Self {
        Self { entry: format!("`{}`", shorten(name)), reason: shorten(reason) }
    }
}

/// At most so many characters as are kept.
pub fn shorten(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Longest page of a list, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
