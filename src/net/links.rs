//! The devices of a stack to be: opened, with the host's side of each checked and configured.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::interface::Known;
use super::start_error::StartError;
use crate::device::host::{self, HostSide, Wanted};
use crate::device::{Device, HostError, OffloadMode, OpenTun};
use crate::proto::{DeviceId, Stack};

/// A device to be, with what belongs to it.
#[derive(Default)]
pub(super) struct Link {
    pub(super) source: Source,
    pub(super) addresses: Vec<IpNet>,
    pub(super) host_addresses: Vec<IpNet>,
    pub(super) mtu: Option<usize>,
    pub(super) offload: Option<OffloadMode>,
}

/// Where a device comes from.
#[derive(Default)]
pub(super) enum Source {
    /// The next free `tunN`.
    #[default]
    NewTun,
    /// A TUN of this name.
    Tun(String),
    /// Another kind, made elsewhere.
    Device(Arc<dyn Device>),
}

/// A device that is open.
pub(super) struct Interface {
    pub(super) device: Arc<dyn Device>,
    pub(super) info: Known,
}

impl Interface {
    /// Makes the stack's interface, which gets the id that is known already.
    pub(super) fn add_to(&self, stack: &mut Stack) -> Result<(), StartError> {
        let id = stack.add_interface(self.device.mtu());
        debug_assert_eq!(id, self.info.id, "ids are given in the order of the devices");
        stack.set_offloads(id, self.device.offloads());
        for &address in &self.info.addresses {
            let (name, mtu) = (&self.info.name, self.device.mtu());
            if address.addr().is_ipv6() && mtu < host::MTU_MIN_IPV6 {
                return Err(HostError::MtuTooSmall { name: name.clone(), address, mtu }.into());
            }
            let refuse = |error| StartError::AddressRefused { address, error };
            stack.add_address(id, address).map_err(refuse)?;
        }
        Ok(())
    }
}

/// A device between opening and configuring.
enum Opened {
    Tun { device: Arc<dyn Device>, index: u32 },
    Device(Arc<dyn Device>),
}

/// Opens all devices, and touches none of them before all are known to be possible.
pub(super) fn open(links: &[Link], ipv6_if_available: bool) -> Result<Vec<Interface>, StartError> {
    check_addresses(links)?;
    check_names(links)?;
    let opened = links.iter().map(open_one).collect::<Result<Vec<_>, _>>()?;
    check_networks(links, &opened)?;
    check_host(links, &opened)?;
    let mut interfaces = Vec::new();
    for ((link, opened), id) in links.iter().zip(opened).zip((0..).map(DeviceId)) {
        let (device, host_addresses) = match opened {
            Opened::Tun { device, index } => {
                let set = configure(link, &*device, index, ipv6_if_available)?;
                (device, set)
            }
            Opened::Device(device) => (device, Vec::new()),
        };
        let name = device.name().to_owned();
        let info = Known { name, id, addresses: link.addresses.clone(), host_addresses };
        interfaces.push(Interface { device, info });
    }
    Ok(interfaces)
}

fn open_one(link: &Link) -> Result<Opened, StartError> {
    match &link.source {
        Source::NewTun => open_tun(None, link.offload),
        Source::Tun(name) => open_tun(Some(name), link.offload),
        Source::Device(device)
            if link.host_addresses.is_empty() && link.mtu.is_none() && link.offload.is_none() =>
        {
            Ok(Opened::Device(Arc::clone(device)))
        }
        Source::Device(device) => Err(StartError::NoHostSide { name: device.name().to_owned() }),
    }
}

/// Opens the TUN device of this name, or makes a new one.
fn open_tun(name: Option<&str>, offload: Option<OffloadMode>) -> Result<Opened, StartError> {
    let OpenTun { device, index } = OpenTun::open(name, offload.unwrap_or_default())?;
    Ok(Opened::Tun { device, index })
}

/// Sets up the host's side; returns the addresses that were set.
fn configure(
    link: &Link,
    tun: &dyn Device,
    index: u32,
    ipv6_if_available: bool,
) -> Result<Vec<IpNet>, HostError> {
    let side = HostSide {
        name: tun.name(),
        index,
        addresses: &link.host_addresses,
        mtu: link.mtu,
        ipv6_if_available,
    };
    let set = side.configure()?;
    // The MTU may have been set just now.
    tun.control();
    Ok(set)
}

