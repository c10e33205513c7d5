//! Readiness: how the core tells its user that a socket is worth another look.
//!
//! Events are edges, merged per socket: after an event, use the socket until it answers
//! [`Error::WouldBlock`](super::Error::WouldBlock).

use alloc::collections::{BTreeMap, VecDeque};

use super::ids::{ListenerId, PingId, RawId, TcpId, UdpId};

/// Names a socket of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketId {
    /// A TCP connection (or an attempt at one).
    Tcp(TcpId),
    /// A listening TCP socket.
    Listener(ListenerId),
    /// A UDP socket.
    Udp(UdpId),
    /// An ICMP echo socket.
    Ping(PingId),
    /// A raw socket.
    Raw(RawId),
}

/// Whose socket it is: a number that the stack only carries. Accepted connections inherit their listener's.
///
/// The run loop gives application sockets [`Owner::APPLICATION`] and each in-loop service one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Owner(pub u32);

impl Owner {
    /// Sockets that threads of the application use through `net`.
    pub const APPLICATION: Owner = Owner(0);
}

bitflags::bitflags! {
    /// What changed about a socket.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Readiness: u8 {
        /// Data (or end of stream, or an error) can be read; a connection can be accepted.
        const READABLE = 1;
        /// There is room to write, or a connection attempt has ended (well or badly).
        const WRITABLE = 2;
        /// An error is pending; see `take_error`.
        const ERROR = 4;
        /// Urgent data was announced, or its mark moved ahead (RFC 9293 MUST-32).
        const URGENT = 8;
        /// A soft error was noted (RFC 9293 MUST-47): the connection lives on.
        const SOFT_ERROR = 16;
    }
}

/// A socket is worth another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which socket.
    pub socket: SocketId,
    /// Whose it is.
    pub owner: Owner,
    /// What changed since the socket's last event.
    pub readiness: Readiness,
}

/// Events not yet taken: at most one a socket.
#[derive(Debug, Default)]
pub(crate) struct Events {
    order: VecDeque<SocketId>,
    pending: BTreeMap<SocketId, (Owner, Readiness)>,
}

impl Events {
    /// Adds `readiness` to what is pending for the socket.
    pub(crate) fn raise(&mut self, socket: SocketId, owner: Owner, readiness: Readiness) {
        if readiness.is_empty() {
            return;
        }
        match self.pending.get_mut(&socket) {
            Some((_, pending)) => *pending |= readiness,
            None => {
                self.pending.insert(socket, (owner, readiness));
                self.order.push_back(socket);
            }
        }
    }

    /// Takes the oldest pending event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        while let Some(socket) = self.order.pop_front() {
            if let Some((owner, readiness)) = self.pending.remove(&socket) {
                return Some(Event { socket, owner, readiness });
            }
        }
        None
    }

    /// Forgets what is pending for a socket that is gone.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        if self.pending.remove(&socket).is_some() {
            // Leaving the id in `order` would let a socket opened and closed in a loop grow the queue.
            self.order.retain(|queued| *queued != socket);
        }
    }

    /// Whether nothing is pending.
    #[cfg(feature = "std")]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}
