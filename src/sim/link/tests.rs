//! Each fault by itself, and what holds of all of them together.

use super::*;
use crate::sim::GilbertElliott;
use alloc::vec;
use proptest::prelude::*;

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn rate(bits: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bits)
}

/// A packet that can be told from others.
fn packet(number: u8, len: usize) -> Vec<u8> {
    vec![number; len]
}

/// What arrives until nothing is under way, with the time of each.
fn arrivals(link: &mut Link) -> Vec<(Instant, u8)> {
    let mut arrived = Vec::new();
    while let Some(at) = link.deadline() {
        let bytes = link.receive(at).unwrap();
        arrived.push((at, bytes[0]));
    }
    arrived
}

/// The numbers of what arrives of `count` packets of 100 bytes, one a millisecond.
fn numbers(config: LinkConfig, count: u8) -> (Vec<u8>, LinkCounters) {
    let mut link = Link::new(config, 1);
    for number in 0..count {
        link.send(ms(u64::from(number)), packet(number, 100));
    }
    let arrived = arrivals(&mut link);
    (arrived.into_iter().map(|(_, number)| number).collect(), link.counters())
}

#[test]
fn without_faults_packets_arrive_at_once_and_in_order() {
    let (arrived, counters) = numbers(LinkConfig::default(), 5);
    assert_eq!(arrived, [0, 1, 2, 3, 4]);
    assert_eq!((counters.sent, counters.arrived, counters.arrived_bytes), (5, 5, 500));
    assert!(LinkConfig::default().is_only_delay());
}

#[test]
fn a_rate_spaces_packets_and_its_queue_drops_what_has_no_room() {
    // 1,000 bytes take 1 ms; three have room.
    let config = LinkConfig { rate: rate(8_000_000), queue: 3_000, ..LinkConfig::default() };
    let mut link = Link::new(config, 1);
    for number in 0..5 {
        link.send(ms(10), packet(number, 1_000));
    }
    assert_eq!(arrivals(&mut link), [(ms(11), 0), (ms(12), 1), (ms(13), 2)]);
    assert_eq!(link.counters().overflowed, 2);
    // The line is free again.
    link.send(ms(20), packet(9, 1_000));
    assert_eq!(arrivals(&mut link), [(ms(21), 9)]);
}

#[test]
fn a_packet_larger_than_the_queue_passes_if_nothing_waits() {
    let config = LinkConfig { rate: rate(8_000_000), queue: 100, ..LinkConfig::default() };
    let mut link = Link::new(config, 1);
    link.send(ms(0), packet(1, 1_000));
    link.send(ms(0), packet(2, 1_000));
    assert_eq!(arrivals(&mut link), [(ms(1), 1)]);
}

#[test]
fn jitter_stays_within_its_bounds_and_reorders_nothing() {
    let (delay, jitter) = (Duration::from_millis(30), Duration::from_millis(20));
    let mut link = Link::new(LinkConfig { delay, jitter, ..LinkConfig::default() }, 1);
    // Too far apart to meet.
    for number in 0..200 {
        link.send(ms(25 * u64::from(number)), packet(number, 100));
    }
    let taken = arrivals(&mut link).into_iter().map(|(at, number)| at - ms(25 * u64::from(number)));
    let taken: Vec<Duration> = taken.collect();
    let (least, most) = (*taken.iter().min().unwrap(), *taken.iter().max().unwrap());
    assert!(least >= delay && least < Duration::from_millis(33), "{least:?}");
    assert!(most <= delay + jitter && most > Duration::from_millis(47), "{most:?}");

    for number in 0..200 {
        link.send(ms(10_000 + u64::from(number)), packet(number, 100));
    }
    assert!(arrivals(&mut link).is_sorted_by_key(|(_, number)| *number));
}

#[test]
fn what_is_held_back_is_overtaken() {
    let config = LinkConfig {
        reorder: Ppm::percent(10),
        reorder_by: Duration::from_millis(8),
        ..LinkConfig::default()
    };
    let (arrived, counters) = numbers(config, 200);
    let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert_eq!(arrived.len(), 200);
    // Each of them arrives 4 to 8 packets late; two that lie side by side count once.
    assert!((10..35).contains(&counters.reordered), "{}", counters.reordered);
    assert!(overtaken > 5 && overtaken as u64 <= counters.reordered, "{overtaken}");
}

#[test]
fn duplicates_arrive_twice() {
    let (arrived, counters) = numbers(LinkConfig { duplicate: Ppm::ALWAYS, ..LinkConfig::default() }, 3);
    assert_eq!(arrived, [0, 0, 1, 1, 2, 2]);
    assert_eq!((counters.sent, counters.duplicated, counters.arrived), (3, 3, 6));
}

