use std::collections::VecDeque;
use std::convert::Infallible;

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::flate::params::FlateEncoderParams;
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use http_body_util::BodyExt as _;

use super::*;

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body of these pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn body(coding: &str, pieces: &[&[u8]]) -> Decoded<Pieces> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, coding.parse().expect("a value"));
    let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    Decoded::new(Pieces(pieces), Coding::of(&headers))
}

async fn read(coding: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, Broken> {
    Ok(body(coding, pieces).collect().await?.to_bytes().to_vec())
}

/// The encoders, by the names of their codings.
fn encoders() -> Vec<(&'static str, Box<dyn EncodeV2>)> {
    let flate = || FlateEncoderParams::from(Level::Default);
    vec![
        ("gzip", Box::new(GzipEncoder::new(flate()))),
        ("deflate", Box::new(ZlibEncoder::new(flate()))),
        ("Deflate", Box::new(DeflateEncoder::new(flate()))),
        ("br", Box::new(BrotliEncoder::new(EncoderParams::default()))),
        ("zstd", Box::new(ZstdEncoder::new(3))),
    ]
}

fn take_in(encoder: &mut dyn EncodeV2, text: &[u8], output: &mut WriteBuffer<'_>) {
    let mut text = PartialBuffer::new(text);
    while !text.unwritten().is_empty() {
        encoder.encode(&mut text, output).expect("encoded");
    }
}

/// The text in its coding, and how much of that stands for the part before `flush_at`, where the encoder was
/// flushed.
fn encode(encoder: &mut dyn EncodeV2, text: &[u8], flush_at: usize) -> (Vec<u8>, usize) {
    let mut out = vec![0; 2 * text.len() + 4096];
    let mut output = WriteBuffer::new_initialized(&mut out);
    take_in(encoder, &text[..flush_at], &mut output);
    while !encoder.flush(&mut output).expect("flushed") {}
    let flushed = output.written_len();
    take_in(encoder, &text[flush_at..], &mut output);
    while !encoder.finish(&mut output).expect("finished") {}
    let written = output.written_len();
    out.truncate(written);
    (out, flushed)
}

/// The names of the codings that are known.
pub(crate) const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// A text in the coding of this name.
pub(crate) fn encoded(coding: &str, text: &[u8]) -> Vec<u8> {
    let mut encoder = encoders().into_iter().find(|(name, _)| *name == coding).expect("a coding").1;
    encode(&mut *encoder, text, text.len() / 2).0
}

fn text(length: usize) -> Vec<u8> {
    let words = (0_u32..).flat_map(|number| {
        format!("{{\"n\":{},\"text\":\"word\"}},", number.wrapping_mul(2_654_435_761) % 977).into_bytes()
    });
    words.take(length).collect()
}

#[tokio::test]
async fn the_window_of_a_body_is_held_from_its_first_piece_on() {
    for (coding, least) in [("gzip", 32 << 10), ("br", 1 << 16), ("zstd", 1 << 10), ("identity", 0)] {
        let plain = text(100_000);
        let encoded = if coding == "identity" { plain } else { encoded(coding, &plain) };
        let mut body = body(coding, &[&encoded]);
        assert_eq!(body.held(), 0, "{coding}");
        body.frame().await.expect("a frame").expect("a piece");
        let held = body.held();
        assert!(held >= least && held <= (16 << 20) + (32 << 10), "{coding}: {held}");
        assert_eq!(held == 0, coding == "identity");
    }
}

#[tokio::test]
async fn every_coding_is_undone_however_it_is_cut() {
    // Around the size of a piece, where an end and a full buffer may come together.
    for length in [1, 1_000, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 300_000] {
        let plain = text(length);
        for (coding, mut encoder) in encoders() {
            let (encoded, _) = encode(&mut *encoder, &plain, length / 2);
            assert!(read(coding, &[&encoded]).await.expect(coding) == plain, "{coding} {length}");
            let cut: Vec<&[u8]> = encoded.chunks(7).collect();
            assert!(read(coding, &cut).await.expect(coding) == plain, "{coding} {length} in pieces");
            let (short, _) = encoded.split_at(encoded.len() - 1);
            let error = read(coding, &[short]).await.expect_err("cut off").to_string();
            assert!(error.contains("ends too early"), "{coding} {length}: {error}");
        }
    }
}

#[tokio::test]
async fn what_was_flushed_comes_at_once() {
    let plain = text(5_000);
    for (coding, mut encoder) in encoders() {
        let (encoded, flushed) = encode(&mut *encoder, &plain, 2_000);
        let mut decoder = body(coding, &[&encoded[..flushed]]);
        let mut got = Vec::new();
        while got.len() < 2_000 {
            let frame = decoder.frame().await.expect("more").expect(coding);
            got.extend_from_slice(frame.data_ref().expect("data"));
        }
        assert!(got == plain[..2_000], "{coding}");
    }
}

#[tokio::test]
async fn several_members_are_one_body_and_nothing_else_stands_behind_an_end() {
    for (coding, mut encoder) in encoders() {
        let (encoded, _) = encode(&mut *encoder, b"one", 1);
        let twice = read(coding, &[&encoded, &encoded]).await;
        match coding {
            "gzip" | "zstd" => assert_eq!(twice.expect(coding), b"oneone"),
            _ => assert!(twice.expect_err(coding).to_string().contains("behind its end")),
        }
        let error = read(coding, &[&encoded, b"rubbish"]).await.expect_err(coding).to_string();
        assert!(error.contains("content coding"), "{error}");
        assert!(read(coding, &[b"{\"no\":\"coding\"}"]).await.is_err(), "{coding}");
        assert_eq!(read(coding, &[]).await.expect("an empty body is in any coding"), b"");
    }
}

#[tokio::test]
async fn a_bomb_can_be_left_at_any_piece() {
    let zeros = vec![0; 64 * 1024 * 1024];
    for (coding, mut encoder) in encoders() {
        let (encoded, _) = encode(&mut *encoder, &zeros, zeros.len() / 2);
        assert!(encoded.len() < 100_000, "{coding}: {}", encoded.len());
        let mut bomb = body(coding, &[&encoded]);
        let mut taken = 0;
        while taken < 1024 * 1024 {
            let frame = bomb.frame().await.expect("more").expect(coding);
            let length = frame.data_ref().expect("data").len();
            assert!(length <= 32 * 1024, "{coding}: {length}");
            taken += length;
        }
    }
}

#[tokio::test]
async fn other_codings_are_named_and_identity_is_none() {
    for (coding, named) in [("compress", "`compress`"), ("gzip, br", "`gzip, br`"), ("GZip,X", "`gzip, x`")] {
        let error = read(coding, &[b"x"]).await.expect_err(coding).to_string();
        assert!(error.contains(named), "{error}");
        assert_eq!(read(coding, &[]).await.expect("empty"), b"");
    }
    for coding in ["identity", "", "Identity, identity", ","] {
        assert_eq!(read(coding, &[b"as ", b"it is"]).await.expect(coding), b"as it is");
    }
}

#[tokio::test]
async fn members_that_hold_nothing_come_to_an_end() {
    for coding in ["gzip", "zstd"] {
        let empty = encoded(coding, b"");
        let few = [empty.repeat(8), encoded(coding, b"text")].concat();
        assert_eq!(read(coding, &[&few]).await.expect("decoded"), b"text", "{coding}");
        let many = empty.repeat(10_000);
        let broken = read(coding, &[&many]).await.expect_err("too many");
        assert!(matches!(broken, Broken::Wrong(..)), "{coding}: {broken:?}");
    }
}
