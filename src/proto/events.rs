//! Readiness: how the core tells its user that a socket is worth another look.
//!
//! Events are edges, merged per socket: after an event, use the socket until it answers
//! [`Error::WouldBlock`](super::Error::WouldBlock).

use alloc::collections::VecDeque;

use slotmap::SecondaryMap;

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
    /// Those that are pending, oldest first, each once; and some that are gone, whose place another has now.
    order: VecDeque<SocketId>,
    pending: Pending,
}

impl Events {
    /// Adds `readiness` to what is pending for the socket.
    // Inlined, it is known of which kind the socket is.
    #[inline(always)]
    pub(crate) fn raise(&mut self, socket: SocketId, owner: Owner, readiness: Readiness) {
        if readiness.is_empty() {
            return;
        }
        let was_pending = match self.pending.get_mut(socket) {
            Some(entry) => {
                let (_, before) = *entry;
                *entry = (owner, before | readiness);
                !before.is_empty()
            }
            None => {
                self.pending.insert(socket, (owner, readiness));
                false
            }
        };
        if !was_pending {
            self.order.push_back(socket);
        }
    }

    /// Takes the oldest pending event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let socket = self.order.pop_front()?;
        // Mostly it is not gone.
        self.take(socket).or_else(|| self.pop_another())
    }

    /// The same after one that was gone.
    #[cold]
    #[inline(never)]
    fn pop_another(&mut self) -> Option<Event> {
        while let Some(socket) = self.order.pop_front() {
            let event = self.take(socket);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn take(&mut self, socket: SocketId) -> Option<Event> {
        let (owner, pending) = self.pending.get_mut(socket)?;
        let readiness = core::mem::replace(pending, Readiness::empty());
        (!readiness.is_empty()).then_some(Event { socket, owner: *owner, readiness })
    }

    /// Forgets what is pending for a socket that is gone.
    // As for `raise`.
    #[inline(always)]
    pub(crate) fn forget(&mut self, socket: SocketId) {
        if let Some((_, pending)) = self.pending.get_mut(socket)
            && !pending.is_empty()
        {
            *pending = Readiness::empty();
            self.leave_line(socket);
        }
    }

    /// Leaving the id in `order` would let a socket opened and closed in a loop grow the queue.
    #[inline(never)]
    fn leave_line(&mut self, socket: SocketId) {
        // Mostly it is young.
        if let Some(place) = self.order.iter().rposition(|queued| *queued == socket) {
            self.order.remove(place);
        }
    }

    /// Whether nothing is pending.
    #[cfg(feature = "std")]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// What is pending for each socket: found by its place among those of its kind, without a search. A socket that has the
/// place of another now, which is gone, has it here, too. Who has had an event keeps the place, with nothing in it, for the
/// next; so does who is gone, until then.
#[derive(Debug, Default)]
struct Pending {
    tcp: SecondaryMap<TcpId, (Owner, Readiness)>,
    listeners: SecondaryMap<ListenerId, (Owner, Readiness)>,
    udp: SecondaryMap<UdpId, (Owner, Readiness)>,
    ping: SecondaryMap<PingId, (Owner, Readiness)>,
    raw: SecondaryMap<RawId, (Owner, Readiness)>,
}

impl Pending {
    fn get_mut(&mut self, socket: SocketId) -> Option<&mut (Owner, Readiness)> {
        match socket {
            SocketId::Tcp(id) => self.tcp.get_mut(id),
            SocketId::Listener(id) => self.listeners.get_mut(id),
            SocketId::Udp(id) => self.udp.get_mut(id),
            SocketId::Ping(id) => self.ping.get_mut(id),
            SocketId::Raw(id) => self.raw.get_mut(id),
        }
    }

    fn insert(&mut self, socket: SocketId, what: (Owner, Readiness)) {
        match socket {
            SocketId::Tcp(id) => self.tcp.insert(id, what),
            SocketId::Listener(id) => self.listeners.insert(id, what),
            SocketId::Udp(id) => self.udp.insert(id, what),
            SocketId::Ping(id) => self.ping.insert(id, what),
            SocketId::Raw(id) => self.raw.insert(id, what),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use slotmap::SlotMap;

    #[test]
    fn a_socket_in_the_place_of_one_that_is_gone_has_its_own_event_and_no_more() {
        let mut sockets: SlotMap<TcpId, ()> = SlotMap::with_key();
        let mut events = Events::default();
        for round in 0..1_000 {
            let id = SocketId::Tcp(sockets.insert(()));
            events.raise(id, Owner(round), Readiness::READABLE);
            // A driver that hears only by using the socket that it is gone.
            sockets.clear();
        }
        let id = SocketId::Tcp(sockets.insert(()));
        events.raise(id, Owner(7), Readiness::WRITABLE);
        let event = Event { socket: id, owner: Owner(7), readiness: Readiness::WRITABLE };
        assert_eq!((events.pop(), events.pop()), (Some(event), None));
        assert!(events.order.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Raise(usize, u8),
        Pop,
        /// Closed, and another opened in its place.
        Replace(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0usize..5, 0u8..32).prop_map(|(which, bits)| Op::Raise(which, bits)),
            3 => Just(Op::Pop),
            1 => (0usize..5).prop_map(Op::Replace),
        ]
    }

    proptest! {
        #[test]
        fn events_come_in_the_order_of_their_first_cause_and_once_a_socket(
            ops in prop::collection::vec(op(), 1..80)
        ) {
            let mut tcp: SlotMap<TcpId, ()> = SlotMap::with_key();
            let mut udp: SlotMap<UdpId, ()> = SlotMap::with_key();
            let mut open = |which: usize| match which % 2 {
                0 => SocketId::Tcp(tcp.insert(())),
                _ => SocketId::Udp(udp.insert(())),
            };
            let mut sockets: Vec<SocketId> = (0..5).map(&mut open).collect();
            let (mut events, mut model) = (Events::default(), Vec::<Event>::new());
            for op in ops {
                match op {
                    Op::Raise(which, bits) => {
                        let (socket, readiness) = (sockets[which], Readiness::from_bits_truncate(bits));
                        let owner = Owner(which as u32);
                        events.raise(socket, owner, readiness);
                        match model.iter_mut().find(|event| event.socket == socket) {
                            Some(event) => event.readiness |= readiness,
                            None if readiness.is_empty() => {}
                            None => model.push(Event { socket, owner, readiness }),
                        }
                    }
                    Op::Pop if model.is_empty() => prop_assert_eq!(events.pop(), None),
                    Op::Pop => prop_assert_eq!(events.pop(), Some(model.remove(0))),
                    Op::Replace(which) => {
                        events.forget(sockets[which]);
                        model.retain(|event| event.socket != sockets[which]);
                        sockets[which] = open(which);
                    }
                }
                prop_assert_eq!(events.order.len(), model.len());
            }
        }
    }
}
