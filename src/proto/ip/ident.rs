//! IPv4 identification values (RFC 791, RFC 6864, RFC 7739).
//!
//! A datagram that may be fragmented on its way needs an identification that no other datagram between the
//! same hosts with the same protocol has while fragments of it may still be about. One counter for all
//! destinations would tell everybody how much we send to everybody else (idle scan), so there are many
//! counters, and a secret decides which destinations share one (RFC 7739 section 5.3).

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::proto::hash::Keyed;
use crate::rng::Rng;

/// Counters, each shared by the destinations that hash to it.
#[derive(Debug)]
pub(crate) struct Idents {
    key: Keyed,
    counters: Box<[u16; COUNTERS]>,
}

const COUNTERS: usize = 512;

impl Idents {
    /// Counters that start anywhere.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        let (low, high) = key.split_at_mut(8);
        low.copy_from_slice(&rng.next_u64().to_le_bytes());
        high.copy_from_slice(&rng.next_u64().to_le_bytes());
        let mut counters = Box::new([0; COUNTERS]);
        for counter in counters.iter_mut() {
            *counter = rng.next_u32() as u16;
        }
        Idents { key: Keyed::new(key), counters }
    }

    /// The identification of the next datagram between these hosts.
    pub(crate) fn next(&mut self, src: IpAddr, dst: IpAddr, protocol: u8) -> u16 {
        let hash = self.key.hash((src, dst, protocol));
        let counter = &mut self.counters[(hash % COUNTERS as u64) as usize];
        *counter = counter.wrapping_add(1);
        *counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

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
}
