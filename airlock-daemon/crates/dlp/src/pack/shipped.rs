//! The packs within the program.

use super::{Pack, PackError};

/// A pack as it lies in `policies/dlp`.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its path from the root of the sources, for messages.
    pub file: &'static str,
    /// Its YAML.
    pub text: &'static str,
}

impl Shipped {
    /// Reads it. Its examples ran when the program was tested, and do not run again.
    pub fn load(&self) -> Result<Pack, PackError> {
        Pack::form(self.file, self.text, true)
    }
}

const SHIPPED: &[Shipped] = &[
    Shipped {
        file: "policies/dlp/secrets.yaml",
        text: include_str!("../../../../../policies/dlp/secrets.yaml"),
    },
    Shipped {
        file: "policies/dlp/payment.yaml",
        text: include_str!("../../../../../policies/dlp/payment.yaml"),
    },
    Shipped { file: "policies/dlp/pii.yaml", text: include_str!("../../../../../policies/dlp/pii.yaml") },
    Shipped {
        file: "policies/dlp/network.yaml",
        text: include_str!("../../../../../policies/dlp/network.yaml"),
    },
];

/// The packs that come with the program.
pub fn shipped() -> &'static [Shipped] {
    SHIPPED
}
