//! Interfaces and the addresses that are ours because of them.
//!
//! Owns MTUs, addresses, and the broadcast addresses and multicast groups that follow from them. The stack is a
//! weak host (RFC 1122 section 3.3.4.2): a packet for any of our addresses is ours, whichever interface it
//! came by, and any address of ours may be the source of a packet by any interface.
//!
//! IPv6 wants links of 1,280 bytes at least (RFC 8200 section 5). As on Linux, an interface whose MTU is smaller
//! takes no IPv6 address; one whose MTU becomes smaller sends no IPv6 until it is large enough again.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::address;
use super::sieve::Sieve;
use super::source::{self, Towards};
use crate::proto::error::Error;
use crate::proto::packet::{DeviceId, Offloads};

/// The largest datagram that fits through the way from the stack to itself.
pub(crate) const LOOPBACK_MTU: usize = 65_535;
/// The smallest MTU that an interface can have (RFC 791: every module must forward 68 octets).
//= RFC791 3.2 68 octets
const MTU_MIN: usize = 68;
/// No IP datagram without the jumbo option is larger.
const MTU_MAX: usize = 65_535;

/// The smallest MTU of an interface that speaks IPv6 (RFC 8200 section 5).
const MTU_MIN_V6: usize = 1280;

/// All interfaces with their addresses. Lookups are binary searches behind a sieve: the tables are written when an
/// address is given and read for every packet, and both ends of what a router forwards are strangers.
#[derive(Debug)]
pub(crate) struct Interfaces {
    list: Vec<Interface>,
    /// How many addresses there may be.
    limit: usize,
    /// Every IPv4 address of ours with the interface it was given to, sorted. Not 127.0.0.0/8.
    owned_v4: Vec<(u32, DeviceId)>,
    /// The same for IPv6. Not ::1.
    owned_v6: Vec<(u128, DeviceId)>,
    /// Broadcast addresses of our networks, sorted; as often as there are addresses that they follow from.
    broadcasts: Vec<u32>,
    /// Solicited-node groups of our addresses, likewise.
    groups: Vec<u128>,
    /// Lets all pass that the four tables hold.
    sieve: Sieve,
}

#[derive(Debug)]
struct Interface {
    mtu: usize,
    offloads: Offloads,
    is_down: bool,
    addresses: Vec<IpNet>,
}

impl Interfaces {
    /// No interfaces yet, which may have so many addresses together.
    pub(crate) fn new(limit: usize) -> Self {
        Interfaces {
            list: Vec::new(),
            limit,
            owned_v4: Vec::new(),
            owned_v6: Vec::new(),
            broadcasts: Vec::new(),
            groups: Vec::new(),
            sieve: Sieve::new(),
        }
    }

    /// Adds an interface without addresses.
    ///
    /// # Panics
    /// If there are 65,535 of them already.
    pub(crate) fn add(&mut self, mtu: usize) -> DeviceId {
        let id = u16::try_from(self.list.len()).map(DeviceId).unwrap_or(DeviceId::LOOPBACK);
        assert!(id != DeviceId::LOOPBACK, "more interfaces than there are names for them");
        self.list.push(Interface {
            mtu: mtu.clamp(MTU_MIN, MTU_MAX),
            offloads: Offloads::default(),
            is_down: false,
            addresses: Vec::new(),
        });
        id
    }

