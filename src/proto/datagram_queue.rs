//! Datagrams received and not read yet: the queue that UDP, raw and echo sockets have in common.
//!
//! Owns what is kept of a datagram and how much memory all that wait together may take. Owns not who a datagram
//! is for.

use core::net::{IpAddr, SocketAddr};

use super::buf::records::{Kept, Records};
use super::ip::Datagram;
use super::packet::DeviceId;
use crate::time::Instant;

/// What is known of a datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that were copied out.
    pub len: usize,
    /// Bytes that were sent: more than `len` if they didn't fit.
    pub sent_len: usize,
    /// Who sent it. The port is 0 in protocols without ports.
    pub from: SocketAddr,
    /// The address that it was sent to (RFC 1122 section 4.1.3.5): one of ours, or a broadcast or multicast
    /// address. A server bound to the wildcard answers from there, if it is one of ours.
    pub to: IpAddr,
    /// The interface that it came by; [`DeviceId::LOOPBACK`] if it came from the stack itself.
    pub device: DeviceId,
    /// Time to live, hop limit, as it arrived (IP_RECVTTL, RFC 3542 section 6.3).
    pub hop_limit: u8,
    /// Type of service, traffic class, as it arrived (IP_RECVTOS): the lower two bits are those of ECN (RFC 3168).
    pub tos: u8,
    /// When it arrived.
    pub at: Instant,
}

/// What is kept of a datagram beside its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
    pub(crate) device: DeviceId,
    pub(crate) hop_limit: u8,
    pub(crate) tos: u8,
    pub(crate) at: Instant,
}

impl Arrival {
    /// That of a datagram from a port of its source; 0 if its protocol has none.
    pub(crate) fn of(datagram: &Datagram<'_>, port: u16) -> Self {
        Arrival {
            from: SocketAddr::new(datagram.src, port),
            //= RFC1122 4.1.3.5 pass up
            to: datagram.dst,
            //= RFC1122 3.4 interface
            device: datagram.device,
            hop_limit: datagram.hop_limit,
            //= RFC1122 3.2.1.6 receive
            //= RFC8200 7 traffic class
            //= RFC8504 5.12 ECN
            tos: datagram.tos,
            at: datagram.at,
        }
    }
}

/// Whether a datagram found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It did, and was the only one.
    First,
    /// It did, behind others.
    Behind,
    /// It didn't.
    Full,
}

/// Datagrams received and not read yet, bounded by the memory they take.
#[derive(Debug)]
pub(crate) struct DatagramQueue {
    datagrams: Records<Arrival>,
    cost: usize,
}

/// What a datagram costs beyond its data: its place in the queue (which grows by doubling). Without it, empty
/// datagrams would be free.
const OVERHEAD: usize = 2 * Records::<Arrival>::OVERHEAD;

/// What an emptied queue keeps, if it ever needed that: enough for what comes in one batch of full-sized datagrams, so that a
/// socket which is read as fast as others write moves nothing, and little enough that a burst long past costs an idle socket
/// not much.
const KEPT: Kept = Kept { bytes: 32 << 10, records: 32 };

impl Default for DatagramQueue {
    fn default() -> Self {
        DatagramQueue { datagrams: Records::new(KEPT), cost: 0 }
    }
}

impl DatagramQueue {
    /// Copies a datagram to the end, unless all together would cost more than `limit` bytes. The first is always
    /// taken, however small the limit.
    pub(crate) fn push(&mut self, arrival: Arrival, data: &[u8], limit: usize) -> Queued {
        let cost = OVERHEAD + data.len();
        let is_first = self.datagrams.is_empty();
        if !is_first && self.cost + cost > limit {
            return Queued::Full;
        }
        //= RFC768 data
        self.datagrams.push_one(arrival, data);
        self.cost += cost;
        if is_first { Queued::First } else { Queued::Behind }
    }

    /// Copies the oldest datagram, as much of it as fits.
    pub(crate) fn peek(&self, out: &mut [u8]) -> Option<Received> {
        let (arrival, data) = self.datagrams.front()?;
        let len = data.len().min(out.len());
        out[..len].copy_from_slice(&data[..len]);
        let Arrival { from, to, device, hop_limit, tos, at } = *arrival;
        Some(Received { len, sent_len: data.len(), from, to, device, hop_limit, tos, at })
    }

    /// Forgets the oldest datagram.
    pub(crate) fn pop(&mut self) {
        if let Some((_, len)) = self.datagrams.pop() {
            self.cost -= OVERHEAD + len;
        }
    }

    /// Copies the oldest datagram, and forgets it unless it is only to be looked at.
    pub(crate) fn take(&mut self, out: &mut [u8], peek: bool) -> Option<Received> {
        let received = self.peek(out)?;
        if !peek {
            self.pop();
        }
        Some(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn from(port: u16) -> Arrival {
        let local = core::net::Ipv4Addr::LOCALHOST.into();
        Arrival {
            from: SocketAddr::new(local, port),
            to: local,
            device: DeviceId(3),
            hop_limit: 61,
            tos: 0xb9,
            at: Instant::from_millis(7),
        }
    }

    #[test]
    fn what_is_known_of_a_datagram_comes_out_with_it() {
        let mut queue = DatagramQueue::default();
        queue.push(from(9), b"text", 1000);
        let expected = Received {
            len: 2,
            sent_len: 4,
            from: "127.0.0.1:9".parse().unwrap(),
            to: "127.0.0.1".parse().unwrap(),
            device: DeviceId(3),
            hop_limit: 61,
            tos: 0xb9,
            at: Instant::from_millis(7),
        };
        assert_eq!(queue.take(&mut [0; 2], true), Some(expected));
        assert_eq!(queue.take(&mut [0; 2], false), Some(expected));
        assert_eq!(queue.take(&mut [], false), None);
    }

    #[test]
    fn empty_datagrams_are_not_free() {
        let mut queue = DatagramQueue::default();
        let mut taken = 0;
        while queue.push(from(1), &[], 100_000) != Queued::Full {
            taken += 1;
            assert!(taken < 2000);
        }
        assert!(taken > 100);
    }

    #[test]
    fn one_datagram_is_taken_however_small_the_limit() {
        let mut queue = DatagramQueue::default();
        assert_eq!(queue.push(from(1), &[0; 1000], 10), Queued::First);
        assert_eq!(queue.push(from(1), &[], 10), Queued::Full);
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_within_the_limit(
            steps in prop::collection::vec(prop::option::of((1_u16..9, 0_usize..300)), 1..200),
            limit in 0_usize..3000,
        ) {
            let mut queue = DatagramQueue::default();
            let mut model: VecDeque<(u16, Vec<u8>)> = VecDeque::new();
            for step in steps {
                match step {
                    Some((port, len)) => {
                        let data = alloc::vec![port as u8; len];
                        let cost: usize = model.iter().map(|(_, data)| data.len() + OVERHEAD).sum();
                        let fits = model.is_empty() || cost + len + OVERHEAD <= limit;
                        prop_assert_eq!(queue.push(from(port), &data, limit) != Queued::Full, fits);
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
                let cost: usize = model.iter().map(|(_, data)| data.len() + OVERHEAD).sum();
                prop_assert_eq!(queue.cost, cost);
            }
        }
    }
}
