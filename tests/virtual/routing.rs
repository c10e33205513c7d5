//! Routers in a row: several stacks, each with a link to the next, between two hosts.
//!
//! RFC 1812 section 5 and RFC 8200 as they are seen from the hosts: what traceroute, ping and a transfer see.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tunstack::proto::config::ReversePath;
use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::packet::EgressChecksum;
use tunstack::proto::{
    ChecksumState, Config, Counters, DeviceId, DropReason, Egress, Error, Offloads, Owner, Packet, Secrets,
    Sent, Stack,
};
use tunstack::proto::{ErrorCause, ErrorReport};
use tunstack::time::Instant;

use crate::support::wire::{self, Ip};

const UDP: u8 = 17;
const TIME_EXCEEDED: [(u8, u8); 2] = [(11, 0), (3, 0)];
const PORT_UNREACHABLE: [(u8, u8); 2] = [(3, 3), (1, 4)];
const TOO_BIG: [(u8, u8); 2] = [(3, 4), (2, 0)];

/// On the wire: where it goes, and what the device says of it.
struct Flying {
    to: usize,
    by: DeviceId,
    bytes: Vec<u8>,
    gso_size: Option<NonZeroU16>,
    checksum: ChecksumState,
}

/// Stacks in a row, the first and the last of which are hosts. Link `i` lies between stack `i` and stack `i + 1`, which
/// are 10.i.0.1 and 10.i.0.2, fd00:i::1 and fd00:i::2 there.
struct Row {
    now: Instant,
    stacks: Vec<Stack>,
    mtus: Vec<usize>,
    flying: VecDeque<Flying>,
    /// How many bytes the largest packet on each link had.
    largest: Vec<usize>,
}

fn address(family: usize, link: usize, end: usize) -> IpAddr {
    match family {
        0 => format!("10.{link}.0.{end}").parse().unwrap(),
        _ => format!("fd00:{link}::{end}").parse().unwrap(),
    }
}

impl Row {
    /// A row with links of these MTUs.
    fn new(mtus: &[usize]) -> Row {
        Row::with(mtus, Offloads::default(), &Config::default())
    }

    fn with(mtus: &[usize], offloads: Offloads, config: &Config) -> Row {
        let now = Instant::from_millis(1000);
        let last = mtus.len();
        let stacks = (0..=last).map(|at| {
            let config = Config { forwarding: at > 0 && at < last, ..config.clone() };
            let mut stack = Stack::new(config, &Secrets::from_number(at as u64), now);
            // Towards the first first.
            for (link, end) in [(at.wrapping_sub(1), 2), (at, 1)] {
                if link >= last {
                    continue;
                }
                let device = stack.add_interface(mtus[link]);
                stack.set_offloads(device, offloads);
                let beyond = if end == 2 { 0..link } else { link + 1..last };
                for (family, len) in [(0, 24), (1, 64)] {
                    // IPv6 needs links of 1280 bytes.
                    if family == 1 && mtus[link] < 1280 {
                        continue;
                    }
                    let net = format!("{}/{len}", address(family, link, end)).parse().unwrap();
                    stack.add_address(device, net).unwrap();
                    // Everything on that side.
                    for link in beyond.clone() {
                        let destination = format!("{}/{len}", address(family, link, 0)).parse().unwrap();
                        let route = RouteSpec::new(destination, RouteTarget::Interface(device));
                        stack.add_route(route).unwrap();
                    }
                }
            }
            stack
        });
        Row {
            now,
            stacks: stacks.collect(),
            mtus: mtus.to_vec(),
            flying: VecDeque::new(),
            largest: vec![0; last],
        }
    }

    /// Puts a packet of the first host's on its link.
    fn inject(&mut self, bytes: Vec<u8>) {
        let by = DeviceId(0);
        self.flying.push_back(Flying {
            to: 1,
            by,
            bytes,
            gso_size: None,
            checksum: ChecksumState::Unverified,
        });
    }