    /// Follows a change of an interface's MTU; does nothing for interfaces that don't exist.
    pub(crate) fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        if let Some(interface) = self.list.get_mut(usize::from(device.0)) {
            interface.mtu = mtu.clamp(MTU_MIN, MTU_MAX);
        }
    }

    /// Says what an interface's device can do; does nothing for interfaces that don't exist.
    pub(crate) fn set_offloads(&mut self, device: DeviceId, offloads: Offloads) {
        if let Some(interface) = self.list.get_mut(usize::from(device.0)) {
            interface.offloads = offloads;
        }
    }

    /// What an interface's device can do.
    pub(crate) fn offloads(&self, device: DeviceId) -> Offloads {
        self.get(device).map_or(Offloads::default(), |interface| interface.offloads)
    }

    /// Takes an interface out of use; does nothing for interfaces that don't exist.
    pub(crate) fn set_down(&mut self, device: DeviceId) {
        if let Some(interface) = self.list.get_mut(usize::from(device.0)) {
            interface.is_down = true;
        }
    }

    /// The largest datagram that the interface takes, in bytes; `None` if it takes none, being down.
    pub(crate) fn mtu(&self, device: DeviceId) -> Option<usize> {
        if device == DeviceId::LOOPBACK {
            return Some(LOOPBACK_MTU);
        }
        self.get(device).filter(|interface| !interface.is_down).map(|interface| interface.mtu)
    }

    /// The largest datagram to that destination which the interface takes, in bytes; `None` if it takes none of
    /// that family.
    #[inline]
    pub(crate) fn mtu_to(&self, device: DeviceId, destination: IpAddr) -> Option<usize> {
        //= RFC8200 5 links of 1280 octets
        self.mtu(device).filter(|mtu| destination.is_ipv4() || *mtu >= MTU_MIN_V6)
    }

    /// Whether there is an interface of that name (the loopback has none of its own).
    pub(crate) fn exists(&self, device: DeviceId) -> bool {
        self.get(device).is_some()
    }

    /// The names of all interfaces.
    pub(crate) fn devices(&self) -> impl Iterator<Item = DeviceId> + use<> {
        (0..self.list.len()).filter_map(|index| u16::try_from(index).ok()).map(DeviceId)
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such interface, no host may have the address, or the interface's MTU is too
    /// small for IPv6; `AddrInUse` if it is ours already; `NoBufferSpace` if there are too many.
    pub(crate) fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        let is_too_small = self.mtu_to(device, address.addr()).is_none();
        let interface = self.list.get_mut(usize::from(device.0)).ok_or(Error::InvalidInput)?;
        if is_too_small || !address::may_be_ours(address) {
            return Err(Error::InvalidInput);
        }
        if self.owned_v4.len() + self.owned_v6.len() >= self.limit {
            return Err(Error::NoBufferSpace);
        }
        match address {
            IpNet::V4(net) => {
                own(&mut self.owned_v4, net.addr().to_bits(), device)?;
                for broadcast in address::directed_broadcasts(net).into_iter().flatten() {
                    add_sorted(&mut self.broadcasts, broadcast.to_bits());
                    self.sieve.add(broadcast.into());
                }
            }
            IpNet::V6(net) => {
                own(&mut self.owned_v6, net.addr().to_bits(), device)?;
                let group = address::solicited_node(net.addr());
                add_sorted(&mut self.groups, group.to_bits());
                self.sieve.add(group.into());
            }
        }
        self.sieve.add(address.addr());
        //= RFC8504 6.2 several addresses
        interface.addresses.push(address);
        Ok(())
    }

    /// Takes an address from the interface that has it, and tells which that is and in what network it stood.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it isn't ours.
    pub(crate) fn remove_address(&mut self, address: IpAddr) -> Result<(DeviceId, IpNet), Error> {
        let device = self.owner_of(address).ok_or(Error::AddrNotAvailable)?;
        let interface = self.list.get_mut(usize::from(device.0)).ok_or(Error::AddrNotAvailable)?;
        let index = interface.addresses.iter().position(|net| net.addr() == address);
        let net = interface.addresses.remove(index.ok_or(Error::AddrNotAvailable)?);
        match net {
            IpNet::V4(net) => {
                self.owned_v4.retain(|(owned, _)| *owned != net.addr().to_bits());
                for broadcast in address::directed_broadcasts(net).into_iter().flatten() {
                    remove_sorted(&mut self.broadcasts, broadcast.to_bits());
                }
            }
            IpNet::V6(net) => {
                self.owned_v6.retain(|(owned, _)| *owned != net.addr().to_bits());
                remove_sorted(&mut self.groups, address::solicited_node(net.addr()).to_bits());
            }
        }
        self.sieve = self.sieve_of_all();
        Ok((device, net))
    }

    /// Every address with its interface and the network it stands in, in the order they were given.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (DeviceId, IpNet)> + Clone + '_ {
        let ids = (0..).map(DeviceId);
        ids.zip(&self.list).flat_map(|(id, interface)| interface.addresses.iter().map(move |net| (id, *net)))
    }

    /// The addresses of one interface, in the order they were given.
    pub(crate) fn addresses_of(&self, device: DeviceId) -> &[IpNet] {
        self.get(device).map_or(&[], |interface| &interface.addresses)
    }

    /// The interface that an address was given to; `None` if it isn't one of ours.
    #[inline]
    pub(crate) fn owner_of(&self, address: IpAddr) -> Option<DeviceId> {
        if self.sieve.passes(address) { self.owner_of_likely(address) } else { None }
    }

    /// The same of an address that mostly is one of ours: then the sieve would be only one question more.
    #[inline]
    pub(crate) fn owner_of_likely(&self, address: IpAddr) -> Option<DeviceId> {
        match address {
            IpAddr::V4(v4) => owner_in(&self.owned_v4, v4.to_bits()),
            IpAddr::V6(v6) => owner_in(&self.owned_v6, v6.to_bits()),
        }
    }

    /// Whether it is a broadcast address here: limited, or of one of our networks.
    #[inline]
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        //= RFC1812 4.2.2.11 directed broadcasts
        let is_ours = || self.broadcasts.binary_search(&address.to_bits()).is_ok();
        //= RFC1122 3.3.6 broadcast
        //= RFC1812 4.2.3.1 broadcasts
        address.is_broadcast() || (self.sieve.passes(address.into()) && is_ours())
    }

    /// Whether we listen to the group: all hosts, all nodes, and the solicited-node groups of our
    /// addresses. There is no way to join others yet.
    pub(crate) fn is_member(&self, group: IpAddr) -> bool {
        match group {
            //= RFC1122 3.3.7 all hosts
            IpAddr::V4(v4) => v4 == address::ALL_HOSTS,
            IpAddr::V6(v6) => {
                //= RFC8504 6.1 groups
                let is_solicited = || self.groups.binary_search(&v6.to_bits()).is_ok();
                //= RFC8504 6.1 groups
                v6 == address::ALL_NODES_LINK
                    || v6 == address::ALL_NODES_INTERFACE
                    || (self.sieve.passes(group) && is_solicited())
            }
        }
    }

    /// The interface to send broadcasts by when nothing else tells: the first with an IPv4 address.
    pub(crate) fn first_with_v4(&self) -> Option<DeviceId> {
        self.addresses().find(|(_, net)| net.addr().is_ipv4()).map(|(device, _)| device)
    }

    /// The source for a packet to `destination` by `device`, if the destination is the next hop.
    pub(crate) fn source_for(&self, device: DeviceId, destination: IpAddr) -> Option<IpAddr> {
        self.source_towards(device, destination, destination)
    }

    /// The source for a packet to `destination` that is handed to `next_hop` by `device`.
    pub(crate) fn source_towards(
        &self,
        device: DeviceId,
        destination: IpAddr,
        next_hop: IpAddr,
    ) -> Option<IpAddr> {
        source::choose(self.addresses(), Towards { device, destination, next_hop })
    }

    fn get(&self, device: DeviceId) -> Option<&Interface> {
        self.list.get(usize::from(device.0))
    }

    /// A sieve made anew: nothing can be taken out of one.
    fn sieve_of_all(&self) -> Sieve {
        let v4 = self.owned_v4.iter().map(|(address, _)| address).chain(&self.broadcasts);
        let v6 = self.owned_v6.iter().map(|(address, _)| address).chain(&self.groups);
        let mut sieve = Sieve::new();
        v4.for_each(|bits| sieve.add(Ipv4Addr::from_bits(*bits).into()));
        v6.for_each(|bits| sieve.add(Ipv6Addr::from_bits(*bits).into()));
        sieve
    }
}

