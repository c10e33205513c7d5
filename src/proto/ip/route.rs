//! The routing table: longest prefix wins.
//!
//! Owns destinations and the interface each is reached by; knows nothing of addresses of ours, which
//! [`Layer`](super::Layer) looks at first. Every interface is a point-to-point link, so a route names no
//! next hop (RFC 1122 section 3.3.1.1 has nothing to choose).
//!
//! The table is a sorted array: a lookup is one binary search for each prefix length in use. That serves the
//! handful of routes of a host; a trie will stand behind the same two verbs when the stack forwards.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::proto::packet::DeviceId;

/// A route, as it is added.
///
/// ```
/// use tunstack::proto::DeviceId;
/// use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
///
/// let route = RouteSpec::new("10.0.0.0/8".parse().unwrap(), RouteTarget::Interface(DeviceId(0)));
/// assert_eq!(route.metric, 0);
/// let hole = RouteSpec { metric: 100, ..RouteSpec::new("10.0.0.0/8".parse().unwrap(), RouteTarget::Blackhole) };
/// # let _ = hole;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The destinations it leads to; host bits do not count.
    pub destination: IpNet,
    /// Where it leads.
    pub target: RouteTarget,
    /// Among routes to the same destinations the one with the lowest metric is taken.
    pub metric: u32,
    /// The source address of packets that we send this way; `None` leaves the choice to the stack.
    pub source: Option<IpAddr>,
}

impl RouteSpec {
    /// A route with metric 0 that leaves the choice of source to the stack.
    pub fn new(destination: IpNet, target: RouteTarget) -> Self {
        RouteSpec { destination, target, metric: 0, source: None }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Out by an interface: its other end knows what to do.
    Interface(DeviceId),
    /// To a router. Interfaces are point-to-point links, so this says no more than by which of them the router
    /// is reached; `device` need not be named if a connected network holds the router's address.
    Gateway {
        /// The router's address, in a network connected to the interface.
        via: IpAddr,
        /// The interface.
        device: Option<DeviceId>,
    },
    /// Nowhere: packets vanish without a word.
    Blackhole,
    /// Nowhere: senders hear that the host is unreachable.
    Unreachable,
    /// Nowhere: senders hear that it is administratively prohibited.
    Prohibit,
}

/// What became of a route that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is new.
    New,
    /// The same destination was routed by that interface before.
    Replaced(DeviceId),
}

/// Destinations of both families, each with the interface that leads there.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    v4: Family,
    v6: Family,
}

impl RouteTable {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Routes `destination` by `device`, in place of any route for exactly the same destination.
    pub(crate) fn insert(&mut self, destination: IpNet, device: DeviceId) -> Inserted {
        let prefix = Prefix::of(destination.addr(), destination.prefix_len());
        self.family_mut(destination.addr()).insert(prefix, device)
    }

    /// The interface of exactly this destination.
    pub(crate) fn get(&self, destination: IpNet) -> Option<DeviceId> {
        let prefix = Prefix::of(destination.addr(), destination.prefix_len());
        self.family(destination.addr()).get(prefix)
    }

    /// The interface of the longest prefix that holds `destination`.
    pub(crate) fn lookup(&self, destination: IpAddr) -> Option<DeviceId> {
        self.family(destination).lookup(left_aligned(destination))
    }

    fn family(&self, address: IpAddr) -> &Family {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }

    fn family_mut(&mut self, address: IpAddr) -> &mut Family {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

/// The first bits of an address, left-aligned in a number so that both families share one algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    len: u8,
    bits: u128,
}

impl Prefix {
    fn of(address: IpAddr, len: u8) -> Self {
        Prefix::cut(left_aligned(address), len)
    }

    fn cut(bits: u128, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
        Prefix { len, bits: bits & mask }
    }

    /// Sorts long prefixes before short ones.
    fn key(self) -> (core::cmp::Reverse<u8>, u128) {
        (core::cmp::Reverse(self.len), self.bits)
    }
}

/// Routes of one family, longest prefixes first.
#[derive(Debug, Default)]
struct Family(Vec<(Prefix, DeviceId)>);

impl Family {
    fn insert(&mut self, prefix: Prefix, device: DeviceId) -> Inserted {
        match self.0.binary_search_by_key(&prefix.key(), |(at, _)| at.key()) {
            Ok(index) => Inserted::Replaced(core::mem::replace(&mut self.0[index].1, device)),
            Err(index) => {
                self.0.insert(index, (prefix, device));
                Inserted::New
            }
        }
    }

