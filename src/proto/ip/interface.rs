//! Interfaces and the addresses that are ours because of them.
//!
//! Owns MTUs, addresses, the broadcast addresses and multicast groups that follow from them, and the choice
//! of a source address (RFC 6724, reduced to what a host on point-to-point links needs). The stack is a
//! weak host (RFC 1122 section 3.3.4.2): a packet for any of our addresses is ours, whichever interface it
//! came by, and any address of ours may be the source of a packet by any interface.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::address;
use crate::proto::error::Error;
use crate::proto::packet::{DeviceId, Offloads};

/// The largest datagram that fits through the way from the stack to itself.
pub(crate) const LOOPBACK_MTU: usize = 65_535;
/// The smallest MTU that an interface can have (RFC 791: every module must forward 68 octets).
const MTU_MIN: usize = 68;
/// No IP datagram without the jumbo option is larger.
const MTU_MAX: usize = 65_535;

/// All interfaces with their addresses. Lookups are binary searches: the tables are written when an
/// address is given and read for every packet.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    list: Vec<Interface>,
    /// Every address of ours with the interface it was given to, sorted. Not 127.0.0.0/8 and ::1.
    owned: Vec<(IpAddr, DeviceId)>,
    /// Broadcast addresses of our networks, sorted.
    broadcasts: Vec<Ipv4Addr>,
    /// Solicited-node groups of our addresses, sorted.
    groups: Vec<Ipv6Addr>,
}

#[derive(Debug)]
struct Interface {
    mtu: usize,
    offloads: Offloads,
    is_down: bool,
    addresses: Vec<IpNet>,
}

impl Interfaces {
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

    /// Whether there is an interface of that name (the loopback has none of its own).
    pub(crate) fn exists(&self, device: DeviceId) -> bool {
        self.get(device).is_some()
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such interface or no host may have the address, `AddrInUse` if it is
    /// ours already.
    pub(crate) fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        if !address::may_be_ours(address) {
            return Err(Error::InvalidInput);
        }
        let interface = self.list.get_mut(usize::from(device.0)).ok_or(Error::InvalidInput)?;
        let host = address.addr();
        let Err(index) = self.owned.binary_search_by_key(&host, |(owned, _)| *owned) else {
            return Err(Error::AddrInUse);
        };
        interface.addresses.push(address);
        self.owned.insert(index, (host, device));
        match address {
            IpNet::V4(v4) => self.broadcasts.extend(address::directed_broadcasts(v4).into_iter().flatten()),
            IpNet::V6(v6) => self.groups.push(address::solicited_node(v6.addr())),
        }
        self.broadcasts.sort_unstable();
        self.groups.sort_unstable();
        Ok(())
    }

    /// Every address with its interface and the network it stands in, in the order they were given.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (DeviceId, IpNet)> + '_ {
        let ids = (0..).map(DeviceId);
        ids.zip(&self.list).flat_map(|(id, interface)| interface.addresses.iter().map(move |net| (id, *net)))
    }

    /// The interface that an address was given to; `None` if it isn't one of ours.
    #[inline]
    pub(crate) fn owner_of(&self, address: IpAddr) -> Option<DeviceId> {
        let index = self.owned.binary_search_by_key(&address, |(owned, _)| *owned).ok()?;
        self.owned.get(index).map(|(_, device)| *device)
    }

    /// Whether it is a broadcast address here: limited, or of one of our networks.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.broadcasts.binary_search(&address).is_ok()
    }

    /// Whether we listen to the group: all hosts, all nodes, and the solicited-node groups of our
    /// addresses. There is no way to join others yet.
    pub(crate) fn is_member(&self, group: IpAddr) -> bool {
        match group {
            IpAddr::V4(v4) => v4 == address::ALL_HOSTS,
            IpAddr::V6(v6) => {
                v6 == address::ALL_NODES_LINK
                    || v6 == address::ALL_NODES_INTERFACE
                    || self.groups.binary_search(&v6).is_ok()
            }
        }
    }

    /// The interface to send broadcasts by when nothing else tells: the first with an IPv4 address.
    pub(crate) fn first_with_v4(&self) -> Option<DeviceId> {
        self.addresses().find(|(_, net)| net.addr().is_ipv4()).map(|(device, _)| device)
    }

    /// The source for a packet to `destination` by `device`: one of the interface's addresses, or, if it
    /// has none of the family, any of ours (weak host). Addresses of the right scope come first (RFC 6724
    /// rule 2), then those whose network shares the longest prefix with the destination (rule 8), then
    /// the ones given first.
    pub(crate) fn source_for(&self, device: DeviceId, destination: IpAddr) -> Option<IpAddr> {
        let on_device =
            self.get(device).into_iter().flat_map(|interface| interface.addresses.iter().copied());
        best_source(on_device, destination)
            .or_else(|| best_source(self.addresses().map(|(_, net)| net), destination))
    }

    fn get(&self, device: DeviceId) -> Option<&Interface> {
        self.list.get(usize::from(device.0))
    }
}

fn best_source(candidates: impl Iterator<Item = IpNet>, destination: IpAddr) -> Option<IpAddr> {
    let wants_link_local = address::wants_link_local_source(destination);
    let mut best = None;
    for net in candidates {
        let Some(common) = address::common_prefix_len(net.addr(), destination) else { continue };
        let is_link_local = matches!(net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
        let rank = (is_link_local == wants_link_local, common.min(net.prefix_len()));
        if best.is_none_or(|(best_rank, _)| rank > best_rank) {
            best = Some((rank, net.addr()));
        }
    }
    best.map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn with(addresses: &[&str]) -> (Interfaces, DeviceId) {
        let mut interfaces = Interfaces::default();
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
    fn an_interface_without_an_address_borrows_one() {
        let (mut interfaces, _) = with(&["10.9.0.2/24"]);
        let bare = interfaces.add(1500);
        assert_eq!(interfaces.source_for(bare, ip("8.8.8.8")), Some(ip("10.9.0.2")));
        assert_eq!(interfaces.source_for(bare, ip("2001:db8::1")), None);
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

    #[test]
    fn groups_follow_from_addresses() {
        let (interfaces, _) = with(&["fd09::2/64"]);
        assert!(interfaces.is_member(ip("ff02::1:ff00:2")));
        assert!(interfaces.is_member(ip("ff02::1")) && interfaces.is_member(ip("224.0.0.1")));
        assert!(!interfaces.is_member(ip("ff02::1:ff00:3")) && !interfaces.is_member(ip("224.0.0.251")));
    }
}
