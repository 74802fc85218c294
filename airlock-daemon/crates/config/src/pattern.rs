//! Which tools an entry of `rate_limiting.per_tool` or `budget.tools` is about: `upstream/tool`, where `*`
//! stands for any text.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    upstream: String,
    tool: String,
}

impl Pattern {
    /// Reads `upstream/tool`; none where a part is missing. The part behind the first slash is the tool's.
    pub fn parse(text: &str) -> Option<Self> {
        let (upstream, tool) = text.split_once('/')?;
        (!upstream.is_empty() && !tool.is_empty())
            .then(|| Self { upstream: upstream.to_owned(), tool: tool.to_owned() })
    }

    /// True where it is about this tool, named as its server names it.
    pub fn matches(&self, upstream: &str, tool: &str) -> bool {
        matches(&self.upstream, upstream) && matches(&self.tool, tool)
    }

    /// The pattern of the upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// True where it is about this upstream.
    pub fn concerns(&self, upstream: &str) -> bool {
        matches(&self.upstream, upstream)
    }
}

/// Each piece between stars is looked for behind the one before; the first and the last stand at the ends.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').collect::<Vec<_>>();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, upstream, tool, expected) in [
            ("docs/search", "docs", "search", true),
            ("docs/search", "docs", "search_docs", false),
            ("docs/*", "docs", "", true),
            ("docs/write_*", "docs", "write_file", true),
            ("docs/write_*", "docs", "rewrite_file", false),
            ("*/*", "a", "b/c", true),
            ("*/a*b*c", "x", "a1b2c", true),
            ("*/a*b*c", "x", "a1c2b", false),
            ("*/a*a", "x", "a", false),
            ("do*/x", "docs", "x", true),
            ("docs/a/b", "docs", "a/b", true),
        ] {
            let pattern_ = Pattern::parse(pattern).expect(pattern);
            assert_eq!(pattern_.matches(upstream, tool), expected, "{pattern} {upstream} {tool}");
        }
        for wrong in ["docs", "/x", "docs/", ""] {
            assert_eq!(Pattern::parse(wrong), None, "{wrong}");
        }
    }
}
