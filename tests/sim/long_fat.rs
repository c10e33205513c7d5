//! A long fat path, cold: 1 Gbit/s and a round trip of 100 ms, 12.5 MB. What holds the sender back is to be its
//! congestion window, and neither end's buffers.

use std::time::Duration;

use tunstack::proto::Config;
use tunstack::sim::{LinkConfig, NodeId};
use tunstack::time::Instant;

use crate::harness::apps::Plan;
use crate::harness::host::Host;
use crate::harness::ours::OurHost;
use crate::harness::world::{PORT, World};

const START: Instant = Instant::from_millis(5_000);
pub(crate) const CLIENT: NodeId = NodeId(0);
const SERVER: NodeId = NodeId(1);
const RTT: Duration = Duration::from_millis(100);
const BITS_PER_SECOND: u64 = 1_000_000_000;
/// Text that the path carries in a round trip: of each 1,500 bytes 1,448.
const TEXT_PER_RTT: u64 = BITS_PER_SECOND / 8 / 10 * 1_448 / 1_500;

/// A client that has just begun to send a server more than it ever will, over links like this in both directions.
pub(crate) fn bulk(config: &Config, link: LinkConfig) -> World {
    let host = |net| -> Box<dyn Host> { Box::new(OurHost::new(config.clone(), 1, START, net, 1500)) };
    let hosts = [host("10.9.0.1/24"), host("10.9.0.2/24")];
    let mut world = World::pair(hosts, [link.clone(), link], 1500, 1, START);
    world.host(SERVER).listen(START, PORT);
    let plan = |send, expect| Plan {
        send,
        stream: 1 + u64::from(send == 0),
        expect,
        expect_stream: 1 + u64::from(expect == 0),
        write_size: 256 << 10,
        read_size: 256 << 10,
        write_pause: Duration::ZERO,
        read_pause: Duration::ZERO,
        answer_after_eof: false,
    };
    let all = 1 << 30;
    world.connect(CLIENT, SERVER, plan(all, 0), plan(0, all));
    world
}

/// Text that came in each round trip from the SYN's arrival on, with such buffers at both ends.
fn transfer(max: usize, initial: usize, round_trips: usize) -> Vec<u64> {
    let config = Config {
        recv_buffer: max,
        recv_buffer_initial: initial,
        send_buffer: max,
        send_buffer_initial: initial,
        ..Config::default()
    };
    // No packet is lost: what slow start sends too much waits.
    let link = LinkConfig {
        delay: RTT / 2,
        rate: BITS_PER_SECOND.try_into().ok(),
        queue: 64 << 20,
        ..LinkConfig::default()
    };
    let mut world = bulk(&config, link);
    // A flight arrives half a round trip after it was sent.
    world.run_for(RTT / 2);
    let mut came: Vec<u64> = vec![];
    for _ in 0..round_trips {
        world.run_for(RTT);
        let server = world.host(SERVER).ours().expect("a host of ours");
        let received = |id| server.node.stack.tcp_info(id).unwrap().bytes_received;
        let so_far: u64 = server.held().map(received).sum();
        came.push(so_far - came.iter().sum::<u64>());
    }
    came
}

#[test]
fn a_cold_path_of_a_gigabit_and_100_ms_is_full_after_a_handshake_and_ten_round_trips_of_slow_start() {
    // Twice the product of rate and round trip is what the sender has to keep: one is in flight, another is written.
    let came = transfer(32 << 20, 64 << 10, 12);
    assert_eq!(came[0], 0, "the handshake");
    // Ten segments, doubled each time: no window and no buffer holds that back.
    let doubled = (0..10).map(|round| 14_480 << round);
    assert!(doubled.eq(came[1..11].iter().copied()), "{came:?}");
    assert!(came[11] >= TEXT_PER_RTT * 9 / 10, "{came:?}");
}

#[test]
fn the_default_buffers_keep_their_maximum_in_flight_on_such_a_path() {
    let Config { recv_buffer, recv_buffer_initial, .. } = Config::default();
    let came = transfer(recv_buffer, recv_buffer_initial, 13);
    // Half of what the path holds, and no more than that.
    for came in &came[11..] {
        assert!((recv_buffer as u64 * 95 / 100..=recv_buffer as u64).contains(came), "{came}");
    }
}
