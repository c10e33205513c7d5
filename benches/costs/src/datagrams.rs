//! Datagrams: echoed over UDP, and sent on to somebody else.

use std::hint::black_box;
use std::num::NonZeroU16;
use std::time::Duration;

use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::wire::HeaderBuf;
use tunstack::proto::wire::ip::IpHeader;
use tunstack::proto::{
    ChecksumState, Config, DeviceId, Egress, Error, Offloads, Owner, Packet, Secrets, Sent, Stack,
};
use tunstack::time::Instant;

use crate::Cost;
use crate::meter::Meter;
use crate::pair::{Devices, Pair, SERVER};

pub(crate) const COSTS: &[Cost] = &[
    ("datagram: 64 bytes of UDP echoed", |meter| udp_echo(meter, 1)),
    ("datagram: 64 bytes of UDP echoed, each to another", |meter| udp_echo(meter, BURST)),
    ("datagram: 1,500 bytes of IPv4 sent on", |meter| forward(meter, "10.0.0.9", "10.1.0.9", 1480, 0)),
    ("datagram: 1,500 bytes of IPv6 sent on", |meter| forward(meter, "fd00:0::9", "fd00:1::9", 1460, 0)),
    ("datagram: super-segment of IPv4 sent on", |meter| forward(meter, "10.0.0.9", "10.1.0.9", 60_000, 1400)),
];

/// Datagrams that come at once.
const BURST: usize = 16;

/// Bursts of datagrams from so many sockets in turn, as a device gives them, and the server's echo of each. What goes from
/// one socket to one other travels together, both ways.
fn udp_echo(meter: &mut Meter, sockets: usize) {
    let mut pair = Pair::new(&Config::default(), Devices::Offload);
    let remote = SERVER.parse().unwrap();
    let bind = |number: usize| {
        let local = ([10, 9, 0, 1], 7000 + number as u16).into();
        pair.client.stack.udp_bind(pair.now, local, Owner::default()).unwrap()
    };
    let ours: Vec<_> = (0..sockets).map(bind).collect();
    let ours = || ours.iter().copied().cycle().take(BURST);
    let theirs = pair.server.stack.udp_bind(pair.now, remote, Owner::default()).unwrap();
    let (warm, rounds) = (20, meter.scaled(50, 50_000));
    for round in 0..warm + rounds {
        pair.pass(Duration::from_micros(100));
        let Pair { client, server, up, down, now } = &mut pair;
        for socket in ours() {
            client.stack.udp_send_to(*now, socket, &[0x5a; 64], Some(remote)).expect("there is room");
        }
        client.transmit(*now, up);
        let mut answer = || {
            up.deliver(server, *now);
            server.take_events();
            let mut room = [0; 128];
            loop {
                match server.stack.udp_recv_from(theirs, &mut room) {
                    Ok((len, from)) => server
                        .stack
                        .udp_send_to(*now, theirs, &room[..len], Some(from))
                        .expect("there is room"),
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("receiving failed: {error}"),
                };
            }
            server.transmit(*now, down);
        };
        if round >= warm {
            meter.count(BURST, answer);
        } else {
            answer();
        }
        down.deliver(client, *now);
        for socket in ours() {
            assert_eq!(client.stack.udp_recv_from(socket, &mut [0; 128]), Ok((64, remote)));
        }
        client.take_events();
    }
}

/// A router with ten addresses and a thousand routes, and a sink that takes everything and looks at nothing.
fn forward(meter: &mut Meter, src: &str, dst: &str, len: usize, gso_size: u16) {
    let mut stack = router();
    let at = Instant::from_millis(1);
    let bytes = packet(src, dst, len);
    let checksum = if gso_size == 0 { ChecksumState::Unverified } else { ChecksumState::Partial };
    let packet = Packet { checksum, gso_size: NonZeroU16::new(gso_size), ..Packet::plain(&bytes, at) };
    let mut sink = |egress: Egress<'_>| {
        black_box(egress.len());
        Sent::Taken
    };
    stack.receive_and_forward(DeviceId(0), &packet, &mut sink);
    let times = meter.scaled(1_000, 1_000_000);
    meter.count(times, || {
        for _ in 0..times {
            stack.receive_and_forward(DeviceId(0), black_box(&packet), &mut sink);
        }
    });
    assert_eq!(stack.counters().packets_out, times as u64 + 1, "not all were sent on");
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
    let mut stack = Stack::new(config, &Secrets::from_number(1), Instant::ZERO);
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
