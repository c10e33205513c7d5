//! What a stack says of itself as a whole.

use tunstack::proto::stack::TcpCensus;

use crate::harness::ours::OurHost;

/// Counters add up, and nothing is beyond the limits of the configuration.
pub(crate) fn check(host: &OurHost) {
    let stack = &host.node.stack;
    let (counters, config) = (stack.counters(), stack.config());
    let told = counters.packets_delivered + counters.packets_forwarded + counters.dropped_total();
    assert_eq!(counters.packets_in, told, "packets in, and what became of them");
    assert_eq!(counters.packets_out, host.node.taken(), "packets out, and what the devices took");
    let TcpCensus { sockets, listeners, half_open, time_wait, timers, pages, .. } = stack.tcp_census();
    for (what, there_are, limit) in [
        ("sockets", sockets, config.connections),
        ("listeners", listeners, config.listeners),
        ("half-open connections", half_open, config.syn_queue * listeners),
        ("entries in TIME-WAIT", time_wait, config.time_wait_entries),
        ("pages", pages, config.pages),
        // One each, one for all half-open connections to which nothing was sent again, and one each for reassembly and path MTUs.
        ("timers", timers, sockets + half_open + usize::from(half_open > 0) + time_wait + 2),
    ] {
        assert!(there_are <= limit, "{there_are} {what}, and {limit} are allowed");
    }
}
