//! A server, or what stands before it, may answer in a content coding that nobody asked for (RFC 9110,
//! section 12.5.3).

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::Setup;
use airlock_tests::little::{Book, Little, Seen, wait_for_end, write_json, write_piece};
use airlock_tests::mcp::{modern_call, text};
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::flate::params::FlateEncoderParams;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use serde_json::json;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn encoder(coding: &str) -> Box<dyn EncodeV2> {
    let flate = FlateEncoderParams::from(Level::Default);
    match coding {
        "gzip" => Box::new(GzipEncoder::new(flate)),
        "deflate" => Box::new(ZlibEncoder::new(flate)),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default())),
        _ => Box::new(ZstdEncoder::new(3)),
    }
}

/// The encoder's output for a piece, up to its end where it is the last.
fn encode(encoder: &mut dyn EncodeV2, piece: &[u8], is_last: bool) -> Vec<u8> {
    let mut out = vec![0; piece.len() + 4096];
    let mut output = WriteBuffer::new_initialized(&mut out);
    let mut piece = PartialBuffer::new(piece);
    while !piece.unwritten().is_empty() {
        encoder.encode(&mut piece, &mut output).expect("encoded");
    }
    let mut go_on = |output: &mut WriteBuffer<'_>| {
        if is_last { encoder.finish(output) } else { encoder.flush(output) }
    };
    while !go_on(&mut output).expect("encoded") {}
    let written = output.written_len();
    out.truncate(written);
    out
}

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    let (way, coding) =
        seen.body["params"]["name"].as_str().unwrap_or_default().split_once('-').unwrap_or_default();
    let complete = json!({"resultType": "complete", "content": [{"type": "text", "text": coding}]});
    let head = |stream: &mut TcpStream, kind: &str, more: &str| {
        let named = if coding == "other" { "snappy" } else { coding };
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: {named}\r\nContent-Type: {kind}\r\n{more}\r\n\r\n")
                .as_bytes(),
        )
    };
    match (seen.rpc(), way) {
        ("server/discover", _) => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
            write_json(stream, &seen.result(&result))
        }
        ("tools/call", "json") => {
            let body = encode(&mut *encoder(coding), seen.result(&complete).as_bytes(), true);
            head(stream, "application/json", &format!("Content-Length: {}", body.len()))?;
            stream.write_all(&body)
        }
        ("tools/call", "bomb") => {
            let mut encoder = encoder(coding);
            head(stream, "application/json", "Transfer-Encoding: chunked")?;
            let megabyte = vec![b' '; 1024 * 1024];
            for _ in 0..100 {
                write_piece(stream, &encode(&mut *encoder, &megabyte, false))?;
            }
            wait_for_end(stream)
        }
        ("tools/call", "events") => {
            let mut encoder = encoder(coding);
            head(stream, "text/event-stream", "Transfer-Encoding: chunked")?;
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "message": "halfway"}});
            for event in [progress.to_string(), seen.result(&complete)] {
                let event = format!("data: {event}\n\n");
                write_piece(stream, &encode(&mut *encoder, event.as_bytes(), false))?;
            }
            // The answer has to come out although the stream stays open.
            wait_for_end(stream)
        }
        _ => write_json(stream, &seen.no_such_method()),
    }
}

#[test]
fn what_a_server_encodes_unasked_is_decoded() {
    let little = Little::start(answer);
    let airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = |tool: String| airlock.send(&modern_call("/mcp/little", 1, &tool, &json!({})).bearer(&token));
    for coding in CODINGS {
        for way in ["json", "events"] {
            let response = call(format!("{way}-{coding}"));
            assert_eq!(text(&response.answer()["result"]), coding, "{}\n{}", response.text(), airlock.log());
        }
        let response = call(format!("bomb-{coding}"));
        assert_eq!(response.status, 502, "{}", response.text());
        little.until(|book| book.closed.len().checked_sub(1).map(|_| ()));
    }
    for way in ["json", "events"] {
        let response = call(format!("{way}-other"));
        assert_eq!(response.status, 502, "{}", response.text());
        assert!(airlock.logs("content coding `snappy`, which nobody asked for"), "{}", airlock.log());
    }
    let record = airlock.audited(|record| record.to_string().contains("max_response_bytes"));
    assert_eq!(record["upstream"], "little", "a bomb is told by the limit that it is over: {record}");
}
