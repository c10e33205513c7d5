//! Datagrams into a router with sockets: whatever they are, each has one fate, what is sent holds together, and what they
//! leave behind is gone when its time has come.
//!
//! The first byte says whether the rest is one datagram as it is, or several, each behind a few bytes that say how it
//! comes: by which interface, with what vouched for, with lengths and checksums put right, in an envelope of known
//! addresses, in fragments.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tunstack::ipnet::IpNet;
use tunstack::proto::config::ReversePath;
use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::{
    ChecksumState, Config, DeviceId, MtuDiscover, Offloads, Owner, Packet, PingId, RawId, UdpId,
};
use tunstack::time::Instant;

use super::driver::Driver;
use super::packets::{self, Segment};

/// Datagrams of one input.
const DATAGRAMS: usize = 12;

/// Addresses of envelopes: ours, neighbours, hosts behind routes of all kinds, groups, and what nobody may be.
const ADDRESSES_V4: [[u8; 4]; 16] = [
    [10, 9, 0, 2],
    [10, 9, 0, 1],
    [10, 8, 0, 1],
    [10, 8, 0, 9],
    [192, 0, 2, 7],
    [198, 51, 100, 1],
    [198, 51, 101, 1],
    [198, 51, 102, 1],
    [10, 9, 0, 255],
    [255, 255, 255, 255],
    [224, 0, 0, 1],
    [127, 0, 0, 1],
    [0, 0, 0, 0],
    [169, 254, 1, 1],
    [240, 0, 0, 1],
    [10, 8, 0, 2],
];

const ADDRESSES_V6: [&str; 16] = [
    "fd09::2",
    "fd09::1",
    "fd08::1",
    "fd08::9",
    "2001:db8::7",
    "2001:db8:1::1",
    "2001:db8:2::1",
    "2001:db8:3::1",
    "ff02::1",
    "ff05::1",
    "::1",
    "::",
    "fe80::1",
    "::ffff:10.9.0.2",
    "fd09::",
    "fd08::2",
];

/// See the module.
pub fn run(data: &[u8]) {
    let Some((&shape, mut rest)) = data.split_first() else { return };
    let mut router = Router::new(shape);
    if shape & 1 == 0 {
        router.receive(&Packet::plain(rest, router.driver.now), 0);
    } else {
        for _ in 0..DATAGRAMS {
            if rest.is_empty() {
                break;
            }
            rest = router.arrival(rest);
        }
    }
    router.read_all();
    router.end();
}

/// The stack under test, its interfaces and its sockets.
struct Router {
    driver: Driver,
    devices: [DeviceId; 2],
    udp: [UdpId; 2],
    raw: [RawId; 2],
    ping: [PingId; 2],
}

impl Router {
    fn new(shape: u8) -> Router {
        let config = Config {
            forwarding: shape & 2 == 0,
            reverse_path: if shape & 4 == 0 { ReversePath::Off } else { ReversePath::Strict },
            reassembly_bytes: 64 << 10,
            reassembly_datagrams: 3,
            reassembly_parts: 8,
            transit_packets: 3,
            udp_recv_buffer: 4 << 10,
            raw_recv_buffer: 4 << 10,
            ping_recv_buffer: 4 << 10,
            error_reports: 4,
            path_mtus: 4,
            sent_log: 64,
            ..Config::default()
        };
        let mut driver = Driver::new(config, 1, Instant::from_millis(1_000_000));
        let near = driver.add_interface(1500, &["10.9.0.2/24", "fd09::2/64"]);
        let far = driver.add_interface(1280, &["10.8.0.1/24", "fd08::1/64"]);
        if shape & 8 != 0 {
            driver.stack.set_offloads(far, Offloads { checksum: true, tso4: true, tso6: true, uso: true });
        }
        if shape & 16 != 0 {
            driver.stack.set_utc_offset(1_700_000_000_000_000_000);
        }
        driver.is_busy = shape & 32 != 0;
        add_routes(&mut driver, far);
        let mut router = Router {
            udp: bind_udp(&mut driver),
            raw: bind_raw(&mut driver),
            ping: bind_ping(&mut driver),
            devices: [near, far],
            driver,
        };
        router.talk();
        router
    }

    /// Datagrams of ours that errors can be about, and listeners.
    fn talk(&mut self) {
        let now = self.driver.now;
        let stack = &mut self.driver.stack;
        for any in ["0.0.0.0:7", "[::]:7"] {
            let any: SocketAddr = any.parse().expect("an address");
            stack.tcp_listen(now, any, Some(2), Owner::APPLICATION).expect("a free port");
        }
        for (at, peer) in ["10.9.0.1:53", "[fd09::1]:53"].into_iter().enumerate() {
            let peer: SocketAddr = peer.parse().expect("an address");
            let _ = stack.udp_send_to(now, self.udp[at], &[7; 1400], Some(peer));
            let _ = stack.ping_send_to(now, self.ping[at], 1, b"ping", Some(peer.ip()));
        }
        self.driver.flush();
    }

