//! What we have sent lately: proof that who quotes a packet has seen it (RFC 5927).
//!
//! An ICMP error is easily forged: its sender needs no address that we know. What a stranger off the path can't
//! know is what we have sent. So every datagram that may prove too large for its path leaves a fingerprint here,
//! and "packet too big" is believed only about those. (TCP needs none: its sequence numbers are proof.)
//!
//! A fingerprint is a keyed hash of what every quotation holds (28 bytes of IPv4 and transport) and what nobody on
//! the way changes: addresses, protocol, and of UDP ports and length, of ICMP type, code, identifier and number,
//! of others the first eight bytes. Left out are the identification of IPv4, which who forwards may rewrite where DF is set
//! (RFC 6864) and which differs between what was sent and how it was cut; and checksums, which offloading and
//! translation rewrite.
//!
//! The table is direct-mapped: a fingerprint has one place, and the newest stays. It never grows, costs one hash a
//! large datagram, and forgets by being used.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use crate::proto::hash::Keyed;
use crate::proto::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
use crate::rng::Rng;

/// Fingerprints of what was sent.
#[derive(Debug)]
pub(crate) struct SentLog {
    places: usize,
    /// Made when the first datagram is noted: most stacks send small ones only.
    table: Option<Table>,
}

#[derive(Debug)]
struct Table {
    key: Keyed,
    /// 0 is a place that is free.
    tags: Box<[u32]>,
}

impl SentLog {
    /// An empty log with so many places.
    pub(crate) fn new(places: usize) -> Self {
        SentLog { places, table: None }
    }

    /// Notes a datagram. `transport` is the begin of its transport header.
    pub(crate) fn note(&mut self, rng: &mut Rng, src: IpAddr, dst: IpAddr, protocol: u8, transport: &[u8]) {
        let Some(mark) = mark_of(protocol, transport) else { return };
        let places = self.places;
        let table = self.table.get_or_insert_with(|| Table::new(rng, places));
        let (place, tag) = table.fingerprint(src, dst, protocol, mark);
        if let Some(held) = table.tags.get_mut(place) {
            *held = tag;
        }
    }

    /// Whether such a datagram was sent lately.
    pub(crate) fn holds(&self, src: IpAddr, dst: IpAddr, protocol: u8, transport: &[u8]) -> bool {
        let (Some(table), Some(mark)) = (&self.table, mark_of(protocol, transport)) else { return false };
        let (place, tag) = table.fingerprint(src, dst, protocol, mark);
        table.tags.get(place) == Some(&tag)
    }
}

impl Table {
    fn new(rng: &mut Rng, places: usize) -> Self {
        Table { key: Keyed::drawn(rng), tags: vec![0; places.max(1)].into() }
    }

    fn fingerprint(&self, src: IpAddr, dst: IpAddr, protocol: u8, mark: [u8; 8]) -> (usize, u32) {
        let hash = self.key.hash((src, dst, protocol, mark));
        let place = (hash as u32) as usize % self.tags.len();
        (place, (hash >> 32) as u32 | 1)
    }
}

/// What is told again of a transport header; `None` if too little of it is there.
fn mark_of(protocol: u8, transport: &[u8]) -> Option<[u8; 8]> {
    let &[a, b, c, d, e, f, g, h] = transport.first_chunk()?;
    Some(match protocol {
        PROTOCOL_UDP => [a, b, c, d, e, f, 0, 0],
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => [a, b, 0, 0, e, f, g, h],
        _ => [a, b, c, d, e, f, g, h],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::ip;
    use crate::proto::wire::ip::PROTOCOL_TCP;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn log(places: usize) -> (SentLog, Rng) {
        (SentLog::new(places), Rng::from_number(1))
    }

    #[test]
    fn what_was_sent_is_known_and_what_differs_in_anything_that_counts_is_not() {
        let (us, them) = (ip("10.9.0.2"), ip("10.9.0.1"));
        for (protocol, counts) in [
            (PROTOCOL_UDP, [1, 1, 1, 1, 1, 1, 0, 0]),
            (PROTOCOL_ICMP, [1, 1, 0, 0, 1, 1, 1, 1]),
            (99, [1; 8]),
        ] {
            let (mut log, mut rng) = log(1024);
            let transport = [8, 0, 3, 4, 5, 6, 7, 8];
            assert!(!log.holds(us, them, protocol, &transport));
            log.note(&mut rng, us, them, protocol, &transport);
            assert!(log.holds(us, them, protocol, &transport));
            assert!(log.holds(us, them, protocol, &[&transport[..], &[9; 500]].concat()));
            assert!(!log.holds(them, us, protocol, &transport));
            assert!(!log.holds(us, ip("10.9.0.3"), protocol, &transport));
            assert!(!log.holds(us, them, PROTOCOL_TCP, &transport));
            for (at, counts) in counts.into_iter().enumerate() {
                let mut other = transport;
                other[at] ^= 1;
                assert_eq!(log.holds(us, them, protocol, &other), counts == 0, "{protocol} {at}");
            }
        }
    }

    #[test]
    fn too_little_of_a_header_proves_nothing() {
        let (mut log, mut rng) = log(16);
        let (us, them) = (ip("fd09::2"), ip("fd09::1"));
        log.note(&mut rng, us, them, 99, &[0; 7]);
        log.note(&mut rng, us, them, 99, &[0; 8]);
        assert!(log.holds(us, them, 99, &[0; 8]) && !log.holds(us, them, 99, &[0; 7]));
    }

    #[test]
    fn a_stranger_s_guesses_do_not_find_what_was_sent() {
        let (mut log, mut rng) = log(8192);
        let (us, them) = (ip("10.9.0.2"), ip("10.9.0.1"));
        for n in 0..8192_u32 {
            log.note(&mut rng, us, them, 99, &[&[1; 4][..], &n.to_be_bytes()].concat());
        }
        let found = (0..100_000_u32)
            .filter(|n| log.holds(us, them, 99, &[&[2; 4][..], &n.to_be_bytes()].concat()))
            .count();
        assert_eq!(found, 0);
    }

    proptest! {
        /// The naive model: the last few, all of them.
        #[test]
        fn the_newest_are_known_and_nothing_else(
            sent in prop::collection::vec(any::<[u8; 8]>(), 1..60),
            never: [u8; 8],
        ) {
            let (mut log, mut rng) = log(1 << 16);
            let (us, them) = (ip("10.9.0.2"), ip("10.9.0.1"));
            for transport in &sent {
                log.note(&mut rng, us, them, 99, transport);
                prop_assert!(log.holds(us, them, 99, transport));
            }
            let known = sent.iter().filter(|transport| log.holds(us, them, 99, &transport[..])).count();
            // Two may share a place.
            prop_assert!(known + 3 >= sent.len());
            prop_assert_eq!(log.holds(us, them, 99, &never), sent.contains(&never));
        }
    }
}
