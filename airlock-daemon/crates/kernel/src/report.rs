//! The effect of the kernel half on this host, layer by layer, for `airlock kernel doctor`, `/info` and the
//! log.

use std::fmt;

use serde::Serialize;

use airlock_config::schema::{KernelMode, Rung};

/// The state of the kernel half.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `kernel.mode` as configured.
    pub mode: KernelMode,
    /// The release of the running kernel, as `uname -r` prints it.
    pub kernel: String,
    /// The rung that was proved by attaching the programs and trying to get past them; none without any
    /// pinning.
    pub rung: Option<Rung>,
    /// The weakest rung that the configuration accepts.
    pub minimum_rung: Rung,
    /// The claim of this rung, in a sentence.
    pub claim: &'static str,
    /// Each layer, active or not, and why.
    pub layers: Vec<Layer>,
}

/// One layer of the confinement.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// A short name.
    pub name: String,
    /// True where it is in force.
    pub active: bool,
    /// Its effect, or why it is not in force.
    pub detail: String,
    /// The number of the system error that refused it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The remedy that would put it in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Layer {
    /// A layer in force.
    pub fn active(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), active: true, detail: detail.into(), errno: None, remedy: None }
    }

    /// A layer that is not in force.
    pub fn inactive(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), active: false, detail: detail.into(), errno: None, remedy: None }
    }

    /// The same with the system error that refused it.
    #[must_use]
    pub fn with_errno(mut self, errno: Option<i32>) -> Self {
        self.errno = errno;
        self
    }

    /// The same with what would help.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl Report {
    /// True where a layer of this name is in force.
    pub fn is_active(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.name == name && layer.active)
    }

    /// The layers that are not in force, one a line, for an error message.
    pub(super) fn missing(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for layer in self.layers.iter().filter(|layer| !layer.active) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {}: {}", layer.name, layer.detail);
            if let Some(remedy) = &layer.remedy {
                let _ = write!(text, "; {remedy}");
            }
        }
        text
    }
}

/// The claim of a rung.
pub(super) fn claim(rung: Option<Rung>) -> &'static str {
    match rung {
        None => "servers are not pinned",
        Some(Rung::NoIp) => {
            "a pinned server has no socket but unix ones; which of those it reaches is up to the file system"
        }
        Some(Rung::NoNetwork) => "a pinned server has no socket but unix ones, and connects to none",
        Some(Rung::Sealed) => "a pinned server reaches airlock's socket and nothing else",
    }
}

/// The name of a rung, as the configuration writes it.
pub(super) fn rung_name(rung: Option<Rung>) -> &'static str {
    rung.map_or("none", Rung::name)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel   {}", self.kernel)?;
        writeln!(f, "rung     {} (at least {})", rung_name(self.rung), rung_name(Some(self.minimum_rung)))?;
        writeln!(f, "claim    {}", self.claim)?;
        writeln!(f)?;
        let width = self.layers.iter().map(|layer| layer.name.len()).max().unwrap_or_default();
        for layer in &self.layers {
            let state = if layer.active { "active" } else { "-" };
            write!(f, "{:width$}  {state:6}  {}", layer.name, layer.detail)?;
            if let Some(errno) = layer.errno {
                write!(f, " [{}]", std::io::Error::from_raw_os_error(errno))?;
            }
            writeln!(f)?;
            if let Some(remedy) = &layer.remedy {
                writeln!(f, "{:width$}          remedy: {remedy}", "")?;
            }
        }
        Ok(())
    }
}
