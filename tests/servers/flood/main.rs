//! The rows of `cargo xtask bench --flood`: an honest client of a door at which an offender knocks as fast as
//! it is told to. The operator blocked the offender by `airlock block add`: at one door its requests are
//! refused by the daemon, at the other the kernel drops its packets. Doors and rates are measured in turn,
//! several times over, so that a noisy moment hits all of them; the median of each figure is shown. It fails
//! on no time.

mod cores;
mod door;
mod honest;
mod offender;
mod round;
mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cores::Cores;
use door::Door;
use round::Round;
use tokio::signal::unix::{SignalKind, signal};

/// Attempts a second. The first is the base, the last more than the daemon can refuse.
const RATES: [u32; 5] = [0, 1_000, 4_000, 8_000, 16_000];

fn main() -> ExitCode {
    airlock_tests::rows::run("flood", |quick| measure(if quick { 1 } else { 5 }))
}

fn measure(rounds: usize) -> Result<(), String> {
    let interrupted = interrupted()?;
    let cores = Cores::choose()?;
    let doors = [Door::open("refused", false, &cores)?, Door::open("dropped", true, &cores)?];
    offender::many_sockets()?;
    println!("{}", table::preface(rounds));
    let mut rows: Vec<Vec<Round>> = (0..RATES.len() * doors.len()).map(|_| Vec::new()).collect();
    for number in 0..rounds {
        eprintln!("round {} of {rounds}", number + 1);
        for (at, rate) in RATES.into_iter().enumerate() {
            // Neither door is always the one that comes after the other.
            for turn in 0..doors.len() {
                let which = (turn + number) % doors.len();
                if interrupted.load(Ordering::Relaxed) {
                    return Err("interrupted".to_owned());
                }
                rows[at * doors.len() + which].push(round::run(&doors[which], &cores, rate)?);
            }
        }
    }
    let names = doors.each_ref().map(|door| door.name);
    let mut blocks = RATES.into_iter().zip(rows.chunks(doors.len()));
    let base = blocks.clone().next().map_or(&[][..], |(_, rows)| rows);
    for (rate, rows) in &mut blocks {
        print!("{}", table::block(rate, names, rows, base));
    }
    println!("{}", table::CLOSING);
    Ok(())
}

/// Becomes true by SIGINT or SIGTERM, so that the namespaces do not outlive an impatient user.
fn interrupted() -> Result<Arc<AtomicBool>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let flag = Arc::new(AtomicBool::new(false));
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        let listen = |kind| signal(kind).map_err(|error| error.to_string());
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
    };
    let set = Arc::clone(&flag);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}
