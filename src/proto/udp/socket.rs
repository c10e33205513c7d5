//! One UDP socket: its ends, its options, its queue of datagrams and its pending error.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use super::{UdpOptions, UdpReceived};
use crate::proto::error::Error;
use crate::proto::events::Owner;

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    /// Where it was bound by the application; a wildcard address stays one here.
    pub(super) bound: SocketAddr,
    /// Where it listens: `bound`, or once connected the source that leads to the peer.
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: UdpOptions,
    pub(super) queue: Queue,
    /// What the next verb, or `take_error`, tells; then it is forgotten (SO_ERROR).
    pub(super) error: Option<Error>,
    /// A send was refused for want of room, and no event has yet told that there is some.
    pub(super) is_refused: bool,
}

impl Socket {
    pub(super) fn new(owner: Owner, local: SocketAddr, options: UdpOptions) -> Self {
        Socket {
            owner,
            bound: local,
            local,
            peer: None,
            options,
            queue: Queue::default(),
            error: None,
            is_refused: false,
        }
    }

    /// Whether it wants datagrams from there: everybody's, or once connected its peer's.
    pub(super) fn hears(&self, from: SocketAddr) -> bool {
        self.peer.is_none_or(|peer| peer == from)
    }

    /// Tells the pending error, once.
    pub(super) fn check_error(&mut self) -> Result<(), Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Whether a datagram found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It did, and was the only one.
    First,
    /// It did, behind others.
    Behind,
    /// It didn't.
    Full,
}

/// Datagrams received and not read yet, bounded by the memory they take.
#[derive(Debug, Default)]
pub(super) struct Queue {
    datagrams: VecDeque<Received>,
    cost: usize,
}

#[derive(Debug)]
struct Received {
    from: SocketAddr,
    to: IpAddr,
    data: Box<[u8]>,
}

/// What a datagram costs beyond its data: its place in the queue (which grows by doubling) and the
/// allocator's own book-keeping. Without it, empty datagrams would be free.
const OVERHEAD: usize = 2 * size_of::<Received>() + 16;

/// Places that an emptied queue keeps, so that a burst long past does not cost an idle socket its memory.
const PLACES_KEPT: usize = 32;

impl Queue {
    /// Copies a datagram to the end, unless all together would cost more than `limit`. The first is always
    /// taken, however small the limit.
    pub(super) fn push(&mut self, from: SocketAddr, to: IpAddr, data: &[u8], limit: usize) -> Queued {
        let cost = OVERHEAD + data.len();
        let is_first = self.datagrams.is_empty();
        if !is_first && self.cost + cost > limit {
            return Queued::Full;
        }
        self.datagrams.push_back(Received { from, to, data: data.into() });
        self.cost += cost;
        if is_first { Queued::First } else { Queued::Behind }
    }

    /// Copies the oldest datagram, as much of it as fits.
    pub(super) fn peek(&self, out: &mut [u8]) -> Option<UdpReceived> {
        let Received { from, to, data } = self.datagrams.front()?;
        let len = data.len().min(out.len());
        out[..len].copy_from_slice(&data[..len]);
        Some(UdpReceived { len, sent_len: data.len(), from: *from, to: *to })
    }

    /// Forgets the oldest datagram.
    pub(super) fn pop(&mut self) {
        let Some(received) = self.datagrams.pop_front() else { return };
        self.cost -= OVERHEAD + received.data.len();
        if self.datagrams.is_empty() && self.datagrams.capacity() > 2 * PLACES_KEPT {
            self.datagrams.shrink_to(PLACES_KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const TO: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    fn from(port: u16) -> SocketAddr {
        SocketAddr::new(core::net::Ipv4Addr::LOCALHOST.into(), port)
    }

    #[test]
    fn empty_datagrams_are_not_free() {
        let mut queue = Queue::default();
        let mut taken = 0;
        while queue.push(from(1), TO, &[], 100_000) != Queued::Full {
            taken += 1;
            assert!(taken < 2000);
        }
        assert!(taken > 100);
    }

    #[test]
    fn one_datagram_is_taken_however_small_the_limit() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(from(1), TO, &[0; 1000], 10), Queued::First);
        assert_eq!(queue.push(from(1), TO, &[], 10), Queued::Full);
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            queue.push(from(1), TO, &[], usize::MAX);
        }
        for _ in 0..1000 {
            queue.pop();
        }
        assert!(queue.datagrams.capacity() <= 2 * PLACES_KEPT);
        assert_eq!(queue.cost, 0);
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_within_the_limit(
            steps in prop::collection::vec(prop::option::of((1_u16..9, 0_usize..300)), 1..200),
            limit in 0_usize..3000,
        ) {
            let mut queue = Queue::default();
            let mut model: VecDeque<(u16, Vec<u8>)> = VecDeque::new();
            for step in steps {
                match step {
                    Some((port, len)) => {
                        let data = alloc::vec![port as u8; len];
                        let cost: usize = model.iter().map(|(_, data)| data.len() + OVERHEAD).sum();
                        let fits = model.is_empty() || cost + len + OVERHEAD <= limit;
                        prop_assert_eq!(queue.push(from(port), TO, &data, limit) != Queued::Full, fits);
                        if fits {
                            model.push_back((port, data));
                        }
                    }
                    None => {
                        let mut out = [0; 200];
                        let peeked = queue.peek(&mut out).map(|read| (read.from.port(), out[..read.len].to_vec()));
                        let expected = model.pop_front().map(|(port, data)| (port, data[..data.len().min(200)].to_vec()));
                        prop_assert_eq!(peeked, expected);
                        queue.pop();
                    }
                }
            }
        }
    }
}
