//! A share of the worker's time for whoever loops over what comes from outside: a loop that goes on for
//! longer lets others in between.

use std::time::{Duration, Instant};

/// How long a loop may hold its worker.
const SLICE: Duration = Duration::from_micros(100);

/// The time of one loop; to be asked after each piece of work.
#[derive(Debug)]
pub struct Pacer {
    since: Instant,
}

impl Default for Pacer {
    fn default() -> Self {
        Self { since: Instant::now() }
    }
}

impl Pacer {
    /// Lets the others of this worker in when the slice is used up; otherwise costs a look at the clock.
    pub async fn breathe(&mut self) {
        if self.since.elapsed() >= SLICE {
            tokio::task::yield_now().await;
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn others_have_their_turn_while_a_loop_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let turns = Rc::new(Cell::new(0));
            let other = Rc::clone(&turns);
            let busy = tokio::task::spawn_local(async move {
                loop {
                    other.set(other.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            let mut pacer = Pacer::default();
            // As long as it takes; without a pause the other would never have one.
            while turns.get() < 3 {
                pacer.breathe().await;
            }
            busy.abort();
        });
    }
}
