//! Which of our addresses a packet is sent from, when neither its sender nor its route says.
//!
//! IPv6: RFC 6724 section 5 with the default policy table. Rules 3 (deprecated), 4 (home addresses), 5.5 (prefixes
//! advertised by the next hop) and 7 (temporary addresses) never decide: all our addresses are preferred,
//! permanent and given by hand. IPv4: as Linux, and RFC 1122 section 3.3.4.3 leaves it open.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::{self, common_prefix_len};
use crate::proto::packet::DeviceId;

/// Where a packet goes, as far as its source depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Towards {
    /// The interface it leaves by.
    pub(super) device: DeviceId,
    /// Whom it is for.
    pub(super) destination: IpAddr,
    /// Who is handed it first: a gateway, or the destination itself.
    pub(super) next_hop: IpAddr,
}

/// The best of our addresses, of which `addresses` tells the interface and the network; among equals the first.
pub(super) fn choose(
    addresses: impl Iterator<Item = (DeviceId, IpNet)> + Clone,
    towards: Towards,
) -> Option<IpAddr> {
    match (towards.destination, towards.next_hop) {
        (IpAddr::V4(destination), IpAddr::V4(next_hop)) => {
            let v4 = addresses.filter_map(|(device, net)| match net {
                IpNet::V4(net) => Some((device, net)),
                IpNet::V6(_) => None,
            });
            choose_v4(v4, towards.device, destination, next_hop).map(IpAddr::V4)
        }
        (IpAddr::V6(destination), _) => {
            let v6 = addresses.filter_map(|(device, net)| match net {
                IpNet::V6(net) => Some((device, net)),
                IpNet::V4(_) => None,
            });
            choose_v6(v6, towards.device, destination).map(IpAddr::V6)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) => None,
    }
}

/// An address of the interface, if it has any: the one in whose network the next hop stands, else the one that
/// has most leading bits in common with the destination. An interface without addresses borrows one.
fn choose_v4(
    addresses: impl Iterator<Item = (DeviceId, Ipv4Net)>,
    device: DeviceId,
    destination: Ipv4Addr,
    next_hop: Ipv4Addr,
) -> Option<Ipv4Addr> {
    best(addresses, |(by, net)| {
        let hops_network = net.contains(&next_hop).then_some(net.prefix_len());
        let common = common_prefix_len(net.addr().into(), destination.into());
        (*by == device, hops_network, common.map(|len| len.min(net.prefix_len())))
    })
    .map(|(_, net)| net.addr())
}

fn choose_v6(
    addresses: impl Iterator<Item = (DeviceId, Ipv6Net)>,
    device: DeviceId,
    destination: Ipv6Addr,
) -> Option<Ipv6Addr> {
    let is_of_one_link = destination.is_multicast() || destination.is_unicast_link_local();
    let candidates = addresses.filter(|(by, net)| {
        //= RFC6724 section 4: for multicast and link-local destination addresses, the set of candidate source
        //# addresses MUST only include addresses assigned to interfaces belonging to the same link as the
        //# outgoing interface. (And an address of one link says nothing on another: RFC 4007 section 6.)
        *by == device || !(is_of_one_link || net.addr().is_unicast_link_local())
    });
    best(candidates, |(by, net)| rank_v6((*by, *net), device, destination)).map(|(_, net)| net.addr())
}

/// RFC 6724 section 5: the greater, the better, and the first difference decides.
fn rank_v6((by, net): (DeviceId, Ipv6Net), device: DeviceId, destination: Ipv6Addr) -> impl Ord {
    let source = net.addr();
    //= RFC6724 section 5 rule 1: prefer same address.
    let is_same = source == destination;
    //= RFC6724 section 5 rule 2: prefer appropriate scope. Of the scopes that are enough the smallest, else the
    //# largest there is.
    let (scope, wanted) = (address::scope(source), address::scope(destination));
    let scope = if scope >= wanted { (true, Reverse(scope), 0) } else { (false, Reverse(0), scope) };
    //= RFC6724 section 5 rule 5: prefer outgoing interface.
    let is_of_interface = by == device;
    //= RFC6724 section 5 rule 6: prefer matching label.
    let has_label = label(source) == label(destination);
    //= RFC6724 section 5 rule 8: use longest matching prefix. Bits beyond the source's own prefix do not count
    //# (section 2.2).
    let common = common_prefix_len(source.into(), destination.into()).map(|len| len.min(net.prefix_len()));
    //= RFC8504 6.6 source address
    (is_same, scope, is_of_interface, has_label, common)
}

