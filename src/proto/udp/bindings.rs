//! Who listens where: local address and port to socket.
//!
//! Each family has ports of its own. A port belongs either to one socket bound to the wildcard or to sockets bound
//! to different addresses, unless all that overlap agree to share it ([`BindOptions`]). Of several that could take a
//! datagram, the best one does: one that is connected to its sender, then one bound to its destination, then
//! one bound to the wildcard; among equals the one bound last, or if it reuses the port, the one of its group that
//! the four-tuple's keyed hash falls to.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::proto::hash::Keyed;
use crate::proto::ids::UdpId;
use crate::proto::reuse::{BindOptions, Tally, share};
use crate::rng::Rng;

/// Local ends in use. Peers choose what is looked up, so the tables are keyed with a secret.
#[derive(Debug)]
pub(super) struct Bindings {
    /// The unspecified address stands for the wildcard.
    places: HashMap<Spot, Place, Keyed>,
    /// Connected sockets by both their ends, the one connected last at the end.
    connected: HashMap<(SocketAddr, SocketAddr), Vec<UdpId>, Keyed>,
    /// All sockets on a port of a family, whatever their address.
    ports: HashMap<(Family, u16), Tally, Keyed>,
}

/// An address and port, as it is looked up for each datagram: hashed in one piece, which costs half as much as field by
/// field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot(IpAddr, u16);

impl Hash for Spot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // That one is longer tells the families apart.
        match self.0 {
            IpAddr::V4(v4) => state.write_u64(u64::from(v4.to_bits()) << 16 | u64::from(self.1)),
            IpAddr::V6(v6) => {
                let mut bytes = [0; 18];
                bytes[..16].copy_from_slice(&v6.octets());
                bytes[16..].copy_from_slice(&self.1.to_be_bytes());
                state.write(&bytes);
            }
        }
    }
}

/// One address and port.
#[derive(Debug, Default)]
struct Place {
    /// All that are bound here, connected ones included.
    tally: Tally,
    /// Those without a peer, in the order they came.
    open: Vec<UdpId>,
    /// Those of them that reuse the port.
    group: Vec<UdpId>,
}

/// How a socket stands in the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) id: UdpId,
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: BindOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

impl Bindings {
    pub(super) fn new(table_key: [u8; 16]) -> Self {
        let keyed = Keyed::new(table_key);
        Bindings {
            places: HashMap::with_hasher(keyed),
            connected: HashMap::with_hasher(keyed),
            ports: HashMap::with_hasher(keyed),
        }
    }

    /// Whether a socket may be bound there.
    pub(super) fn admits(&self, address: IpAddr, port: u16, options: BindOptions) -> bool {
        if address.is_unspecified() {
            return self.ports.get(&(family(address), port)).is_none_or(|tally| tally.admits(options));
        }
        [address, wildcard(address)].into_iter().all(|at| {
            let place = self.places.get(&Spot(at, port));
            place.is_none_or(|place| place.tally.admits(options))
        })
    }

    /// Enters a socket; the place must admit it.
    pub(super) fn insert(&mut self, socket: Standing) {
        let Standing { id, local, peer, options } = socket;
        let (address, port) = (local.ip(), local.port());
        debug_assert!(self.admits(address, port, options), "bound where it may not be");
        self.ports.entry((family(address), port)).or_default().add(options);
        let place = self.places.entry(Spot(address, port)).or_default();
        place.tally.add(options);
        match peer {
            Some(peer) => self.connected.entry((local, peer)).or_default().push(id),
            None => {
                place.open.push(id);
                if options.reuse_port {
                    place.group.push(id);
                }
            }
        }
    }

