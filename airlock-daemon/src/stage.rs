//! The stages of the pipeline. Each is named as the file that refuses in its name; records, metrics and tools
//! spell it so.

/// The check that refused a request: the name of a file of `pipeline/`, or of the folder `http/` or
/// `upstream/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `http/`: the path, the body's length and its time.
    Http,
    /// Limits of addresses, principals, tenants, tools and memory.
    Limit,
    /// The client that a trusted proxy names.
    Forwarded,
    /// `Origin` and `Host`.
    Origin,
    /// The size of the head, the HTTP method, the media types.
    Head,
    /// The token.
    Authenticate,
    /// The stops of an operator.
    Stopped,
    /// The JSON-RPC message.
    Decode,
    /// The revision of the protocol, and the message's agreement with its headers and its session.
    Revision,
    /// The server, and the tool, resource or task.
    Route,
    /// The policy.
    Authorize,
    /// The locks of tools and prompts.
    ToolLock,
    /// Redaction of what goes to a server.
    Redact,
    /// The audit log.
    Record,
    /// The headers that repeat arguments.
    Mirror,
    /// `upstream/`: the server, which got the call or should have.
    Upstream,
}

impl Stage {
    /// All, in the order in which a request meets them.
    pub const ALL: [Self; 16] = [
        Self::Http,
        Self::Limit,
        Self::Forwarded,
        Self::Origin,
        Self::Head,
        Self::Authenticate,
        Self::Stopped,
        Self::Decode,
        Self::Revision,
        Self::Route,
        Self::Authorize,
        Self::ToolLock,
        Self::Redact,
        Self::Record,
        Self::Mirror,
        Self::Upstream,
    ];

    /// The name of its file, without `.rs`: the field `stage` of a record, and the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Limit => "limit",
            Self::Forwarded => "forwarded",
            Self::Origin => "origin",
            Self::Head => "head",
            Self::Authenticate => "authenticate",
            Self::Stopped => "stopped",
            Self::Decode => "decode",
            Self::Revision => "revision",
            Self::Route => "route",
            Self::Authorize => "authorize",
            Self::ToolLock => "tool_lock",
            Self::Redact => "redact",
            Self::Record => "record",
            Self::Mirror => "mirror",
            Self::Upstream => "upstream",
        }
    }

    /// The stage of this name; the field of a stored record is read back by it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_stage_is_named_as_its_file() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut names = HashSet::new();
        for stage in Stage::ALL {
            let name = stage.name();
            assert!(names.insert(name), "{name} is there twice");
            assert_eq!(Stage::parse(name), Some(stage));
            assert!(
                source.join("pipeline").join(name).with_extension("rs").is_file()
                    || source.join(name).is_dir(),
                "no file and no folder is named {name}"
            );
        }
    }

    #[test]
    fn each_stage_is_raised_by_its_file_alone() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut raised, mut folders) = (HashSet::new(), vec![source.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("source");
                let product = text.split("#[cfg(test)]").next().unwrap_or_default();
                for made in product.split("Refusal::new(").skip(1) {
                    let Some(rest) = made.trim_start().strip_prefix("Stage::") else { continue };
                    let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
                    let name = snake_case(&name);
                    let below = path.strip_prefix(&source).expect("below the source");
                    let file = Path::new("pipeline").join(&name).with_extension("rs");
                    assert!(below == file || below.starts_with(&name), "{} raises {name}", below.display());
                    raised.insert(name);
                }
            }
        }
        assert_eq!(raised, Stage::ALL.map(|stage| stage.name().to_owned()).into());
    }

    fn snake_case(name: &str) -> String {
        let parted = |(place, c): (usize, char)| {
            let mark = (place > 0 && c.is_ascii_uppercase()).then_some('_');
            mark.into_iter().chain([c.to_ascii_lowercase()])
        };
        name.chars().enumerate().flat_map(parted).collect()
    }

    #[test]
    fn the_page_has_a_row_for_each_stage_in_order() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let section = page.split("\n## ").find(|section| section.starts_with("The checks\n"));
        let rows = section
            .expect("the section")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), Stage::ALL.map(Stage::name));
    }
}
