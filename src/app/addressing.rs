//! Which addresses the stack and the kernel's side get, from what the command line says.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::failure::Failure;

/// What `--host-addr` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostAddr {
    /// Leave the kernel's side alone.
    None,
    /// Give the kernel's side this address.
    Net(IpNet),
}

/// The addresses of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addressing {
    /// The stack's own.
    pub(crate) stack: Vec<IpNet>,
    /// The kernel's side; `None` leaves it alone.
    pub(crate) host: Option<Vec<IpNet>>,
    /// Whether nothing was asked for, so that IPv6 may be left out where the host has none.
    pub(crate) by_default: bool,
}

/// The smallest MTU over which IPv6 runs (RFC 8200 section 5).
const MTU_MIN_IPV6: u16 = 1280;

impl Addressing {
    /// What nobody asked for: 10.9.`number`.0/24, and fd09::/64 or fd09:`number`::/64.
    pub(crate) fn by_default(number: u8) -> Self {
        let net = |host: u8| {
            let (v4, v6) = ([10, 9, number, host], [0xfd09, number.into(), 0, 0, 0, 0, 0, host.into()]);
            vec![IpNet::new_assert(IpAddr::from(v4), 24), IpNet::new_assert(IpAddr::from(v6), 64)]
        };
        Addressing { stack: net(2), host: Some(net(1)), by_default: true }
    }

    /// Works out both sides' addresses.
    ///
    /// # Errors
    /// A usage failure: the same address twice, `none` beside an address, no room for the kernel's side.
    pub(crate) fn resolve(addr: &[IpNet], host_addr: &[HostAddr]) -> Result<Self, Failure> {
        let (stack, default_host) = match addr {
            [] => {
                let Addressing { stack, host, .. } = Self::by_default(0);
                (stack, host)
            }
            given => (given.to_vec(), None),
        };
        if let Some(twice) = first_repeated(&stack) {
            return Err(Failure::usage(format!("--addr: {twice} is given twice; give it once")));
        }
        let host = match host_addr {
            [] => Some(default_host.map_or_else(|| derive_hosts(&stack), Ok)?),
            [HostAddr::None] => None,
            given => Some(named_hosts(given, &stack)?),
        };
        Ok(Addressing { stack, host, by_default: addr.is_empty() && host_addr.is_empty() })
    }

    /// Checks that IPv6 fits into the MTU.
    ///
    /// # Errors
    /// A usage failure.
    pub(crate) fn check_mtu(&self, mtu: Option<u16>) -> Result<(), Failure> {
        let has_ipv6 = self.all().any(|net| net.addr().is_ipv6());
        match mtu {
            Some(mtu) if mtu < MTU_MIN_IPV6 && has_ipv6 => Err(Failure::usage(format!(
                "--mtu: IPv6 needs {MTU_MIN_IPV6} bytes (RFC 8200); for IPv4 alone name its address, as in \
                 `tunstack up --mtu {mtu} --addr 10.9.0.2/24`"
            ))),
            _ => Ok(()),
        }
    }

    /// Leaves IPv6 out on both sides.
    pub(crate) fn without_ipv6(mut self) -> Self {
        self.stack.retain(|net| net.addr().is_ipv4());
        if let Some(host) = &mut self.host {
            host.retain(|net| net.addr().is_ipv4());
        }
        self
    }

    /// The addresses that need IPv6 on the kernel's side.
    pub(crate) fn host_ipv6(&self) -> Option<IpNet> {
        self.host.iter().flatten().copied().find(|net| net.addr().is_ipv6())
    }

    fn all(&self) -> impl Iterator<Item = &IpNet> {
        self.stack.iter().chain(self.host.iter().flatten())
    }
}

/// Reads an address with its prefix length, and checks that a host may have it.
///
/// # Errors
/// One sentence that names an address that would do.
pub(crate) fn parse_cidr(text: &str) -> Result<IpNet, String> {
    let net: IpNet = match text.parse() {
        Ok(net) => net,
        Err(_) => return Err(why_not_cidr(text)),
    };
    match unfit(net) {
        Some(why) => Err(format!("{net} can't be a host's address: {why}; try `{}`", example(net))),
        None => Ok(net),
    }
}

