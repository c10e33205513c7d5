//! The kernel's side of a TUN device: its addresses, MTU and link, set through netlink.
//!
//! Owns the rule that a stack must not take what the host already uses: an address of the host itself, or a
//! network that the host reaches through another interface.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::netlink::{ConnectedRoute, LinkWatch, Netlink, Routes};

/// How long a link may take from "up" to "running"; the kernel does it within milliseconds.
const RUNNING_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often to look whether an address can be reached yet, while the stack is set up.
const REACHABLE_POLL: Duration = Duration::from_millis(1);

/// The queue length that the kernel gives a TUN device, in datagrams.
const QUEUE_DEFAULT: u32 = 500;
/// What it gives an Ethernet device. A default receive window of one connection fits into this and not into
/// the former, where each burst of a fast sender would overflow the queue.
const QUEUE: u32 = 1000;

/// The smallest MTU over which IPv6 runs (RFC 8200 section 5): the kernel has no IPv6 on a device with a smaller one.
pub(crate) const MTU_MIN_IPV6: usize = 1280;

/// What the kernel's side of a device is to look like.
#[derive(Clone, Debug)]
pub struct HostSide<'a> {
    /// Name of the device.
    pub name: &'a str,
    /// Its index.
    pub index: u32,
    /// The host's addresses on it.
    pub addresses: &'a [IpNet],
    /// The MTU to set, in bytes; `None` leaves it as it is.
    pub mtu: Option<usize>,
    /// Leave IPv6 addresses out if the host has IPv6 switched off, instead of failing.
    pub ipv6_if_available: bool,
}

impl HostSide<'_> {
    /// Sets the MTU and, if there are addresses, sets them and the link up and waits until it runs. Returns the
    /// addresses set.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn configure(&self) -> Result<Vec<IpNet>, HostError> {
        let mut netlink = Netlink::open().map_err(|error| self.explain("reach netlink", error))?;
        let watch = LinkWatch::open().map_err(|error| self.explain("watch it", error))?;
        if let Some(mtu) = self.mtu {
            netlink.set_mtu(self.index, mtu).map_err(|error| self.explain("set its MTU", error))?;
        }
        if self.addresses.is_empty() {
            return Ok(Vec::new());
        }
        self.lengthen_queue(&mut netlink)?;
        self.check_mtu(&mut netlink)?;
        netlink.set_up(self.index).map_err(|error| self.explain("set its link up", error))?;
        let mut set = Vec::new();
        for &address in self.addresses {
            match netlink.add_address(self.index, address) {
                Ok(()) => set.push(address),
                Err(error) if is_ipv6_off(address, &error) => {
                    let off = HostError::Ipv6Off { name: self.name.to_owned(), address };
                    if !self.ipv6_if_available {
                        return Err(off);
                    }
                    log::warn!("{off}; going on without");
                }
                Err(error) => return Err(self.explain("add an address to it", error)),
            }
        }
        self.wait_until_running(&mut netlink, &watch)?;
        self.wait_until_reachable(&mut netlink, &set)?;
        Ok(set)
    }

    /// Sets the link up and waits until it runs; nothing else about the device is decided here.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn set_up(&self) -> Result<(), HostError> {
        let mut netlink = Netlink::open().map_err(|error| self.explain("reach netlink", error))?;
        let watch = LinkWatch::open().map_err(|error| self.explain("watch it", error))?;
        self.lengthen_queue(&mut netlink)?;
        netlink.set_up(self.index).map_err(|error| self.explain("set its link up", error))?;
        self.wait_until_running(&mut netlink, &watch)
    }

    /// Waits until the host takes in what is sent to its new addresses. The kernel finishes an IPv6 address on a
    /// worker of its own, and drops what comes before that.
    fn wait_until_reachable(&self, netlink: &mut Netlink, addresses: &[IpNet]) -> Result<(), HostError> {
        let end = Instant::now() + RUNNING_WAIT_MAX;
        for address in addresses {
            // Errors too mean "not yet": until then there is no route at all.
            while !netlink.is_local(address.addr()).unwrap_or(false) {
                if Instant::now() >= end {
                    return Err(HostError::NotReachable { name: self.name.to_owned(), address: *address });
                }
                // Nothing announces it: the kernel tells of the route before it can be used.
                std::thread::sleep(REACHABLE_POLL);
            }
        }
        Ok(())
    }

    /// The kernel would only say that the argument is invalid.
    fn check_mtu(&self, netlink: &mut Netlink) -> Result<(), HostError> {
        let Some(&address) = self.addresses.iter().find(|address| address.addr().is_ipv6()) else {
            return Ok(());
        };
        match netlink.link_by_index(self.index) {
            Ok(Some(link)) if link.mtu < MTU_MIN_IPV6 => {
                Err(HostError::MtuTooSmall { name: self.name.to_owned(), address, mtu: link.mtu })
            }
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain("look at it", error)),
        }
    }

    /// Lengthens the device's queue, unless somebody has chosen its length.
    fn lengthen_queue(&self, netlink: &mut Netlink) -> Result<(), HostError> {
        let link = netlink.link_by_index(self.index).map_err(|error| self.explain("look at it", error))?;
        if link.is_some_and(|link| link.queue == QUEUE_DEFAULT) {
            netlink.set_queue(self.index, QUEUE).map_err(|error| self.explain("set its queue", error))?;
        }
        Ok(())
    }

    fn wait_until_running(&self, netlink: &mut Netlink, watch: &LinkWatch) -> Result<(), HostError> {
        let end = Instant::now() + RUNNING_WAIT_MAX;
        loop {
            let link =
                netlink.link_by_index(self.index).map_err(|error| self.explain("look at it", error))?;
            match link {
                Some(link) if link.running => return Ok(()),
                Some(_) => {}
                None => return Err(self.explain("look at it", Errno::NODEV.into())),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HostError::NotRunning { name: self.name.to_owned() });
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos().max(1)) };
            let mut fds = [PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.explain("watch it", error.into())),
            }
            watch.changed(self.index);
        }
    }

    fn explain(&self, doing: &'static str, error: io::Error) -> HostError {
        let name = self.name.to_owned();
        if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
            return HostError::NotPermitted { name, address: self.addresses.first().copied(), mtu: self.mtu };
        }
        HostError::Other { name, doing, error }
    }
}

