//! Whom segments were for lately: who has had one mostly has the next, and need not be looked for.
//!
//! A guess, and no more: whoever takes it asks the one who is guessed whether it has the addresses, too. Where nobody is guessed, `demux` knows.
//! So it needs no key: a peer that picks its ports to spoil guesses gains no more than that they are of no use.

use alloc::boxed::Box;

use slotmap::Key;

use super::demux::FourTuple;

/// The latest of them, one for each value of a hash of the ports.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    places: Box<[(Ports, K); PLACES]>,
}

/// Both ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports(u32);

/// Enough for those that are busy at the same time, and few enough to stay in a cache.
const PLACES: usize = 256;

/// 2^32 divided by the golden ratio: spreads what differs in a few bits (Knuth, volume 3, section 6.4).
const SPREAD: u32 = 0x9e37_79b9;

impl<K: Key> Recent<K> {
    /// None yet. (No segment has ports of zero.)
    pub(crate) fn new() -> Self {
        Recent { places: Box::new([(Ports(0), K::null()); PLACES]) }
    }

    /// Whom a segment with these ports is most likely for.
    #[inline]
    pub(crate) fn guess(&self, local_port: u16, remote_port: u16) -> Option<K> {
        let ports = Ports::of(local_port, remote_port);
        let (known, id) = self.places[ports.place()];
        (known == ports).then_some(id)
    }

    /// A segment with that tuple was for this one.
    #[inline]
    pub(crate) fn note(&mut self, tuple: &FourTuple, id: K) {
        let ports = Ports::of(tuple.local_port, tuple.remote_port);
        self.places[ports.place()] = (ports, id);
    }
}

impl Ports {
    #[inline]
    fn of(local: u16, remote: u16) -> Self {
        Ports(u32::from(local) << 16 | u32::from(remote))
    }

    #[inline]
    fn place(self) -> usize {
        (self.0.wrapping_mul(SPREAD) >> (u32::BITS - PLACES.ilog2())) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use slotmap::KeyData;

    use crate::proto::ids::TcpId;

    fn id(number: u64) -> TcpId {
        KeyData::from_ffi((1 << 32) | number).into()
    }

    fn tuple(local: u16, remote: u16) -> FourTuple {
        let at = |port| SocketAddr::new([10, 9, 0, 2].into(), port);
        FourTuple::new(at(local), at(remote))
    }

    #[test]
    fn the_latest_is_guessed_and_only_by_its_ports() {
        let mut recent = Recent::new();
        assert_eq!(recent.guess(7, 40_000), None);
        recent.note(&tuple(7, 40_000), id(1));
        assert_eq!(recent.guess(7, 40_000), Some(id(1)));
        recent.note(&tuple(7, 40_000), id(2));
        assert_eq!(recent.guess(7, 40_000), Some(id(2)));
        let others = (1..=u16::MAX).filter(|port| *port != 40_000);
        assert!(others.into_iter().all(|port| recent.guess(7, port).is_none()));
        assert_eq!(recent.guess(40_000, 7), None);
    }

    #[test]
    fn ports_that_follow_each_other_have_places_of_their_own() {
        // As those of one host's connections do: all, or every second.
        for step in [1, 2] {
            let mut recent = Recent::new();
            let ports = || (0..100).map(|nth| 40_000 + nth * step);
            ports().for_each(|port| recent.note(&tuple(7, port), id(port.into())));
            let known = ports().filter(|port| recent.guess(7, *port) == Some(id((*port).into()))).count();
            assert!(known > 90, "{known} of 100, {step} apart");
        }
    }
}
