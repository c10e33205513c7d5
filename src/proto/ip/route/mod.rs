//! The routing table: longest prefix wins, among routes to the same prefix the lowest metric.
//!
//! | file | holds |
//! |---|---|
//! | `family` | the prefixes of IPv4 or IPv6: a trie, and beside it an index while they are many |
//! | `trie` | prefixes, and the longest of them that holds an address |
//! | `sparse`, `bits` | what the trie is made of |
//! | `direct` | the index of IPv4: the answer for each /24 |
//! | `blocks` | the index of IPv6: the answer for each /48 |
//! | `cells`, `runs` | what is known of each /32, and within it |
//! | `slot` | one answer of an index, and what becomes of it when the table changes |
//! | `choices` | the ways to a destination, the best first |
//!
//! Owns destinations and the ways to them. Knows nothing of addresses of ours, which [`Layer`](super::Layer) looks
//! at first, nor whether a route makes sense: gateways are resolved and sources checked there before a route
//! comes here (RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3).
//!
//! As on Linux, a destination may have several routes that differ in their metric, of which the lowest is
//! taken, and a second one with the same metric is refused. Only the routes that come of the addresses of
//! interfaces (metric 0) may be equal, if two interfaces stand in one network: the older is taken, and the
//! other takes its place when that goes. There is no sharing of load.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use self::bits::Wide;
use self::blocks::Blocks;
use self::choices::{ChoiceId, Choices};
use self::direct::Direct;
use self::family::Family;
pub use self::trie::Footprint;
use self::trie::Prefix;
use crate::proto::error::Error;
use crate::proto::packet::DeviceId;

mod bits;
mod blocks;
mod cells;
mod choices;
mod direct;
mod family;
mod runs;
mod slot;
mod sparse;
mod trie;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteOrigin {
    /// An address of the interface stands in the network.
    Connected,
    /// Somebody added it.
    Added,
}

/// A route as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// The route; the device of a gateway is always named.
    pub route: RouteSpec,
    /// Where it comes from.
    pub origin: RouteOrigin,
}

/// A way to a destination: a route without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// Where it leads. The device of a gateway is always named.
    pub target: RouteTarget,
    /// The lower, the better.
    pub metric: u32,
    /// The source to use, if the route says so.
    pub source: Option<IpAddr>,
    /// Where the route comes from.
    pub origin: RouteOrigin,
}

impl Way {
    /// The interface it leads out by; `None` if it leads nowhere.
    #[inline]
    pub fn device(&self) -> Option<DeviceId> {
        match self.target {
            RouteTarget::Interface(device) => Some(device),
            RouteTarget::Gateway { device, .. } => device,
            RouteTarget::Blackhole | RouteTarget::Unreachable | RouteTarget::Prohibit => None,
        }
    }
}

/// Lists of ways are numbered with fewer than 26 bits, for an index to keep a length beside them.
const LIMIT_MAX: usize = (1 << 25) - 1;

/// Destinations of both families, each with the ways that lead there.
///
/// ```
/// use tunstack::proto::DeviceId;
/// use tunstack::proto::ip::route::{RouteOrigin, RouteSpec, RouteTable, RouteTarget};
///
/// let mut table = RouteTable::new(1000);
/// let mut by = |destination: &str, device| {
///     let route = RouteSpec::new(destination.parse().unwrap(), RouteTarget::Interface(DeviceId(device)));
///     table.insert(route, RouteOrigin::Added)
/// };
/// by("10.0.0.0/8", 1)?;
/// by("10.9.0.0/16", 2)?;
/// let device_of = |address: &str| table.lookup(address.parse().unwrap()).and_then(|way| way.device());
/// assert_eq!(device_of("10.9.8.7"), Some(DeviceId(2)));
/// assert_eq!(device_of("10.8.7.6"), Some(DeviceId(1)));
/// assert_eq!(device_of("11.8.7.6"), None);
/// # Ok::<(), tunstack::proto::Error>(())
/// ```
#[derive(Debug)]
pub struct RouteTable {
    v4: Family<u32, Direct>,
    v6: Family<Wide, Blocks>,
    choices: Choices,
    len: usize,
    limit: usize,
}

