//! The file of locks: JSON that people read, compare and keep under version control. Each definition stands
//! there as a whole, in its canonical form laid out a member a line, with its digest.

use std::collections::{BTreeMap, BTreeSet};

use airlock_mcp::object::{Object, quote};
use serde_json::value::RawValue;

use crate::definition::{Definition, Kind};
use crate::layout;

/// The version that is written and read.
pub const VERSION: &str = "1";

/// Longest file that is read and written, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Longest text of one server in it, in bytes: no server can take the room of the others.
pub const MAX_SERVER_BYTES: usize = MAX_BYTES / 8;

/// The remedy where nothing of a file can be kept.
pub const ANEW: &str =
    "remove it, which forgets the locks of all servers, and lock each anew by `airlock tools lock`";

/// The remedy where a part of a file is wrong.
const REPAIR: &str = "correct it, or take the file back from version control";

/// Definitions by their names.
pub type Definitions = BTreeMap<String, Definition>;

/// The locks of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The command or the address that it had when it was locked.
    pub bound_to: String,
    /// Its locked definitions. A kind that is not there was not looked at when it was locked; one that was
    /// and is empty is there without any.
    pub kinds: BTreeMap<Kind, Definitions>,
}

/// The locks of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFile {
    /// The host that they are for; all hosts when absent.
    pub host: Option<String>,
    /// By the name of the upstream.
    pub upstreams: BTreeMap<String, Server>,
}

/// Why a file of locks is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its text is no JSON, or is cut.
    #[error("it is no JSON that can be read: {0}. Repair it, take it back from version control, or {ANEW}")]
    Broken(String),
    /// It is of another version.
    #[error(
        "it is of version {0}, and this Airlock reads version {VERSION}: take back one of that version, or {ANEW}"
    )]
    Version(String),
    /// It was made on another host.
    #[error(
        "it was made on the host `{theirs}`, and this is `{own}`: take this host's, or remove its member `host` where the servers \
         of both are the same"
    )]
    Host {
        /// The host in the file.
        theirs: String,
        /// This host.
        own: String,
    },
    /// Something in it is not what it should be.
    #[error("{at}: {detail}")]
    Wrong {
        /// The path of the member.
        at: String,
        /// The fault, with the remedy.
        detail: String,
    },
}

impl LockFile {
    /// Reads the text of a file, for use on the host `own`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn parse(text: &str, own: &str) -> Result<Self, Fault> {
        Self::read(text, Some(own))
    }

    /// Reads the text of a file, whatever host it is for: it is only looked at.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn parse_anywhere(text: &str) -> Result<Self, Fault> {
        Self::read(text, None)
    }

    fn read(text: &str, own: Option<&str>) -> Result<Self, Fault> {
        let broken = |error: serde_json::Error| Fault::Broken(error.to_string());
        let whole: &RawValue = serde_json::from_str(text).map_err(broken)?;
        let mut file = Self::default();
        let top = members("the file", whole.get())?;
        let version = top.iter().find(|(name, _)| name == "version").map_or("none", |(_, value)| value);
        if version != VERSION {
            return Err(Fault::Version(version.chars().take(32).collect()));
        }
        for (name, value) in &top {
            match name.as_str() {
                "version" => {}
                "host" if value == "null" => {}
                "host" => {
                    let theirs = string("host", value)?;
                    if let Some(own) = own.filter(|own| *own != theirs) {
                        return Err(Fault::Host { theirs, own: own.to_owned() });
                    }
                    file.host = Some(theirs);
                }
                "upstreams" => {
                    for (upstream, server) in members("upstreams", value)? {
                        let server = Server::parse(&format!("upstreams.{upstream}"), &server)?;
                        file.upstreams.insert(upstream, server);
                    }
                }
                other => return Err(unknown(other)),
            }
        }
        Ok(file)
    }

    /// The text of the file, which [`LockFile::parse`] reads back; `None` where it would be longer than
    /// [`MAX_BYTES`].
    pub fn write(&self) -> Option<String> {
        let upstreams = self.upstreams.iter().map(|(name, server)| (name.as_str(), server));
        text_of(self.host.as_deref(), upstreams, MAX_BYTES)
    }
}

