//! The network layer as one: interfaces, addresses and routes, and what the other layers ask of them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::address;
use super::datagram::Cast;
use super::flow::FlowLabels;
use super::ident::Idents;
use super::interface::{self, Interfaces};
use super::limiter::Limiter;
use super::options::WallClock;
use super::pmtu::PathMtu;
use super::route::{RouteEntry, RouteOrigin, RouteSpec, RouteTable, RouteTarget, Way};
use crate::proto::config::{Config, ReversePath, Secrets};
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
    /// The largest datagram that fits the path, as far as is known, in bytes.
    pub mtu: usize,
    /// The largest datagram that fits its first link, in bytes.
    pub link_mtu: usize,
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
    pub(in crate::proto) interfaces: Interfaces,
    routes: RouteTable,
    /// What is known of the paths to other hosts.
    pub(crate) path_mtu: PathMtu,
    /// How many ICMP errors may be sent.
    pub(super) icmp_errors: Limiter,
    /// The time of day.
    pub(crate) wall_clock: WallClock,
    /// How the flows of IPv6 are labelled.
    pub(crate) flows: FlowLabels,
    /// Made when the first is needed: the source of randomness comes with a context.
    idents: Option<Idents>,
    /// How often anything has changed that routes depend on, but for `path_mtu`.
    changes: u64,
}

/// Construction.
impl Layer {
    /// A layer without interfaces.
    pub(crate) fn new(config: &Config, secrets: &Secrets, now: Instant) -> Self {
        Layer {
            interfaces: Interfaces::new(config.addresses),
            routes: RouteTable::new(config.routes),
            path_mtu: PathMtu::new(config),
            icmp_errors: Limiter::new(config, now),
            wall_clock: WallClock::default(),
            flows: FlowLabels::new(secrets.flows),
            idents: None,
            changes: 0,
        }
    }

