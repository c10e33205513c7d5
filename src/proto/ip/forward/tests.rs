use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::proto::config::ReversePath;
use crate::proto::ip::route::{RouteSpec, RouteTarget};
use crate::proto::ip::testing::{datagram, header, ip, seal, udp};
use crate::proto::packet::DeviceId;
use crate::proto::packet::Packet;
use crate::proto::stack::{Progress, Stack};
use crate::proto::wire::icmp::{self as wire_icmp, Message, v4, v6};
use crate::proto::wire::ip::{self as wire, IpHeader};
use crate::proto::{ChecksumState, Config, Secrets};
use crate::time::Instant;

pub(super) const LEFT: DeviceId = DeviceId(0);
pub(super) const RIGHT: DeviceId = DeviceId(1);
/// Its MTU is smaller than the others'.
pub(super) const NARROW: DeviceId = DeviceId(2);

/// A router with three interfaces, and what it has sent.
pub(super) struct Router {
    pub(super) stack: Stack,
    sent: Vec<(DeviceId, Vec<u8>)>,
    /// Devices that take nothing.
    busy: Vec<DeviceId>,
}

impl Router {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let config = Config { forwarding: true, ..config };
        let mut stack = Stack::new(config, &Secrets::from_number(1), Instant::ZERO);
        for (mtu, addresses) in [
            (1500, ["10.1.0.1/24", "fd01::1/64"]),
            (1500, ["10.2.0.1/24", "fd02::1/64"]),
            (1280, ["10.3.0.1/24", "fd03::1/64"]),
        ] {
            let device = stack.add_interface(mtu);
            for address in addresses {
                stack.add_address(device, address.parse().unwrap()).unwrap();
            }
        }
        Router { stack, sent: Vec::new(), busy: Vec::new() }
    }

    /// Takes a packet that came in by `device`, and drains the stack.
    fn receive(&mut self, device: DeviceId, bytes: &[u8]) -> Result<(), DropReason> {
        let before = self.stack.counters().clone();
        let Router { stack, sent, busy } = self;
        let mut sink = |egress: Egress<'_>| take(sent, busy, egress);
        stack.receive_and_forward(device, &Packet::plain(bytes, Instant::ZERO), &mut sink);
        let _ = stack.transmit(Instant::ZERO, &mut sink);
        let after = stack.counters();
        let reason = DropReason::ALL.iter().find(|reason| after.dropped(**reason) > before.dropped(**reason));
        let went_well = after.packets_forwarded + after.packets_delivered
            - before.packets_forwarded
            - before.packets_delivered;
        assert_eq!(went_well + u64::from(reason.is_some()), 1, "a packet is counted once");
        reason.map_or(Ok(()), |reason| Err(*reason))
    }

    /// Drains the stack.
    pub(super) fn drain(&mut self) {
        let Router { stack, sent, busy } = self;
        let _ = stack.transmit(Instant::ZERO, &mut |egress: Egress<'_>| take(sent, busy, egress));
    }

    /// The only packet that was sent since the last call.
    fn only(&mut self) -> (DeviceId, Vec<u8>) {
        assert_eq!(self.sent.len(), 1, "{:x?}", self.sent);
        self.sent.remove(0)
    }

    /// Type, code and second word of the only packet that was sent, an ICMP error by `device` about `about`.
    pub(super) fn complaint(&mut self, device: DeviceId, about: &[u8]) -> (u8, u8, u32) {
        let (by, bytes) = self.only();
        assert_eq!(by, device);
        let read = wire::parse(&bytes).unwrap();
        assert_eq!(read.dst, wire::parse(about).unwrap().src);
        let message = wire_icmp::parse(read.payload, read.src, read.dst, ChecksumState::Unverified);
        let Ok(Message::Error(error)) = message else { panic!("not an error: {message:?}") };
        assert!(about.starts_with(error.quoted));
        (error.kind, error.code, error.word)
    }
}

fn take(sent: &mut Vec<(DeviceId, Vec<u8>)>, busy: &[DeviceId], egress: Egress<'_>) -> Sent {
    if busy.contains(&egress.device) {
        return Sent::Busy;
    }
    let mut bytes = Vec::new();
    egress.copy_to(&mut bytes);
    sent.push((egress.device, bytes));
    Sent::Taken
}

