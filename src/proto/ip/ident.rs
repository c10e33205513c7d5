//! Identification values of IPv4 and IPv6 fragments (RFC 791, RFC 6864, RFC 7739, RFC 8200 section 4.5).
//!
//! A datagram that may be fragmented on its way needs an identification that no other datagram between the
//! same hosts (over IPv4: with the same protocol) has while fragments of it may still be about. One counter for all
//! destinations would tell everybody how much we send to everybody else (idle scan), so there are many
//! counters, and a secret decides which destinations share one (RFC 7739 section 5.3). Another secret shifts what
//! each pair of hosts sees of its counter over IPv6, so that those who share one don't see the same number.
//!
//! What can't be fragmented is atomic, and its identification means nothing (RFC 6864 section 4.1): TCP's segments,
//! which have DF set, carry 0, as Linux's do before there is a connection.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::proto::hash::Keyed;
use crate::rng::Rng;

/// Counters, each shared by the destinations that hash to it.
#[derive(Debug)]
pub(crate) struct Idents {
    /// Decides who shares a counter.
    sharing: Keyed,
    /// Decides by how much what is seen of a counter is shifted.
    shift: Keyed,
    v4: Box<[u16; COUNTERS]>,
    v6: Box<[u32; COUNTERS]>,
}

const COUNTERS: usize = 512;

impl Idents {
    /// Counters that start anywhere.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (sharing, shift) = (Keyed::drawn(rng), Keyed::drawn(rng));
        let (mut v4, mut v6) = (Box::new([0; COUNTERS]), Box::new([0; COUNTERS]));
        v4.iter_mut().for_each(|counter| *counter = rng.next_u32() as u16);
        v6.iter_mut().for_each(|counter| *counter = rng.next_u32());
        Idents { sharing, shift, v4, v6 }
    }

    /// The identification of the next datagram of IPv4 between these hosts.
    pub(crate) fn next(&mut self, src: IpAddr, dst: IpAddr, protocol: u8) -> u16 {
        let hash = self.sharing.hash((src, dst, protocol));
        let counter = &mut self.v4[(hash % COUNTERS as u64) as usize];
        //= RFC791 2.3 identification
        *counter = counter.wrapping_add(1);
        *counter
    }

    /// The identification of the next datagram of IPv6 that is sent in parts between these hosts.
    pub(crate) fn next_v6(&mut self, src: IpAddr, dst: IpAddr) -> u32 {
        let hash = self.sharing.hash((src, dst));
        let counter = &mut self.v6[(hash % COUNTERS as u64) as usize];
        *counter = counter.wrapping_add(1);
        //= RFC8200 4.5 identification sent
        //= RFC8504 5.1 unpredictable
        counter.wrapping_add(self.shift.hash((src, dst)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    //= RFC791 2.3 identification
    #[test]
    fn identifications_between_two_hosts_repeat_only_after_all_others() {
        let mut idents = Idents::new(&mut Rng::from_number(1));
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into());
        let mut seen = alloc::vec![false; 1 << 16];
        for _ in 0..1 << 16 {
            let ident = usize::from(idents.next(src, dst, 17));
            assert!(!core::mem::replace(&mut seen[ident], true));
        }
    }
    //= RFC8200 4.5 identification sent
    //= RFC8504 5.1 unpredictable
    #[test]
    fn identifications_of_ipv6_differ_between_hosts_and_from_one_to_the_next() {
        //= RFC7739 section 5.3
        let mut idents = Idents::new(&mut Rng::from_number(1));
        let src: IpAddr = core::net::Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2).into();
        let host = |n| IpAddr::from(core::net::Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 1, n));
        let mut seen = alloc::collections::BTreeSet::new();
        // More hosts than counters: some share one.
        for n in 0..2 * COUNTERS as u16 {
            let first = idents.next_v6(src, host(n));
            assert_eq!(idents.next_v6(src, host(n)), first.wrapping_add(1));
            assert!(seen.insert(first), "{n}");
        }
        // No host can tell from its own numbers what another's are.
        let far_apart = (0..COUNTERS as u16).filter(|n| {
            let (a, b) = (idents.next_v6(src, host(*n)), idents.next_v6(src, host(*n + 1)));
            a.abs_diff(b) > 1 << 16
        });
        assert!(far_apart.count() > COUNTERS * 9 / 10);
    }
}
