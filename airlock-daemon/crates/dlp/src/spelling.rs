//! Spellings: characters as a text writes them by others.

pub(crate) mod blob;
mod fold;
pub(crate) mod view;
pub(crate) mod whole;
pub(crate) mod wrapped;

/// A character, or several, by another spelling.
pub(crate) struct Spelled {
    pub(crate) decoded: Decoded,
    /// The bytes that the spelling has.
    pub(crate) length: usize,
}

/// Decoded characters: one, or the few that one character folds to.
pub(crate) enum Decoded {
    One(char, [u8; 4]),
    Text(&'static str),
}

impl Decoded {
    pub(crate) fn of(character: char) -> Self {
        let mut bytes = [0; 4];
        character.encode_utf8(&mut bytes);
        Self::One(character, bytes)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::One(character, bytes) => {
                std::str::from_utf8(&bytes[..character.len_utf8()]).unwrap_or_default()
            }
            Self::Text(text) => text,
        }
    }
}
