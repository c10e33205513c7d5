//! How a socket waits: shared by all its handles, as file descriptors that were duplicated share theirs. And which
//! options can be.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{KeepAlive, SocketOptions};
use crate::proto::Error;
use crate::runtime::{Patience, Side};
use crate::time::nanos;

/// Whether a socket blocks, and for how long at most.
#[derive(Debug, Default)]
pub(super) struct Modes {
    nonblocking: AtomicBool,
    /// In nanoseconds; 0 is for ever.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl Modes {
    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    /// As `std`: a time-out of zero is refused, since to the kernel it means none.
    pub(super) fn set_timeout(&self, side: Side, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        self.cell(side).store(timeout.map_or(0, nanos), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn timeout(&self, side: Side) -> Option<Duration> {
        match self.cell(side).load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn patience(&self, side: Side) -> Patience {
        if self.nonblocking.load(Ordering::Relaxed) {
            return Patience::None;
        }
        self.timeout(side).map_or(Patience::Forever, Patience::For)
    }

    fn cell(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Read => &self.read_timeout,
            Side::Write => &self.write_timeout,
        }
    }
}

/// A time to live as the wire has it.
///
/// # Errors
/// `InvalidInput` for 0 and what doesn't fit, as the kernel.
pub(super) fn ttl(ttl: u32) -> io::Result<u8> {
    u8::try_from(ttl).ok().filter(|&ttl| ttl > 0).ok_or_else(|| Error::InvalidInput.into())
}

/// Refuses options that would end a connection at once or never leave it alone.
///
/// # Errors
/// `InvalidInput`, as the kernel for keep-alive.
pub(super) fn check(options: &SocketOptions) -> Result<(), Error> {
    let SocketOptions { ttl, keepalive, user_timeout, r2, r2_syn, .. } = *options;
    let is_possible = |KeepAlive { idle, interval, probes }: KeepAlive| {
        !idle.is_zero() && !interval.is_zero() && probes > 0
    };
    let fits = ttl > 0
        && !r2.is_zero()
        && !r2_syn.is_zero()
        && user_timeout.is_none_or(|time| !time.is_zero())
        && keepalive.is_none_or(is_possible);
    if fits { Ok(()) } else { Err(Error::InvalidInput) }
}
