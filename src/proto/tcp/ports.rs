//! The choice of a local port: RFC 6056 section 3.3.4, the double-hash algorithm.
//!
//! Ports towards one destination rise one by one, so that they are reused as late as possible, from an
//! offset that an outsider can't compute.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use siphasher::sip::SipHasher13;

use super::demux::FourTuple;

/// Chooses ports.
#[derive(Clone)]
pub(crate) struct PortChooser {
    key: [u8; 16],
    range: RangeInclusive<u16>,
    /// One counter for each of the destinations that hash to it (RFC 6056's `table`).
    counters: [u32; Self::COUNTERS],
    /// The destination that was asked for last, and its hash: mostly it is the next one's, too.
    latest: Option<(IpAddr, SocketAddr, u64)>,
}

impl PortChooser {
    const COUNTERS: usize = 64;

    pub(crate) fn new(key: [u8; 16], range: RangeInclusive<u16>) -> Self {
        PortChooser { key, range, counters: [0; Self::COUNTERS], latest: None }
    }

    /// A port towards `remote` that `is_free`, or `None` if there is none.
    pub(crate) fn choose(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        self.choose_of(local, remote, |port| is_free(port).then_some(port))
    }

    /// The same of ports that stand for something: for nothing if they aren't free.
    pub(crate) fn choose_of<T>(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut of: impl FnMut(u16) -> Option<T>,
    ) -> Option<T> {
        let (low, high) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let count = high.checked_sub(low)? + 1;
        //= RFC6056 3.3 obfuscated
        let hash = self.hash(local, remote);
        // Two independent halves of one keyed hash: the offset, and the counter's place.
        let offset = hash as u32;
        let counter = &mut self.counters[(hash >> 32) as usize % Self::COUNTERS];
        // The place is taken before the walk: a sum that wraps on the way would lead to another place, and past ports
        // that nobody has asked for.
        let begin = offset.wrapping_add(*counter) % count;
        for step in 0..count {
            //= RFC6056 3.3.4 reuse
            *counter = counter.wrapping_add(1);
            let port = (low + (begin + step) % count) as u16;
            if let Some(found) = of(port) {
                return Some(found);
            }
        }
        None
    }

    fn hash(&mut self, local: IpAddr, remote: SocketAddr) -> u64 {
        if let Some((from, to, hash)) = self.latest
            && (from, to) == (local, remote)
        {
            return hash;
        }
        let mut hasher = SipHasher13::new_with_key(&self.key);
        // The port on this side is yet to be chosen.
        FourTuple::new(SocketAddr::new(local, 0), remote).hash(&mut hasher);
        let hash = hasher.finish();
        self.latest = Some((local, remote, hash));
        hash
    }
}

impl core::fmt::Debug for PortChooser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PortChooser({:?})", self.range)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn ends() -> (IpAddr, SocketAddr) {
        ("10.9.0.2".parse().unwrap(), "10.9.0.1:80".parse().unwrap())
    }

    #[test]
    fn every_port_is_used_once_before_any_is_used_twice() {
        //= RFC6056 3.3.4 reuse
        let mut ports = PortChooser::new([3; 16], 100..=199);
        let (local, remote) = ends();
        let chosen: BTreeSet<u16> =
            (0..100).map(|_| ports.choose(local, remote, |_| true).unwrap()).collect();
        assert_eq!(chosen, (100..=199).collect());
    }

    #[test]
    fn the_first_port_follows_from_the_key_and_from_both_ends() {
        //= RFC6056 3.3 obfuscated
        let first = |key: u8, remote: &str| {
            let mut ports = PortChooser::new([key; 16], 32_768..=60_999);
            ports.choose(ends().0, remote.parse().unwrap(), |_| true).unwrap()
        };
        let keys: BTreeSet<u16> = (0..100).map(|key| first(key, "10.9.0.1:80")).collect();
        assert!(keys.len() > 90, "{} ports for 100 keys", keys.len());
        let remotes = (1..=100).map(|port| first(3, &format!("10.9.0.1:{port}")));
        let remotes: BTreeSet<u16> = remotes.collect();
        assert!(remotes.len() > 90, "{} ports towards 100 destinations", remotes.len());
        assert_eq!(first(3, "10.9.0.1:80"), first(3, "10.9.0.1:80"));
    }

    #[test]
    fn a_destination_has_its_ports_whoever_was_asked_for_before() {
        let ports = || PortChooser::new([3; 16], 32_768..=60_999);
        let to = |nr: u16| (ends().0, SocketAddr::new([10, 9, 0, 1].into(), nr));
        let mut all = ports();
        for (nr, other) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] {
            let (local, remote) = to(nr);
            all.choose(local, to(other).1, |_| true).unwrap();
            assert_eq!(all.hash(local, remote), ports().hash(local, remote));
            let elsewhere = [10, 9, 0, 3].into();
            assert_eq!(all.hash(elsewhere, remote), ports().hash(elsewhere, remote));
        }
    }

    #[test]
    fn taken_ports_are_passed_over_until_none_is_left() {
        let mut ports = PortChooser::new([3; 16], 65_530..=65_535);
        let (local, remote) = ends();
        assert_eq!(ports.choose(local, remote, |port| port == 65_535), Some(65_535));
        assert_eq!(ports.choose(local, remote, |_| false), None);
    }
}