/// The first of the best.
fn best<T, R: Ord>(candidates: impl Iterator<Item = T>, rank: impl Fn(&T) -> R) -> Option<T> {
    candidates.reduce(|best, next| if rank(&next) > rank(&best) { next } else { best })
}

/// The label of an address in the default policy table (RFC 6724 section 2.1), of whose rows the longest prefix
/// holds.
fn label(address: Ipv6Addr) -> u8 {
    //= RFC8504 6.6 policy
    let held = POLICY.iter().find(|(prefix, _)| prefix.contains(&address));
    held.map_or(LABEL_OF_ALL, |(_, label)| *label)
}

const LABEL_OF_ALL: u8 = 1;

/// Longer prefixes first; the last row, `::/0`, is [`LABEL_OF_ALL`].
const POLICY: [(Ipv6Net, u8); 8] = [
    (row(Ipv6Addr::LOCALHOST, 128), 0),
    (row(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), 4),
    (row(Ipv6Addr::UNSPECIFIED, 96), 3),
    (row(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32), 5),
    (row(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), 2),
    (row(Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16), 12),
    (row(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10), 11),
    (row(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7), 13),
];

const fn row(address: Ipv6Addr, len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(address, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const OUT: DeviceId = DeviceId(0);
    const OTHER: DeviceId = DeviceId(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The choice among addresses of the outgoing interface and of another one.
    fn chosen(on_it: &[&str], on_other: &[&str], destination: &str) -> Option<IpAddr> {
        chosen_via(on_it, on_other, destination, destination)
    }

    fn chosen_via(on_it: &[&str], on_other: &[&str], destination: &str, via: &str) -> Option<IpAddr> {
        let given = |device, list: &[&str]| -> Vec<(DeviceId, IpNet)> {
            list.iter().map(|text| (device, text.parse().unwrap())).collect()
        };
        let all = [given(OTHER, on_other), given(OUT, on_it)].concat();
        let towards = Towards { device: OUT, destination: ip(destination), next_hop: ip(via) };
        choose(all.iter().copied(), towards)
    }

    //= RFC8504 6.6 source address
    #[test]
    fn the_rules_of_rfc_6724_decide_as_its_examples_say() {
        //= RFC6724 section 10.1: default source address selection.
        for (destination, candidates, expected) in [
            ("2001:db8:1::1", &["2001:db8:3::1/64", "fe80::1/64"][..], "2001:db8:3::1"),
            ("ff05::1", &["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
            ("2001:db8:1::1", &["2001:db8:1::1/64", "2001:db8:2::1/64"], "2001:db8:1::1"),
            ("fe80::1", &["fe80::2/64", "2001:db8:1::1/64"], "fe80::2"),
            ("2001:db8:1::1", &["2001:db8:1::2/64", "2001:db8:3::2/64"], "2001:db8:1::2"),
            (
                "2002:c633:6401::1",
                &["2002:c633:6401::d5e3:7953:13eb:22e8/64", "2001:db8:1::2/64"],
                "2002:c633:6401::d5e3:7953:13eb:22e8",
            ),
        ] {
            assert_eq!(chosen(candidates, &[], destination), Some(ip(expected)), "{destination}");
            let reversed: Vec<_> = candidates.iter().rev().copied().collect();
            assert_eq!(chosen(&reversed, &[], destination), Some(ip(expected)), "{destination}");
        }
    }

    //= RFC8504 6.6 source address
    #[test]
    fn each_rule_outranks_the_next() {
        // Scope before interface.
        assert_eq!(chosen(&["fe80::1/64"], &["2001:db8::1/64"], "2001:db8:9::1"), Some(ip("2001:db8::1")));
        // Interface before label.
        assert_eq!(chosen(&["2001:db8::1/64"], &["fd00::1/64"], "fd00:1::1"), Some(ip("2001:db8::1")));
        // Label before prefix: Teredo has 31 bits in common with the destination, and another label.
        assert_eq!(chosen(&["2001::1/32", "2a00::1/64"], &[], "2001:1::1"), Some(ip("2a00::1")));
        // The prefix last; among equals the first.
        let two = ["2001:db8:1::1/48", "2001:db8:2::1/48", "2001:db8:2::2/48"];
        assert_eq!(chosen(&two, &[], "2001:db8:2:ff::2"), Some(ip("2001:db8:2::1")));
        // Behind the source's own prefix bits don't count: ::2 has more of them in common than ::1.
        assert_eq!(chosen(&two, &[], "2001:db8:2::3"), Some(ip("2001:db8:2::1")));
    }

    #[test]
    fn of_too_small_scopes_the_largest_is_taken_and_of_larger_ones_the_smallest() {
        let all = ["fe80::1/64", "fec0::1/64", "2001:db8::1/64"];
        assert_eq!(chosen(&all, &[], "2001:db8:9::9"), Some(ip("2001:db8::1")));
        assert_eq!(chosen(&all, &[], "ff05::9"), Some(ip("fec0::1")));
        assert_eq!(chosen(&all[..2], &[], "2001:db8:9::9"), Some(ip("fec0::1")));
        assert_eq!(chosen(&all, &[], "ff02::9"), Some(ip("fe80::1")));
        assert_eq!(chosen(&all[..2], &[], "ff04::9"), Some(ip("fec0::1")));
    }

    #[test]
    fn what_means_something_on_one_link_only_is_sent_from_there() {
        assert_eq!(chosen(&[], &["2001:db8::1/64"], "fe80::9"), None);
        assert_eq!(chosen(&[], &["2001:db8::1/64"], "ff0e::9"), None);
        assert_eq!(chosen(&[], &["fe80::1/64"], "2001:db8::9"), None);
        assert_eq!(chosen(&["fe80::1/64"], &["fe80::2/64"], "fe80::9"), Some(ip("fe80::1")));
    }

    //= RFC8504 6.6 policy
    #[test]
    fn labels_are_those_of_the_longest_prefix() {
        for (address, expected) in [
            ("::1", 0),
            ("2001:db8::1", 1),
            ("fe80::1", 1),
            ("::ffff:10.0.0.1", 4),
            ("2002::1", 2),
            ("2001:0:1::1", 5),
            ("fd00::1", 13),
            ("::10.0.0.1", 3),
            ("fec0::1", 11),
            ("3ffe::1", 12),
        ] {
            assert_eq!(label(address.parse().unwrap()), expected, "{address}");
        }
        assert!(POLICY.is_sorted_by_key(|(prefix, _)| Reverse(prefix.prefix_len())));
    }

    #[test]
    fn an_ipv4_source_stands_in_the_next_hops_network() {
        let two = ["10.1.0.2/24", "10.2.0.2/24"];
        assert_eq!(chosen_via(&two, &[], "10.1.9.9", "10.2.0.1"), Some(ip("10.2.0.2")));
        assert_eq!(chosen_via(&two, &[], "10.2.0.9", "10.2.0.9"), Some(ip("10.2.0.2")));
        let nested = ["10.0.0.2/8", "10.2.0.2/24"];
        assert_eq!(chosen(&nested, &[], "10.2.0.9"), Some(ip("10.2.0.2")));
    }

    #[test]
    fn outside_its_networks_an_ipv4_source_has_most_in_common_with_the_destination() {
        let two = ["10.1.0.2/24", "192.168.1.2/24", "192.168.9.2/24"];
        assert_eq!(chosen(&two, &[], "192.168.8.1"), Some(ip("192.168.9.2")));
        assert_eq!(chosen(&two, &["192.168.8.2/24"], "192.168.8.1"), Some(ip("192.168.9.2")));
        assert_eq!(chosen(&two, &[], "8.8.8.8"), Some(ip("10.1.0.2")));
        // Behind a network's own length bits don't count.
        let (a, b) = ("10.1.0.1/24", "10.1.0.2/24");
        assert_eq!(chosen_via(&[a, b], &[], "10.1.0.3", "10.1.0.3"), Some(ip("10.1.0.1")));
    }

    #[test]
    fn an_interface_without_an_address_borrows_one() {
        assert_eq!(chosen(&[], &["10.9.0.2/24"], "8.8.8.8"), Some(ip("10.9.0.2")));
        assert_eq!(chosen(&["10.9.0.2/24"], &["2001:db8::2/64"], "2001:db8:9::9"), Some(ip("2001:db8::2")));
        assert_eq!(chosen(&[], &["10.9.0.2/24"], "2001:db8::1"), None);
    }
}
