//! Route netlink, synchronously: questions and orders to the kernel about links, addresses and routes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, Nla,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

/// The multicast group that tells of links (`linux/rtnetlink.h`).
const RTMGRP_LINK: u32 = 1;
/// The main routing table (`linux/rtnetlink.h`).
const RT_TABLE_MAIN: u32 = 254;
/// The table of what the host takes in, which is looked at before all others.
const RT_TABLE_LOCAL: u32 = 255;
/// How often a dump that the kernel changed under us is asked for again.
const DUMP_ATTEMPTS: usize = 8;

// `linux/if_link.h`; the library leaves these attributes raw.
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFF_TAP: u8 = 2;

/// What is known of a network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: usize,
    pub(super) up: bool,
    pub(super) running: bool,
    /// Datagrams that wait for the reader at most.
    pub(super) queue: u32,
    /// Set if it is a TUN or TAP device.
    pub(super) tun: Option<TunKind>,
}

/// How a TUN or TAP device was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TunKind {
    pub(super) tap: bool,
    pub(super) multi_queue: bool,
}

/// A network that the host reaches directly through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectedRoute {
    pub(super) network: IpNet,
    pub(super) index: u32,
}

/// Networks that the host has in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    /// Of the main table: those that lead to neighbours, not to a gateway.
    pub(super) connected: Vec<ConnectedRoute>,
    /// Of the local table: those of which every address is the host's own, as of a network on its loopback interface.
    pub(super) owned: Vec<ConnectedRoute>,
}

/// A socket to ask and order by.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// The interface called `name`, if there is one.
    pub(super) fn link_by_name(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.link(message)
    }

    /// The interface with this index, if there is one.
    pub(super) fn link_by_index(&mut self, index: u32) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.link(message)
    }

    fn link(&mut self, message: LinkMessage) -> io::Result<Option<Link>> {
        match self.request(RouteNetlinkMessage::GetLink(message), NLM_F_ACK) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(read_link(link)),
                _ => None,
            })),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every address of the host, with the index of its interface.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<(IpNet, u32)>> {
        let answers = self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(address) => read_address(address),
                _ => None,
            })
            .collect())
    }

    /// The routes that say which networks the host has in use.
    pub(super) fn routes(&mut self) -> io::Result<Routes> {
        let answers = self.request(RouteNetlinkMessage::GetRoute(RouteMessage::default()), NLM_F_DUMP)?;
        let mut routes = Routes::default();
        for answer in &answers {
            let RouteNetlinkMessage::NewRoute(message) = answer else { continue };
            match read_direct_route(message) {
                Some((RouteType::Unicast, RT_TABLE_MAIN, route)) => routes.connected.push(route),
                // A route for one address is an address, and told as such.
                Some((RouteType::Local, RT_TABLE_LOCAL, route))
                    if route.network.prefix_len() < route.network.max_prefix_len()
                        && !route.network.addr().is_loopback() =>
                {
                    routes.owned.push(route);
                }
                _ => {}
            }
        }
        Ok(routes)
    }

    /// Gives an interface an address; one that it has already is left as it is.
    pub(super) fn add_address(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = address.prefix_len();
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
        match address {
            IpNet::V4(net) => {
                message.header.family = AddressFamily::Inet;
                if net.prefix_len() < 31 {
                    message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
                }
            }
            IpNet::V6(_) => {
                // Nobody on a TUN answers duplicate address detection; waiting for it would leave the address
                // unusable for a second or more.
                message.header.family = AddressFamily::Inet6;
                message.header.flags = AddressHeaderFlags::Nodad;
                message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
        }
        match self.order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => Ok(()),
            result => result,
        }
    }

    /// Whether packets for `address` would be taken in: for IPv6 that is so only some time after the address was
    /// added, when the kernel's worker has made the route for it.
    pub(super) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let mut message = RouteMessage::default();
        (message.header.address_family, message.header.destination_prefix_length) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        let answers = self.request(RouteNetlinkMessage::GetRoute(message), NLM_F_ACK)?;
        Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => route.header.kind == RouteType::Local,
            _ => false,
        }))
    }

    /// Sets an interface's MTU in bytes.
    pub(super) fn set_mtu(&mut self, index: u32, mtu: usize) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let mtu = u32::try_from(mtu).map_err(|_| io::Error::from(Errno::INVAL))?;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets how many datagrams may wait for the reader.
    pub(super) fn set_queue(&mut self, index: u32, queue: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::TxQueueLen(queue));
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets an interface's link up.
    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, flags | NLM_F_ACK).map(drop)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            self.send(message.clone(), flags)?;
            if let Some(answers) = self.collect()? {
                return Ok(answers);
            }
        }
        Err(Errno::INTR.into())
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The answers to the last request; `None` if the kernel's tables changed while it told them.
    fn collect(&mut self) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let (mut answers, mut interrupted) = (Vec::new(), false);
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes) {
                let Ok(message) = message else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & netlink_packet_core::NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {
                        return Ok((!interrupted).then_some(answers));
                    }
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) => {}
                    _ => {}
                }
            }
        }
    }
}

