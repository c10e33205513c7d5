//! What the handles of one socket of datagrams share: its stack, its name there, and how it waits. The last handle
//! closes it.

use std::io;
use std::sync::Arc;

use super::Net;
use super::modes::Modes;
use crate::proto::{Error, PingId, RawId, SocketId, Stack, UdpId};
use crate::runtime::{Shard, Side};
use crate::time::Instant;

/// A socket as its handles have it.
pub(super) struct Bound<Id: Named> {
    net: Net,
    id: Id,
    pub(super) modes: Modes,
}

/// What the stack calls a socket of one kind.
pub(super) trait Named: Copy {
    fn socket(self) -> SocketId;
    fn close(self, stack: &mut Stack, now: Instant);
}

impl<Id: Named> Bound<Id> {
    /// Opens a socket.
    pub(super) fn open(
        net: &Net,
        verb: impl FnOnce(&mut Stack, Instant) -> Result<Id, Error>,
    ) -> io::Result<Arc<Self>> {
        let id = net.shared().open(|shard, now| verb(&mut shard.stack, now))?;
        Ok(Arc::new(Bound { net: net.clone(), id, modes: Modes::default() }))
    }

    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Asks something of the socket, which changes nothing.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Stack, Id) -> Result<T, Error>) -> io::Result<T> {
        self.net.shared().ask(|stack| question(stack, self.id))
    }

    /// Does something with the socket.
    pub(super) fn call<T>(&self, verb: impl FnOnce(&mut Stack, Id) -> Result<T, Error>) -> io::Result<T> {
        self.net.shared().call(|shard, _| verb(&mut shard.stack, self.id))
    }

    /// Sets the peer, which only a running stack can do.
    pub(super) fn connect(
        &self,
        verb: impl FnOnce(&mut Stack, Instant, Id) -> Result<(), Error>,
    ) -> io::Result<()> {
        self.net.shared().open(|shard, now| verb(&mut shard.stack, now, self.id))
    }

    /// Does something for which it may have to wait.
    pub(super) fn block_on<T>(
        &self,
        side: Side,
        mut verb: impl FnMut(&mut Stack, Instant, Id) -> Result<T, Error>,
    ) -> io::Result<T> {
        let verb = |shard: &mut Shard, now| verb(&mut shard.stack, now, self.id);
        self.net.shared().block_on(self.id.socket(), side, self.modes.patience(side), verb)
    }
}

impl<Id: Named> Drop for Bound<Id> {
    fn drop(&mut self) {
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            self.id.close(&mut shard.stack, now);
            Ok(())
        });
    }
}

impl Named for UdpId {
    fn socket(self) -> SocketId {
        SocketId::Udp(self)
    }

    fn close(self, stack: &mut Stack, now: Instant) {
        stack.udp_close(now, self);
    }
}

impl Named for RawId {
    fn socket(self) -> SocketId {
        SocketId::Raw(self)
    }

    fn close(self, stack: &mut Stack, now: Instant) {
        stack.raw_close(now, self);
    }
}

impl Named for PingId {
    fn socket(self) -> SocketId {
        SocketId::Ping(self)
    }

    fn close(self, stack: &mut Stack, now: Instant) {
        stack.ping_close(now, self);
    }
}

/// The methods by which a socket whose first field is an [`Arc`] of a [`Bound`] is told how to wait.
macro_rules! ways_to_wait {
    () => {
        /// Another handle of the same socket: they share its options, time-outs and mode.
        pub fn try_clone(&self) -> io::Result<Self> {
            Ok(Self(Arc::clone(&self.0)))
        }

        /// Whether receiving and sending answer `WouldBlock` instead of waiting.
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.0.modes.set_nonblocking(nonblocking);
            Ok(())
        }

        /// How long receiving waits; `None` for ever.
        ///
        /// # Errors
        /// `InvalidInput` for a time of zero.
        pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.modes.set_timeout(Side::Read, timeout)
        }

        /// How long receiving waits.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.0.modes.timeout(Side::Read))
        }

        /// How long sending waits for room; `None` for ever.
        ///
        /// # Errors
        /// `InvalidInput` for a time of zero.
        pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.modes.set_timeout(Side::Write, timeout)
        }

        /// How long sending waits for room.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.0.modes.timeout(Side::Write))
        }
    };
}

pub(super) use ways_to_wait;
