//! What forwarding costs in the core: nanoseconds from a packet in the receive buffer to the sink's door.
//!
//! `cargo bench --bench forward` prints the figures; with `-- --check` it fails if one is worse than it may be.
//! The router has ten addresses and a thousand routes; the sink takes everything and looks at nothing.

use std::hint::black_box;
use std::num::NonZeroU16;
use std::process::ExitCode;
use std::time::Instant;

use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::wire::HeaderBuf;
use tunstack::proto::wire::ip::IpHeader;
use tunstack::proto::{ChecksumState, Config, DeviceId, Egress, Offloads, Packet, Secrets, Sent, Stack};

/// A packet of 1,500 bytes may take this long at the median: a tenth of what reading and writing it takes.
const NS_MAX: f64 = 150.0;
const ROUNDS: usize = 30;
const PACKETS: u32 = 100_000;

fn main() -> ExitCode {
    let is_checked = std::env::args().any(|argument| argument == "--check");
    let mut worst: f64 = 0.0;
    let plain = (0, ChecksumState::Unverified);
    let (unfinished, whole) = ((0, ChecksumState::Partial), (1400, ChecksumState::Partial));
    for (name, src, dst, len, (gso_size, checksum), is_limited) in [
        ("IPv4, 1,500 bytes", "10.0.0.9", "10.1.0.9", 1480, plain, true),
        ("IPv6, 1,500 bytes", "fd00:0::9", "fd00:1::9", 1460, plain, true),
        ("IPv4, checksum unfinished", "10.0.0.9", "10.1.0.9", 1480, unfinished, true),
        ("IPv4, 40 bytes", "10.0.0.9", "10.1.0.9", 20, plain, true),
        ("IPv4, super-segment of 60,000 bytes", "10.0.0.9", "10.1.0.9", 60_000, whole, false),
        ("IPv4, over a route of the table", "10.0.0.9", "172.16.77.9", 1480, plain, true),
    ] {
        let bytes = packet(src, dst, len);
        let ns = measure(&bytes, gso_size, checksum);
        println!("{name:40} {ns:7.1} ns");
        worst = if is_limited { worst.max(ns) } else { worst };
    }
    if is_checked && worst > NS_MAX {
        eprintln!("{worst:.1} ns are more than {NS_MAX:.1} ns");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn packet(src: &str, dst: &str, len: usize) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let (protocol, hop_limit, dont_fragment) = (6, 64, true);
    let header = IpHeader { src, dst, protocol, hop_limit, tos: 0, ident: 1, dont_fragment, flow_label: 0 };
    let mut bytes = HeaderBuf::new();
    header.write(len, &mut bytes);
    let mut transport = vec![0; len];
    transport[12] = 0x50;
    [&bytes[..], &transport].concat()
}

fn router() -> Stack {
    let config = Config { forwarding: true, ..Config::default() };
    let mut stack = Stack::new(config, &Secrets::from_number(1), tunstack::time::Instant::ZERO);
    for device in 0..5 {
        let id = stack.add_interface(1500);
        stack.set_offloads(id, Offloads { checksum: true, tso4: true, tso6: true, uso: true });
        stack.add_address(id, format!("10.{device}.0.1/24").parse().unwrap()).unwrap();
        stack.add_address(id, format!("fd00:{device}::1/64").parse().unwrap()).unwrap();
    }
    for third in 0..1000 {
        let (a, b) = (16 + third / 250, third % 250);
        let route = RouteSpec::new(
            format!("172.{a}.{b}.0/24").parse().unwrap(),
            RouteTarget::Interface(DeviceId((third % 5) as u16)),
        );
        stack.add_route(route).unwrap();
    }
    stack
}

/// The median of nanoseconds a packet.
fn measure(bytes: &[u8], gso_size: u16, checksum: ChecksumState) -> f64 {
    let mut stack = router();
    let at = tunstack::time::Instant::from_millis(1);
    let packet = Packet { checksum, gso_size: NonZeroU16::new(gso_size), ..Packet::plain(bytes, at) };
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..PACKETS {
                let mut sink = |egress: Egress<'_>| {
                    black_box(egress.len());
                    Sent::Taken
                };
                stack.receive_and_forward(DeviceId(0), black_box(&packet), &mut sink);
            }
            begin.elapsed().as_nanos() as f64 / f64::from(PACKETS)
        })
        .collect();
    assert_eq!(stack.counters().packets_out, ROUNDS as u64 * u64::from(PACKETS), "not all were forwarded");
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