impl RouteTable {
    /// An empty table for at most `limit` routes.
    pub fn new(limit: usize) -> Self {
        RouteTable {
            v4: Family::new(),
            v6: Family::new(),
            choices: Choices::new(),
            len: 0,
            limit: limit.min(LIMIT_MAX),
        }
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a route behind those to the same destination whose metric is not higher. That it makes sense is for
    /// the caller to see to.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one with the same destination and metric (for a connected route: if there
    /// is the very same), `NoBufferSpace` if the table is full.
    pub fn insert(&mut self, route: RouteSpec, origin: RouteOrigin) -> Result<(), Error> {
        let RouteSpec { destination, target, metric, source } = route;
        let way = Way { target, metric, source, origin };
        let there = self.choice_of(destination);
        let mut ways = self.ways(there);
        let is_taken = |other: &Way| match origin {
            RouteOrigin::Connected => *other == way,
            RouteOrigin::Added => other.metric == metric,
        };
        if ways.iter().any(is_taken) {
            return Err(Error::AlreadyExists);
        }
        if self.len >= self.limit {
            return Err(Error::NoBufferSpace);
        }
        //= RFC1122 3.3.1.2 several gateways
        //= RFC1812 5.2.4.3 best metric
        ways.insert(ways.partition_point(|other| other.metric <= metric), way);
        self.put(destination, there, &ways);
        self.len += 1;
        Ok(())
    }

    /// Removes the first route to exactly this destination whose metric and target are those of `route`. A
    /// gateway's device and the source have to be the same only if `route` names them.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn remove(&mut self, route: &RouteSpec) -> Result<RouteEntry, Error> {
        self.remove_where(route.destination, |way| {
            way.metric == route.metric
                && is_target(way.target, route.target)
                && route.source.is_none_or(|source| way.source == Some(source))
        })
    }

