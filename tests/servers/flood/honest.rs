//! The client that asks at a steady rate whatever the answers do (an open loop). Its times count from when a
//! call was due, so that a call which had to wait for another's late answer is not left out of the figures.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use airlock_tests::http::read_response;
use airlock_tests::mcp::modern_call;
use airlock_tests::net::connect;
use serde_json::json;

use crate::door::{Door, HONEST};

/// A call that takes longer has failed.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The fate of the calls.
#[derive(Default)]
pub(crate) struct Seen {
    /// How long each took; one that failed, all the patience there is.
    pub(crate) times: Vec<Duration>,
    pub(crate) failed: u32,
    /// The words of the first of those.
    pub(crate) failure: Option<String>,
}

/// Calls one tool.
pub(crate) struct Client {
    to: SocketAddr,
    request: Vec<u8>,
    /// Its connections stay.
    keeps: bool,
}

impl Client {
    pub(crate) fn of(door: &Door, keeps: bool) -> Self {
        let call = modern_call("/mcp/echo", 1, "echo", &json!({"bytes": 300})).bearer(&door.token);
        let call = if keeps { call.header("connection", "keep-alive") } else { call };
        Self { to: door.address(), request: call.bytes(door.address()), keeps }
    }

    /// One call, on the connection that is there or on a new one.
    pub(crate) fn call(&self, connection: &mut Option<TcpStream>) -> Result<(), String> {
        let broken = |error: std::io::Error| error.to_string();
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => connect(HONEST, self.to, CALL_TIMEOUT).map_err(broken)?,
        };
        stream.write_all(&self.request).map_err(broken)?;
        let response = read_response(&mut stream).map_err(broken)?;
        if response.status != 200 || response.answer()["result"].is_null() {
            return Err(format!("HTTP {}: {}", response.status, response.text()));
        }
        if self.keeps {
            *connection = Some(stream);
        }
        Ok(())
    }

    /// Calls `rate` times a second for that long, on at most as many connections at a time as are given.
    pub(crate) fn run(&self, rate: u32, span: Duration, connections: &mut [Option<TcpStream>]) -> Seen {
        let every = Duration::from_secs(1) / rate;
        let (begin, next, seen) = (Instant::now(), AtomicU32::new(0), Mutex::new(Seen::default()));
        let (turn, notes) = (&next, &seen);
        std::thread::scope(|scope| {
            for connection in connections {
                scope.spawn(move || {
                    loop {
                        let due = every * turn.fetch_add(1, Ordering::Relaxed);
                        if due >= span {
                            return;
                        }
                        std::thread::sleep(due.saturating_sub(begin.elapsed()));
                        let result = self.call(connection);
                        let time = begin.elapsed().saturating_sub(due);
                        let mut seen = notes.lock().expect("nobody panics with it");
                        seen.times.push(if result.is_ok() { time } else { time.max(CALL_TIMEOUT) });
                        if let Err(error) = result {
                            seen.failed += 1;
                            seen.failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        let mut seen = seen.into_inner().expect("nobody panics with it");
        seen.times.sort_unstable();
        seen
    }
}

impl Seen {
    /// The time that this share of the calls did not exceed, in milliseconds.
    pub(crate) fn at_percent(&self, percent: usize) -> f64 {
        let place = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    }
}