    /// Adds an interface whose largest datagram is `mtu` bytes.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId {
        self.changes += 1;
        self.interfaces.add(mtu)
    }

    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.changes += 1;
        self.interfaces.set_mtu(device, mtu);
    }

    /// Takes an interface out of use, and the routes by it out of the table: the next best take their place.
    //= RFC1812 5.3.12.3 failed interface: if an interface fails, a router MUST remove all routes that make use
    //# of it, static ones included, and choose the best alternate.
    pub fn set_down(&mut self, device: DeviceId) {
        self.changes += 1;
        self.interfaces.set_down(device);
        //= RFC1122 3.3.1.5 next gateway
        self.routes.remove_all(|way| way.device() == Some(device));
    }

    /// Gives an interface an address, and the table the connected route: the network it stands in, by that
    /// interface, with metric 0, behind what leads there already. A network of one address has none.
    ///
    /// # Errors
    /// `InvalidInput` if no host may have the address, there is no such interface or its MTU is too small for
    /// IPv6; `AddrInUse` if it is ours already; `NoBufferSpace` if there are too many addresses or routes.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        self.changes += 1;
        self.interfaces.add_address(device, address)?;
        let added = Self::connected_by(address).try_for_each(|network| {
            match self.routes.insert(connected(network, device), RouteOrigin::Connected) {
                Err(Error::AlreadyExists) => Ok(()),
                answer => answer,
            }
        });
        if added.is_err() {
            self.remove_address(address.addr())?;
        }
        added
    }

    /// Takes an address from its interface, and from the table the connected route, unless another address
    /// of the interface stands in the same network. Routes that name the address as their source go too (as on
    /// Linux); those that lead to a gateway in the network stay, since an interface is all that they need.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it isn't ours.
    pub fn remove_address(&mut self, address: IpAddr) -> Result<(), Error> {
        self.changes += 1;
        let (device, net) = self.interfaces.remove_address(address)?;
        for network in Self::connected_by(net) {
            let others = self.interfaces.addresses_of(device);
            if others.iter().any(|other| Self::connected_by(*other).any(|needed| needed == network)) {
                continue;
            }
            // It may have been removed by itself before.
            let _ = self.routes.remove_where(network, |way| {
                way.origin == RouteOrigin::Connected && way.device() == Some(device)
            });
        }
        self.routes.remove_all(|way| way.source == Some(address));
        Ok(())
    }

    /// Adds a route.
    ///
    /// The router of [`RouteTarget::Gateway`] has to be reached without another one; the interface is found now,
    /// and does not change when other routes do. As on Linux, any route out of an interface without a gateway
    /// will do, and a link-local router needs its interface named.
    ///
    /// # Errors
    /// `InvalidInput` for an interface that doesn't exist, a gateway that isn't a single host other than us
    /// and of the destination's family, or a source that isn't ours; `NetworkUnreachable` for a gateway that no
    /// interface leads to; `AlreadyExists` if there is a route with the same destination and metric;
    /// `NoBufferSpace` if the table is full.
    pub fn add_route(&mut self, route: RouteSpec) -> Result<(), Error> {
        self.changes += 1;
        let target = self.resolve(&route)?;
        if route.source.is_some_and(|source| !self.may_be_source_to(route.destination, source)) {
            return Err(Error::InvalidInput);
        }
        let destination = route.destination.trunc();
        self.routes.insert(RouteSpec { destination, target, ..route }, RouteOrigin::Added)
    }

    /// Removes the route that has this destination, metric and target; a gateway's device and the source have to be
    /// the same only if they are named. Connected routes can be removed too.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn remove_route(&mut self, route: &RouteSpec) -> Result<(), Error> {
        self.changes += 1;
        self.routes.remove(route).map(drop)
    }

    /// All routes, IPv4's first, in the order of their destinations and metrics.
    pub fn routes(&self) -> impl Iterator<Item = RouteEntry> + '_ {
        self.routes.iter()
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

    /// The networks that become reachable by an interface because it has an address.
    fn connected_by(address: IpNet) -> impl Iterator<Item = IpNet> {
        //= RFC1122 3.3.1.1 local
        let network = (address.prefix_len() < address.max_prefix_len()).then(|| address.trunc());
        // Without a route for them, groups could be reached through a default route alone.
        let groups = address.addr().is_ipv6().then_some(IpNet::V6(ALL_MULTICAST_V6));
        network.into_iter().chain(groups)
    }

    /// The target with what it leaves open filled in.
    fn resolve(&self, route: &RouteSpec) -> Result<RouteTarget, Error> {
        match route.target {
            RouteTarget::Interface(device) if !self.interfaces.exists(device) => Err(Error::InvalidInput),
            RouteTarget::Gateway { via, device } => {
                let is_host = address::is_single_host(via) && !self.is_broadcast(via) && !self.is_local(via);
                let is_of_family = via.is_ipv4() == route.destination.addr().is_ipv4();
                if !is_host || !is_of_family || device.is_some_and(|device| !self.interfaces.exists(device)) {
                    return Err(Error::InvalidInput);
                }
                let device = Some(self.device_of_gateway(via, device)?);
                Ok(RouteTarget::Gateway { via, device })
            }
            RouteTarget::Interface(_)
            | RouteTarget::Blackhole
            | RouteTarget::Unreachable
            | RouteTarget::Prohibit => Ok(route.target),
        }
    }

    fn device_of_gateway(&self, via: IpAddr, named: Option<DeviceId>) -> Result<DeviceId, Error> {
        if address::is_link_scoped(via) {
            return named.ok_or(Error::InvalidInput);
        }
        let is_wanted = |way: &Way| named.is_none_or(|device| way.device() == Some(device));
        match self.routes.lookup_where(via, is_wanted).map(|way| way.target) {
            Some(RouteTarget::Interface(device)) => Ok(device),
            Some(
                RouteTarget::Gateway { .. }
                | RouteTarget::Blackhole
                | RouteTarget::Unreachable
                | RouteTarget::Prohibit,
            )
            | None => Err(Error::NetworkUnreachable),
        }
    }

    /// Whether packets to a network may have this source.
    fn may_be_source_to(&self, destination: IpNet, source: IpAddr) -> bool {
        source.is_ipv4() == destination.addr().is_ipv4() && self.interfaces.owner_of(source).is_some()
    }
}

