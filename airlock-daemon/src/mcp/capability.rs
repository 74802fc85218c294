//! What a server offers, in the words of its capabilities.

use super::object::Object;

/// A part of the protocol that Airlock carries across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `tools/*`.
    Tools,
    /// `prompts/*`.
    Prompts,
    /// `resources/*`.
    Resources,
    /// `completion/complete`.
    Completions,
    /// `logging/setLevel`, or the level in `_meta`.
    Logging,
}

/// A set of [`Capability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u8);

impl Capability {
    const ALL: [Self; 5] = [Self::Tools, Self::Prompts, Self::Resources, Self::Completions, Self::Logging];

    /// The member of `capabilities` that declares it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Completions => "completions",
            Self::Logging => "logging",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Capabilities {
    /// Tools and nothing else: what is taken for granted of a server that was never reached.
    pub const TOOLS: Self = Self(Capability::Tools.bit());

    /// Reads the JSON text of a server's `capabilities`; what is no object offers nothing.
    pub fn parse(json: &str) -> Self {
        let declared = Object::parse(json).unwrap_or_default();
        let offered = |capability: &Capability| {
            declared.get(capability.as_str()).is_some_and(|value| value.starts_with('{'))
        };
        Self(Capability::ALL.iter().filter(|each| offered(each)).fold(0, |set, each| set | each.bit()))
    }

    /// Whether the capability is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// What is in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as a `capabilities` object. Sub-capabilities such as `listChanged` and `subscribe` are left out: nothing
    /// carries them across.
    pub fn write(self) -> String {
        let members: Vec<_> = Capability::ALL
            .iter()
            .filter(|each| self.has(**each))
            .map(|each| format!("\"{}\":{{}}", each.as_str()))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_read_and_written_again() {
        let set =
            Capabilities::parse(r#"{"logging":{},"tools":{"listChanged":true},"vendor":{},"prompts":null}"#);
        assert_eq!(set.write(), r#"{"tools":{},"logging":{}}"#);
        assert!(set.has(Capability::Tools) && !set.has(Capability::Prompts));
        assert_eq!(set.union(Capabilities::TOOLS), set);
        for nothing in ["", "[]", "{}", "null"] {
            assert_eq!(Capabilities::parse(nothing), Capabilities::default(), "{nothing}");
        }
        assert_eq!(Capabilities::parse(&set.write()), set);
    }
}
