//! Streamable HTTP at `/mcp`: one POST, one JSON answer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::answer::{Texts, answer};

/// The largest request body, in bytes.
const LARGEST_REQUEST: usize = 1024 * 1024;

/// Serves on `address` until the process is ended; prints the address once it listens.
pub(crate) fn serve(address: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, accept(address))
}

async fn accept(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let mut out = io::stdout();
    writeln!(out, "listening on http://{}/mcp", listener.local_addr()?)?;
    out.flush()?;
    let texts = Rc::new(RefCell::new(Texts::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let texts = Rc::clone(&texts);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| handle(request, Rc::clone(&texts)));
            // A client that goes away is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn handle(
    request: Request<Incoming>,
    texts: Rc<RefCell<Texts>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST || request.uri().path() != "/mcp" {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    let Ok(body) = Limited::new(request.into_body(), LARGEST_REQUEST).collect().await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let mut out = Vec::with_capacity(1024);
    match answer(&body.to_bytes(), &mut texts.borrow_mut(), &mut out) {
        Err(_) => Ok(empty(StatusCode::BAD_REQUEST)),
        Ok(()) if out.is_empty() => Ok(empty(StatusCode::ACCEPTED)),
        Ok(()) => {
            let mut response = Response::new(Full::new(Bytes::from(out)));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
