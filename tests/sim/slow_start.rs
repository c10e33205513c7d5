//! The end of slow start: a flight that is too large for the path is not to be the first to tell.

use std::time::Duration;

use tunstack::proto::Config;
use tunstack::sim::LinkConfig;

use crate::long_fat::{CLIENT, bulk};

/// How a sender of ours began on a path.
struct Beginning {
    /// Segments that were sent again.
    retransmits: u64,
    /// The window in the end, in hundredths of what the path holds.
    window: u64,
}

/// The first 24 round trips of `rtt_ms` at `mbit`, with a queue of so many hundredths of what the path holds.
fn begin(mbit: u64, rtt_ms: u64, queue: u64) -> Beginning {
    let rtt = Duration::from_millis(rtt_ms);
    let product = mbit * 125 * rtt_ms;
    let config = Config { recv_buffer: 16 << 20, send_buffer: 16 << 20, ..Config::default() };
    let link = LinkConfig {
        delay: rtt / 2,
        rate: (mbit * 1_000_000).try_into().ok(),
        queue: product * queue / 100,
        ..LinkConfig::default()
    };
    let mut world = bulk(&config, link);
    world.run_for(rtt * 24);
    let client = world.host(CLIENT).ours().expect("a host of ours");
    let id = client.held().next().expect("the connection");
    let info = client.node.stack.tcp_info(id).unwrap();
    Beginning { retransmits: info.retransmits, window: info.cwnd * 100 / product }
}

#[test]
fn nothing_is_lost_where_the_queue_holds_as_much_as_the_path() {
    for (mbit, rtt_ms) in [(20, 30), (50, 66), (100, 20)] {
        let Beginning { retransmits, window } = begin(mbit, rtt_ms, 100);
        assert_eq!(retransmits, 0, "{mbit} Mbit/s, {rtt_ms} ms");
        assert!((100..200).contains(&window), "{mbit} Mbit/s, {rtt_ms} ms: {window} %");
    }
}

#[test]
fn little_is_lost_where_it_holds_somewhat_less() {
    for (mbit, rtt_ms, most) in [(20, 30, 10), (50, 66, 0), (100, 20, 45)] {
        let Beginning { retransmits, .. } = begin(mbit, rtt_ms, 62);
        assert!(retransmits <= most, "{mbit} Mbit/s, {rtt_ms} ms: {retransmits}");
    }
}