/// The commands by which somebody with more privilege does what we may not do.
pub(crate) fn beforehand(name: &str, address: Option<IpNet>, mtu: Option<usize>) -> String {
    let mtu = mtu.map(|mtu| format!("sudo ip link set dev {name} mtu {mtu}"));
    let address =
        address.map(|net| format!("sudo ip address add {net} dev {name} && sudo ip link set dev {name} up"));
    mtu.into_iter().chain(address).collect::<Vec<_>>().join(" && ")
}

/// Whether this thread's namespace has an interface of that name.
///
/// # Errors
/// `Other` if the kernel can't be asked.
pub fn exists(name: &str) -> Result<bool, HostError> {
    let link = Netlink::open().and_then(|mut netlink| netlink.link_by_name(name));
    link.map(|link| link.is_some()).map_err(|error| HostError::Other {
        name: name.to_owned(),
        doing: "ask the kernel about it",
        error,
    })
}

/// What the two sides of a device are to be given.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Index of the device.
    pub index: u32,
    /// The stack's addresses.
    pub stack: &'a [IpNet],
    /// The host's addresses.
    pub host: &'a [IpNet],
}

/// Whether one of the networks holds the other. Addresses that mean something on one link only never do.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    !is_per_link(a) && !is_per_link(b) && (a.contains(b) || b.contains(a))
}

