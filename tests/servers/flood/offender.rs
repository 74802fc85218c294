//! The flood: so many attempts a second, each a connection of its own with a request that has no token. It
//! waits neither for answers nor for a SYN to be sent again: an attempt that has no answer soon is given up,
//! so that as many are made where nobody answers as where all are refused.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airlock_tests::http::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::door::OFFENDER;

/// An attempt without an answer is given up. Below the second after which the kernel sends a SYN again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(200);
/// Attempts under way at a time.
const AT_ONCE: u64 = 8_192;

/// Its deeds so far.
#[derive(Default)]
pub(crate) struct Flood {
    /// Attempts begun.
    pub(crate) made: AtomicU64,
    /// Those of them that were refused with 429.
    pub(crate) refused: AtomicU64,
    /// Those of them that were answered otherwise.
    pub(crate) let_in: AtomicU64,
    /// It is to end.
    pub(crate) over: AtomicBool,
}

impl Flood {
    /// Makes attempts on this thread until it is over.
    pub(crate) fn run(&self, rate: u32, to: SocketAddr) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Tasks want to own what they use.
        let request: Rc<[u8]> = Request::post("/mcp", "{}").bytes(to).into();
        let answers = Rc::new([Cell::new(0), Cell::new(0)]);
        let under_way = Rc::new(());
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (begin, mut due) = (Instant::now(), 0);
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while !self.over.load(Ordering::Relaxed) {
                ticks.tick().await;
                let before = due;
                due = u64::try_from(begin.elapsed().as_micros()).unwrap_or(0) * u64::from(rate) / 1_000_000;
                let room = AT_ONCE.saturating_sub(Rc::strong_count(&under_way) as u64);
                // A request that finds no room is not made up for later.
                let now = room.min(due - before);
                for _ in 0..now {
                    let (request, answers) = (Rc::clone(&request), Rc::clone(&answers));
                    let place = Rc::clone(&under_way);
                    tokio::task::spawn_local(async move {
                        if let Ok(Ok(refused)) = timeout(ATTEMPT_TIMEOUT, attempt(to, &request)).await {
                            let count = &answers[usize::from(refused)];
                            count.set(count.get() + 1);
                        }
                        drop(place);
                    });
                }
                self.made.fetch_add(now, Ordering::Relaxed);
                self.let_in.store(answers[0].get(), Ordering::Relaxed);
                self.refused.store(answers[1].get(), Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

/// One attempt: whether it was refused.
async fn attempt(to: SocketAddr, request: &[u8]) -> io::Result<bool> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(OFFENDER, 0))?;
    // A port that rests after each attempt would soon leave none.
    socket.set_zero_linger()?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(request).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.1 429")
}

/// Lets this process have as many sockets as the flood wants.
pub(crate) fn many_sockets() -> Result<(), String> {
    let wanted = AT_ONCE + 1_024;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let limit = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|most| most.max(wanted)) };
    setrlimit(Resource::Nofile, limit).map_err(|error| format!("{wanted} sockets: {error}"))
}