/// Tells when links change, without being asked.
#[derive(Debug)]
pub(super) struct LinkWatch {
    socket: Socket,
}

impl LinkWatch {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        socket.set_non_blocking(true)?;
        Ok(LinkWatch { socket })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something was told of the link `index`, or of links we missed. Forgets all that was told.
    pub(super) fn changed(&self, index: u32) -> bool {
        let mut changed = false;
        loop {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => {
                    changed |= messages(&bytes).any(|message| match message {
                        Ok(message) => concerns(&message.payload, index),
                        Err(_) => true,
                    });
                }
                Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                // The kernel dropped some: whatever they said, look.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => changed = true,
                Err(_) => return changed,
            }
        }
    }
}

fn concerns(payload: &NetlinkPayload<RouteNetlinkMessage>, index: u32) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
        ) => link.header.index == index,
        _ => false,
    }
}

/// The messages of one datagram.
fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, netlink_packet_core::DecodeError>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        if length < size_of::<u32>() || length > bytes.len() {
            return None;
        }
        let message = NetlinkMessage::deserialize(&bytes[..length]);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn read_link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Up | LinkFlags::Running),
        queue: 0,
        tun: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu as usize,
            LinkAttribute::TxQueueLen(queue) => link.queue = *queue,
            LinkAttribute::LinkInfo(infos) => link.tun = read_tun(infos),
            _ => {}
        }
    }
    link
}

fn read_tun(infos: &[LinkInfo]) -> Option<TunKind> {
    if !infos.contains(&LinkInfo::Kind(InfoKind::Tun)) {
        return None;
    }
    let mut kind = TunKind::default();
    for info in infos {
        let LinkInfo::Data(InfoData::Tun(attributes)) = info else { continue };
        for attribute in attributes {
            let InfoTun::Other(raw) = attribute else { continue };
            let mut value = [0; 1];
            if raw.value_len() != value.len() {
                continue;
            }
            raw.emit_value(&mut value);
            match raw.kind() {
                IFLA_TUN_TYPE => kind.tap = value[0] == IFF_TAP,
                IFLA_TUN_MULTI_QUEUE => kind.multi_queue = value[0] != 0,
                _ => {}
            }
        }
    }
    Some(kind)
}

fn read_address(message: &AddressMessage) -> Option<(IpNet, u32)> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    // On a point-to-point link `address` is the other end.
    let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some((net, message.header.index))
}

/// A route that no gateway stands in, with its kind and table.
fn read_direct_route(message: &RouteMessage) -> Option<(RouteType, u32, ConnectedRoute)> {
    let header = &message.header;
    if header.destination_prefix_length == 0 {
        return None;
    }
    let (mut table, mut index, mut destination) = (u32::from(header.table), None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::V6(*ip)),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    let network = IpNet::new(destination?, header.destination_prefix_length).ok()?;
    Some((header.kind, table, ConnectedRoute { network, index: index? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_loopback_interface_is_local_and_another_is_not() {
        let mut netlink = Netlink::open().unwrap();
        assert!(netlink.is_local("127.0.0.1".parse().unwrap()).unwrap());
        // Without a route to it the kernel answers with an error, which is not "local" either.
        assert!(!netlink.is_local("192.0.2.1".parse().unwrap()).unwrap_or(false));
    }

    #[test]
    fn the_loopback_interface_is_found_by_name_and_by_index() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link_by_name("lo").unwrap().unwrap();
        assert_eq!(lo.name, "lo");
        assert_eq!(lo.tun, None);
        assert_eq!(netlink.link_by_index(lo.index).unwrap().unwrap(), lo);
        assert_eq!(netlink.link_by_name("no-such-link").unwrap(), None);
        assert_eq!(netlink.link_by_index(lo.index + 100_000).unwrap(), None);
    }

    #[test]
    fn a_datagram_that_lies_about_its_lengths_is_read_as_far_as_it_goes() {
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(messages(&[1, 2]).count(), 0);
        assert_eq!(messages(&0u32.to_ne_bytes()).count(), 0);
        assert_eq!(messages(&u32::MAX.to_ne_bytes()).count(), 0);
        assert_eq!(messages(&4u32.to_ne_bytes()).filter(Result::is_ok).count(), 0);
    }
}