/// Checks that nothing the stack is to have or the host is to be given is in use already, other than on the device
/// itself.
///
/// # Errors
/// `AddressTaken` or `NetworkTaken`; `Other` if the kernel can't be asked.
pub fn check_conflicts(wanted: &[Wanted<'_>]) -> Result<(), HostError> {
    let ask = |error| HostError::Other {
        name: "netlink".to_owned(),
        doing: "ask the kernel about addresses and routes",
        error,
    };
    let mut netlink = Netlink::open().map_err(ask)?;
    let taken = netlink.addresses().map_err(ask)?;
    let Routes { connected, owned } = netlink.routes().map_err(ask)?;
    for &Wanted { index, stack, host } in wanted {
        if let Some((address, at)) = taken_address(index, stack, host, &taken) {
            return Err(HostError::AddressTaken { address, interface: name_of(&mut netlink, at) });
        }
        if let Some((wanted, route)) = taken_network(index, stack, host, &connected) {
            let interface = name_of(&mut netlink, route.index);
            return Err(HostError::NetworkTaken { wanted, network: route.network, interface });
        }
        // No device of ours may be the reason: whatever it has, it was told to have it whole.
        if let Some((wanted, route)) = taken_network(NO_INDEX, stack, host, &owned) {
            let interface = name_of(&mut netlink, route.index);
            let remedy = remedy(route, &interface, &taken);
            return Err(HostError::NetworkOwned { wanted, network: route.network, remedy });
        }
    }
    Ok(())
}

/// The index of no interface.
const NO_INDEX: u32 = 0;

/// How to free a network that the host owns whole: with the address of the loopback that brought it, or by itself.
fn remedy(route: ConnectedRoute, interface: &str, addresses: &[(IpNet, u32)]) -> String {
    let brings = |(net, index): &&(IpNet, u32)| *index == route.index && net.trunc() == route.network;
    match addresses.iter().find(brings) {
        Some((address, _)) => format!("sudo ip address del {address} dev {interface}"),
        None => format!("sudo ip route del local {} dev {interface} table local", route.network),
    }
}

/// Why the kernel's side can't be what it is to be, and the command that mends it, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// An address is the host's own already.
    #[error(
        "{} is already an address of this host, on {interface}: choose another, or free it with \
         `sudo ip address del {address} dev {interface}`", address.addr()
    )]
    AddressTaken {
        /// The address, as the host has it.
        address: IpNet,
        /// Where the host has it.
        interface: String,
    },
    /// A network overlaps one that the host reaches through another interface.
    #[error(
        "{wanted} overlaps {network}, which this host reaches through {interface}: choose another network, or free it \
         with `sudo ip route del {network} dev {interface}`"
    )]
    NetworkTaken {
        /// The network asked for.
        wanted: IpNet,
        /// The one in use.
        network: IpNet,
        /// The interface it is reached through.
        interface: String,
    },
    /// A network overlaps one whose every address the host takes for its own.
    #[error(
        "{wanted} overlaps {network}, all of which this host takes for itself: choose another network, or free it with `{remedy}`"
    )]
    NetworkOwned {
        /// The network asked for.
        wanted: IpNet,
        /// The one in use.
        network: IpNet,
        /// The command that frees it.
        remedy: String,
    },
    /// The device's MTU is too small for IPv6.
    #[error(
        "{name} can't have {address}, since its MTU is {mtu} and IPv6 needs {MTU_MIN_IPV6}: leave the address out, or \
         set the MTU with `sudo ip link set {name} mtu {MTU_MIN_IPV6}`"
    )]
    MtuTooSmall {
        /// The device.
        name: String,
        /// The address.
        address: IpNet,
        /// Its MTU in bytes.
        mtu: usize,
    },
    /// The host has IPv6 switched off, in general or for the device.
    #[error(
        "{name} can't have {address}, since this host has IPv6 switched off: leave the address out, or switch IPv6 on \
         with `sudo sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0`"
    )]
    Ipv6Off {
        /// The device.
        name: String,
        /// The address.
        address: IpNet,
    },
    /// Configuring interfaces needs CAP_NET_ADMIN.
    #[error(
        "no permission to configure {name}: run this with `sudo`, or do it beforehand with `{}` and leave it out here",
        beforehand(name, *address, *mtu)
    )]
    NotPermitted {
        /// The device.
        name: String,
        /// The first address that it was to be given.
        address: Option<IpNet>,
        /// The MTU that it was to be given.
        mtu: Option<usize>,
    },
    /// An address was set, and the host does not take in what is sent to it.
    #[error(
        "{address} was set on {name}, but the host has no local route to it: look with `ip route show table local` \
         (`-6` for IPv6)"
    )]
    NotReachable {
        /// The device.
        name: String,
        /// The address.
        address: IpNet,
    },
    /// The link was set up and does not run.
    #[error("{name} is up but does not start to run: look at it with `ip link show {name}`")]
    NotRunning {
        /// The device.
        name: String,
    },
    /// Something else went wrong.
    #[error("{name}: can't {doing}: {error}")]
    Other {
        /// The device.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// EACCES: switched off for the device; the others: switched off at boot.
fn is_ipv6_off(address: IpNet, error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(address, IpNet::V6(_))
        && matches!(errno, Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT))
}