    fn get(&self, prefix: Prefix) -> Option<DeviceId> {
        find(&self.0, prefix)
    }

    fn lookup(&self, bits: u128) -> Option<DeviceId> {
        let mut rest = self.0.as_slice();
        while let Some((first, _)) = rest.first() {
            let (same_len, shorter) = rest.split_at(rest.partition_point(|(at, _)| at.len == first.len));
            let found = find(same_len, Prefix::cut(bits, first.len));
            if found.is_some() {
                return found;
            }
            rest = shorter;
        }
        None
    }
}

fn find(routes: &[(Prefix, DeviceId)], prefix: Prefix) -> Option<DeviceId> {
    let index = routes.binary_search_by_key(&prefix.key(), |(at, _)| at.key()).ok()?;
    routes.get(index).map(|(_, device)| *device)
}

fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order_of_insertion() {
        let mut table = RouteTable::new();
        table.insert(net("10.9.0.0/24"), DeviceId(1));
        table.insert(net("0.0.0.0/0"), DeviceId(0));
        table.insert(net("10.9.0.128/25"), DeviceId(2));
        table.insert(net("10.9.0.200/32"), DeviceId(3));
        assert_eq!(table.lookup(ip("10.9.0.5")), Some(DeviceId(1)));
        assert_eq!(table.lookup(ip("10.9.0.130")), Some(DeviceId(2)));
        assert_eq!(table.lookup(ip("10.9.0.200")), Some(DeviceId(3)));
        assert_eq!(table.lookup(ip("8.8.8.8")), Some(DeviceId(0)));
    }

    #[test]
    fn families_do_not_mix() {
        let mut table = RouteTable::new();
        table.insert(net("::/0"), DeviceId(6));
        assert_eq!(table.lookup(ip("10.0.0.1")), None);
        assert_eq!(table.lookup(ip("2001:db8::1")), Some(DeviceId(6)));
    }

    #[test]
    fn the_same_destination_is_replaced_and_host_bits_do_not_count() {
        let mut table = RouteTable::new();
        assert_eq!(table.insert(net("10.9.0.7/24"), DeviceId(1)), Inserted::New);
        assert_eq!(table.insert(net("10.9.0.0/24"), DeviceId(2)), Inserted::Replaced(DeviceId(1)));
        assert_eq!(table.get(net("10.9.0.0/24")), Some(DeviceId(2)));
        assert_eq!(table.get(net("10.9.0.0/25")), None);
    }

    /// Addresses and networks that are close to one another, so that prefixes nest.
    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = (0_u32..64, any::<bool>()).prop_map(|(low, far)| {
            IpAddr::V4(Ipv4Addr::from_bits(0x0a09_0000 | low | if far { 0x8000_0000 } else { 0 }))
        });
        let v6 = (0_u128..64, any::<bool>()).prop_map(|(low, far)| {
            IpAddr::V6(Ipv6Addr::from_bits((0xfd09 << 112) | low | if far { 1 << 100 } else { 0 }))
        });
        prop_oneof![v4, v6]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), 0_u8..=9, any::<bool>()).prop_map(|(address, less, short)| {
            let max = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, if short { less } else { max - less }).unwrap()
        })
    }

    /// The naive model: a list, searched from end to end.
    fn naive(routes: &[(IpNet, DeviceId)], destination: IpAddr) -> Option<DeviceId> {
        let mut best: Option<(u8, DeviceId)> = None;
        for (net, device) in routes {
            let longer = best.is_none_or(|(len, _)| net.prefix_len() >= len);
            if net.contains(&destination) && longer {
                best = Some((net.prefix_len(), *device));
            }
        }
        best.map(|(_, device)| device)
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_a_search_from_end_to_end(
            networks in prop::collection::vec(network(), 0..40),
            destinations in prop::collection::vec(address(), 1..20),
        ) {
            let routes: Vec<_> = networks.into_iter().zip((0..).map(DeviceId)).collect();
            let mut table = RouteTable::new();
            for (net, device) in &routes {
                table.insert(*net, *device);
            }
            for destination in destinations {
                prop_assert_eq!(table.lookup(destination), naive(&routes, destination), "{}", destination);
            }
        }
    }
}
