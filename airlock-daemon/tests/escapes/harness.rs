//! As much of a test harness as cargo, nextest and a terminal ask for.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A test: `Err` says what is wrong.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The options that change what is done; all others of libtest change only how it looks.
#[derive(Default)]
struct Options {
    list: bool,
    exact: bool,
    ignored: bool,
    filters: Vec<String>,
    skip: Vec<String>,
    threads: Option<usize>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg.clone(), None),
            };
            match name.as_str() {
                "--list" => options.list = true,
                "--exact" => options.exact = true,
                "--ignored" => options.ignored = true,
                "--skip" => options.skip.extend(value.or_else(|| args.next())),
                "--test-threads" => {
                    options.threads = value.or_else(|| args.next()).and_then(|number| number.parse().ok());
                }
                "--format" | "--color" | "--logfile" | "-Z" if value.is_none() => drop(args.next()),
                _ if name.starts_with('-') => {}
                _ => options.filters.push(arg),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { filter == name } else { name.contains(filter) };
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(matches)
    }
}

/// Runs what the command line asks for and prints it as libtest would.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let options = Options::read();
    let wanted: Vec<&Test> = tests.iter().filter(|test| options.wants(test.name)).collect();
    if options.list {
        for test in wanted {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.unwrap_or(processors).clamp(1, 4) {
            scope.spawn(|| {
                while let Some(test) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // In a thread of its own, which has the test's name and whose panic is only its own.
                    let worker = std::thread::Builder::new().name(test.name.to_owned());
                    let result = std::thread::scope(|inner| {
                        let running = worker.spawn_scoped(inner, || (test.run)());
                        running
                            .map_err(|error| error.to_string())?
                            .join()
                            .unwrap_or_else(|_| Err("panicked".to_owned()))
                    });
                    println!("test {} ... {}", test.name, if result.is_ok() { "ok" } else { "FAILED" });
                    if let Err(reason) = result {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push((test.name, reason));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, reason) in &failures {
        println!("\n---- {name} ----\n{reason}");
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out",
        if failures.is_empty() { "ok" } else { "FAILED" },
        wanted.len() - failures.len(),
        failures.len(),
        tests.len() - wanted.len(),
    );
    // As libtest ends, so that a crash is told from a failure.
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