//= RFC1812 5.3.1 decrement
#[test]
fn a_packet_for_somebody_else_goes_on_with_one_hop_less() {
    let mut router = Router::new();
    for (src, dst) in [("10.1.0.9:1", "10.2.0.9:2"), ("[fd01::9]:1", "[fd02::9]:2")] {
        let bytes = udp(src, dst, b"hello");
        router.receive(LEFT, &bytes).unwrap();
        let (device, sent) = router.only();
        let (before, after) = (wire::parse(&bytes).unwrap(), wire::parse(&sent).unwrap());
        assert_eq!(device, RIGHT);
        assert_eq!(after.hop_limit, before.hop_limit - 1);
        assert_eq!((after.src, after.dst, after.payload), (before.src, before.dst, before.payload));
    }
    assert_eq!(router.stack.counters().packets_forwarded, 2);
    assert_eq!(router.stack.counters().packets_out, 2);
}

//= RFC791 3.1 checksum anew
//= RFC1812 5.2.5 unchanged
//= RFC8200 6 label unchanged
#[test]
fn nothing_changes_on_the_way_but_the_hop_limit_and_the_checksum_over_it() {
    //= RFC1812 5.3.3.3 precedence: a router MUST accept traffic of all precedence levels, and MUST NOT change
    //# it.
    let mut router = Router::new();
    for (src, dst) in [("10.1.0.9:1", "10.2.0.9:2"), ("[fd01::9]:1", "[fd02::9]:2")] {
        for tos in 0..=255_u8 {
            let mut bytes = udp(src, dst, b"hello");
            if bytes[0] >> 4 == 4 {
                bytes[1] = tos;
                seal(&mut bytes);
            } else {
                bytes[..4].copy_from_slice(&(0x6001_2345 | u32::from(tos) << 20).to_be_bytes());
            }
            router.receive(LEFT, &bytes).unwrap();
            let (_, sent) = router.only();
            if bytes[0] >> 4 == 4 {
                bytes[8] -= 1;
                seal(&mut bytes);
            } else {
                bytes[7] -= 1;
            }
            assert_eq!(sent, bytes, "{tos:#x}");
        }
    }
}

//= RFC1122 3.4 interface
//= RFC1812 4.2.2.11 directed broadcasts
#[test]
fn broadcasts_are_delivered_here_and_go_no_further() {
    //= RFC1812 5.3.5.1 limited broadcasts: limited broadcasts MUST NOT be forwarded.
    //= RFC2644 section 2: directed broadcasts are not forwarded by default.
    let mut router = Router::new();
    let now = Instant::ZERO;
    let socket = router.stack.udp_bind(now, "0.0.0.0:7".parse().unwrap(), Default::default()).unwrap();
    for all in ["255.255.255.255", "10.1.0.255", "10.1.0.0", "10.2.0.255", "10.2.0.0"] {
        router.receive(LEFT, &udp("10.1.0.9:1", &alloc::format!("{all}:7"), b"all")).unwrap();
        assert!(router.sent.is_empty(), "{all}");
        let read = router.stack.udp_recv_msg(socket, &mut [0; 9]).unwrap();
        assert_eq!((read.to, read.device), (ip(all), LEFT));
    }
    assert_eq!(router.stack.counters().packets_forwarded, 0);
}

//= RFC1122 3.1 no gateway
//= RFC1122 3.2.1.3 destination
//= RFC8200 3 destination
#[test]
fn a_host_forwards_nothing() {
    let mut router = Router::with(Config::default());
    let config = Config { forwarding: false, ..Config::default() };
    router.stack = Stack::new(config, &Secrets::from_number(1), Instant::ZERO);
    let device = router.stack.add_interface(1500);
    router.stack.add_address(device, "10.1.0.1/24".parse().unwrap()).unwrap();
    let bytes = udp("10.1.0.9:1", "10.2.0.9:2", b"hello");
    assert_eq!(router.receive(device, &bytes), Err(DropReason::NotOurs));
    assert!(router.sent.is_empty());
}

