//! Against smoltcp, in both roles: a TCP that shares no line with ours.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tunstack::proto::Config;
use tunstack::sim::{LinkConfig, NodeId};
use tunstack::time::Instant;

use crate::harness::host::Host;
use crate::harness::ours::OurHost;
use crate::harness::smol::SmolHost;
use crate::harness::world::{PORT, World};
use crate::scenario::{Pairing, Path, run};
use crate::support::seeds::{for_each_seed, pattern_bytes};
use crate::support::wire;

const PATHS: [Path; 7] = [
    Path::Perfect,
    Path::Loss(1),
    Path::Loss(10),
    Path::Reordering,
    Path::Duplication,
    Path::Corruption,
    Path::Everything,
];

fn path_of(seed: u64) -> Path {
    PATHS[(seed % PATHS.len() as u64) as usize]
}

#[test]
fn our_client_and_a_smoltcp_server() {
    for_each_seed("our_client_and_a_smoltcp_server", 150, |seed| {
        drop(run(Pairing::SmolServer, path_of(seed), seed));
    });
}

#[test]
fn a_smoltcp_client_and_our_server() {
    for_each_seed("a_smoltcp_client_and_our_server", 150, |seed| {
        drop(run(Pairing::SmolClient, path_of(seed), seed));
    });
}

const START: Instant = Instant::from_millis(5_000);

fn nets(ipv6: bool) -> [&'static str; 2] {
    if ipv6 { ["fd09::1/64", "fd09::2/64"] } else { ["10.9.0.1/24", "10.9.0.2/24"] }
}

#[test]
fn udp_datagrams_of_every_size_go_both_ways() {
    for ipv6 in [false, true] {
        let smol = SmolHost::new(1, nets(ipv6)[0], 1500, 4096, 4096, true);
        let ours = OurHost::new(Config::default(), 2, START, nets(ipv6)[1], 1500);
        let mut world = World::pair([Box::new(smol), Box::new(ours)], Default::default(), 1500, 3, START);
        let nodes = [NodeId(0), NodeId(1)];
        nodes.iter().for_each(|node| world.host(*node).udp_bind(START, 9));
        let largest = 1500 - 8 - if ipv6 { 40 } else { 20 };
        for len in [0, 1, 2, 3, 100, 512, 1023, largest - 1, largest] {
            let data = pattern_bytes(7, 0, len);
            for (from, to) in [(0, 1), (1, 0)] {
                let target = SocketAddr::new(world.host(nodes[to]).ip(), 9);
                assert!(world.at(nodes[from], |host, now| host.udp_send(now, target, &data)));
                world.run_for(Duration::from_millis(1));
                let source = SocketAddr::new(world.host(nodes[from]).ip(), 9);
                assert_eq!(
                    world.host(nodes[to]).udp_recv(),
                    Some((data.clone(), source)),
                    "{len} bytes from {from}"
                );
            }
        }
    }
}

#[test]
fn smoltcp_pings_us_and_each_answer_carries_its_question() {
    for ipv6 in [false, true] {
        let mut smol = SmolHost::new(1, nets(ipv6)[0], 1500, 4096, 4096, true);
        smol.ping_bind(0x77);
        let mut ours = OurHost::new(Config::default(), 2, START, nets(ipv6)[1], 1500);
        for (seq, len) in [0, 1, 56, 1400, 1452].into_iter().enumerate() {
            let message = echo_request(smol.ip(), ours.ip(), seq as u16, &pattern_bytes(9, 0, len));
            smol.ping_send(&message, ours.ip());
            for at in 0..4 {
                exchange(&mut smol, &mut ours, START + Duration::from_millis(at));
            }
            let (answer, from) = smol.ping_recv().expect("an echo reply");
            assert_eq!(from, ours.ip());
            assert_eq!(answer[0], if ipv6 { 129 } else { 0 });
            assert_eq!(answer[4..], message[4..], "identifier, sequence number and data");
        }
        assert_eq!(ours.counters().icmp_echo_replies, 5);
    }
}

/// An echo request with identifier 0x77, as an ICMP message.
fn echo_request(src: IpAddr, dst: IpAddr, seq: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![if src.is_ipv6() { 128 } else { 8 }, 0, 0, 0, 0, 0x77];
    message.extend_from_slice(&seq.to_be_bytes());
    message.extend_from_slice(data);
    wire::Ip::decode(&wire::icmp(src, dst, message)).payload
}

fn exchange(a: &mut dyn Host, b: &mut dyn Host, now: Instant) {
    let (mut to_b, mut to_a) = (Vec::new(), Vec::new());
    a.poll(now, &mut to_b);
    to_b.iter().for_each(|(_, packet)| b.receive(now, 0, packet));
    b.poll(now, &mut to_a);
    to_a.iter().for_each(|(_, packet)| a.receive(now, 0, packet));
}

#[test]
fn a_perfect_link_needs_no_retransmission() {
    let smol = SmolHost::new(1, nets(false)[0], 1500, 65_535, 65_535, true);
    let ours = OurHost::new(Config::default(), 2, START, nets(false)[1], 1500);
    let link = || LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() };
    let mut world = World::pair([Box::new(smol), Box::new(ours)], [link(), link()], 1500, 3, START);
    world.host(NodeId(1)).listen(START, PORT);
    let plan = |send, stream, expect, expect_stream| crate::harness::apps::Plan {
        send,
        stream,
        expect,
        expect_stream,
        write_size: 10_000,
        read_size: 10_000,
        write_pause: Duration::ZERO,
        read_pause: Duration::ZERO,
        answer_after_eof: false,
    };
    world.connect(NodeId(0), NodeId(1), plan(1_000_000, 1, 500_000, 2), plan(500_000, 2, 1_000_000, 1));
    world.run_apps(Duration::from_secs(60));
    assert_eq!(world.onlookers.monitor.retransmitted, 0);
    world.run_out(Duration::from_secs(200));
}
