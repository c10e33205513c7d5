//! The network layer as one: interfaces, addresses and routes, and what the other layers ask of them.

use core::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::address;
use super::datagram::Cast;
use super::ident::Idents;
use super::interface::{self, Interfaces};
use super::limiter::Limiter;
use super::pmtu::PathMtu;
use super::route::{RouteSpec, RouteTable, RouteTarget};
use crate::proto::config::Config;
use crate::proto::error::Error;
use crate::proto::packet::{DeviceId, Offloads};
use crate::rng::Rng;
use crate::time::Instant;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface; [`DeviceId::LOOPBACK`] for ourselves.
    pub device: DeviceId,
    /// The source address to use.
    pub source: IpAddr,
    /// The largest datagram that fits, in bytes.
    pub mtu: usize,
}

/// The next step of a packet for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The interface.
    pub(crate) device: DeviceId,
    /// The largest datagram that the interface takes, in bytes.
    pub(crate) mtu: usize,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHop {
    /// No route leads there.
    NoRoute,
    /// The best route says: drop it silently.
    Blackhole,
    /// The best route says: unreachable.
    Unreachable,
    /// The best route says: prohibited.
    Prohibited,
}

/// Interfaces, addresses and routes.
#[derive(Debug)]
pub struct Layer {
    pub(super) interfaces: Interfaces,
    routes: RouteTable,
    /// What is known of the paths to other hosts.
    pub(crate) path_mtu: PathMtu,
    /// How many ICMP errors may be sent.
    pub(super) icmp_errors: Limiter,
    /// Made when the first is needed: the source of randomness comes with a context.
    idents: Option<Idents>,
}

/// Construction.
impl Layer {
    /// A layer without interfaces.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Layer {
            interfaces: Interfaces::default(),
            routes: RouteTable::new(),
            path_mtu: PathMtu::new(config),
            icmp_errors: Limiter::new(config, now),
            idents: None,
        }
    }

    /// Adds an interface whose largest datagram is `mtu` bytes.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId {
        self.interfaces.add(mtu)
    }

    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.interfaces.set_mtu(device, mtu);
    }

    /// Takes an interface out of use: routes by it lead nowhere.
    pub fn set_down(&mut self, device: DeviceId) {
        self.interfaces.set_down(device);
    }

    /// Gives an interface an address, and the table the connected route. A route that leads to the same
    /// network already stays.
    ///
    /// # Errors
    /// `InvalidInput` if no host may have the address or there is no such interface, `AddrInUse` if it is
    /// ours already.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        self.interfaces.add_address(device, address)?;
        self.add_connected_route(address.trunc(), device);
        if address.addr().is_ipv6() {
            // Without a route for them, groups could be reached through a default route alone.
            self.add_connected_route(IpNet::V6(ALL_MULTICAST_V6), device);
        }
        Ok(())
    }

    /// Adds a route (e.g. a default route) through an interface, in place of one to the same destination.
    ///
    /// # Errors
    /// `InvalidInput` for an interface that doesn't exist.
    pub fn add_route(&mut self, route: RouteSpec) -> Result<(), Error> {
        let RouteTarget::Interface(device) = route.target else { return Err(Error::InvalidInput) };
        if !self.interfaces.exists(device) {
            return Err(Error::InvalidInput);
        }
        self.routes.insert(route.destination, device);
        Ok(())
    }

    /// Says what an interface's device takes off the stack's hands.
    pub fn set_offloads(&mut self, device: DeviceId, offloads: Offloads) {
        self.interfaces.set_offloads(device, offloads);
    }

    /// Every address with its interface and the network it stands in.
    pub fn addresses(&self) -> impl Iterator<Item = (DeviceId, IpNet)> + '_ {
        self.interfaces.addresses()
    }

    /// The largest datagram that the interface takes, in bytes; `None` if it doesn't exist.
    pub fn mtu(&self, device: DeviceId) -> Option<usize> {
        self.interfaces.mtu(device)
    }

    fn add_connected_route(&mut self, network: IpNet, device: DeviceId) {
        if self.routes.get(network).is_none() {
            self.routes.insert(network, device);
        }
    }
}

/// What addresses mean here.
impl Layer {
    /// Whether the address is one of this stack's own (127.0.0.0/8 and ::1 included).
    #[inline]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces.owner_of(address).is_some() || address.is_loopback()
    }

    /// Whether the address is a broadcast address of one of our networks, or 255.255.255.255, or multicast.
    pub fn is_broadcast_or_multicast(&self, address: IpAddr) -> bool {
        address.is_multicast() || self.is_broadcast(address)
    }

    /// Whether the address is a broadcast address of one of our networks, or 255.255.255.255.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if self.interfaces.is_broadcast(v4))
    }

    /// How a datagram for `destination` is addressed to us; `None` if it isn't.
    pub(super) fn cast(&self, destination: IpAddr) -> Option<Cast> {
        if self.is_local(destination) {
            Some(Cast::Unicast)
        } else if self.is_broadcast(destination) {
            Some(Cast::Broadcast)
        } else if self.interfaces.is_member(destination) {
            Some(Cast::Multicast)
        } else {
            None
        }
    }
}

