//! What kind of address it is: the questions that need no table to be answered.
//!
//! RFC 1122 section 3.2.1.3 and RFC 6890 for IPv4, RFC 4291 for IPv6. Which addresses are *ours* is known
//! to [`interface`](super::interface).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// All hosts on this link (RFC 1112 section 4).
pub(crate) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// All nodes on this interface (RFC 4291 section 2.7.1).
pub(crate) const ALL_NODES_INTERFACE: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1);
/// All nodes on this link (RFC 4291 section 2.7.1).
pub(crate) const ALL_NODES_LINK: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Whether the address may name one host and no more: what a source must be that wants an answer
/// (RFC 1122 sections 3.2.1.3 and 3.2.2, RFC 4443 section 2.4 e.6). Link-local addresses may, and so may
/// loopback addresses. Broadcast addresses of our own networks are not recognised here.
pub(crate) fn is_single_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 224,
        //= RFC8504 6.1 addresses
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !is_mapped(v6),
    }
}

/// Whether no packet on a wire may carry the address: IPv4-mapped addresses exist only inside programs, and
/// a filter that looks at IPv4 alone would be fooled by `::ffff:127.0.0.1`.
pub(crate) fn is_mapped(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

/// Whether the address means something on one link only, so that a route can't tell which.
pub(crate) fn is_link_scoped(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

/// How far an IPv6 address means something, as multicast counts it (RFC 6724 section 3.1): the greater, the
/// farther. Unique local addresses are global.
pub(crate) fn scope(address: Ipv6Addr) -> u8 {
    if address.is_multicast() {
        multicast_scope(address)
    } else if address.is_unicast_link_local() || address.is_loopback() {
        SCOPE_LINK_LOCAL
    } else if address.segments()[0] & 0xffc0 == 0xfec0 {
        SCOPE_SITE_LOCAL
    } else {
        SCOPE_GLOBAL
    }
}

/// Whether the multicast destination must not come from outside: scope 0 is reserved and must not be
/// received, scope 1 never leaves an interface (RFC 4291 section 2.7).
pub(crate) fn is_multicast_of_one_node(destination: Ipv6Addr) -> bool {
    destination.is_multicast() && multicast_scope(destination) <= SCOPE_INTERFACE_LOCAL
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1), which each of its owners must join.
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., g, h] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (g & 0xff), h)
}

/// The broadcast addresses of a network: `{net, -1}`, and `{net, 0}` which RFC 1122 section 3.3.6 says all
/// hosts should recognise. Networks of one or two addresses have none (RFC 3021).
pub(crate) fn directed_broadcasts(network: Ipv4Net) -> Option<[Ipv4Addr; 2]> {
    //= RFC1812 4.2.3.1 obsolete broadcasts
    (network.prefix_len() < 31).then(|| [network.network(), network.broadcast()])
}

/// Whether one of our interfaces may have the address in that network.
pub(crate) fn may_be_ours(address: IpNet) -> bool {
    let host = address.addr();
    if !is_single_host(host) || host.is_loopback() {
        return false;
    }
    match address {
        IpNet::V4(v4) => directed_broadcasts(v4).is_none_or(|broadcasts| !broadcasts.contains(&v4.addr())),
        // The lowest address is the subnet-router anycast address (RFC 4291 section 2.6.1), which no host
        // has; RFC 6164 excepts links of two addresses.
        IpNet::V6(v6) => v6.prefix_len() >= 127 || v6.addr() != v6.network(),
    }
}

/// How many leading bits two addresses of one family have in common; `None` for different families.
pub(crate) fn common_prefix_len(a: IpAddr, b: IpAddr) -> Option<u8> {
    let len = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    u8::try_from(len).ok()
}

const SCOPE_INTERFACE_LOCAL: u8 = 1;
const SCOPE_LINK_LOCAL: u8 = 2;
const SCOPE_SITE_LOCAL: u8 = 5;
const SCOPE_GLOBAL: u8 = 14;

fn multicast_scope(address: Ipv6Addr) -> u8 {
    address.octets()[1] & 0x0f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    //= RFC8504 6.1 addresses
    #[test]
    fn only_addresses_that_can_name_one_host_are_single_hosts() {
        for host in ["10.0.0.1", "127.0.0.1", "169.254.1.2", "223.255.255.255", "fe80::1", "::1", "fd09::2"] {
            assert!(is_single_host(ip(host)), "{host}");
        }
        for group in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_single_host(ip(group)), "{group}");
        }
    }

    #[test]
    fn networks_of_one_or_two_addresses_have_no_broadcast_address() {
        assert_eq!(directed_broadcasts("10.9.0.2/31".parse().unwrap()), None);
        assert_eq!(directed_broadcasts("10.9.0.2/32".parse().unwrap()), None);
        let [low, high] = directed_broadcasts("10.9.0.2/30".parse().unwrap()).unwrap();
        assert_eq!((low, high), (Ipv4Addr::new(10, 9, 0, 0), Ipv4Addr::new(10, 9, 0, 3)));
    }

    //= RFC8504 6.1 addresses
    #[test]
    fn addresses_that_no_host_may_have_cannot_be_ours() {
        for good in [
            "10.9.0.2/24",
            "10.9.0.2/32",
            "10.9.0.2/31",
            "10.9.0.3/31",
            "fd09::2/64",
            "fd09::/128",
            "fe80::1/64",
        ] {
            assert!(may_be_ours(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "0.0.0.0/0",
            "10.9.0.255/24",
            "10.9.0.0/24",
            "224.0.0.5/4",
            "255.255.255.255/32",
            "127.0.0.2/8",
            "::/0",
            "::1/128",
            "ff02::1/16",
            "fd09::/64",
            "::ffff:10.0.0.1/96",
            "250.0.0.1/8",
        ] {
            assert!(!may_be_ours(bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn the_solicited_node_group_takes_the_low_24_bits() {
        assert_eq!(solicited_node("4037::1:800:200e:8c6c".parse().unwrap()), ip("ff02::1:ff0e:8c6c"));
    }
}