/// What addresses mean here.
impl Layer {
    /// Whether the address is one of this stack's own (127.0.0.0/8 and ::1 included).
    #[inline]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces.owner_of(address).is_some() || address.is_loopback()
    }

    /// Whether the address was given to one of our interfaces, as it mostly was.
    #[inline]
    pub(super) fn is_of_interface(&self, address: IpAddr) -> bool {
        self.interfaces.owner_of_likely(address).is_some()
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
        //= RFC1812 5.2.3 local or not
        if self.is_local(destination) {
            Some(Cast::Unicast)
        } else if self.is_broadcast(destination) {
            //= RFC1812 5.3.5.1 limited broadcasts
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
        //= RFC1122 3.2.1.3 loopback
        if source.is_some_and(|source| source.is_loopback()) {
            return Err(Error::InvalidInput);
        }
        let out = self.out_for(destination, source)?;
        //= RFC1122 3.3.4.2 choice
        let source = source
            .or(out.source)
            .or_else(|| self.interfaces.source_towards(out.device, destination, out.next_hop));
        // However it was chosen, it says on which link such a destination is: the next packet from it goes there, too.
        let home = source.filter(|_| address::is_link_scoped(destination));
        let device = home.and_then(|source| self.interfaces.owner_of(source)).unwrap_or(out.device);
        let link = self.interfaces.mtu_to(device, destination).ok_or(Error::NetworkUnreachable)?;
        Ok(Route {
            device,
            source: source.ok_or(Error::AddrNotAvailable)?,
            mtu: self.path_mtu.get(destination).map_or(link, |path| path.min(link)),
            link_mtu: link,
        })
    }

    /// How often anything has changed that [`route`](Self::route) depends on: an answer holds for as long as this is the same.
    pub(crate) fn changes(&self) -> u64 {
        self.changes + self.path_mtu.changes()
    }

    /// Where a packet for somebody else goes.
    #[inline]
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Result<Hop, NoHop> {
        let device = match self.routes.lookup(destination).ok_or(NoHop::NoRoute)?.target {
            RouteTarget::Interface(device) => device,
            RouteTarget::Gateway { device, .. } => device.ok_or(NoHop::NoRoute)?,
            RouteTarget::Blackhole => return Err(NoHop::Blackhole),
            RouteTarget::Unreachable => return Err(NoHop::Unreachable),
            RouteTarget::Prohibit => return Err(NoHop::Prohibited),
        };
        let mtu = self.interfaces.mtu_to(device, destination).ok_or(NoHop::NoRoute)?;
        Ok(Hop { device, mtu })
    }

    /// Whether a packet that came by `device` may have that source (RFC 1812 section 5.3.8, RFC 3704).
    ///
    /// Strict: the best route to it leads out by `device`; of several to the same prefix only the first counts.
    /// Loose: the best route to it leads out at all, a default route included (as Linux: RFC 3704 section 2.4
    /// would let it be ignored). A link-local source is at home on every link.
    pub(crate) fn is_reachable_by(&self, source: IpAddr, device: DeviceId, how: ReversePath) -> bool {
        let way_back = || self.routes.lookup(source).and_then(Way::device);
        match how {
            ReversePath::Off => true,
            ReversePath::Loose | ReversePath::Strict if address::is_link_scoped(source) => true,
            ReversePath::Loose => way_back().is_some(),
            ReversePath::Strict => way_back() == Some(device),
        }
    }

    /// Notes that the first hop towards `destination` may be dead (RFC 9293 MUST-20, RFC 1122 section 3.3.1.4).
    ///
    /// A gateway can't be told dead from alive on a link without neighbours, and another route is
    /// somebody's to configure. What was learnt of the path's MTU stays: smaller segments get through no worse,
    /// and while they are lost for want of a smaller MTU, to forget it would be to begin anew.
    pub fn negative_advice(&mut self, destination: IpAddr) {
        let _ = destination;
    }

    fn check_source(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<(), Error> {
        match source {
            None => Ok(()),
            Some(source) if source.is_ipv4() != destination.is_ipv4() => Err(Error::InvalidInput),
            //= RFC1122 3.2.1.3 own source, 3.3.6 source, 4.1.3.6 own source
            Some(source) if !self.is_local(source) => Err(Error::AddrNotAvailable),
            Some(_) => Ok(()),
        }
    }

    /// A destination that means something on one link only is looked for where the source lives; the
    /// others where the table says.
    ///
    /// # Errors
    /// What Linux answers: EINVAL for a blackhole, EHOSTUNREACH and EACCES for the others that lead nowhere,
    /// ENETUNREACH if there is no route.
    fn out_for(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Out, Error> {
        let on_link = |device| Out { device, next_hop: destination, source: None };
        let by_source = source
            .filter(|_| address::is_link_scoped(destination))
            .and_then(|source| self.interfaces.owner_of(source));
        if let Some(device) = by_source {
            return Ok(on_link(device));
        }
        let Some(way) = self.routes.lookup(destination) else {
            let is_limited_broadcast = matches!(destination, IpAddr::V4(v4) if v4.is_broadcast());
            let by_any = self.interfaces.first_with_v4().filter(|_| is_limited_broadcast);
            return by_any.map(on_link).ok_or(Error::NetworkUnreachable);
        };
        let source = way.source;
        match way.target {
            //= RFC1122 3.3.1.1 without gateways
            RouteTarget::Interface(device) => Ok(Out { source, ..on_link(device) }),
            RouteTarget::Gateway { via, device } => {
                let device = device.ok_or(Error::NetworkUnreachable)?;
                Ok(Out { device, next_hop: via, source })
            }
            RouteTarget::Blackhole => Err(Error::InvalidInput),
            RouteTarget::Unreachable => Err(Error::HostUnreachable),
            RouteTarget::Prohibit => Err(Error::PermissionDenied),
        }
    }
}

/// The way out for a packet of ours.
#[derive(Clone, Copy, Debug)]
struct Out {
    device: DeviceId,
    next_hop: IpAddr,
    /// The source that the route prefers.
    source: Option<IpAddr>,
}

fn connected(network: IpNet, device: DeviceId) -> RouteSpec {
    RouteSpec::new(network, RouteTarget::Interface(device))
}

/// All of IPv6's multicast.
const ALL_MULTICAST_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);

/// Refuses destinations that stand for no host and no group.
fn check_destination(destination: IpAddr) -> Result<(), Error> {
    let can_be = match destination {
        IpAddr::V4(v4) => v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unspecified() && !address::is_mapped(v6),
    };
    //= RFC9293 MUST-46/invalid
    if can_be { Ok(()) } else { Err(Error::NetworkUnreachable) }
}

/// We talk to ourselves from the address we talk to; in 127.0.0.0/8 from 127.0.0.1 (as Linux).
fn route_to_self(destination: IpAddr, source: Option<IpAddr>) -> Route {
    let source = source.unwrap_or(match destination {
        IpAddr::V4(v4) if v4.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => destination,
    });
    Route {
        device: DeviceId::LOOPBACK,
        source,
        mtu: interface::LOOPBACK_MTU,
        link_mtu: interface::LOOPBACK_MTU,
    }
}

impl Layer {
    pub(super) fn next_ident_v6(&mut self, rng: &mut Rng, src: IpAddr, dst: IpAddr) -> u32 {
        self.idents.get_or_insert_with(|| Idents::new(rng)).next_v6(src, dst)
    }

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

    //= RFC1122 3.3.1.1 local, 3.3.1.1 without gateways
    #[test]
    fn a_connected_network_is_reached_from_the_address_in_it() {
        let world = World::new();
        let route = world.ip.route(ip("10.9.0.77"), None).unwrap();
        assert_eq!(route, Route { device: TUN, source: ip("10.9.0.2"), mtu: 1500, link_mtu: 1500 });
        let route = world.ip.route(ip("fd09::1"), None).unwrap();
        assert_eq!(route, Route { device: TUN, source: ip("fd09::2"), mtu: 1500, link_mtu: 1500 });
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
            assert_eq!(
                route,
                Route { device: DeviceId::LOOPBACK, source: ip(from), mtu: 65_535, link_mtu: 65_535 },
                "{to}"
            );
        }
        let route = world.ip.route(ip("127.0.0.1"), Some(ip("10.9.0.2"))).unwrap();
        assert_eq!(route.source, ip("10.9.0.2"));
    }

    //= RFC1122 3.3.6 source, 4.1.3.6 own source
    #[test]
    fn a_source_that_is_given_must_be_ours_of_the_family_and_allowed_outside() {
        let world = World::new();
        let route = |to, from| world.ip.route(ip(to), Some(ip(from))).map(|route| route.source);
        assert_eq!(route("10.9.0.1", "10.9.0.3"), Err(Error::AddrNotAvailable));
        assert_eq!(route("10.9.0.1", "fd09::2"), Err(Error::InvalidInput));
        assert_eq!(route("10.9.0.1", "127.0.0.1"), Err(Error::InvalidInput));
        //= RFC1122 3.2.1.3 own source, 3.2.1.3 loopback: a source is one of the host's own addresses, never a
        //# broadcast or multicast one.
        for from in ["10.9.0.255", "10.9.0.0", "255.255.255.255", "224.0.0.1", "0.0.0.0"] {
            assert!(route("10.9.0.1", from).is_err(), "{from}");
        }
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

    fn via(destination: &str, gateway: &str, device: Option<DeviceId>) -> RouteSpec {
        RouteSpec::new(net(destination), RouteTarget::Gateway { via: ip(gateway), device })
    }

    /// The world, and a second interface with 10.2.0.2/24 and fd02::2/64.
    fn two_interfaces() -> (World, DeviceId) {
        let mut world = World::new();
        let other = world.ip.add_interface(1400);
        for address in ["10.2.0.2/24", "fd02::2/64"] {
            world.ip.add_address(other, net(address)).unwrap();
        }
        (world, other)
    }

    #[test]
    fn a_gateway_is_reached_by_the_network_it_stands_in() {
        let (mut world, other) = two_interfaces();
        world.ip.add_route(via("10.7.0.0/16", "10.2.0.1", None)).unwrap();
        world.ip.add_route(via("fd07::/16", "fd02::1", Some(other))).unwrap();
        let route = world.ip.route(ip("10.7.1.1"), None).unwrap();
        assert_eq!(route, Route { device: other, source: ip("10.2.0.2"), mtu: 1400, link_mtu: 1400 });
        assert_eq!(world.ip.next_hop(ip("fd07::1")), Ok(Hop { device: other, mtu: 1400 }));
        let shown = world.ip.routes().find(|entry| entry.route.destination == net("10.7.0.0/16"));
        assert_eq!(shown.map(|entry| entry.route), Some(via("10.7.0.0/16", "10.2.0.1", Some(other))));
    }

    #[test]
    fn gateways_that_cannot_be_are_refused() {
        let (mut world, other) = two_interfaces();
        world.ip.add_route(via("10.7.0.0/16", "10.2.0.1", None)).unwrap();
        for (route, error) in [
            // Behind another gateway; by the wrong interface; nowhere.
            (via("10.8.0.0/16", "10.7.0.1", None), Error::NetworkUnreachable),
            (via("10.8.0.0/16", "10.2.0.1", Some(TUN)), Error::NetworkUnreachable),
            (via("10.8.0.0/16", "192.168.0.1", None), Error::NetworkUnreachable),
            // Us, all, many, the other family, an interface that isn't there, a link that isn't named.
            (via("10.8.0.0/16", "10.2.0.2", None), Error::InvalidInput),
            (via("10.8.0.0/16", "10.2.0.255", None), Error::InvalidInput),
            (via("10.8.0.0/16", "224.0.0.9", None), Error::InvalidInput),
            (via("10.8.0.0/16", "fd02::1", None), Error::InvalidInput),
            (via("10.8.0.0/16", "10.2.0.1", Some(DeviceId(7))), Error::InvalidInput),
            (via("fd08::/16", "fe80::1", None), Error::InvalidInput),
        ] {
            assert_eq!(world.ip.add_route(route), Err(error), "{route:?}");
        }
        world.ip.add_route(via("fd08::/16", "fe80::1", Some(other))).unwrap();
        // A route by an interface without a gateway will do, even one for all.
        world.ip.add_route(by("0.0.0.0/0", other)).unwrap();
        world.ip.add_route(via("10.8.0.0/16", "192.168.0.1", None)).unwrap();
    }

    #[test]
    fn routes_that_lead_nowhere_say_why() {
        let mut world = World::new();
        world.ip.add_route(by("0.0.0.0/0", TUN)).unwrap();
        for (destination, target, error, no_hop) in [
            ("10.1.0.0/16", RouteTarget::Blackhole, Error::InvalidInput, NoHop::Blackhole),
            ("10.2.0.0/16", RouteTarget::Unreachable, Error::HostUnreachable, NoHop::Unreachable),
            ("10.3.0.0/16", RouteTarget::Prohibit, Error::PermissionDenied, NoHop::Prohibited),
        ] {
            world.ip.add_route(RouteSpec::new(net(destination), target)).unwrap();
            let host = net(destination).hosts().next().unwrap();
            assert_eq!(world.ip.route(host, None), Err(error), "{target:?}");
            assert_eq!(world.ip.next_hop(host), Err(no_hop), "{target:?}");
            for how in [ReversePath::Loose, ReversePath::Strict] {
                assert!(!world.ip.is_reachable_by(host, TUN, how), "{target:?}");
            }
        }
        assert_eq!(world.ip.next_hop(ip("fd11::1")), Err(NoHop::NoRoute));
    }

    #[test]
    fn a_route_may_prefer_a_source_of_ours_on_whatever_interface() {
        let (mut world, _) = two_interfaces();
        let route = RouteSpec { source: Some(ip("10.2.0.2")), ..by("10.7.0.0/16", TUN) };
        world.ip.add_route(route).unwrap();
        assert_eq!(world.ip.route(ip("10.7.0.1"), None).map(|route| route.source), Ok(ip("10.2.0.2")));
        let given = world.ip.route(ip("10.7.0.1"), Some(ip("10.9.0.2")));
        assert_eq!(given.map(|route| route.source), Ok(ip("10.9.0.2")));
        for source in ["10.2.0.3", "fd02::2", "127.0.0.1"] {
            let route = RouteSpec { metric: 9, source: Some(ip(source)), ..by("10.7.0.0/16", TUN) };
            assert_eq!(world.ip.add_route(route), Err(Error::InvalidInput), "{source}");
        }
        world.ip.remove_address(ip("10.2.0.2")).unwrap();
        assert_eq!(world.ip.route(ip("10.7.0.1"), None), Err(Error::NetworkUnreachable));
    }

    #[test]
    fn a_route_that_is_there_is_refused_and_one_with_another_metric_waits_its_turn() {
        let (mut world, other) = two_interfaces();
        assert_eq!(world.ip.add_route(by("10.9.0.0/24", other)), Err(Error::AlreadyExists));
        world.ip.add_route(RouteSpec { metric: 5, ..by("10.9.0.0/24", other) }).unwrap();
        assert_eq!(world.ip.next_hop(ip("10.9.0.1")).map(|hop| hop.device), Ok(TUN));
        world.ip.remove_route(&by("10.9.0.0/24", TUN)).unwrap();
        assert_eq!(world.ip.next_hop(ip("10.9.0.1")).map(|hop| hop.device), Ok(other));
        assert_eq!(world.ip.remove_route(&by("10.9.0.0/24", TUN)), Err(Error::NotFound));
    }

    #[test]
    fn an_address_goes_with_its_network_unless_another_needs_it() {
        let mut world = World::new();
        world.ip.add_address(TUN, net("10.9.0.3/24")).unwrap();
        let is_reached = |world: &World, host| world.ip.next_hop(ip(host)).is_ok();
        world.ip.remove_address(ip("10.9.0.2")).unwrap();
        assert!(is_reached(&world, "10.9.0.1") && !world.ip.is_local(ip("10.9.0.2")));
        assert!(world.ip.is_broadcast(ip("10.9.0.255")));
        world.ip.remove_address(ip("10.9.0.3")).unwrap();
        assert!(!is_reached(&world, "10.9.0.1") && !world.ip.is_broadcast(ip("10.9.0.255")));
        assert!(is_reached(&world, "ff0e::1"));
        world.ip.remove_address(ip("fd09::2")).unwrap();
        assert!(!is_reached(&world, "ff0e::1"));
        assert_eq!((world.ip.routes().count(), world.ip.addresses().count()), (0, 0));
        assert_eq!(world.ip.remove_address(ip("fd09::2")), Err(Error::AddrNotAvailable));
        world.ip.add_address(TUN, net("10.9.0.2/24")).unwrap();
        assert!(is_reached(&world, "10.9.0.1"));
    }

    #[test]
    fn two_interfaces_in_one_network_take_turns() {
        let mut world = World::new();
        let other = world.ip.add_interface(1500);
        world.ip.add_address(other, net("10.9.0.3/24")).unwrap();
        assert_eq!(world.ip.next_hop(ip("10.9.0.1")).map(|hop| hop.device), Ok(TUN));
        world.ip.remove_address(ip("10.9.0.2")).unwrap();
        assert_eq!(world.ip.next_hop(ip("10.9.0.1")).map(|hop| hop.device), Ok(other));
    }

    #[test]
    fn the_way_back_is_asked_for_as_linux_does() {
        let (mut world, other) = two_interfaces();
        let may = |world: &World, source, device| {
            [ReversePath::Off, ReversePath::Loose, ReversePath::Strict]
                .map(|how| world.ip.is_reachable_by(ip(source), device, how))
        };
        assert_eq!(may(&world, "10.2.0.9", other), [true, true, true]);
        assert_eq!(may(&world, "10.2.0.9", TUN), [true, true, false]);
        assert_eq!(may(&world, "8.8.8.8", TUN), [true, false, false]);
        assert_eq!(may(&world, "fe80::9", TUN), [true, true, true]);
        world.ip.add_route(by("0.0.0.0/0", other)).unwrap();
        assert_eq!(may(&world, "8.8.8.8", TUN), [true, true, false]);
        assert_eq!(may(&world, "8.8.8.8", other), [true, true, true]);
    }

    //= RFC1122 3.3.1.5 next gateway
    //= RFC1812 5.3.12.3 failed interface
    #[test]
    fn an_interface_that_is_gone_takes_its_routes_with_it() {
        let (mut world, other) = two_interfaces();
        world.ip.add_route(by("0.0.0.0/0", other)).unwrap();
        world.ip.add_route(RouteSpec { metric: 1, ..by("0.0.0.0/0", TUN) }).unwrap();
        world.ip.set_down(other);
        assert_eq!(world.ip.next_hop(ip("8.8.8.8")).map(|hop| hop.device), Ok(TUN));
        assert_eq!(
            world.ip.routes().filter(|entry| entry.route.target == RouteTarget::Interface(other)).count(),
            0
        );
        assert!(world.ip.is_local(ip("10.2.0.2")));
    }

    #[test]
    fn ipv6_wants_links_of_1280_bytes() {
        //= RFC8200 5 links of 1280 octets: IPv6 requires that every link in the Internet have an MTU of 1280
        //# octets or greater.
        let mut world = World::new();
        let small = world.ip.add_interface(1279);
        assert_eq!(world.ip.add_address(small, net("fd02::2/64")), Err(Error::InvalidInput));
        world.ip.add_address(small, net("10.2.0.2/24")).unwrap();
        world.ip.set_mtu(TUN, 1279);
        assert_eq!(world.ip.route(ip("fd09::1"), None), Err(Error::NetworkUnreachable));
        assert_eq!(world.ip.next_hop(ip("fd09::1")), Err(NoHop::NoRoute));
        assert!(world.ip.route(ip("10.9.0.1"), None).is_ok());
        world.ip.set_mtu(TUN, 1280);
        assert_eq!(world.ip.route(ip("fd09::1"), None).map(|route| route.mtu), Ok(1280));
    }

    #[test]
    fn tables_have_limits() {
        let mut world = World::with(Config { addresses: 3, routes: 5, ..Config::default() });
        // Two connected networks and IPv6's groups are there.
        world.ip.add_address(TUN, net("10.1.0.2/24")).unwrap();
        assert_eq!(world.ip.add_address(TUN, net("10.2.0.2/24")), Err(Error::NoBufferSpace));
        world.ip.add_route(by("0.0.0.0/0", TUN)).unwrap();
        assert_eq!(world.ip.add_route(by("::/0", TUN)), Err(Error::NoBufferSpace));
        world.ip.remove_address(ip("10.9.0.2")).unwrap();
        world.ip.add_route(by("::/0", TUN)).unwrap();
        // An address whose network finds no room isn't kept either.
        assert_eq!(world.ip.add_address(TUN, net("10.9.0.2/24")), Err(Error::NoBufferSpace));
        assert!(!world.ip.is_local(ip("10.9.0.2")));
    }

    #[test]
    fn a_change_of_mtu_reaches_routes() {
        let mut world = World::new();
        world.ip.set_mtu(TUN, 1280);
        assert_eq!(world.ip.route(ip("10.9.0.1"), None).map(|route| route.mtu), Ok(1280));
    }

    //= RFC1122 3.3.6 broadcast
    //= RFC1812 4.2.3.1 broadcasts
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

    //= RFC8504 6.2 several addresses
    #[test]
    fn our_addresses_are_told_in_the_order_they_were_given() {
        let world = World::new();
        let addresses: Vec<_> = world.ip.addresses().collect();
        assert_eq!(addresses, [(TUN, net("10.9.0.2/24")), (TUN, net("fd09::2/64"))]);
    }
}
