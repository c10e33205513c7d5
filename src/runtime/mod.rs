//! The run loop: joins devices, the clock and the core on one thread, its own or one of the program's.
//!
//! Owns the clock, the lock round the stack, wake-ups in both directions and the services that live inside
//! the loop. Does not know what a packet or a socket call means: that is the core's and `net`'s.
//!
//! The loop sleeps until a device has a packet, or its `epoll` has something: a timer of the core is due (a
//! `timerfd`, since `epoll`'s own milliseconds are too coarse), a device itself has changed, an application
//! thread rings, or something else has happened that it was told to watch.
//! Nothing is polled: a stack with nothing to do uses no CPU, nor does one that is told to poll for a while after something
//! happened (`busy.rs`), once the while is over. One turn of the loop reads up to 64 datagrams of one
//! device outside the lock (the devices take turns), then under the lock processes them, runs timers, lets services handle their events and
//! sends. Application threads send from their own context, and ring only if the loop would sleep too long.

mod alarm;
mod answers;
mod batch;
mod busy;
#[cfg(feature = "sim")]
pub mod cable;
mod clock;
mod error;
mod line;
mod lines;
mod ports;
mod run;
mod service;
mod shard;
mod singles;
mod sleeper;
mod to_drop;
mod trial;
mod waiting;

use std::fmt;
use std::io;
use std::time::Duration;

pub use busy::BusyPoll;
pub(crate) use clock::now;
pub(crate) use lines::level as trace_level;
pub(crate) use run::Runner;
pub use service::Service;
pub(crate) use shard::{Patience, Shard, Shared};
pub(crate) use waiting::Side;

/// How the end of a stack went; see [`Net::shutdown`](crate::net::Net::shutdown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections that ended in good order: nothing that was written or closed was left unacknowledged.
    pub finished: usize,
    /// Connections that had to be reset.
    pub reset: usize,
    /// Whether everything written before went out and was acknowledged.
    pub drained: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a stack runs no more. Socket calls on it fail with
/// [`ErrorKind::NetworkDown`](io::ErrorKind::NetworkDown) and this inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was shut down.
    Shutdown(ShutdownReport),
    /// The device was deleted under it: the last one, if it had several.
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

impl Stopped {
    fn to_io(&self) -> io::Error {
        io::Error::new(io::ErrorKind::NetworkDown, self.clone())
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Shutdown(_) => write!(f, "the stack was shut down"),
            Stopped::DeviceGone { name } => write!(f, "the device {name} is gone"),
            Stopped::Failed { cause } => write!(f, "the stack failed: {cause}"),
        }
    }
}

impl std::error::Error for Stopped {}
