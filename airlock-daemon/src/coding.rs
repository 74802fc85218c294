//! Bodies of peers that answer in a content coding nobody asked for (RFC 9110, sections 8.4 and 12.5.3).
//!
//! Airlock asks for [`IDENTITY`]. Some peers, and what stands before them, encode all the same: their bodies
//! come out of [`Decoded`] as they were meant, in pieces of bounded size, so that whoever counts the bytes
//! can stop at any of them.

pub mod broken;
mod decoder;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use broken::{Broken, SHOWN};
use decoder::Decoder;

/// The value of `Accept-Encoding` that wants no coding.
pub const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How long a body is decoded before the others of its worker have their turn.
const TURN: Duration = Duration::from_millis(1);
/// A response whose body comes out without its content coding.
pub fn decoded(response: Response<Incoming>) -> Response<Decoded> {
    let coding = Coding::of(response.headers());
    response.map(|body| Decoded::new(body, coding))
}

/// How a body is encoded.
#[derive(Debug)]
enum Coding {
    Identity,
    Known(Box<Decoder>),
    Foreign(String),
}

impl Coding {
    fn of(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(CONTENT_ENCODING).iter();
        let names = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        let mut names = names.map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase());
        let mut next = || names.find(|name| !name.is_empty() && name != "identity");
        match (next(), next()) {
            (None, _) => Self::Identity,
            (Some(name), None) => Decoder::named(&name)
                .map_or_else(|| Self::Foreign(shorten(&name)), |decoder| Self::Known(Box::new(decoder))),
            (Some(one), Some(other)) => Self::Foreign(shorten(&format!("{one}, {other}"))),
        }
    }
}

fn shorten(name: &str) -> String {
    name.chars().take(SHOWN).collect()
}

/// A body without its content coding.
#[derive(Debug)]
pub struct Decoded<B = Incoming> {
    body: B,
    coding: Coding,
    /// Bytes that have come and are not decoded yet.
    input: Bytes,
    /// When this turn began; none where the last poll waited for more.
    turn: Option<Instant>,
}

impl<B> Decoded<B> {
    /// Bytes that the decoder keeps from one piece to the next: its window, which may be of megabytes.
    pub fn held(&self) -> usize {
        match &self.coding {
            Coding::Known(decoder) => decoder.held(),
            Coding::Identity | Coding::Foreign(_) => 0,
        }
    }

    fn new(body: B, coding: Coding) -> Self {
        Self { body, coding, input: Bytes::new(), turn: None }
    }
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes> + Unpin,
    Broken: From<B::Error>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let decoder = match &mut this.coding {
            Coding::Identity => return Pin::new(&mut this.body).poll_frame(cx).map_err(Broken::from),
            Coding::Foreign(name) => {
                let frame = ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()?;
                // An empty body is in any coding.
                return Poll::Ready(match frame {
                    Some(frame) if frame.data_ref().is_some_and(|data| !data.is_empty()) => {
                        Some(Err(Broken::Foreign(name.clone())))
                    }
                    frame => frame.map(Ok),
                });
            }
            Coding::Known(decoder) => decoder,
        };
        loop {
            if this.turn.get_or_insert_with(Instant::now).elapsed() >= TURN {
                this.turn = None;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match decoder.decode(&mut this.input)? {
                Some(piece) if piece.is_empty() => continue,
                Some(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => {}
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                this.turn = None;
                return Poll::Pending;
            };
            match frame.transpose()? {
                None => return Poll::Ready(decoder.finish()?.map(|piece| Ok(Frame::data(piece)))),
                Some(frame) => match frame.into_data() {
                    Ok(data) => this.input = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.coding, Coding::Identity) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if matches!(self.coding, Coding::Identity) { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