//= RFC791 3.1 time to live
//= RFC1812 4.2.2.9 time to live of zero, 5.2.7.3 time exceeded, 5.3.1 no foresight
//= RFC4443 3.3 hop limit
#[test]
fn a_used_up_hop_limit_draws_time_exceeded() {
    let mut router = Router::new();
    for (src, dst, kind) in
        [("10.1.0.9", "10.2.0.9", v4::TYPE_TIME_EXCEEDED), ("fd01::9", "fd02::9", v6::TYPE_TIME_EXCEEDED)]
    {
        for hop_limit in [0, 1] {
            let bytes = datagram(&IpHeader { hop_limit, ..header(src, dst, 17) }, &[0; 8]);
            assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::HopLimit));
            assert_eq!(router.complaint(LEFT, &bytes), (kind, 0, 0));
        }
        let bytes = datagram(&IpHeader { hop_limit: 2, ..header(src, dst, 17) }, &[0; 8]);
        router.receive(LEFT, &bytes).unwrap();
        assert_eq!(wire::parse(&router.only().1).unwrap().hop_limit, 1);
    }
}

//= RFC1812 4.3.3.1 no route
//= RFC4443 3.1 code
#[test]
fn no_route_says_so() {
    let mut router = Router::new();
    let bytes = udp("10.1.0.9:1", "192.0.2.1:2", b"hello");
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::NoRoute));
    assert_eq!(router.complaint(LEFT, &bytes), (v4::TYPE_DEST_UNREACH, 0, 0));
    let bytes = udp("[fd01::9]:1", "[2001:db8::1]:2", b"hello");
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::NoRoute));
    assert_eq!(router.complaint(LEFT, &bytes), (v6::TYPE_DST_UNREACH, 0, 0));
}

//= RFC1812 4.2.2.11 sources, 5.3.7 martians
#[test]
fn what_belongs_to_one_link_or_to_many_hosts_stays() {
    let mut router = Router::new();
    for default in ["0.0.0.0/0", "::/0"] {
        let route = RouteSpec::new(default.parse().unwrap(), RouteTarget::Interface(RIGHT));
        router.stack.add_route(route).unwrap();
    }
    for (src, dst, reason) in [
        ("169.254.1.1", "10.2.0.9", DropReason::ForwardScope),
        ("10.1.0.9", "169.254.1.1", DropReason::ForwardScope),
        ("10.1.0.9", "224.1.2.3", DropReason::ForwardNotUnicast),
        ("10.1.0.9", "240.1.2.3", DropReason::MartianDestination),
        ("10.1.0.9", "127.0.0.1", DropReason::MartianDestination),
        ("10.1.0.9", "0.1.2.3", DropReason::MartianDestination),
        ("127.0.0.1", "10.2.0.9", DropReason::MartianSource),
        ("0.0.0.0", "10.2.0.9", DropReason::MartianSource),
        ("224.0.0.1", "10.2.0.9", DropReason::MartianSource),
        ("240.0.0.1", "10.2.0.9", DropReason::MartianSource),
        ("255.255.255.255", "10.2.0.9", DropReason::MartianSource),
        ("10.1.0.255", "10.2.0.9", DropReason::MartianSource),
        ("10.2.0.1", "10.2.0.9", DropReason::MartianSource),
        ("fd01::9", "fe80::9", DropReason::ForwardScope),
        ("fd01::9", "ff0e::9", DropReason::ForwardNotUnicast),
        ("fd01::9", "::1", DropReason::MartianDestination),
        ("fd01::9", "::", DropReason::MartianDestination),
        ("::", "fd02::9", DropReason::MartianSource),
        ("::", "ff0e::9", DropReason::ForwardNotUnicast),
        ("::1", "fd02::9", DropReason::MartianSource),
        ("ff02::1", "fd02::9", DropReason::MartianSource),
    ] {
        let bytes = datagram(&header(src, dst, 17), &[0; 8]);
        assert_eq!(router.receive(LEFT, &bytes), Err(reason), "{src} {dst}");
        assert!(router.sent.is_empty(), "{src} {dst}");
    }
}

#[test]
fn who_may_not_leave_its_link_hears_so() {
    //= RFC4443 3.1 beyond scope
    let mut router = Router::new();
    for device in [LEFT, RIGHT] {
        let bytes = datagram(&header("fe80::9", "fd03::9", 17), &[0; 8]);
        assert_eq!(router.receive(device, &bytes), Err(DropReason::ForwardScope));
        assert_eq!(router.complaint(device, &bytes), (v6::TYPE_DST_UNREACH, 2, 0));
    }
}

#[test]
fn broadcasts_of_our_networks_are_for_us_and_go_no_further() {
    //= RFC2644 section 3
    let mut router = Router::new();
    for dst in ["255.255.255.255", "10.2.0.255", "10.2.0.0"] {
        let bytes = udp("10.1.0.9:1", &alloc::format!("{dst}:2"), b"hello");
        assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::UdpNoSocket), "{dst}");
        assert!(router.sent.is_empty());
    }
}

