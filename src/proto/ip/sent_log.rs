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