    /// Everything happens that happens without the time passing.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(packet) = self.flying.pop_front() else {
                if (0..self.stacks.len()).all(|at| !self.drain(at)) {
                    return;
                }
                continue;
            };
            let Flying { to, by, bytes, gso_size, checksum } = packet;
            let (mtus, largest, flying) = (&self.mtus, &mut self.largest, &mut self.flying);
            let received = Packet { checksum, gso_size, ..Packet::plain(&bytes, self.now) };
            let mut sink = |egress: Egress<'_>| carry(to, mtus, largest, flying, egress);
            self.stacks[to].receive_and_forward(by, &received, &mut sink);
            self.drain(to);
        }
        panic!("packets without end");
    }

    /// Whether the stack has sent anything.
    fn drain(&mut self, at: usize) -> bool {
        let (mtus, largest, flying) = (&self.mtus, &mut self.largest, &mut self.flying);
        let before = flying.len();
        let _ = self.stacks[at]
            .transmit(self.now, &mut |egress: Egress<'_>| carry(at, mtus, largest, flying, egress));
        self.flying.len() > before
    }

    /// Lets time pass, timers and packets included.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(next) =
            self.stacks.iter().filter_map(Stack::deadline).min().filter(|next| *next <= end)
        {
            self.now = self.now.max(next);
            for stack in &mut self.stacks {
                stack.advance(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    fn last(&mut self) -> &mut Stack {
        self.stacks.last_mut().unwrap()
    }

    fn counters(&self, at: usize) -> &Counters {
        self.stacks[at].counters()
    }

    /// The address of the last host.
    fn far(&self, family: usize) -> IpAddr {
        address(family, self.mtus.len() - 1, 2)
    }

    /// A UDP socket of the first host that hears of every error.
    fn listener(&mut self, family: usize) -> tunstack::proto::UdpId {
        let local = SocketAddr::new(address(family, 0, 1), 0);
        let id = self.stacks[0].udp_bind(self.now, local, Owner::APPLICATION).unwrap();
        let options = self.stacks[0].udp_options(id).unwrap();
        let options = tunstack::proto::udp::UdpOptions { report_errors: true, ..options };
        self.stacks[0].udp_set_options(id, options).unwrap();
        id
    }
}

fn type_code(report: &ErrorReport) -> Option<(u8, u8)> {
    match report.cause {
        ErrorCause::Icmp { type_code, .. } => Some(type_code),
        ErrorCause::Local => None,
    }
}

fn offender(report: &ErrorReport) -> Option<IpAddr> {
    match report.cause {
        ErrorCause::Icmp { offender, .. } => Some(offender),
        ErrorCause::Local => None,
    }
}

/// A packet that stack `from` sends: to its neighbour, if the link takes it as it is.
fn carry(
    from: usize,
    mtus: &[usize],
    largest: &mut [usize],
    flying: &mut VecDeque<Flying>,
    egress: Egress<'_>,
) -> Sent {
    let leftwards = from > 0 && egress.device == DeviceId(0);
    let (to, link) = if leftwards { (from - 1, from - 1) } else { (from + 1, from) };
    let by = if leftwards && to > 0 { DeviceId(1) } else { DeviceId(0) };
    let mut bytes = Vec::new();
    egress.copy_to(&mut bytes);
    let checksum = match egress.checksum {
        EgressChecksum::Complete => ChecksumState::Unverified,
        EgressChecksum::Partial { .. } => ChecksumState::Partial,
    };
    if egress.gso_size.is_none() {
        assert!(bytes.len() <= mtus[link], "{} bytes on a link of {}", bytes.len(), mtus[link]);
    }
    largest[link] = largest[link].max(bytes.len());
    flying.push_back(Flying { to, by, bytes, gso_size: egress.gso_size, checksum });
    Sent::Taken
}

#[test]
fn traceroute_finds_every_hop_and_the_end() {
    for family in [0, 1] {
        let mut row = Row::new(&[1500; 4]);
        let socket = row.listener(family);
        let to = SocketAddr::new(row.far(family), 33_434);
        for hop in 1..=4 {
            let options = row.stacks[0].udp_options(socket).unwrap();
            let options = tunstack::proto::udp::UdpOptions { ttl: hop as u8, ..options };
            row.stacks[0].udp_set_options(socket, options).unwrap();
            let now = row.now;
            row.stacks[0].udp_send_to(now, socket, b"probe", Some(to)).unwrap();
            row.settle();
            let report = row.stacks[0].udp_recv_error(socket).unwrap().unwrap();
            // Who answers does so from the end of the link that leads back.
            assert_eq!(offender(&report), Some(address(family, hop - 1, 2)), "hop {hop}");
            let expected = if hop < 4 { TIME_EXCEEDED } else { PORT_UNREACHABLE };
            assert_eq!(type_code(&report), Some(expected[family]), "hop {hop}");
            let _ = row.stacks[0].udp_take_error(socket);
            row.run(Duration::from_secs(1));
        }
        assert_eq!(row.counters(1).dropped(DropReason::HopLimit), 1);
        assert_eq!(row.counters(1).packets_forwarded, 3 + 3);
    }
}

#[test]
fn tracepath_learns_the_mtu_of_each_narrower_link() {
    //= RFC1191 4 router
    //= RFC8200 5 nobody cuts
    for family in [0, 1] {
        let mut row = Row::new(&[1500, 1400, 1300, 1500]);
        let socket = row.listener(family);
        let to = SocketAddr::new(row.far(family), 33_434);
        row.stacks[0].udp_connect(row.now, socket, to).unwrap();
        let overhead = if family == 0 { 28 } else { 48 };
        for mtu in [1500, 1400, 1300] {
            assert_eq!(row.stacks[0].udp_path_mtu(socket), Ok(mtu));
            let now = row.now;
            row.stacks[0].udp_send_to(now, socket, &vec![0; mtu - overhead], None).unwrap();
            row.settle();
            let report = row.stacks[0].udp_recv_error(socket).unwrap().unwrap();
            let expected = if mtu > 1300 { TOO_BIG } else { PORT_UNREACHABLE };
            assert_eq!(type_code(&report), Some(expected[family]), "{mtu}");
            let _ = row.stacks[0].udp_take_error(socket);
            row.run(Duration::from_secs(1));
        }
        assert_eq!(row.counters(1).dropped(DropReason::ForwardTooBig), 1);
        assert_eq!(row.counters(2).dropped(DropReason::ForwardTooBig), 1);
    }
}

#[test]
fn a_large_ping_is_cut_on_the_way_and_comes_back_whole() {
    let mut row = Row::new(&[1500, 1000, 600, 1500]);
    let now = row.now;
    let far = row.far(0);
    let data: Vec<u8> = (0..20_000u32).map(|at| (at / 7) as u8).collect();
    let id = row.stacks[0].ping_bind(now, address(0, 0, 1), 7, Owner::APPLICATION).unwrap();
    row.stacks[0].ping_send_to(now, id, 1, &data, Some(far)).unwrap();
    row.settle();
    let mut out = vec![0; 30_000];
    let received = row.stacks[0].ping_recv(id, &mut out).unwrap();
    assert_eq!((received.len, received.from), (data.len(), far));
    assert_eq!(out[..data.len()], data);
    assert!(row.largest[2] <= 600 && row.largest[1] > 900, "{:?}", row.largest);
}

/// Copies `data` from the first host to the last.
fn transfer(row: &mut Row, family: usize, data: &[u8]) {
    let remote = SocketAddr::new(row.far(family), 80);
    let now = row.now;
    let listener = row.last().tcp_listen(now, remote, None, Owner::APPLICATION).unwrap();
    let client = row.stacks[0].tcp_connect(now, None, remote, None, Owner::APPLICATION).unwrap();
    row.settle();
    let (server, _) = row.last().tcp_accept(now, listener).unwrap();
    let (mut written, mut read) = (0, Vec::new());
    let mut out = vec![0; 1 << 16];
    for _ in 0..10_000 {
        let now = row.now;
        match row.stacks[0].tcp_write(now, client, &data[written..]) {
            Ok(len) => written += len,
            Err(Error::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
        row.settle();
        while let Ok(len @ 1..) = row.last().tcp_read(now, server, &mut out) {
            read.extend_from_slice(&out[..len]);
        }
        if read.len() == data.len() {
            assert!(read == data, "the bytes are others");
            return;
        }
        row.run(Duration::from_millis(10));
    }
    panic!("{} of {} bytes came", read.len(), data.len());
}

#[test]
fn a_transfer_passes_three_routers() {
    let data: Vec<u8> = (0..1_000_000u32).map(|at| (at / 3) as u8).collect();
    let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
    for offloads in [Offloads::default(), all] {
        for family in [0, 1] {
            let mut row = Row::with(&[1500; 4], offloads, &Config::default());
            transfer(&mut row, family, &data);
            for router in 1..=3 {
                assert_eq!(row.counters(router).dropped_total(), 0);
                assert_eq!(row.counters(router).packets_delivered, 0);
            }
        }
    }
}

#[test]
fn what_circles_between_routers_ends() {
    let mut row = Row::new(&[1500; 3]);
    let nowhere = "192.0.2.0/24".parse().unwrap();
    // The first router sends it right, the second left.
    for (at, device) in [(0, DeviceId(0)), (1, DeviceId(1)), (2, DeviceId(0))] {
        row.stacks[at].add_route(RouteSpec::new(nowhere, RouteTarget::Interface(device))).unwrap();
    }
    let socket = row.listener(0);
    let now = row.now;
    row.stacks[0].udp_send_to(now, socket, b"x", Some("192.0.2.1:9".parse().unwrap())).unwrap();
    row.settle();
    let forwarded = row.counters(1).packets_forwarded + row.counters(2).packets_forwarded;
    // Sixty-three hops, and the error on its way back if the second router sent it.
    assert!((63..=64).contains(&forwarded), "{forwarded}");
    let report = row.stacks[0].udp_recv_error(socket).unwrap().unwrap();
    assert_eq!(type_code(&report), Some((11, 0)));
}

//= RFC1812 4.3.3.1 no host
//= RFC4443 3.1 code
#[test]
fn routes_that_lead_nowhere_say_so_as_they_are_told() {
    //= RFC1812 5.2.7.1 code, 5.2.7.1 prohibited
    for (target, expected, reason) in [
        (RouteTarget::Unreachable, Some([(3, 1), (1, 3)]), DropReason::RouteUnreachable),
        (RouteTarget::Prohibit, Some([(3, 13), (1, 1)]), DropReason::RouteProhibited),
        (RouteTarget::Blackhole, None, DropReason::RouteBlackhole),
    ] {
        for (family, nowhere) in ["192.0.2.0/24", "2001:db8::/32"].into_iter().enumerate() {
            let mut row = Row::new(&[1500; 2]);
            let net: tunstack::ipnet::IpNet = nowhere.parse().unwrap();
            row.stacks[0].add_route(RouteSpec::new(net, RouteTarget::Interface(DeviceId(0)))).unwrap();
            row.stacks[1].add_route(RouteSpec::new(net, target)).unwrap();
            let socket = row.listener(family);
            let now = row.now;
            let to = SocketAddr::new(net.hosts().next().unwrap(), 9);
            row.stacks[0].udp_send_to(now, socket, b"x", Some(to)).unwrap();
            row.settle();
            let told = row.stacks[0].udp_recv_error(socket).unwrap().as_ref().and_then(type_code);
            assert_eq!(told, expected.map(|by_family| by_family[family]), "{target:?}");
            assert_eq!(row.counters(1).dropped(reason), 1);
        }
    }
}

#[test]
fn a_strict_reverse_path_lets_honest_packets_through_and_forged_ones_not() {
    //= RFC1812 5.3.8 silently
    let config = Config { reverse_path: ReversePath::Strict, ..Config::default() };
    let mut row = Row::with(&[1500; 3], Offloads::default(), &config);
    transfer(&mut row, 0, &[7; 10_000]);
    // A stranger on the first link says that he is on the third.
    let forged = Ip::new("10.2.0.9".parse().unwrap(), row.far(0), UDP, vec![0; 8]);
    row.inject(forged.encode());
    row.settle();
    assert_eq!(row.counters(1).dropped(DropReason::ReversePath), 1);
    assert_eq!(row.counters(1).dropped_total(), 1);
}

//= RFC1812 4.2.2.2 address in options, 5.3.13.5 record route
#[test]
fn a_recorded_route_names_every_hop_there_and_back() {
    let mut row = Row::new(&[1500; 3]);
    let mut echo = vec![8, 0, 0, 0, 0, 7, 0, 1];
    let sum = !wire_sum(&echo);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut options = vec![7, 39, 4];
    options.resize(40, 0);
    let mut bytes = Ip::new(address(0, 0, 1), row.far(0), 1, [options, echo].concat()).encode();
    bytes[0] = 0x4f;
    bytes[10..12].fill(0);
    let sum = !wire_sum(&bytes[..60]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    row.inject(bytes);
    // Watched where it comes back to the first host.
    let mut answer = None;
    while let Some(packet) = row.flying.pop_front() {
        if packet.to == 0 {
            answer = Some(packet.bytes);
            break;
        }
        row.flying.push_front(packet);
        step(&mut row);
    }
    let answer = answer.expect("an answer");
    let option = &answer[20..59];
    let recorded: Vec<IpAddr> = option[3..usize::from(option[2]) - 1]
        .chunks(4)
        .map(|a| IpAddr::from([a[0], a[1], a[2], a[3]]))
        .collect();
    let expected = [(1, 1), (2, 1), (2, 2), (2, 2), (1, 2), (0, 2)].map(|(link, end)| address(0, link, end));
    assert_eq!(recorded, expected);
    assert_eq!((answer[0], answer[60]), (0x4f, 0), "an echo reply with options");
    assert_eq!(wire_sum(&answer[..60]), 0xffff);
}

/// One packet is received, and what it causes is sent.
fn step(row: &mut Row) {
    let Some(Flying { to, by, bytes, .. }) = row.flying.pop_front() else { return };
    let (mtus, largest, flying) = (&row.mtus, &mut row.largest, &mut row.flying);
    let mut sink = |egress: Egress<'_>| carry(to, mtus, largest, flying, egress);
    row.stacks[to].receive_and_forward(by, &Packet::plain(&bytes, row.now), &mut sink);
    row.drain(to);
}

/// The one's complement sum, one word after another (RFC 1071).
fn wire_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn a_super_segment_is_cut_where_the_offloads_end() {
    for family in [0, 1] {
        let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
        let mut row = Row::with(&[1500; 3], all, &Config::default());
        // The second router's way on is a plain link.
        row.stacks[2].set_offloads(DeviceId(1), Offloads::default());
        let (src, dst) = (address(family, 0, 1), row.far(family));
        let data: Vec<u8> = (0..30_000u32).map(|at| (at / 5) as u8).collect();
        let mut tcp = vec![0; 20];
        tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        (tcp[12], tcp[13]) = (0x50, wire::ACK);
        tcp.extend_from_slice(&data);
        let mut pseudo: Vec<u8> = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
            _ => unreachable!(),
        };
        pseudo.extend((tcp.len() as u32).to_be_bytes());
        pseudo.extend([0, 6]);
        let seed = wire_sum(&pseudo).to_be_bytes();
        tcp[16..18].copy_from_slice(&seed);
        row.inject(Ip::new(src, dst, 6, tcp).encode());
        let packet = row.flying.back_mut().unwrap();
        (packet.gso_size, packet.checksum) = (NonZeroU16::new(1400), ChecksumState::Partial);
        row.settle();
        assert!(row.largest[1] > 30_000 && row.largest[2] <= 1500, "{:?}", row.largest);
        assert_eq!((row.counters(1).packets_forwarded, row.counters(2).packets_out), (1 + 22, 22 + 22));
        // The last host has verified the checksums, and told for each segment that nobody is there.
        assert_eq!(row.counters(3).dropped(DropReason::TcpNoSocket), 22);
        assert_eq!(row.counters(3).dropped_total(), 22);
    }
}