//= RFC791 2.3 don't fragment, 3.1 flags
//= RFC1812 4.2.2.7 fragment, 5.2.7.1 too big
//= RFC4443 3.2 too big
//= RFC8200 5 nobody cuts
#[test]
fn what_is_too_large_is_cut_or_complained_about() {
    let mut router = Router::new();
    let forbidden = IpHeader { dont_fragment: true, ..header("10.1.0.9", "10.3.0.9", 17) };
    let bytes = datagram(&forbidden, &[7; 1400]);
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::ForwardTooBig));
    assert_eq!(router.complaint(LEFT, &bytes), (v4::TYPE_DEST_UNREACH, 4, 1280));
    let bytes = datagram(&header("fd01::9", "fd03::9", 17), &[7; 1400]);
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::ForwardTooBig));
    assert_eq!(router.complaint(LEFT, &bytes), (v6::TYPE_PACKET_TOO_BIG, 0, 1280));
    let bytes = datagram(&header("10.1.0.9", "10.3.0.9", 17), &[7; 1400]);
    router.receive(LEFT, &bytes).unwrap();
    assert_eq!(router.sent.len(), 2);
    for (device, part) in &router.sent {
        let read = wire::parse(part).unwrap();
        assert_eq!((*device, read.hop_limit, read.ident), (NARROW, 63, 1));
        assert!(read.fragment.is_some() && part.len() <= 1280);
    }
}

#[test]
fn a_busy_device_makes_packets_wait_in_order() {
    let mut router = Router::new();
    router.busy.push(RIGHT);
    for text in [b"1", b"2"] {
        router.receive(LEFT, &udp("10.1.0.9:1", "10.2.0.9:2", text)).unwrap();
    }
    assert!(router.sent.is_empty());
    router.busy.clear();
    // The third must not overtake.
    router.receive(LEFT, &udp("10.1.0.9:1", "10.2.0.9:2", b"3")).unwrap();
    let order: Vec<u8> = router.sent.iter().map(|(_, bytes)| *bytes.last().unwrap()).collect();
    assert_eq!(order, b"123");
    assert_eq!(router.stack.counters().packets_out, 3);
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let mut router = Router::with(Config { transit_packets: 8, ..Config::default() });
    router.busy.push(RIGHT);
    let bytes = udp("10.1.0.9:1", "10.2.0.9:2", b"text");
    let results: Vec<_> = (0..64).map(|_| router.receive(LEFT, &bytes)).collect();
    assert!(results.starts_with(&[Ok(()), Ok(())]));
    assert_eq!(results.last(), Some(&Err(DropReason::ForwardQueueFull)));
}

//= RFC1812 5.3.8 off by default, 5.3.8 silently
#[test]
fn the_reverse_path_is_checked_as_configured() {
    let forged = udp("10.3.0.9:1", "10.2.0.9:2", b"text");
    let unknown = udp("192.0.2.1:1", "10.2.0.9:2", b"text");
    let honest = udp("10.1.0.9:1", "10.2.0.9:2", b"text");
    let drop = Err(DropReason::ReversePath);
    for (how, expected) in [
        (ReversePath::Off, [Ok(()), Ok(()), Ok(())]),
        (ReversePath::Loose, [Ok(()), drop, Ok(())]),
        (ReversePath::Strict, [drop, drop, Ok(())]),
    ] {
        let mut router = Router::with(Config { reverse_path: how, ..Config::default() });
        let found = [&forged, &unknown, &honest].map(|bytes| router.receive(LEFT, bytes));
        assert_eq!(found, expected, "{how:?}");
        // Silently: what is sent is what went on.
        assert_eq!(router.sent.len(), expected.iter().filter(|verdict| verdict.is_ok()).count());
    }
    assert_eq!(Config::default().reverse_path, ReversePath::Off);
}

