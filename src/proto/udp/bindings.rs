//! Who listens where: local address and port to socket.
//!
//! A port belongs either to one socket bound to the wildcard or to sockets bound to different addresses, as
//! on Linux without SO_REUSEADDR; each family has ports of its own. So a local address and port lead to
//! one socket at most, and a connected socket needs no place of its own: it is found by its local end and
//! then looks at the peer.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use hashbrown::HashMap;

use crate::proto::hash::Keyed;
use crate::proto::ids::UdpId;
use crate::rng::Rng;

/// Local ends in use. Peers choose what is looked up, so the tables are keyed with a secret.
#[derive(Debug)]
pub(super) struct Bindings {
    /// The unspecified address stands for the wildcard.
    sockets: HashMap<(IpAddr, u16), UdpId, Keyed>,
    /// How many sockets there are on a port of a family, whatever their address.
    ports: HashMap<(Family, u16), usize, Keyed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

impl Bindings {
    pub(super) fn new(table_key: [u8; 16]) -> Self {
        let keyed = Keyed::new(table_key);
        Bindings { sockets: HashMap::with_hasher(keyed), ports: HashMap::with_hasher(keyed) }
    }

    /// Whether a socket may be bound there.
    pub(super) fn is_free(&self, address: IpAddr, port: u16) -> bool {
        if address.is_unspecified() {
            return !self.ports.contains_key(&(family(address), port));
        }
        let holder =
            [address, wildcard(address)].into_iter().find(|at| self.sockets.contains_key(&(*at, port)));
        holder.is_none()
    }

    /// Binds a socket; the place must be free.
    pub(super) fn insert(&mut self, local: SocketAddr, id: UdpId) {
        let (address, port) = (local.ip(), local.port());
        let before = self.sockets.insert((address, port), id);
        debug_assert!(before.is_none(), "bound twice");
        *self.ports.entry((family(address), port)).or_default() += 1;
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, local: SocketAddr) {
        let (address, port) = (local.ip(), local.port());
        if self.sockets.remove(&(address, port)).is_none() {
            return;
        }
        let on_port = self.ports.get_mut(&(family(address), port));
        if let Some(count) = on_port {
            *count -= 1;
            if *count == 0 {
                self.ports.remove(&(family(address), port));
            }
        }
    }

    /// The socket that listens to one of our addresses.
    pub(super) fn lookup(&self, address: IpAddr, port: u16) -> Option<UdpId> {
        self.sockets.get(&(address, port)).copied().or_else(|| self.lookup_wildcard(address, port))
    }

    /// The socket that listens to all of them, and so to broadcasts and groups.
    pub(super) fn lookup_wildcard(&self, address: IpAddr, port: u16) -> Option<UdpId> {
        self.sockets.get(&(wildcard(address), port)).copied()
    }

    /// A free port for the address: simple port randomisation (RFC 6056 section 3.3.1).
    pub(super) fn choose_port(
        &self,
        address: IpAddr,
        range: &RangeInclusive<u16>,
        rng: &mut Rng,
    ) -> Option<u16> {
        let (low, high) = (*range.start(), *range.end());
        if low > high {
            return None;
        }
        let start = rng.within(low.into()..=high.into()) as u16;
        (start..=high).chain(low..start).find(|port| *port != 0 && self.is_free(address, *port))
    }
}

fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn wildcard(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use slotmap::{Key, KeyData};

    fn id(number: usize) -> UdpId {
        KeyData::from_ffi((1 << 32) | (number as u64 + 1)).into()
    }

    #[test]
    fn a_port_is_chosen_within_the_range_until_none_is_left() {
        let mut bindings = Bindings::new([1; 16]);
        let mut rng = Rng::from_number(1);
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let range = 40_000..=40_009;
        let mut ports: Vec<u16> = (0..10)
            .map(|number| {
                let port = bindings.choose_port(any, &range, &mut rng).unwrap();
                bindings.insert(SocketAddr::new(any, port), id(number));
                port
            })
            .collect();
        assert_eq!(bindings.choose_port(any, &range, &mut rng), None);
        assert_ne!(ports, (40_000..=40_009).collect::<Vec<_>>(), "ports should not be given in order");
        ports.sort_unstable();
        assert_eq!(ports, (40_000..=40_009).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_range_gives_no_port() {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        #[expect(clippy::reversed_empty_ranges)]
        let range = 9..=8;
        assert_eq!(Bindings::new([0; 16]).choose_port(any, &range, &mut Rng::from_number(1)), None);
    }

    /// A place among few, so that conflicts are common.
    fn place() -> impl Strategy<Value = SocketAddr> {
        let address = prop_oneof![
            Just("0.0.0.0"),
            Just("10.9.0.2"),
            Just("127.0.0.1"),
            Just("::"),
            Just("fd09::2"),
            Just("::1"),
        ];
        (address, 1_u16..4).prop_map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port))
    }

    /// The naive model: a list of what is bound.
    fn conflicts(a: SocketAddr, b: SocketAddr) -> bool {
        let same_family = a.is_ipv4() == b.is_ipv4();
        let either_is_wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() == b.port() && same_family && (a.ip() == b.ip() || either_is_wildcard)
    }

    fn listener(bound: &[(SocketAddr, UdpId)], at: SocketAddr) -> Option<UdpId> {
        let hears = |local: SocketAddr| {
            local.port() == at.port()
                && (local.ip() == at.ip() || (local.ip().is_unspecified() && local.is_ipv4() == at.is_ipv4()))
        };
        bound.iter().find(|(local, _)| hears(*local)).map(|(_, id)| *id)
    }

    proptest! {
        #[test]
        fn bindings_agree_with_a_list(
            steps in prop::collection::vec((any::<bool>(), place()), 1..60),
            probes in prop::collection::vec(place(), 10),
        ) {
            let mut bindings = Bindings::new([7; 16]);
            let mut model: Vec<(SocketAddr, UdpId)> = Vec::new();
            for (number, (bind, at)) in steps.into_iter().enumerate() {
                let free = !model.iter().any(|(local, _)| conflicts(*local, at));
                prop_assert_eq!(bindings.is_free(at.ip(), at.port()), free);
                if bind && free {
                    bindings.insert(at, id(number));
                    model.push((at, id(number)));
                } else if !bind {
                    bindings.remove(at);
                    model.retain(|(local, _)| *local != at);
                }
            }
            for at in probes {
                prop_assert_eq!(bindings.lookup(at.ip(), at.port()), listener(&model, at));
            }
            for (local, _) in model {
                bindings.remove(local);
            }
            prop_assert!(bindings.sockets.is_empty() && bindings.ports.is_empty());
            prop_assert!(!id(0).is_null());
        }
    }
}