    /// One datagram with what stands before it; what is left of the input.
    fn arrival<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let Some((&[how, trust, envelope, kind, len], rest)) = data.split_first_chunk::<5>() else {
            return &[];
        };
        // 255: all there is. Else in steps of four, so that large ones can be told in a byte.
        let len = if len == 255 { rest.len() } else { (usize::from(len) * 4).min(rest.len()) };
        let (body, rest) = rest.split_at(len);
        let mut bytes = if how & 1 == 0 { body.to_vec() } else { enveloped(envelope, kind, body) };
        if how & 2 != 0 {
            packets::seal(&mut bytes);
        }
        self.driver.is_busy ^= how & 128 != 0;
        if how & 64 != 0 {
            self.driver.run(Duration::from_secs(1) * u32::from(kind));
        }
        let checksum = match trust & 3 {
            0 | 3 => ChecksumState::Unverified,
            1 => ChecksumState::Trusted,
            _ => ChecksumState::Partial,
        };
        let gso_size = NonZeroU16::new(u16::from(trust >> 2) * 24);
        let from = usize::from(how >> 2 & 1);
        if how & 8 != 0 {
            for part in fragments(&bytes, usize::from(envelope & 15) * 8 + 8, how & 16 != 0, how & 32 != 0) {
                self.receive(&Packet { bytes: &part, at: self.driver.now, checksum, gso_size: None }, from);
            }
        } else {
            self.receive(&Packet { bytes: &bytes, at: self.driver.now, checksum, gso_size }, from);
        }
        rest
    }

    fn receive(&mut self, packet: &Packet<'_>, from: usize) {
        self.driver.receive(self.devices[from], packet);
    }

    /// Reads whatever there is to be read, with too little room for much of it.
    fn read_all(&mut self) {
        let stack = &mut self.driver.stack;
        let mut out = [0; 64];
        while stack.next_event().is_some() {}
        for id in self.udp {
            while matches!(stack.udp_recv_error(id), Ok(Some(_))) {}
            let _ = stack.udp_take_error(id);
            while let Ok(read) = stack.udp_recv_msg(id, &mut out) {
                assert!(read.len <= out.len());
            }
        }
        for id in self.raw {
            while matches!(stack.raw_recv_error(id), Ok(Some(_))) {}
            let _ = stack.raw_take_error(id);
            while let Ok(read) = stack.raw_recv_msg(id, &mut out) {
                assert!(read.len <= out.len());
            }
        }
        for id in self.ping {
            while matches!(stack.ping_recv_error(id), Ok(Some(_))) {}
            let _ = stack.ping_take_error(id);
            while let Ok(read) = stack.ping_recv(id, &mut out) {
                assert!(read.len <= out.len());
            }
        }
    }

    /// Half-open connections, fragments and path MTUs are forgotten when their time has come.
    fn end(&mut self) {
        self.driver.is_busy = false;
        self.driver.flush();
        self.driver.run(Duration::from_secs(1200));
        assert_eq!(self.driver.stack.deadline(), None, "a timer that never ends");
        self.driver.check_counters();
        let census = self.driver.stack.tcp_census();
        assert_eq!((census.half_open, census.time_wait, census.timers), (0, 0, 0));
    }
}

fn add_routes(driver: &mut Driver, far: DeviceId) {
    let routes = [
        ("192.0.2.0/24", "2001:db8::/48", RouteTarget::Interface(far)),
        ("198.51.100.0/24", "2001:db8:1::/48", RouteTarget::Blackhole),
        ("198.51.101.0/24", "2001:db8:2::/48", RouteTarget::Unreachable),
        ("198.51.102.0/24", "2001:db8:3::/48", RouteTarget::Prohibit),
    ];
    for (v4, v6, target) in routes {
        for net in [v4, v6] {
            let net: IpNet = net.parse().expect("a network");
            driver.stack.add_route(RouteSpec::new(net, target)).expect("a route like no other");
        }
    }
}

fn bind_udp(driver: &mut Driver) -> [UdpId; 2] {
    ["0.0.0.0:7", "[::]:7"].map(|any| {
        let any: SocketAddr = any.parse().expect("an address");
        let id = driver.stack.udp_bind(driver.now, any, Owner::APPLICATION).expect("a free port");
        let mut options = driver.stack.udp_options(id).expect("a socket");
        options.report_errors = true;
        options.mtu_discover = MtuDiscover::Want;
        driver.stack.udp_set_options(id, options).expect("options that can be");
        id
    })
}

fn bind_raw(driver: &mut Driver) -> [RawId; 2] {
    [("0.0.0.0", 253), ("::", 58)].map(|(any, protocol)| {
        let any: IpAddr = any.parse().expect("an address");
        let id = driver.stack.raw_bind(driver.now, any, protocol, Owner::APPLICATION).expect("room");
        let mut options = driver.stack.raw_options(id).expect("a socket");
        options.report_errors = true;
        driver.stack.raw_set_options(id, options).expect("options that can be");
        id
    })
}