/// Reads what `--host-addr` says.
///
/// # Errors
/// As [`parse_cidr`].
pub(crate) fn parse_host_addr(text: &str) -> Result<HostAddr, String> {
    if text == "none" { Ok(HostAddr::None) } else { parse_cidr(text).map(HostAddr::Net) }
}

/// The first usable address of a network that isn't in `taken`.
pub(crate) fn first_free_host(net: IpNet, taken: &[IpNet]) -> Option<IpNet> {
    // Every step skips an address that is taken, so it ends after taken.len() + 2 steps at most.
    net.hosts().take(taken.len() + 2).map(|addr| IpNet::new_assert(addr, net.prefix_len())).find(
        |candidate| unfit(*candidate).is_none() && taken.iter().all(|other| other.addr() != candidate.addr()),
    )
}

fn derive_hosts(stack: &[IpNet]) -> Result<Vec<IpNet>, Failure> {
    let mut hosts: Vec<IpNet> = Vec::new();
    for net in stack {
        if hosts.iter().any(|host| host.trunc() == net.trunc()) {
            continue;
        }
        let host = first_free_host(*net, stack).ok_or_else(|| {
            Failure::usage(format!(
                "--addr: {net} leaves no address for the kernel's side; name one, as in `tunstack up --addr \
                 {net} --host-addr {}`, or none with `--host-addr none`",
                elsewhere(*net)
            ))
        })?;
        hosts.push(host);
    }
    Ok(hosts)
}

fn named_hosts(given: &[HostAddr], stack: &[IpNet]) -> Result<Vec<IpNet>, Failure> {
    let mut hosts = Vec::new();
    for host in given {
        match host {
            HostAddr::Net(net) => hosts.push(*net),
            HostAddr::None => {
                return Err(Failure::usage(
                    "--host-addr: none stands beside an address; give either `--host-addr none` or addresses",
                ));
            }
        }
    }
    if let Some(twice) = first_repeated(&hosts) {
        return Err(Failure::usage(format!("--host-addr: {twice} is given twice; give it once")));
    }
    if let Some(shared) = hosts.iter().find(|host| stack.iter().any(|net| net.addr() == host.addr())) {
        let other = first_free_host(*shared, stack).unwrap_or_else(|| elsewhere(*shared));
        return Err(Failure::usage(format!(
            "--host-addr: {} is the stack's own address; give the kernel's side another, as in \
             `--host-addr {other}`",
            shared.addr()
        )));
    }
    Ok(hosts)
}

fn first_repeated(nets: &[IpNet]) -> Option<IpAddr> {
    let mut rest = nets;
    while let [first, tail @ ..] = rest {
        if tail.iter().any(|net| net.addr() == first.addr()) {
            return Some(first.addr());
        }
        rest = tail;
    }
    None
}

/// Why no host may have this address.
pub(crate) fn unfit(net: IpNet) -> Option<&'static str> {
    let addr = net.addr();
    if addr.is_unspecified() {
        return Some("it is the unspecified address");
    }
    if addr.is_loopback() {
        return Some("it is a loopback address, which never leaves the machine");
    }
    if addr.is_multicast() {
        return Some("it is a multicast address");
    }
    match net {
        IpNet::V4(v4) if v4.addr().is_broadcast() => Some("it is the broadcast address"),
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => {
            Some("it names the network itself")
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Some("it is its network's broadcast address")
        }
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => Some("it is an IPv4-mapped address"),
        // RFC 4291 section 2.6.1: the subnet-router anycast address.
        IpNet::V6(v6) if v6.prefix_len() < 127 && v6.addr() == v6.network() => {
            Some("it names the network itself")
        }
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

fn why_not_cidr(text: &str) -> String {
    let (addr, prefix) = match text.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (text, None),
    };
    match (addr.parse::<IpAddr>(), prefix) {
        (Ok(addr), None) => format!("'{text}' lacks a prefix length; try `{addr}/{}`", usual_prefix(addr)),
        (Ok(addr), Some(prefix)) => {
            let max = if addr.is_ipv4() { 32 } else { 128 };
            format!(
                "'{prefix}' is not a prefix length between 0 and {max}; try `{addr}/{}`",
                usual_prefix(addr)
            )
        }
        (Err(_), _) => {
            format!("'{text}' is not an address with a prefix length; try `10.9.0.2/24` or `fd09::2/64`")
        }
    }
}

