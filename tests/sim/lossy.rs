//! Two of our stacks back to back, through everything that can happen to packets.
//!
//! Each run checks that every byte arrives, in order and unchanged; that no rule of the wire oracle is broken;
//! that no timer fires for nothing; and that at the end nothing is left: no socket, timer, page or TIME-WAIT entry.

use std::time::Duration;

use crate::scenario::{Pairing, Path, black_hole, run, run_simultaneous};
use crate::support::seeds::for_each_seed;

#[test]
fn a_perfect_path_loses_nothing_and_needs_no_retransmission() {
    for_each_seed("a_perfect_path", 40, |seed| {
        let world = run(Pairing::Ours, Path::Perfect, seed);
        assert!(world.onlookers.monitor.segments > 0);
    });
}

#[test]
fn one_packet_in_a_hundred_lost() {
    for_each_seed("one_packet_in_a_hundred_lost", 60, |seed| drop(run(Pairing::Ours, Path::Loss(1), seed)));
}

#[test]
fn one_packet_in_twenty_lost() {
    for_each_seed("one_packet_in_twenty_lost", 60, |seed| drop(run(Pairing::Ours, Path::Loss(5), seed)));
}

#[test]
fn one_packet_in_five_lost() {
    for_each_seed("one_packet_in_five_lost", 60, |seed| drop(run(Pairing::Ours, Path::Loss(20), seed)));
}

#[test]
fn packets_overtake_each_other() {
    for_each_seed("packets_overtake_each_other", 60, |seed| drop(run(Pairing::Ours, Path::Reordering, seed)));
}

#[test]
fn packets_arrive_twice() {
    for_each_seed("packets_arrive_twice", 60, |seed| drop(run(Pairing::Ours, Path::Duplication, seed)));
}

#[test]
fn packets_are_damaged() {
    for_each_seed("packets_are_damaged", 60, |seed| drop(run(Pairing::Ours, Path::Corruption, seed)));
}

#[test]
fn a_slow_link_with_a_short_queue() {
    for_each_seed("a_slow_link_with_a_short_queue", 40, |seed| {
        drop(run(Pairing::Ours, Path::Bottleneck, seed))
    });
}

#[test]
fn a_path_that_swallows_packets_of_1400_bytes_costs_seconds_and_no_connection() {
    for ipv6 in [false, true] {
        let whole = black_hole(ipv6, None);
        let took = black_hole(ipv6, Some(1399));
        // Two time-outs, a slow start anew, and some probes: the round trip takes 66 ms.
        assert!(took < Duration::from_secs(5), "{took:?} instead of {whole:?}");
        assert!(took > whole + Duration::from_millis(600), "{took:?}, {whole:?}: nothing was swallowed");
    }
}

#[test]
fn large_packets_vanish_without_a_word() {
    for_each_seed("large_packets_vanish", 60, |seed| drop(run(Pairing::Ours, Path::BlackHole, seed)));
}

#[test]
fn everything_goes_wrong_at_once() {
    for_each_seed("everything_goes_wrong_at_once", 100, |seed| {
        drop(run(Pairing::Ours, Path::Everything, seed))
    });
}

#[test]
fn both_hosts_open_the_same_connection_at_once() {
    const PATHS: [Path; 4] = [Path::Perfect, Path::Loss(20), Path::Reordering, Path::Everything];
    for_each_seed("both_hosts_open_the_same_connection_at_once", 60, |seed| {
        drop(run_simultaneous(PATHS[seed as usize % PATHS.len()], seed));
    });
}

#[test]
fn a_seed_is_a_run() {
    let [first, second] = [0, 1].map(|_| run(Pairing::Ours, Path::Everything, 4711));
    assert_eq!(first.now(), second.now());
    assert_eq!(first.onlookers.monitor.segments, second.onlookers.monitor.segments);
    let tails = [&first, &second].map(|world| world.onlookers.trace.tail().collect::<Vec<_>>());
    assert_eq!(tails[0], tails[1]);
}