fn own<A: Ord>(owned: &mut Vec<(A, DeviceId)>, address: A, device: DeviceId) -> Result<(), Error> {
    match owned.binary_search_by(|(there, _)| there.cmp(&address)) {
        Ok(_) => Err(Error::AddrInUse),
        Err(index) => {
            owned.insert(index, (address, device));
            Ok(())
        }
    }
}

#[inline]
fn owner_in<A: Ord>(owned: &[(A, DeviceId)], address: A) -> Option<DeviceId> {
    let index = owned.binary_search_by(|(there, _)| there.cmp(&address)).ok()?;
    owned.get(index).map(|(_, device)| *device)
}

fn add_sorted<A: Ord>(list: &mut Vec<A>, address: A) {
    list.insert(list.partition_point(|there| *there < address), address);
}

fn remove_sorted<A: Ord>(list: &mut Vec<A>, address: A) {
    if let Ok(index) = list.binary_search(&address) {
        list.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn with(addresses: &[&str]) -> (Interfaces, DeviceId) {
        let mut interfaces = Interfaces::new(1000);
        let device = interfaces.add(1500);
        for address in addresses {
            interfaces.add_address(device, address.parse().unwrap()).unwrap();
        }
        (interfaces, device)
    }

    #[test]
    fn the_source_stands_in_the_destinations_network() {
        let (interfaces, device) = with(&["10.9.0.2/24", "192.168.1.5/24", "fd09::2/64"]);
        assert_eq!(interfaces.source_for(device, ip("192.168.1.77")), Some(ip("192.168.1.5")));
        assert_eq!(interfaces.source_for(device, ip("8.8.8.8")), Some(ip("10.9.0.2")));
        assert_eq!(interfaces.source_for(device, ip("2001:db8::1")), Some(ip("fd09::2")));
    }

    #[test]
    fn a_link_local_destination_gets_a_link_local_source_and_a_global_one_a_global() {
        let (interfaces, device) = with(&["fe80::2/64", "fd09::2/64"]);
        assert_eq!(interfaces.source_for(device, ip("fe80::1")), Some(ip("fe80::2")));
        assert_eq!(interfaces.source_for(device, ip("ff02::1")), Some(ip("fe80::2")));
        assert_eq!(interfaces.source_for(device, ip("2001:db8::1")), Some(ip("fd09::2")));
        let (only_link_local, device) = with(&["fe80::2/64"]);
        assert_eq!(only_link_local.source_for(device, ip("2001:db8::1")), Some(ip("fe80::2")));
    }

    #[test]
    fn an_address_is_given_once() {
        let (mut interfaces, device) = with(&["10.9.0.2/24"]);
        let other = interfaces.add(1500);
        assert_eq!(interfaces.add_address(device, "10.9.0.2/16".parse().unwrap()), Err(Error::AddrInUse));
        assert_eq!(interfaces.add_address(other, "10.9.0.2/24".parse().unwrap()), Err(Error::AddrInUse));
        let nowhere = DeviceId(9);
        assert_eq!(interfaces.add_address(nowhere, "10.9.0.3/24".parse().unwrap()), Err(Error::InvalidInput));
        let loopback = DeviceId::LOOPBACK;
        assert_eq!(
            interfaces.add_address(loopback, "10.9.0.3/24".parse().unwrap()),
            Err(Error::InvalidInput)
        );
    }

    //= RFC791 3.2 68 octets
    #[test]
    fn the_mtu_is_followed_within_what_ip_allows() {
        let (mut interfaces, device) = with(&[]);
        assert_eq!(interfaces.mtu(device), Some(1500));
        interfaces.set_mtu(device, 9000);
        assert_eq!(interfaces.mtu(device), Some(9000));
        interfaces.set_mtu(device, 0);
        assert_eq!(interfaces.mtu(device), Some(68));
        interfaces.set_mtu(DeviceId(7), 1);
        assert_eq!(interfaces.mtu(DeviceId(7)), None);
        assert_eq!(interfaces.mtu(DeviceId::LOOPBACK), Some(65_535));
    }

    //= RFC1122 3.3.7 all hosts
    //= RFC8504 6.1 groups
    #[test]
    fn groups_follow_from_addresses() {
        let (interfaces, _) = with(&["fd09::2/64"]);
        assert!(interfaces.is_member(ip("ff02::1:ff00:2")));
        assert!(interfaces.is_member(ip("ff02::1")) && interfaces.is_member(ip("224.0.0.1")));
        assert!(!interfaces.is_member(ip("ff02::1:ff00:3")) && !interfaces.is_member(ip("224.0.0.251")));
    }

    /// What the tables are to say, found by looking at every address.
    fn assert_known(interfaces: &Interfaces, address: IpAddr) {
        let nets: Vec<(DeviceId, IpNet)> = interfaces.addresses().collect();
        let owner = nets.iter().find(|(_, net)| net.addr() == address).map(|(device, _)| *device);
        assert_eq!(interfaces.owner_of(address), owner, "{address}");
        match address {
            IpAddr::V4(v4) => {
                let is_broadcast = nets.iter().any(|(_, net)| match net {
                    IpNet::V4(net) => address::directed_broadcasts(*net).is_some_and(|two| two.contains(&v4)),
                    IpNet::V6(_) => false,
                });
                assert_eq!(interfaces.is_broadcast(v4), is_broadcast, "{address}");
            }
            IpAddr::V6(v6) => {
                let is_solicited = nets.iter().any(|(_, net)| match net {
                    IpNet::V6(net) => address::solicited_node(net.addr()) == v6,
                    IpNet::V4(_) => false,
                });
                assert_eq!(interfaces.is_member(address), is_solicited, "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn addresses_that_come_and_go_are_known_as_long_as_they_are_there(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 1u8..6, 24u8..31), 1..40),
        ) {
            let (mut interfaces, device) = with(&[]);
            for (is_v6, comes, host, prefix_len) in steps {
                let address = if is_v6 { format!("fd09::{host}/64") } else { format!("10.9.0.{host}/{prefix_len}") };
                let address: IpNet = address.parse().unwrap();
                // What is there already, and what isn't, is refused.
                let _ = if comes {
                    interfaces.add_address(device, address)
                } else {
                    interfaces.remove_address(address.addr()).map(drop)
                };
                for host in 0..=u8::MAX {
                    assert_known(&interfaces, ip(&format!("10.9.0.{host}")));
                }
                for host in 0..8 {
                    assert_known(&interfaces, ip(&format!("fd09::{host}")));
                    assert_known(&interfaces, ip(&format!("ff02::1:ff00:{host}")));
                }
            }
        }
    }
}
