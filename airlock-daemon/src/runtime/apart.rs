//! Work on long texts, done by a thread that nobody else waits for: all other calls of a worker would stand
//! still for as long as it takes.

use std::cell::Cell;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::allocator::MAPPED;

/// The length from which on a text is worked on apart, in bytes. To look through a shorter one costs a worker
/// less than a millisecond.
pub const LONG: usize = 32 * 1024;

/// By how much threads that work apart are nicer than workers, in steps of sched(7): where there are fewer
/// processors than threads that want to run, one long text shall not take the time of many short calls.
const NICENESS: i32 = 5;

/// Does a piece of work apart.
pub fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(|| {
        stand_back();
        work()
    })
}

/// Does a piece of work on a text of so many bytes: here, or apart where it takes long.
///
/// # Errors
/// [`JoinError`] where the work has panicked apart, or the runtime ends.
pub async fn by_length<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if bytes < LONG { Ok(work()) } else { apart(work).await }
}

/// As [`by_length`], of a text that somebody else has: a long one is copied.
///
/// # Errors
/// As for [`by_length`].
pub async fn of_text<T: Send + 'static>(
    text: &str,
    work: impl FnOnce(&str) -> T + Send + 'static,
) -> Result<T, JoinError> {
    if text.len() < LONG {
        return Ok(work(text));
    }
    let text = text.to_owned();
    apart(move || work(&text)).await
}

/// Drops a text, a long one apart: its pages are given back to the system one by one.
pub fn dispose(text: Box<str>) {
    if text.len() >= MAPPED as usize
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn_blocking(|| {
            stand_back();
            drop(text);
        });
    }
}

/// Has this thread wait where workers want to run, from its first piece of work on. A system that does not
/// permit that has it work as it is.
fn stand_back() {
    thread_local!(static IS_NICE: Cell<bool> = const { Cell::new(false) });
    if !IS_NICE.replace(true)
        && let Ok(now) = getpriority_process(None)
    {
        // The kernel means the calling thread by no number.
        let _ = setpriority_process(None, now.saturating_add(NICENESS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_apart_leaves_workers_the_processors() {
        let worker = getpriority_process(None).expect("a niceness");
        let (first, second) = (apart(|| getpriority_process(None)), apart(|| getpriority_process(None)));
        for thread in [first, second] {
            let thread = thread.await.expect("it works").expect("a niceness");
            assert_eq!(thread, (worker + NICENESS).min(19));
        }
        assert_eq!(getpriority_process(None).expect("a niceness"), worker);
    }
}