    /// Removes the best route to exactly this destination that is `wanted`.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub(crate) fn remove_where(
        &mut self,
        destination: IpNet,
        wanted: impl Fn(&Way) -> bool,
    ) -> Result<RouteEntry, Error> {
        let there = self.choice_of(destination);
        let mut ways = self.ways(there);
        let index = ways.iter().position(wanted).ok_or(Error::NotFound)?;
        let way = ways.remove(index);
        self.put(destination, there, &ways);
        self.len -= 1;
        Ok(entry(destination.trunc(), &way))
    }

    /// Removes every route whose way is `unwanted`. Takes as long as looking at all of them, unless there is none.
    pub(crate) fn remove_all(&mut self, unwanted: impl Fn(&Way) -> bool) {
        if !self.choices.all().any(&unwanted) {
            return;
        }
        let is_hit = |(_, choice): &(IpNet, ChoiceId)| self.choices.ways(*choice).any(&unwanted);
        let hit: Vec<IpNet> = self.networks().filter(is_hit).map(|(network, _)| network).collect();
        for network in hit {
            while self.remove_where(network, &unwanted).is_ok() {}
        }
    }

    /// The best way to `destination`: of the longest prefix that holds it, the one with the lowest metric.
    #[inline]
    pub fn lookup(&self, destination: IpAddr) -> Option<&Way> {
        let choice = match destination {
            IpAddr::V4(v4) => self.v4.lookup(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.lookup(Wide::new(v6.to_bits())),
        };
        self.choices.best(choice?)
    }

    /// The same among those that are `wanted`.
    pub fn lookup_where(&self, destination: IpAddr, wanted: impl Fn(&Way) -> bool) -> Option<&Way> {
        let mut best = None;
        let visit = |_, choice| best = self.choices.ways(choice).find(|way| wanted(way)).or(best);
        match destination {
            IpAddr::V4(v4) => self.v4.trie().for_each_prefix_of(v4.to_bits(), visit),
            IpAddr::V6(v6) => self.v6.trie().for_each_prefix_of(Wide::new(v6.to_bits()), visit),
        }
        best
    }

    /// All routes, IPv4's first, in the order of their destinations (the shorter prefix before the longer), those
    /// to the same destination by their metric.
    pub fn iter(&self) -> impl Iterator<Item = RouteEntry> + '_ {
        self.networks()
            .flat_map(|(network, choice)| self.choices.ways(choice).map(move |way| entry(network, way)))
    }

    fn networks(&self) -> impl Iterator<Item = (IpNet, ChoiceId)> + '_ {
        let v4 = self.v4.trie().iter().map(|(prefix, choice)| {
            let net = Ipv4Net::new_assert(Ipv4Addr::from_bits(prefix.bits), prefix.len);
            (IpNet::V4(net), choice)
        });
        let v6 = self.v6.trie().iter().map(|(prefix, choice)| {
            let net = Ipv6Net::new_assert(Ipv6Addr::from_bits(prefix.bits.get()), prefix.len);
            (IpNet::V6(net), choice)
        });
        v4.chain(v6)
    }

    /// How much room the indexes take.
    pub fn footprint(&self) -> Footprint {
        let (v4, v6) = (self.v4.footprint(), self.v6.footprint());
        Footprint { nodes: v4.nodes + v6.nodes, bytes: v4.bytes + v6.bytes }
    }

    fn choice_of(&self, destination: IpNet) -> Option<ChoiceId> {
        match destination {
            IpNet::V4(net) => self.v4.trie().get(v4_prefix(net)),
            IpNet::V6(net) => self.v6.trie().get(v6_prefix(net)),
        }
    }

    fn ways(&self, choice: Option<ChoiceId>) -> Vec<Way> {
        choice.into_iter().flat_map(|choice| self.choices.ways(choice)).copied().collect()
    }

    /// Lets `ways` lead to the destination, which had `there` before.
    fn put(&mut self, destination: IpNet, there: Option<ChoiceId>, ways: &[Way]) {
        let choice = self.choices.take(ways);
        match (destination, choice) {
            (IpNet::V4(net), Some(choice)) => self.v4.insert(v4_prefix(net), choice),
            (IpNet::V4(net), None) => self.v4.remove(v4_prefix(net)),
            (IpNet::V6(net), Some(choice)) => self.v6.insert(v6_prefix(net), choice),
            (IpNet::V6(net), None) => self.v6.remove(v6_prefix(net)),
        }
        if let Some(there) = there {
            self.choices.release(there);
        }
    }
}

fn entry(destination: IpNet, way: &Way) -> RouteEntry {
    let Way { target, metric, source, origin } = *way;
    RouteEntry { route: RouteSpec { destination, target, metric, source }, origin }
}

/// Whether a way leads where it was asked for.
fn is_target(way: RouteTarget, asked: RouteTarget) -> bool {
    match asked {
        RouteTarget::Gateway { via: asked, device: None } => {
            matches!(way, RouteTarget::Gateway { via, .. } if via == asked)
        }
        RouteTarget::Gateway { .. }
        | RouteTarget::Interface(_)
        | RouteTarget::Blackhole
        | RouteTarget::Unreachable
        | RouteTarget::Prohibit => way == asked,
    }
}

fn v4_prefix(net: Ipv4Net) -> Prefix<u32> {
    Prefix { bits: net.network().to_bits(), len: net.prefix_len() }
}

fn v6_prefix(net: Ipv6Net) -> Prefix<Wide> {
    Prefix { bits: Wide::new(net.network().to_bits()), len: net.prefix_len() }
}

#[cfg(test)]
mod tests;