/// The stack's addresses must be the host's nowhere; the host's new ones, nowhere but on the device itself.
fn taken_address(
    index: u32,
    stack: &[IpNet],
    host: &[IpNet],
    taken: &[(IpNet, u32)],
) -> Option<(IpNet, u32)> {
    let has = |wanted: &[IpNet], address: IpAddr| wanted.iter().any(|net| net.addr() == address);
    let is_taken = |(net, at): &&(IpNet, u32)| {
        let elsewhere = *at != index;
        (has(stack, net.addr()) && !(elsewhere && is_per_link(net)))
            || (has(host, net.addr()) && elsewhere && !is_per_link(net))
    };
    taken.iter().find(is_taken).copied()
}

fn taken_network(
    index: u32,
    stack: &[IpNet],
    host: &[IpNet],
    routes: &[ConnectedRoute],
) -> Option<(IpNet, ConnectedRoute)> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    stack.iter().chain(host).filter(|wanted| !is_per_link(wanted)).find_map(|wanted| {
        let wanted = wanted.trunc();
        routes
            .iter()
            .find(|route| route.index != index && overlaps(&wanted, &route.network))
            .map(|route| (wanted, *route))
    })
}

/// IPv6's link-local addresses mean something else on each link (RFC 4291 section 2.5.6).
fn is_per_link(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

fn name_of(netlink: &mut Netlink, index: u32) -> String {
    let link = netlink.link_by_index(index).ok().flatten();
    link.map_or_else(|| format!("interface {index}"), |link| link.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_of_the_host_is_not_given_to_the_stack() {
        let taken = [(net("192.168.1.5/24"), 2), (net("10.9.0.1/24"), 7)];
        let check = |stack: &str, host: &str| taken_address(7, &[net(stack)], &[net(host)], &taken);
        assert_eq!(check("192.168.1.5/16", "10.0.0.1/24"), Some(taken[0]));
        assert_eq!(check("10.9.0.1/24", "10.9.0.3/24"), Some(taken[1]), "not even on the device itself");
        assert_eq!(check("10.9.0.2/24", "192.168.1.5/24"), Some(taken[0]));
        assert_eq!(check("10.9.0.2/24", "10.9.0.1/24"), None, "the host side may be set already");
    }

    #[test]
    fn a_network_on_another_interface_is_refused_whichever_of_the_two_is_larger() {
        let route = |network: &str, index| ConnectedRoute { network: net(network), index };
        let check = |wanted: &str, routes: &[ConnectedRoute]| taken_network(7, &[net(wanted)], &[], routes);
        let outer = route("10.0.0.0/8", 2);
        assert_eq!(check("10.9.0.2/24", &[outer]), Some((net("10.9.0.0/24"), outer)));
        let inner = route("10.9.0.128/25", 2);
        assert_eq!(check("10.9.0.2/24", &[inner]), Some((net("10.9.0.0/24"), inner)));
        assert_eq!(check("10.9.0.2/24", &[route("10.9.1.0/24", 2)]), None);
        assert_eq!(check("10.9.0.2/24", &[route("10.9.0.0/24", 7)]), None, "the device's own");
        assert_eq!(check("fd09::2/64", &[outer]), None);
    }

    #[test]
    fn link_local_addresses_of_other_links_are_no_hindrance() {
        let route = ConnectedRoute { network: net("fe80::/64"), index: 2 };
        assert_eq!(taken_network(7, &[net("fe80::2/64")], &[net("fe80::1/64")], &[route]), None);
        let taken =
            |at| taken_address(7, &[net("fe80::2/64")], &[net("fe80::1/64")], &[(net("fe80::2/64"), at)]);
        assert_eq!(taken(2), None);
        assert_eq!(taken(7), Some((net("fe80::2/64"), 7)), "on the link itself it is the same address");
    }
}