fn bind_ping(driver: &mut Driver) -> [PingId; 2] {
    ["0.0.0.0", "::"].map(|any| {
        let any: IpAddr = any.parse().expect("an address");
        let id = driver.stack.ping_bind(driver.now, any, 9, Owner::APPLICATION).expect("a free identifier");
        let mut options = driver.stack.ping_options(id).expect("a socket");
        options.report_errors = true;
        driver.stack.ping_set_options(id, options).expect("options that can be");
        id
    })
}

/// `body` in a datagram between two of the known addresses; `kind` says what it is, and in which family.
fn enveloped(ends: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let (from, to) = (usize::from(ends & 15), usize::from(ends >> 4));
    let (src, dst): (IpAddr, IpAddr) = if kind & 1 == 0 {
        (ADDRESSES_V4[from].into(), ADDRESSES_V4[to].into())
    } else {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        (address(ADDRESSES_V6[from]), address(ADDRESSES_V6[to]))
    };
    let icmp = if src.is_ipv4() { 1 } else { 58 };
    let (protocol, payload) = match kind >> 1 & 15 {
        0..4 => (icmp, body.to_vec()),
        4..6 => (packets::UDP, [&[0, 53, 0, 7, 0, 0, 0, 0], body].concat()),
        6 => (packets::TCP, syn(body)),
        7 => (packets::TCP, body.to_vec()),
        8 => (253, body.to_vec()),
        // Options of IPv6, a routing header, a fragment: of IPv4 nobody knows what they are.
        9 => (0, body.to_vec()),
        10 => (43, body.to_vec()),
        11 => (44, body.to_vec()),
        12 => (60, body.to_vec()),
        // An error about what we have sent.
        13 | 14 => (icmp, complaint(src, dst, body)),
        _ => (body.first().copied().unwrap_or(59), body.to_vec()),
    };
    packets::datagram(src, dst, protocol, &payload)
}

fn syn(options: &[u8]) -> Vec<u8> {
    let (src_port, dst_port, flags) = (40_000, 7, packets::SYN);
    Segment { src_port, dst_port, seq: 1, ack: 0, flags, window: 1000, urgent: 0, options, text: &[] }
        .to_bytes()
}

/// An ICMP error whose first eight bytes are the body's, about a datagram from `dst` to `src`.
fn complaint(src: IpAddr, dst: IpAddr, body: &[u8]) -> Vec<u8> {
    let (header, behind) = body.split_at(body.len().min(8));
    let mut payload = header.to_vec();
    payload.resize(8, 0);
    let (protocol, transport) = match behind.first() {
        Some(1) => {
            (if dst.is_ipv4() { 1 } else { 58 }, [if dst.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 9, 0, 1])
        }
        Some(2) => (253, [0; 8]),
        Some(3) => (packets::TCP, [0, 7, 156, 64, 0, 0, 0, 1]),
        _ => (packets::UDP, [0, 7, 0, 53, 5, 128, 0, 0]),
    };
    payload.extend(packets::datagram(dst, src, protocol, &[&transport, behind].concat()));
    payload
}

/// A datagram in parts of `size` bytes, perhaps backwards, perhaps each overlapping the next.
fn fragments(bytes: &[u8], size: usize, backwards: bool, overlap: bool) -> Vec<Vec<u8>> {
    let Some(layout) = packets::layout(bytes).filter(|it| !it.is_fragment) else {
        return vec![bytes.to_vec()];
    };
    let (header, payload) = bytes.split_at(layout.payload_at);
    let mut parts = Vec::new();
    for at in (0..payload.len()).step_by(size).take(20) {
        let end = (at + size + if overlap { 8 } else { 0 }).min(payload.len());
        let (more, piece) = (end < payload.len(), &payload[at..end]);
        let place = (at as u16) | u16::from(more);
        let mut part = header.to_vec();
        if layout.src.is_ipv4() {
            let place = at as u16 / 8 + if more { 0x2000 } else { 0 };
            part[6..8].copy_from_slice(&place.to_be_bytes());
        } else {
            // All extension headers go into each part, the fragment header behind them.
            let kind_at = last_kind_at(header);
            let follows = std::mem::replace(&mut part[kind_at], 44);
            part.extend([follows, 0]);
            part.extend(place.to_be_bytes());
            part.extend([0, 0, 0, 1]);
        }
        part.extend_from_slice(piece);
        packets::seal(&mut part);
        parts.push(part);
    }
    if backwards {
        parts.reverse();
    }
    parts
}

/// Where the last of the headers of an IPv6 datagram says what follows it.
fn last_kind_at(header: &[u8]) -> usize {
    let (mut kind_at, mut at) = (6, 40);
    while at + 8 <= header.len() {
        let len = if header[kind_at] == 44 { 8 } else { 8 + usize::from(header[at + 1]) * 8 };
        (kind_at, at) = (at, at + len);
    }
    kind_at
}
