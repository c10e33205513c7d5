//! SIGINT and SIGTERM: the first asks for an orderly end, the second is the end. SIGUSR1 asks for a report.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// Signals that are caught from now on. It has something to read while some are there that [`take`](Self::take) has not told of.
pub(crate) struct Caught(SignalDelivery<UnixStream, SignalOnly>);

/// Begins to catch SIGINT, SIGTERM and SIGUSR1. A second one of the former two exits at once, from the handler
/// itself, with 128 and the signal's number, whatever the program is doing.
///
/// # Errors
/// If a handler can't be installed.
pub(crate) fn catch() -> io::Result<Caught> {
    let once = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the exit looks at the flag before the same signal sets it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&once))?;
        flag::register(signal, Arc::clone(&once))?;
    }
    let (read, write) = UnixStream::pair()?;
    SignalDelivery::with_pipe(read, write, SignalOnly, [SIGINT, SIGTERM, SIGUSR1]).map(Caught)
}

impl AsFd for Caught {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

impl Caught {
    /// The signals that have come since this was asked last, without waiting.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Signal> {
        self.0.pending().map(Signal)
    }

    /// Tells `to` of every signal, also of those that came before this call, from a thread of its own, which waits while
    /// there is no room.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub(crate) fn tell<T: From<Signal> + Send + 'static>(mut self, to: SyncSender<T>) -> io::Result<()> {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            loop {
                // Whatever it was that came to an end, what is there is told.
                let _ = poll(&mut [PollFd::new(&self, PollFlags::IN)], None);
                for signal in self.take() {
                    // The receiver is gone only when the program ends anyway.
                    let _ = to.send(T::from(signal));
                }
            }
        })?;
        Ok(())
    }
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(i32);

impl Signal {
    /// What it asks for.
    pub(crate) fn wish(self) -> Wish {
        if self.0 == SIGUSR1 { Wish::Report } else { Wish::End }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An orderly end.
    End,
    /// A report of how things stand.
    Report,
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(signal_hook::low_level::signal_name(self.0).unwrap_or("a signal"))
    }
}