    /// Takes a socket out again.
    pub(super) fn remove(&mut self, socket: Standing) {
        let Standing { id, local, peer, options } = socket;
        let (address, port) = (local.ip(), local.port());
        if let Entry::Occupied(mut tally) = self.ports.entry((family(address), port)) {
            tally.get_mut().remove(options);
            if tally.get().is_empty() {
                tally.remove();
            }
        }
        if let Entry::Occupied(mut place) = self.places.entry(Spot(address, port)) {
            let Place { tally, open, group } = place.get_mut();
            tally.remove(options);
            if peer.is_none() {
                open.retain(|it| *it != id);
                group.retain(|it| *it != id);
            }
            if tally.is_empty() {
                place.remove();
            }
        }
        let Some(peer) = peer else { return };
        if let Entry::Occupied(mut ids) = self.connected.entry((local, peer)) {
            ids.get_mut().retain(|it| *it != id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
    }

    /// The socket that takes what comes from `remote` to one of our addresses.
    pub(super) fn lookup(&self, local: SocketAddr, remote: SocketAddr) -> Option<UdpId> {
        let connected = self.connected.get(&(local, remote)).and_then(|ids| ids.last());
        connected
            .copied()
            .or_else(|| self.lookup_open(local.ip(), local, remote))
            .or_else(|| self.lookup_open(wildcard(local.ip()), local, remote))
    }

    /// All sockets that take what comes from `remote` to a broadcast address or a group: those bound to it, and
    /// those bound to the wildcard.
    pub(super) fn lookup_all(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = UdpId> + '_ {
        let open = |at: IpAddr| {
            let place = self.places.get(&Spot(at, local.port()));
            place.map_or(&[][..], |place| place.open.as_slice())
        };
        let connected = self.connected.get(&(local, remote)).map_or(&[][..], Vec::as_slice);
        connected.iter().chain(open(local.ip())).chain(open(wildcard(local.ip()))).copied()
    }

    fn lookup_open(&self, at: IpAddr, local: SocketAddr, remote: SocketAddr) -> Option<UdpId> {
        let place = self.places.get(&Spot(at, local.port()))?;
        let newest = place.open.last()?;
        match place.group.as_slice() {
            // Who came last without reusing the port is alone with others that reuse the address.
            group if group.len() > 1 && group.last() == Some(newest) => {
                group.get(share(self.places.hasher().hash((local, remote)), group.len())).copied()
            }
            _ => Some(*newest),
        }
    }

    /// A free port for the address: simple port randomisation (RFC 6056 section 3.3.1). Nobody else has it, whatever
    /// they would agree to.
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
        //= RFC6056 3.3 obfuscated
        let start = rng.within(low.into()..=high.into()) as u16;
        let is_free = |port: &u16| *port != 0 && self.admits(address, *port, BindOptions::NONE);
        (start..=high).chain(low..start).find(is_free)
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
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;
    use slotmap::KeyData;

    fn id(number: usize) -> UdpId {
        KeyData::from_ffi((1 << 32) | (number as u64 + 1)).into()
    }

    fn at(number: usize, local: SocketAddr) -> Standing {
        Standing { id: id(number), local, peer: None, options: BindOptions::NONE }
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
                bindings.insert(at(number, SocketAddr::new(any, port)));
                port
            })
            .collect();
        assert_eq!(bindings.choose_port(any, &range, &mut rng), None);
        //= RFC6056 3.3 obfuscated
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

    #[test]
    fn a_group_shares_the_load_and_a_peer_stays_with_one_of_it() {
        let mut bindings = Bindings::new([1; 16]);
        let local: SocketAddr = "10.9.0.2:7".parse().unwrap();
        let options = BindOptions { reuse_port: true, ..BindOptions::NONE };
        for number in 0..4 {
            bindings.insert(Standing { options, ..at(number, local) });
        }
        let mut shares = [0; 4];
        for port in 1..=1000 {
            let remote = SocketAddr::new([10, 9, 0, 1].into(), port);
            let taker = bindings.lookup(local, remote).unwrap();
            assert_eq!(bindings.lookup(local, remote), Some(taker));
            shares[(0..4).find(|number| id(*number) == taker).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| (180..320).contains(share)), "{shares:?}");
        bindings.remove(Standing { options, ..at(2, local) });
        let remote = SocketAddr::new([10, 9, 0, 1].into(), 5);
        assert_ne!(bindings.lookup(local, remote), Some(id(2)));
    }

    /// A place among few, so that conflicts are common.
    fn place() -> impl Strategy<Value = SocketAddr> {
        (prop::sample::select(&["0.0.0.0", "10.9.0.2", "127.0.0.1", "::", "fd09::2", "::1"][..]), 1_u16..3)
            .prop_map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port))
    }

    fn peer(local: SocketAddr, number: u16) -> SocketAddr {
        let host = if local.is_ipv4() { "10.9.0.1" } else { "fd09::1" };
        SocketAddr::new(host.parse().unwrap(), number)
    }

    fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
        let either_is_wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (a.ip() == b.ip() || either_is_wildcard)
    }

    /// The naive model: the best of a list, by score and then by age; of a group, all that share.
    fn takers(bound: &[Standing], local: SocketAddr, remote: SocketAddr) -> BTreeSet<UdpId> {
        let score = |it: &Standing| {
            let hears = overlap(it.local, local) && it.peer.is_none_or(|peer| peer == remote);
            let score = 2 * u8::from(it.peer.is_some()) + u8::from(!it.local.ip().is_unspecified());
            (hears && (it.peer.is_none() || it.local == local)).then_some(score)
        };
        let Some(best) = bound.iter().filter_map(score).max() else { return BTreeSet::new() };
        let best: Vec<&Standing> = bound.iter().filter(|it| score(it) == Some(best)).collect();
        let last = *best.last().unwrap();
        let shares =
            |it: &&&Standing| it.options.reuse_port && last.options.reuse_port && last.peer.is_none();
        let group = best.iter().filter(shares).map(|it| it.id);
        group.chain([last.id]).collect()
    }

    proptest! {
        #[test]
        fn bindings_agree_with_a_list(
            steps in prop::collection::vec(
                (any::<bool>(), place(), prop::option::of(1_u16..3), any::<[bool; 2]>()), 1..60),
            probes in prop::collection::vec((place(), 1_u16..4), 20),
        ) {
            let mut bindings = Bindings::new([7; 16]);
            let mut model: Vec<Standing> = Vec::new();
            for (number, (bind, local, to, [reuse_addr, reuse_port])) in steps.into_iter().enumerate() {
                let options = BindOptions { reuse_addr, reuse_port };
                let admitted = model.iter().all(|it| !overlap(it.local, local) || it.options.get_along(options));
                prop_assert_eq!(bindings.admits(local.ip(), local.port(), options), admitted);
                if bind && admitted {
                    let peer = to.filter(|_| !local.ip().is_unspecified()).map(|number| peer(local, number));
                    let socket = Standing { id: id(number), local, peer, options };
                    bindings.insert(socket);
                    model.push(socket);
                } else if !bind {
                    for socket in model.iter().filter(|it| it.local == local) {
                        bindings.remove(*socket);
                    }
                    model.retain(|it| it.local != local);
                }
            }
            for (local, number) in probes {
                if local.ip().is_unspecified() { continue; }
                let remote = peer(local, number);
                let takers = takers(&model, local, remote);
                match bindings.lookup(local, remote) {
                    Some(taker) => prop_assert!(takers.contains(&taker)),
                    None => prop_assert!(takers.is_empty()),
                }
                let all: BTreeSet<UdpId> = bindings.lookup_all(local, remote).collect();
                let hears = |it: &&Standing| overlap(it.local, local) && it.peer.is_none_or(|peer| peer == remote);
                let expected: BTreeSet<UdpId> = model.iter().filter(hears).map(|it| it.id).collect();
                prop_assert_eq!(all, expected);
            }
            for socket in model {
                bindings.remove(socket);
            }
            let Bindings { places, connected, ports } = bindings;
            prop_assert!(places.is_empty() && connected.is_empty() && ports.is_empty());
        }
    }
}
