//! The run loop: joins a device, the clock and the core on a thread of its own.
//!
//! Owns the clock, the lock round the stack, wake-ups in both directions and the services that live inside
//! the loop. Does not know what a packet or a socket call means: that is the core's and `net`'s.

mod error;
mod service;

pub use service::Service;
use std::time::Duration;

/// How the end of a stack went; see [`Net::shutdown`](crate::net::Net::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections that ended in good order: all that was written and the FIN were acknowledged.
    pub finished: usize,
    /// Connections that had to be reset.
    pub reset: usize,
    /// Whether everything written before went out and was acknowledged.
    pub drained: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a stack runs no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was shut down.
    Shutdown(ShutdownReport),
    /// The device was deleted under it.
    DeviceGone {
        /// The device's name.
        name: String,
    },
    /// The loop failed: a system call that never fails did, or a panic.
    Failed {
        /// What happened.
        cause: String,
    },
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::Shutdown(_) => write!(f, "the stack was shut down"),
            Stopped::DeviceGone { name } => write!(f, "the device {name} is gone"),
            Stopped::Failed { cause } => write!(f, "the stack's loop failed: {cause}"),
        }
    }
}