/// Where packets go.
impl Layer {
    /// Chooses interface and source for a destination; `source` is kept if given (it must be local).
    ///
    /// # Errors
    /// `NetworkUnreachable` if no route leads there or the address can't be a destination, `AddrNotAvailable`
    /// if `source` isn't ours or there is none to choose, `InvalidInput` if the families differ or a
    /// loopback source was to leave the stack.
    pub fn route(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Route, Error> {
        self.check_source(destination, source)?;
        check_destination(destination)?;
        if self.is_local(destination) {
            return Ok(route_to_self(destination, source));
        }
        //= RFC1122 section 3.2.1.3 g: 127/8 must not appear outside a host.
        if source.is_some_and(|source| source.is_loopback()) {
            return Err(Error::InvalidInput);
        }
        let device = self.device_for(destination, source).ok_or(Error::NetworkUnreachable)?;
        let source = source.or_else(|| self.interfaces.source_for(device, destination));
        Ok(Route {
            device,
            source: source.ok_or(Error::AddrNotAvailable)?,
            mtu: self.mtu(device).ok_or(Error::NetworkUnreachable)?,
        })
    }

    /// Where a packet for somebody else goes.
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Result<Hop, NoHop> {
        let device = self.routes.lookup(destination).ok_or(NoHop::NoRoute)?;
        let mtu = self.mtu(device).ok_or(NoHop::NoRoute)?;
        Ok(Hop { device, mtu })
    }

    /// Notes that the first hop towards `destination` may be dead (RFC 9293 MUST-20, RFC 1122 section 3.3.1.4).
    ///
    /// The interfaces are point-to-point links without a choice of gateways, so there is nothing to turn
    /// to; what a path MTU cache believes of the destination is what this will make it forget.
    pub fn negative_advice(&mut self, destination: IpAddr) {
        let _ = destination;
    }

    fn check_source(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<(), Error> {
        match source {
            None => Ok(()),
            Some(source) if source.is_ipv4() != destination.is_ipv4() => Err(Error::InvalidInput),
            Some(source) if !self.is_local(source) => Err(Error::AddrNotAvailable),
            Some(_) => Ok(()),
        }
    }

    /// A destination that means something on one link only is looked for where the source lives; the
    /// others where the table says.
    fn device_for(&self, destination: IpAddr, source: Option<IpAddr>) -> Option<DeviceId> {
        let by_source = source
            .filter(|_| address::is_link_scoped(destination))
            .and_then(|source| self.interfaces.owner_of(source));
        by_source.or_else(|| self.routes.lookup(destination)).or_else(|| {
            let is_limited_broadcast = matches!(destination, IpAddr::V4(v4) if v4.is_broadcast());
            self.interfaces.first_with_v4().filter(|_| is_limited_broadcast)
        })
    }
}

/// All of IPv6's multicast.
const ALL_MULTICAST_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);

/// Refuses destinations that stand for no host and no group.
fn check_destination(destination: IpAddr) -> Result<(), Error> {
    let can_be = match destination {
        IpAddr::V4(v4) => v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unspecified() && !address::is_mapped(v6),
    };
    if can_be { Ok(()) } else { Err(Error::NetworkUnreachable) }
}

/// We talk to ourselves from the address we talk to; in 127.0.0.0/8 from 127.0.0.1 (as Linux).
fn route_to_self(destination: IpAddr, source: Option<IpAddr>) -> Route {
    let source = source.unwrap_or(match destination {
        IpAddr::V4(v4) if v4.is_loopback() => IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => destination,
    });
    Route { device: DeviceId::LOOPBACK, source, mtu: interface::LOOPBACK_MTU }
}

impl Layer {
    pub(super) fn next_ident(&mut self, rng: &mut Rng, src: IpAddr, dst: IpAddr, protocol: u8) -> u16 {
        self.idents.get_or_insert_with(|| Idents::new(rng)).next(src, dst, protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{TUN, World, ip};

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn by(destination: &str, device: DeviceId) -> RouteSpec {
        RouteSpec::new(net(destination), RouteTarget::Interface(device))
    }

    #[test]
    fn a_connected_network_is_reached_from_the_address_in_it() {
        let world = World::new();
        let route = world.ip.route(ip("10.9.0.77"), None).unwrap();
        assert_eq!(route, Route { device: TUN, source: ip("10.9.0.2"), mtu: 1500 });
        let route = world.ip.route(ip("fd09::1"), None).unwrap();
        assert_eq!(route, Route { device: TUN, source: ip("fd09::2"), mtu: 1500 });
        assert_eq!(world.ip.route(ip("8.8.8.8"), None), Err(Error::NetworkUnreachable));
        assert_eq!(world.ip.route(ip("2001:db8::1"), None), Err(Error::NetworkUnreachable));
    }

    #[test]
    fn our_own_addresses_are_reached_through_the_loopback() {
        let world = World::new();
        for (to, from) in [
            ("10.9.0.2", "10.9.0.2"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.3.2.1", "127.0.0.1"),
            ("::1", "::1"),
            ("fd09::2", "fd09::2"),
        ] {
            let route = world.ip.route(ip(to), None).unwrap();
            assert_eq!(route, Route { device: DeviceId::LOOPBACK, source: ip(from), mtu: 65_535 }, "{to}");
        }
        let route = world.ip.route(ip("127.0.0.1"), Some(ip("10.9.0.2"))).unwrap();
        assert_eq!(route.source, ip("10.9.0.2"));
    }

    #[test]
    fn a_source_that_is_given_must_be_ours_of_the_family_and_allowed_outside() {
        let world = World::new();
        let route = |to, from| world.ip.route(ip(to), Some(ip(from))).map(|route| route.source);
        assert_eq!(route("10.9.0.1", "10.9.0.3"), Err(Error::AddrNotAvailable));
        assert_eq!(route("10.9.0.1", "fd09::2"), Err(Error::InvalidInput));
        assert_eq!(route("10.9.0.1", "127.0.0.1"), Err(Error::InvalidInput));
        assert_eq!(route("10.9.0.1", "10.9.0.2"), Ok(ip("10.9.0.2")));
    }

    #[test]
    fn what_stands_for_no_host_has_no_route_not_even_a_default_one() {
        let mut world = World::new();
        world.ip.add_route(by("0.0.0.0/0", TUN)).unwrap();
        world.ip.add_route(by("::/0", TUN)).unwrap();
        for nobody in ["0.0.0.0", "0.1.2.3", "::", "::ffff:10.9.0.1"] {
            assert_eq!(world.ip.route(ip(nobody), None), Err(Error::NetworkUnreachable), "{nobody}");
        }
        assert_eq!(world.ip.route(ip("8.8.8.8"), None).map(|route| route.device), Ok(TUN));
        assert_eq!(world.ip.route(ip("2001:db8::1"), None).map(|route| route.device), Ok(TUN));
    }

    #[test]
    fn link_scoped_destinations_are_sought_where_the_source_lives() {
        let mut world = World::new();
        let other = world.ip.add_interface(1400);
        world.ip.add_address(TUN, net("fe80::1/64")).unwrap();
        world.ip.add_address(other, net("fe80::2/64")).unwrap();
        let device_by = |to, from: &str| world.ip.route(ip(to), Some(ip(from))).unwrap().device;
        assert_eq!(device_by("fe80::9", "fe80::2"), other);
        assert_eq!(device_by("fe80::9", "fe80::1"), TUN);
        assert_eq!(device_by("ff02::1", "fe80::2"), other);
        assert_eq!(world.ip.route(ip("ff02::1"), None).unwrap().source, ip("fe80::1"));
    }

    #[test]
    fn the_limited_broadcast_finds_an_interface_without_a_route() {
        let world = World::new();
        let route = world.ip.route(ip("255.255.255.255"), None).unwrap();
        assert_eq!((route.device, route.source), (TUN, ip("10.9.0.2")));
    }

    #[test]
    fn routes_by_interfaces_that_do_not_exist_are_refused() {
        let mut world = World::new();
        assert_eq!(world.ip.add_route(by("0.0.0.0/0", DeviceId(5))), Err(Error::InvalidInput));
        assert_eq!(world.ip.add_route(by("0.0.0.0/0", DeviceId::LOOPBACK)), Err(Error::InvalidInput));
    }

    #[test]
    fn a_change_of_mtu_reaches_routes() {
        let mut world = World::new();
        world.ip.set_mtu(TUN, 1280);
        assert_eq!(world.ip.route(ip("10.9.0.1"), None).map(|route| route.mtu), Ok(1280));
    }

    #[test]
    fn broadcast_and_multicast_are_told_from_hosts() {
        let world = World::new();
        for all in ["255.255.255.255", "10.9.0.255", "10.9.0.0", "224.0.0.9", "ff02::5"] {
            assert!(world.ip.is_broadcast_or_multicast(ip(all)), "{all}");
        }
        for one in ["10.9.0.1", "10.9.1.255", "8.8.8.8", "fd09::1", "127.0.0.1"] {
            assert!(!world.ip.is_broadcast_or_multicast(ip(one)), "{one}");
        }
    }

    #[test]
    fn our_addresses_are_told_in_the_order_they_were_given() {
        let world = World::new();
        let addresses: Vec<_> = world.ip.addresses().collect();
        assert_eq!(addresses, [(TUN, net("10.9.0.2/24")), (TUN, net("fd09::2/64"))]);
    }
}
