//! Messages of the eBPF programs at level `debug`, passed on to our own log.
#![allow(unsafe_code)]

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where programs' lines go: `tracing`, all of them as `debug`.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        tracing::debug!(target: "airlock::kernel::program", "{}", record.args());
    }

    fn flush(&self) {}
}

/// True where anybody would read the programs' lines.
pub(crate) fn wanted() -> bool {
    tracing::enabled!(target: "airlock::kernel::program", tracing::Level::DEBUG)
}

/// The reader of the programs' ring buffer, waiting on the calling runtime.
pub(crate) struct Lines(AsyncFd<EbpfLogger<ToTracing>>);

impl Lines {
    /// Takes the ring buffer out of the object; `None` when it was taken before. Call inside of a runtime
    /// with I/O.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let logger = EbpfLogger::init_with_logger(ebpf, ToTracing)
            .inspect_err(|error| tracing::debug!(%error, "no diagnostics of the eBPF programs"))
            .ok()?;
        // SAFETY: the logger owns the map, and with it the descriptor, and always returns the same one.
        let registered = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        registered
            .map_err(|error| error.into_parts().1)
            .inspect_err(|error| tracing::warn!(%error, "cannot wait for diagnostics of the eBPF programs"))
            .ok()
            .map(Self)
    }

    /// Passes lines on, for ever.
    pub(crate) async fn forward(mut self) {
        while let Ok(mut ready) = self.0.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
