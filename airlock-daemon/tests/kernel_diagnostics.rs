//! With the log level `debug` the programs themselves say what they refuse; the verifier has to accept that
//! code too.
//!
//! Alone in its file, because the log is one for the whole process.

#[path = "support/kernel.rs"]
mod support;

use std::io::{self, Write};

use std::sync::Arc;

use airlock::config::schema::Pin;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A log that goes into a channel.
struct Lines(UnboundedSender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The test may have seen enough and be gone.
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Not a test: what the test binary does when it was started as a server.
#[test]
fn probe_process() {
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
}

#[test]
fn at_level_debug_the_programs_say_what_they_refuse() {
    if std::env::var_os(support::MODE).is_some() {
        return;
    }
    let (sender, mut lines) = unbounded_channel();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || Lines(sender.clone()))
        .init();
    let Some(half) = support::pinning_unsealed() else { return };
    assert!(half.early_drop().is_some(), "{}", half.report());
    let mut server = support::spawn(&half, &Pin::default(), &support::probe("look"));
    let pid = server.pid();
    support::findings(&mut server);
    let expected = format!("sock_create: family 2 refused to process {pid}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    // Ends with the line or, if it never comes, with the time limit of the test run.
    runtime.block_on(async {
        let seen = async { while !lines.recv().await.expect("the log stays open").contains(&expected) {} };
        tokio::select! {
            () = Arc::clone(&half).forward_diagnostics() => panic!("no diagnostics"),
            () = seen => {}
        }
    });
}
