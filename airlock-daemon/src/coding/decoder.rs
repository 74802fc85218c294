//! The decoder of one body.

use bytes::{Buf as _, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};

use super::broken::Broken;

/// Most bytes of one decoded piece.
const PIECE: usize = 32 * 1024;
/// Most members or frames in a row that hold nothing. Each costs a decoder, and no limit on bytes ends them.
const BARREN: u32 = 64;
/// Largest window of zstd, as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// The codings of RFC 9110, section 8.4.1, RFC 7932 and RFC 8878.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// A decoder for a body that begins with this byte.
    fn decoder(self, first: u8) -> Box<dyn DecodeV2 + Send> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            // `deflate` is in the format of zlib, and some send it bare: no bare one begins with the mark of
            // zlib.
            Self::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
            Self::Deflate => Box::new(DeflateDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW)])),
        }
    }
}

/// Bytes of the window that a decoder keeps, as its body begins (RFC 7932, section 9.1; RFC 8878, section
/// 3.1.1.1). A beginning that is cut short, or is none, counts as the largest.
fn window(name: Name, start: &[u8]) -> usize {
    match name {
        Name::Gzip | Name::Deflate => 32 * 1024,
        Name::Brotli => {
            let first = start.first().copied().unwrap_or(u8::MAX);
            let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
                (0, ..) => 16,
                (_, 0, 0) => 17,
                (_, 0, bits) => 8 + bits,
                (_, bits, _) => 17 + bits,
            };
            1 << bits
        }
        Name::Zstd => match start {
            // A frame with a window descriptor.
            [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] if descriptor & 0x20 == 0 => {
                let base = 1_usize << (10 + (window >> 3));
                (base + base / 8 * usize::from(window & 7)).min(1 << ZSTD_WINDOW)
            }
            // A frame that is its own window, of up to 255 bytes.
            [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] if descriptor >> 6 == 0 => 255,
            _ => 1 << ZSTD_WINDOW,
        },
    }
}

/// Decodes one body.
pub(super) struct Decoder {
    name: Name,
    /// Made with the first byte.
    inner: Option<Box<dyn DecodeV2 + Send>>,
    /// Bytes of the window that it keeps.
    window: usize,
    /// The last piece was full, so there may be more of what was taken in.
    has_more: bool,
    /// The end of the coding has been read.
    is_done: bool,
    /// Ends since the last byte that came out.
    barren: u32,
    piece: Vec<u8>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.name).finish()
    }
}

impl Decoder {
    /// The decoder of a coding, by its name in lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = match name {
            "gzip" | "x-gzip" => Name::Gzip,
            "deflate" => Name::Deflate,
            "br" => Name::Brotli,
            "zstd" => Name::Zstd,
            _ => return None,
        };
        Some(Self {
            name,
            inner: None,
            window: 0,
            has_more: false,
            is_done: false,
            barren: 0,
            piece: Vec::new(),
        })
    }

    /// Bytes that it keeps from one piece to the next.
    pub(super) fn held(&self) -> usize {
        self.window + self.piece.len()
    }

    /// The next piece of what `input` holds, which may be empty; `None` when more input is needed.
    ///
    /// # Errors
    /// [`Broken::Wrong`].
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Broken> {
        if input.is_empty() && !self.has_more {
            return Ok(None);
        }
        let piece = self.step(input)?;
        if !piece.is_empty() {
            self.barren = 0;
        }
        Ok(Some(piece))
    }

    /// The last decoded bytes, at the end of the input; `None` when there are none.
    ///
    /// # Errors
    /// [`Broken::Wrong`] when the input ends too early.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(inner) = self.inner.as_mut().filter(|_| !self.is_done) else { return Ok(None) };
        self.piece.resize(PIECE, 0);
        let mut output = WriteBuffer::new_initialized(&mut self.piece);
        self.is_done = inner
            .finish(&mut output)
            .map_err(|_| Broken::Wrong(self.name.text(), "it ends too early".to_owned()))?;
        let written = output.written_len();
        if written == 0 && !self.is_done {
            return Err(Broken::Wrong(self.name.text(), "it ends too early".to_owned()));
        }
        Ok((written > 0).then(|| Bytes::copy_from_slice(&self.piece[..written])))
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Bytes, Broken> {
        let wrong = |reason: String| Broken::Wrong(self.name.text(), reason);
        if self.is_done {
            // A body may be several members of gzip (RFC 1952) or frames of zstd (RFC 8878) in a row.
            if !matches!(self.name, Name::Gzip | Name::Zstd) {
                return Err(wrong("something stands behind its end".to_owned()));
            }
            self.barren += 1;
            if self.barren > BARREN {
                return Err(wrong("its members hold nothing".to_owned()));
            }
            self.inner = None;
            self.is_done = false;
        }
        let first = input.first().copied().unwrap_or_default();
        let inner = self.inner.get_or_insert_with(|| {
            self.window = window(self.name, input);
            self.name.decoder(first)
        });
        self.piece.resize(PIECE, 0);
        let mut output = WriteBuffer::new_initialized(&mut self.piece);
        let mut from = PartialBuffer::new(input.as_ref());
        // The decoders of gzip and deflate take an empty input for a fault, the others for the wish to go on.
        let decoded = if input.is_empty() && matches!(self.name, Name::Gzip | Name::Deflate) {
            inner.flush(&mut output).map(|_| false)
        } else {
            inner.decode(&mut from, &mut output)
        };
        self.is_done = decoded.map_err(|error| wrong(error.to_string()))?;
        let (taken, written) = (from.written_len(), output.written_len());
        self.has_more = output.has_no_spare_space() && !self.is_done;
        if taken == 0 && written == 0 && !input.is_empty() && !self.is_done {
            return Err(wrong("it cannot be read on".to_owned()));
        }
        input.advance(taken);
        Ok(Bytes::copy_from_slice(&self.piece[..written]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_large_as_its_body_says() {
        for (name, start, bytes) in [
            (Name::Gzip, &[0x1f, 0x8b][..], 32 << 10),
            (Name::Brotli, &[0b0000_0000], 1 << 16),
            (Name::Brotli, &[0b0000_0001], 1 << 17),
            (Name::Brotli, &[0b0010_0001], 1 << 10),
            (Name::Brotli, &[0b0000_0011], 1 << 18),
            (Name::Brotli, &[0b0000_1111], 1 << 24),
            (Name::Brotli, &[], 1 << 24),
            (Name::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58], 1 << 21),
            (Name::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x01], 1024 + 128),
            (Name::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff], 8 << 20),
            (Name::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05], 255),
            (Name::Zstd, &[0x28, 0xb5], 8 << 20),
        ] {
            assert_eq!(window(name, start), bytes, "{name:?} {start:x?}");
        }
    }
}