#[test]
fn in_transit_only_hop_by_hop_options_are_looked_at() {
    //= RFC8200 4 in transit, 4.7 no next header in transit
    //= RFC8504 5.2 forwarded
    let mut router = Router::new();
    let unknown_option = [17, 0, 0xbe, 4, 0, 0, 0, 0];
    let routing = [17, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cut_off = [17, 200, 0, 0, 0, 0, 0, 0];
    // The last one: what follows "no next header" (RFC 8200 section 4.7).
    for (kind, extension) in [
        (60, &unknown_option[..]),
        (43, &routing),
        (60, &cut_off),
        (44, &[17, 0, 0, 9]),
        (59, b"what follows"),
    ] {
        let bytes = datagram(&header("fd01::9", "fd02::9", kind), extension);
        router.receive(LEFT, &bytes).unwrap();
        assert_eq!(router.only().1[40..], *extension);
    }
    let bytes = datagram(&header("fd01::9", "fd02::9", 0), &unknown_option);
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::ExtensionHeader));
    assert_eq!(router.complaint(LEFT, &bytes), (v6::TYPE_PARAMETER_PROBLEM, 2, 42));
}

//= RFC1812 5.2.6 no reassembly
#[test]
fn fragments_in_transit_go_on_as_they_are() {
    let mut router = Router::new();
    let mut bytes = datagram(&header("10.1.0.9", "10.2.0.9", 17), &[7; 16]);
    (bytes[6], bytes[7]) = (0x20, 9);
    seal(&mut bytes);
    router.receive(LEFT, &bytes).unwrap();
    let (_, sent) = router.only();
    assert_eq!(wire::parse(&sent).unwrap().fragment, wire::parse(&bytes).unwrap().fragment);
}

proptest! {
    #[test]
    fn a_checksum_updated_is_the_checksum_computed(mut bytes in prop::array::uniform20(any::<u8>()), ttl in 1u8..) {
        bytes[0] = 0x45;
        bytes[8] = ttl;
        seal(&mut bytes);
        let mut header = Header { bytes: ArrayVec::new() };
        header.bytes.try_extend_from_slice(&bytes).unwrap();
        header.decrement();
        let mut anew = bytes;
        anew[8] -= 1;
        seal(&mut anew);
        prop_assert_eq!(&header.bytes[..], &anew[..]);
    }
}