#[test]
fn corruption_changes_one_octet() {
    let mut link = Link::new(LinkConfig { corrupt: Ppm::ALWAYS, ..LinkConfig::default() }, 1);
    for _ in 0..100 {
        link.send(ms(0), packet(7, 50));
        let bytes = link.receive(ms(0)).unwrap();
        assert_eq!(bytes.iter().filter(|octet| **octet != 7).count(), 1);
    }
    link.send(ms(0), Vec::new());
    assert_eq!(link.receive(ms(0)), Some(Vec::new()));
}

#[test]
fn what_is_larger_than_the_path_takes_vanishes() {
    let mut link = Link::new(LinkConfig { mtu: Some(1_400), ..LinkConfig::default() }, 1);
    link.send(ms(0), packet(1, 1_401));
    link.send(ms(0), packet(2, 1_400));
    assert_eq!(arrivals(&mut link), [(ms(0), 2)]);
    assert_eq!(link.counters().too_large, 1);
}

#[test]
fn an_interruption_loses_what_is_sent_and_nothing_that_is_under_way() {
    let delay = Duration::from_millis(50);
    let mut link = Link::new(LinkConfig { delay, ..LinkConfig::default() }, 1);
    link.send(ms(0), packet(1, 100));
    link.set_up(false);
    link.send(ms(10), packet(2, 100));
    link.set_up(true);
    link.send(ms(20), packet(3, 100));
    assert_eq!(arrivals(&mut link), [(ms(50), 1), (ms(70), 3)]);
    assert_eq!(link.counters().interrupted, 1);
}

#[test]
fn from_the_threshold_on_packets_that_can_be_marked_are() {
    let config = LinkConfig {
        rate: rate(8_000_000),
        queue: 10_000,
        ecn_threshold: Some(2_000),
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 1);
    for tos in [2, 2, 2, 0, 1] {
        let mut bytes = vec![0; 1_000];
        (bytes[0], bytes[1]) = (0x45, tos);
        link.send(ms(0), bytes);
    }
    let marks: Vec<u8> = core::iter::from_fn(|| link.receive(ms(100))).map(|bytes| bytes[1]).collect();
    assert_eq!(marks, [2, 2, 3, 0, 3]);
    assert_eq!(link.counters().marked, 2);
}

#[test]
fn what_is_under_way_is_bounded() {
    let config = LinkConfig { delay: Duration::from_secs(1), under_way_max: 250, ..LinkConfig::default() };
    let (arrived, counters) = numbers(config, 5);
    assert_eq!((arrived, counters.overflowed), (vec![0, 1], 3));
}

fn configs() -> impl Strategy<Value = LinkConfig> {
    let chance = || (0_u32..200_000).prop_map(Ppm);
    let loss = prop_oneof![
        Just(Loss::None),
        chance().prop_map(Loss::Random),
        (0_u64..20).prop_map(Loss::Every),
        (chance(), 1_u32..10).prop_map(|(begin, len)| Loss::Bursts(GilbertElliott::bursts(begin, len))),
    ];
    let times = (0_u64..50, 0_u64..20, 0_u64..30)
        .prop_map(|times| [times.0, times.1, times.2].map(Duration::from_millis));
    let rates = (0_u64..100_000_000, 0_u64..20_000, prop::option::of(0_u64..5_000));
    (loss, times, rates, [chance(), chance(), chance()], prop::option::of(20_usize..1_500)).prop_map(
        |(
            loss,
            [delay, jitter, reorder_by],
            (bits, queue, ecn_threshold),
            [duplicate, corrupt, reorder],
            mtu,
        )| {
            LinkConfig {
                delay,
                jitter,
                rate: rate(bits),
                queue,
                ecn_threshold,
                loss,
                duplicate,
                corrupt,
                reorder,
                reorder_by,
                mtu,
                under_way_max: 100_000,
            }
        },
    )
}

proptest! {
    #[test]
    fn every_packet_arrives_or_is_counted_under_one_reason(config in configs(), sizes in prop::collection::vec(1_usize..1_500, 0..200), seed: u64) {
        let run = |config: LinkConfig| {
            let mut link = Link::new(config, seed);
            for (number, size) in sizes.iter().enumerate() {
                link.send(ms(number as u64), packet(number as u8, *size));
            }
            let arrived = arrivals(&mut link);
            (arrived, link.counters())
        };
        let (arrived, counters) = run(config.clone());
        let dropped = counters.lost + counters.overflowed + counters.too_large + counters.interrupted;
        prop_assert_eq!(counters.sent, sizes.len() as u64);
        prop_assert_eq!(counters.sent + counters.duplicated, counters.arrived + dropped);
        prop_assert_eq!(counters.arrived, arrived.len() as u64);
        prop_assert!(arrived.is_sorted_by_key(|(at, _)| *at));
        // The same seed, the same faults.
        prop_assert_eq!(run(config), (arrived, counters));
    }
}