/// The text of a file; `None` where it would be longer than `most` bytes.
fn text_of<'a>(
    host: Option<&str>,
    upstreams: impl Iterator<Item = (&'a str, &'a Server)>,
    most: usize,
) -> Option<String> {
    let host = host.map(|host| format!("\"host\":{},", quote(host))).unwrap_or_default();
    let upstreams = object(upstreams.map(|(name, server)| (name, server.write())));
    let text = format!("{{\"version\":{VERSION},{host}\"upstreams\":{upstreams}}}");
    let mut laid = layout::lines(&text, most.saturating_sub(1))?;
    laid.push('\n');
    Some(laid)
}

impl Server {
    /// True where a file with this server alone is at most [`MAX_SERVER_BYTES`].
    pub fn fits(&self, upstream: &str) -> bool {
        text_of(None, std::iter::once((upstream, self)), MAX_SERVER_BYTES).is_some()
    }

    fn parse(at: &str, text: &str) -> Result<Self, Fault> {
        let mut server = Self::default();
        let mut is_bound = false;
        for (name, value) in members(at, text)? {
            let inner = format!("{at}.{name}");
            if name == "bound_to" {
                server.bound_to = string(&inner, &value)?;
                is_bound = true;
                continue;
            }
            let kind =
                Kind::ALL.into_iter().find(|kind| member(*kind) == name).ok_or_else(|| unknown(&inner))?;
            let mut definitions = Definitions::new();
            for (name, entry) in members(&inner, &value)? {
                let definition = entry_of(&format!("{inner}.{name}"), kind, &name, &entry)?;
                definitions.insert(name, definition);
            }
            server.kinds.insert(kind, definitions);
        }
        if !is_bound {
            return Err(wrong(
                at,
                &format!("it has no `bound_to`, the command or address of the server: {REPAIR}"),
            ));
        }
        Ok(server)
    }

    fn write(&self) -> String {
        let kinds = self.kinds.iter().map(|(kind, definitions)| {
            let entries = definitions.iter().map(|(name, definition)| {
                let entry =
                    format!("{{\"digest\":\"{}\",\"definition\":{}}}", definition.digest, definition.text);
                (name.as_str(), entry)
            });
            (member(*kind), object(entries))
        });
        object(std::iter::once(("bound_to", quote(&self.bound_to))).chain(kinds))
    }
}

/// The member of a server that holds a kind.
const fn member(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools => "tools",
        Kind::Prompts => "prompts",
        Kind::ResourceTemplates => "resource_templates",
    }
}

fn entry_of(at: &str, kind: Kind, name: &str, text: &str) -> Result<Definition, Fault> {
    let entry = members(at, text)?;
    let get = |name: &str| entry.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let (Some(digest), Some(definition), 2) = (get("digest"), get("definition"), entry.len()) else {
        return Err(wrong(
            at,
            &format!("it has to have a `digest` and a `definition`, and nothing else: {REPAIR}"),
        ));
    };
    let read = Definition::read(kind, definition)
        .map_err(|error| wrong(at, &format!("its definition cannot be read: {error}; {REPAIR}")))?;
    if read.name != name {
        return Err(wrong(at, &format!("its definition has another name: {REPAIR}")));
    }
    if string(&format!("{at}.digest"), digest)? != read.digest.to_string() {
        let detail = "its digest is not that of its definition, so one of them was changed by hand; take it back from \
                      version control, or remove it from the file and approve it anew by `airlock tools approve`";
        return Err(wrong(at, detail));
    }
    Ok(read)
}

/// The members of an object, each once.
fn members(at: &str, text: &str) -> Result<Vec<(String, String)>, Fault> {
    let object = Object::parse(text).map_err(|_| wrong(at, &format!("it has to be an object: {REPAIR}")))?;
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for name in object.names() {
        if !names.insert(name) {
            return Err(wrong(at, &format!("it has two members `{name}`; keep one")));
        }
        read.push((name.to_owned(), object.get(name).unwrap_or("null").to_owned()));
    }
    Ok(read)
}

fn string(at: &str, text: &str) -> Result<String, Fault> {
    serde_json::from_str(text).map_err(|_| wrong(at, &format!("it has to be a string: {REPAIR}")))
}

fn wrong(at: &str, detail: &str) -> Fault {
    Fault::Wrong { at: at.to_owned(), detail: detail.to_owned() }
}

fn unknown(at: &str) -> Fault {
    wrong(at, "it is not known here: correct its name, or remove it")
}

fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("{}:{value}", quote(name))).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> LockFile {
        let read = |kind, text| Definition::read(kind, text).expect("a definition");
        let tool = read(
            Kind::Tools,
            r#"{"name":"a.b","description":"two\nlines","inputSchema":{"maximum":9007199254740993}}"#,
        );
        let deep = format!(r#"{{"name":"deep","inputSchema":{}1{}}}"#, r#"{"x":"#.repeat(62), "}".repeat(62));
        let deep = read(Kind::Tools, &deep);
        let prompt = read(Kind::Prompts, r#"{"name":"p"}"#);
        let by_name = |all: Vec<Definition>| all.into_iter().map(|one| (one.name.clone(), one)).collect();
        let kinds = BTreeMap::from([
            (Kind::Tools, by_name(vec![tool, deep])),
            (Kind::Prompts, by_name(vec![prompt])),
            (Kind::ResourceTemplates, Definitions::new()),
        ]);
        let server = Server { bound_to: "stdio docs".to_owned(), kinds };
        LockFile { host: Some("here".to_owned()), upstreams: BTreeMap::from([("docs".to_owned(), server)]) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for file in [LockFile::default(), file(), LockFile { host: None, ..file() }] {
            let text = file.write().expect("it is short");
            assert_eq!(LockFile::parse(&text, "here").as_ref(), Ok(&file), "{text}");
            assert_eq!(LockFile::parse(&text, "here").expect("good").write(), Some(text));
        }
        let text = file().write().expect("it is short");
        assert!(text.lines().any(|line| line.trim() == r#""maximum": 9007199254740993"#), "{text}");
    }

    #[test]
    fn a_server_has_a_share_and_a_text_its_limit() {
        let server = |count: usize| {
            let text = format!(r#"{{"name":"t","description":"{}"}}"#, "x".repeat(count));
            let tool = Definition::read(Kind::Tools, &text).expect("a tool");
            let kinds = BTreeMap::from([(Kind::Tools, BTreeMap::from([("t".to_owned(), tool)]))]);
            Server { bound_to: "stdio docs".to_owned(), kinds }
        };
        assert!(server(MAX_SERVER_BYTES - 1_000).fits("docs") && !server(MAX_SERVER_BYTES).fits("docs"));
        let file = file();
        let text = file.write().expect("it is short");
        let within = |most: usize| {
            let upstreams = file.upstreams.iter().map(|(name, server)| (name.as_str(), server));
            text_of(file.host.as_deref(), upstreams, most)
        };
        assert_eq!(within(text.len() - 1), None);
        assert_eq!(within(text.len()), Some(text));
    }

    #[test]
    fn every_fault_says_where_and_what_to_do() {
        let good = file().write().expect("it is short");
        for (from, to, wanted) in [
            (
                "\"version\": 1",
                "\"version\": 2",
                "it is of version 2, and this Airlock reads version 1: take back one of that version, or remove it",
            ),
            ("\"version\": 1,", "", "it is of version none"),
            (
                "\"here\"",
                "\"there\"",
                "it was made on the host `there`, and this is `here`: take this host's",
            ),
            (
                "two\\nlines",
                "two\\nliness",
                "upstreams.docs.tools.a.b: its digest is not that of its definition",
            ),
            (
                "\"name\": \"p\"",
                "\"name\": \"q\"",
                "upstreams.docs.prompts.p: its definition has another name",
            ),
            ("\"digest\"", "\"digests\"", "has to have a `digest` and a `definition`"),
            ("\"prompts\"", "\"prompt\"", "upstreams.docs.prompt: it is not known here"),
            ("\"prompts\"", "\"tools\"", "upstreams.docs: it has two members `tools`"),
            ("\"bound_to\": \"stdio docs\",", "", "upstreams.docs: it has no `bound_to`"),
            ("\"stdio docs\"", "[]", "upstreams.docs.bound_to: it has to be a string"),
            ("\"upstreams\": {", "\"upstreams\": [{", "it is no JSON that can be read"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let error = LockFile::parse(&good.replacen(from, to, 1), "here").expect_err(to).to_string();
            assert!(error.contains(wanted), "{from} -> {to}: {error}");
        }
        for cut in [0, 1, good.len() / 2, good.len() - 3] {
            assert!(matches!(LockFile::parse(&good[..cut], "here"), Err(Fault::Broken(_))), "{cut}");
        }
        let conflict = good.replacen("\"host\"", "<<<<<<< ours\n\"host\"", 1);
        let error = LockFile::parse(&conflict, "here").expect_err("a conflict").to_string();
        assert!(error.contains("line 3 column"), "{error}");
    }
}