/// The stack and the host can't both have an address, on whatever device.
fn check_addresses(links: &[Link]) -> Result<(), StartError> {
    let is_host = |address: &&IpNet| {
        links.iter().flat_map(|link| &link.host_addresses).any(|host| host.addr() == address.addr())
    };
    match links.iter().flat_map(|link| &link.addresses).find(is_host) {
        Some(&address) => Err(StartError::AddressShared { address }),
        None => Ok(()),
    }
}

/// The kernel would only say that a device is busy which we hold ourselves.
fn check_names(links: &[Link]) -> Result<(), StartError> {
    let mut seen = HashSet::new();
    for link in links {
        if let Source::Tun(name) = &link.source
            && !seen.insert(name)
        {
            return Err(StartError::SameDevice { name: name.clone() });
        }
    }
    Ok(())
}

/// A host address makes the host send its whole network to that device, so no other device may stand in it.
fn check_networks(links: &[Link], opened: &[Opened]) -> Result<(), StartError> {
    let named = || links.iter().zip(opened.iter().map(Opened::name));
    for (link, name) in named() {
        for host in &link.host_addresses {
            for (other, other_name) in named().filter(|(other, _)| !std::ptr::eq(*other, link)) {
                let theirs = other.addresses.iter().chain(&other.host_addresses);
                if let Some(network) = theirs.copied().find(|theirs| host::overlap(host, theirs)) {
                    return Err(StartError::NetworkShared {
                        name: name.to_owned(),
                        network: host.trunc(),
                        other: other_name.to_owned(),
                        other_network: network.trunc(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// The host may not use already what the stack or its own side of the devices is to have.
fn check_host(links: &[Link], opened: &[Opened]) -> Result<(), StartError> {
    let wanted: Vec<Wanted<'_>> = links
        .iter()
        .zip(opened)
        .filter_map(|(link, opened)| match opened {
            Opened::Tun { index, .. } => {
                Some(Wanted { index: *index, stack: &link.addresses, host: &link.host_addresses })
            }
            Opened::Device(_) => None,
        })
        .collect();
    if wanted.is_empty() { Ok(()) } else { Ok(host::check_conflicts(&wanted)?) }
}

impl Opened {
    fn name(&self) -> &str {
        match self {
            Opened::Tun { device, .. } | Opened::Device(device) => device.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::MemoryDevice;

    fn check(links: [(&str, &str); 2]) -> Result<(), StartError> {
        let nets = |text: &str| text.split_whitespace().map(|net| net.parse().unwrap()).collect();
        let links = links.map(|(stack, host)| Link {
            addresses: nets(stack),
            host_addresses: nets(host),
            ..Link::default()
        });
        let (a, b) = MemoryDevice::pair(1500).unwrap();
        check_networks(&links, &[a.named("a"), b.named("b")].map(|end| Opened::Device(Arc::new(end))))
    }

    #[test]
    fn a_network_that_the_host_sends_to_one_device_is_not_another_devices() {
        for other in
            [("10.1.0.9/25", ""), ("10.1.0.9/32", ""), ("10.0.0.1/8", ""), ("10.2.0.1/24", "10.1.0.99/30")]
        {
            let said = check([("10.1.0.1/24", "10.1.0.2/24"), other]).unwrap_err().to_string();
            assert!(said.starts_with("10.1.0.0/24 on a overlaps"), "{said}");
        }
        assert!(check([("10.1.0.1/24", "10.1.0.2/24"), ("10.2.0.1/24", "10.2.0.2/24")]).is_ok());
        assert!(
            check([("fe80::1/64", "fe80::2/64"), ("fe80::3/64", "fe80::4/64")]).is_ok(),
            "they mean a link each"
        );
        assert!(
            check([("10.1.0.1/24", ""), ("10.1.0.2/24", "")]).is_ok(),
            "the host's side is somebody else's"
        );
    }

    #[test]
    fn a_device_named_twice_is_said_to_be() {
        let tun = || Link { source: Source::Tun("tun0".into()), ..Link::default() };
        let said = check_names(&[tun(), tun()]).unwrap_err().to_string();
        assert!(said.starts_with("tun0 is named twice"), "{said}");
        assert!(check_names(&[Link::default(), tun(), Link::default()]).is_ok());
    }
}