fn usual_prefix(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 24 } else { 64 }
}

/// An address that would do instead of one that doesn't.
fn example(net: IpNet) -> IpNet {
    let fallback = elsewhere(net);
    if net.addr().is_loopback() || net.addr().is_multicast() || net.prefix_len() == 0 {
        return fallback;
    }
    first_free_host(net, &[IpNet::from(net.addr())]).unwrap_or(fallback)
}

/// An address in a network that is likely to be free.
fn elsewhere(net: IpNet) -> IpNet {
    match net {
        IpNet::V4(_) => IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), 24),
        IpNet::V6(_) => IpNet::new_assert(IpAddr::from([0xfd09, 0, 0, 0, 0, 0, 0, 1]), 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn resolve(addr: &[&str], host: &[&str]) -> Result<Addressing, String> {
        let host: Vec<HostAddr> = host.iter().map(|text| parse_host_addr(text).unwrap()).collect();
        Addressing::resolve(&nets(addr), &host).map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_a_word_both_sides_get_both_families() {
        let both = resolve(&[], &[]).unwrap();
        assert_eq!(both.stack, nets(&["10.9.0.2/24", "fd09::2/64"]));
        assert_eq!(both.host, Some(nets(&["10.9.0.1/24", "fd09::1/64"])));
        assert!(both.by_default);
        let v4 = both.without_ipv6();
        assert_eq!((v4.stack, v4.host), (nets(&["10.9.0.2/24"]), Some(nets(&["10.9.0.1/24"]))));
    }

    #[test]
    fn the_kernels_side_gets_the_first_address_that_is_not_ours() {
        let host = |addr: &[&str]| resolve(addr, &[]).unwrap().host.unwrap();
        assert_eq!(host(&["10.1.0.2/24"]), nets(&["10.1.0.1/24"]));
        assert_eq!(host(&["10.1.0.1/24"]), nets(&["10.1.0.2/24"]));
        assert_eq!(host(&["10.1.0.1/24", "10.1.0.2/24"]), nets(&["10.1.0.3/24"]));
        assert_eq!(host(&["10.1.0.0/31"]), nets(&["10.1.0.1/31"]));
        assert_eq!(host(&["10.1.0.77/30"]), nets(&["10.1.0.78/30"]));
        assert_eq!(host(&["fd01::1/64", "10.1.0.9/24"]), nets(&["fd01::2/64", "10.1.0.1/24"]));
    }

    #[test]
    fn a_network_of_one_has_no_room_for_the_kernels_side() {
        insta::assert_snapshot!(resolve(&["10.1.0.2/32"], &[]).unwrap_err(), @"tunstack: --addr: 10.1.0.2/32 leaves no address for the kernel's side; name one, as in `tunstack up --addr 10.1.0.2/32 --host-addr 10.9.0.1/24`, or none with `--host-addr none`");
        assert_eq!(resolve(&["10.1.0.2/32"], &["none"]).unwrap().host, None);
    }

    #[test]
    fn contradictions_are_refused() {
        let said = [
            resolve(&["10.1.0.2/24", "10.1.0.2/16"], &[]).unwrap_err(),
            resolve(&[], &["none", "10.9.0.1/24"]).unwrap_err(),
            resolve(&[], &["10.9.0.1/24", "10.9.0.1/24"]).unwrap_err(),
            resolve(&[], &["10.9.0.2/24"]).unwrap_err(),
            resolve(&[], &[]).unwrap().check_mtu(Some(1279)).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(said.join("\n"));
        assert!(resolve(&["10.1.0.2/24"], &[]).unwrap().check_mtu(Some(576)).is_ok());
        assert!(resolve(&["10.1.0.2/24"], &["none"]).unwrap().check_mtu(Some(576)).is_ok());
    }

    #[test]
    fn link_local_and_private_addresses_are_fine() {
        for text in ["169.254.3.4/16", "fe80::5/64", "192.168.1.1/32", "203.0.113.1/31", "fd00::/127"] {
            assert!(parse_cidr(text).is_ok(), "{text}");
        }
    }
}
