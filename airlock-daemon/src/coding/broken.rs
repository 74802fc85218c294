//! Bodies whose coding is not what they say.

/// Most characters of a coding's name that are shown.
pub const SHOWN: usize = 60;

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection does.
    #[error(transparent)]
    Transport(#[from] hyper::Error),
    /// Its coding is none that is known here.
    #[error(
        "is in the content coding `{0}`, which nobody asked for: let it answer without one, or with gzip, deflate, br or zstd"
    )]
    Foreign(String),
    /// It is not in the coding that it names.
    #[error("is not in the content coding `{0}` that it names: {1}")]
    Wrong(&'static str, String),
}

impl Broken {
    /// True where the connection broke off, which is no fault of what was sent.
    pub const fn is_transport(&self) -> bool {
        matches!(self, Self::Transport(_))
    }
}