/// Any packet between two hosts beyond the router, its options or extension headers included.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(any::<[u8; 4]>(), 0..=10);
    let options = prop_oneof![
        Just(Vec::new()),
        words.prop_map(|words| words.concat()),
        Just(alloc::vec![7, 7, 4, 0, 0, 0, 0, 0]),
        Just(alloc::vec![1, 68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let fixed = (any::<bool>(), any::<u8>(), 2u8.., any::<u8>(), any::<u16>(), any::<bool>(), 0u16..0x3fff);
    (fixed, options, prop::collection::vec(any::<u8>(), 0..1200)).prop_map(
        |((v6, protocol, hop_limit, tos, ident, dont_fragment, part), options, payload)| {
            let (src, dst) = if v6 { ("fd01::9", "fd02::9") } else { ("10.1.0.9", "10.2.0.9") };
            let protocol = if protocol == 0 { 1 } else { protocol };
            let header = IpHeader { hop_limit, tos, ident, dont_fragment, ..header(src, dst, protocol) };
            if v6 {
                return datagram(&header, &payload);
            }
            let mut bytes = datagram(&header, &[&options[..], &payload].concat());
            bytes[0] = 0x40 | (5 + options.len() / 4) as u8;
            if !dont_fragment {
                bytes[6..8].copy_from_slice(&part.to_be_bytes());
            }
            seal(&mut bytes);
            bytes
        },
    )
}

/// What must be the same on both sides of a router: the packet without what it may change.
fn unchanging(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[8] = 0;
        bytes[10..12].fill(0);
        let end = usize::from(bytes[0] & 15) * 4;
        // Which options there are must stay; what the routers write into them may not.
        let mut at = 20;
        while at < end && bytes[at] != 0 {
            let len = if bytes[at] == 1 { 1 } else { usize::from(bytes[at + 1]) };
            if matches!(bytes[at], 7 | 68) {
                bytes[at + 2..at + len].fill(0);
            }
            at += len;
        }
    } else {
        bytes[7] = 0;
    }
    bytes
}

proptest! {
    #[test]
    fn what_goes_on_differs_in_its_hop_limit_and_what_follows_from_it(bytes in any_packet()) {
        let mut router = Router::new();
        match router.receive(LEFT, &bytes) {
            Ok(()) => {
                let (device, sent) = router.only();
                prop_assert_eq!(device, RIGHT);
                let (before, after) = (wire::parse_fixed(&bytes).unwrap(), wire::parse_fixed(&sent).unwrap());
                prop_assert_eq!(after.hop_limit, before.hop_limit - 1);
                prop_assert_eq!(after.problem, None);
                prop_assert_eq!(unchanging(&bytes), unchanging(&sent));
            }
            Err(reason) => {
                let parsed = wire::parse_fixed(&bytes);
                prop_assert!(
                    matches!(
                        reason,
                        DropReason::IpOption | DropReason::SourceRouted | DropReason::FragmentMalformed
                    ),
                    "{}: {:?}", reason, parsed
                );
                let is_flawed = match parsed {
                    Ok(parsed) => parsed.problem.is_some() || parsed.source_routed,
                    Err(_) => true,
                };
                prop_assert!(is_flawed);
            }
        }
    }
}

//= RFC4443 3.1 back onto the link
#[test]
fn a_packet_is_not_sent_back_where_it_came_from_on_its_own_network() {
    let mut router = Router::new();
    let bytes = udp("[fd02::9]:1", "[fd01::77]:2", b"hello");
    assert_eq!(router.receive(LEFT, &bytes), Err(DropReason::RouteUnreachable));
    assert_eq!(router.complaint(RIGHT, &bytes), (v6::TYPE_DST_UNREACH, 3, 0));
    // From the other side it goes, and over IPv4 in any case.
    router.receive(RIGHT, &bytes).unwrap();
    assert_eq!(router.only().0, LEFT);
    router.receive(LEFT, &udp("10.2.0.9:1", "10.1.0.77:2", b"hello")).unwrap();
    assert_eq!(router.only().0, LEFT);
}

//= RFC1812 4.2.2.5 checksum, 4.3.2.7 about invalid headers, 5.2.1 verify first, 5.2.2 link length
//= RFC1812 5.2.2 header length, 5.2.2 total length and header
#[test]
fn a_packet_that_does_not_hold_together_is_not_forwarded() {
    let mut router = Router::new();
    let good = udp("10.1.0.9:1", "10.2.0.9:2", b"hello");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        seal(&mut bytes);
        bytes
    };
    let mut damaged = good.clone();
    damaged[10] ^= 1;
    // The five checks of RFC 1812 section 5.2.2: length of what came, checksum, version, header length, total length.
    for (bytes, reason) in [
        (good[..19].to_vec(), DropReason::Truncated),
        (damaged, DropReason::IpChecksum),
        (with(0, 0x55), DropReason::IpVersion),
        (with(0, 0x44), DropReason::IpLength),
        (with(3, 19), DropReason::IpLength),
    ] {
        assert_eq!(router.receive(LEFT, &bytes), Err(reason));
        assert!(router.sent.is_empty());
    }
}

//= RFC1812 4.2.2.3 reserved flag
#[test]
fn the_reserved_flag_passes_through_in_every_fragment() {
    //= RFC1812 5.2.5 unchanged: routers MUST pass through unchanged the values of reserved bits, and copy them
    //# into each fragment.
    let mut router = Router::new();
    router.stack.set_mtu(RIGHT, 1000);
    for len in [8, 1400] {
        let mut bytes = datagram(&header("10.1.0.9", "10.2.0.9", 17), &alloc::vec![7; len]);
        bytes[6] |= 0x80;
        seal(&mut bytes);
        router.receive(LEFT, &bytes).unwrap();
        router.drain();
        let sent = core::mem::take(&mut router.sent);
        assert_eq!(sent.len(), if len == 8 { 1 } else { 2 });
        assert!(sent.iter().all(|(_, bytes)| bytes[6] & 0x80 != 0));
    }
}

#[test]
fn what_leaves_by_where_it_came_in_draws_no_redirect() {
    let mut router = Router::new();
    router.receive(LEFT, &udp("10.1.0.9:1", "10.1.0.8:2", b"text")).unwrap();
    assert_eq!(router.only().0, LEFT);
}

#[test]
fn drained_is_idle() {
    let mut router = Router::new();
    router.receive(LEFT, &udp("10.1.0.9:1", "10.2.0.9:2", b"text")).unwrap();
    let progress = router.stack.transmit(Instant::ZERO, &mut |_: Egress<'_>| Sent::Taken);
    assert_eq!(progress, Progress::Idle);
    assert_eq!(ip("10.2.0.9"), wire::parse(&router.only().1).unwrap().dst);
}
