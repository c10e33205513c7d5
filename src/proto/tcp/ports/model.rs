//! The choice against a walk around a circle of ports.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn local() -> IpAddr {
    [10, 9, 0, 2].into()
}

fn remote(number: u16) -> SocketAddr {
    SocketAddr::new([10, 9, 0, 1].into(), number)
}

/// Puts the counters where the sum for this destination is `sum`.
fn set(ports: &mut PortChooser, remote: SocketAddr, sum: u32) {
    let offset = ports.hash(local(), remote) as u32;
    ports.counters = [sum.wrapping_sub(offset); PortChooser::COUNTERS];
}

//= RFC6056 3.3.4 reuse
#[test]
fn the_only_free_port_is_found_though_the_counter_wraps_on_the_way() {
    // The range does not divide 2^32, so that the place of a port is another one behind the wrap.
    let range = 1000..=1006;
    for (before, free) in (0..9).flat_map(|before| range.clone().map(move |free| (before, free))) {
        let mut ports = PortChooser::new([3; 16], range.clone());
        set(&mut ports, remote(80), u32::MAX - before);
        assert_eq!(
            ports.choose(local(), remote(80), |port| port == free),
            Some(free),
            "{before} before the wrap"
        );
    }
}

proptest! {
    #[test]
    fn towards_one_destination_the_next_free_port_is_taken(
        key: [u8; 16],
        low in prop_oneof![1_u16..60_000, Just(65_500_u16)],
        count in 1_u16..30,
        rounds in prop::collection::vec(prop::collection::btree_set(0_u16..30, 0..30), 1..60),
    ) {
        let circle: Vec<u16> = (low..=low.saturating_add(count - 1)).collect();
        let mut ports = PortChooser::new(key, low..=*circle.last().unwrap());
        // Where the walk begins only the key knows.
        let first = ports.choose(local(), remote(80), |_| true).unwrap();
        let mut at = circle.iter().position(|port| *port == first).unwrap();
        for free in rounds {
            let free: BTreeSet<u16> = free.into_iter().map(|nth| low.saturating_add(nth)).collect();
            let mut asked = Vec::new();
            let chosen = ports.choose(local(), remote(80), |port| {
                asked.push(port);
                free.contains(&port)
            });
            let walk: Vec<usize> = (1..=circle.len()).map(|step| (at + step) % circle.len()).collect();
            let found = walk.iter().position(|place| free.contains(&circle[*place]));
            prop_assert_eq!(chosen, found.map(|step| circle[walk[step]]));
            // Each is asked for once, in the order of the walk, and none behind the one that is found.
            let steps = found.map_or(circle.len(), |step| step + 1);
            prop_assert_eq!(asked, walk[..steps].iter().map(|place| circle[*place]).collect::<Vec<_>>());
            at = walk[steps - 1];
        }
    }

    #[test]
    fn towards_any_destination_a_port_is_chosen_if_one_is_free(
        key: [u8; 16],
        sum: u32,
        steps in prop::collection::vec((0_u16..200, prop::collection::btree_set(100_u16..140, 0..4)), 1..40),
    ) {
        let range = 105..=130;
        let mut ports = PortChooser::new(key, range.clone());
        set(&mut ports, remote(1), sum);
        for (number, free) in steps {
            let mut same = ports.clone();
            let chosen = ports.choose(local(), remote(number), |port| free.contains(&port));
            let there_is = free.iter().any(|port| range.contains(port));
            prop_assert_eq!(chosen.is_some(), there_is);
            prop_assert!(chosen.is_none_or(|port| free.contains(&port) && range.contains(&port)));
            prop_assert_eq!(same.choose(local(), remote(number), |port| free.contains(&port)), chosen);
        }
    }

    #[test]
    fn every_port_of_a_range_is_used_once_before_any_is_used_twice_wherever_it_begins(
        key: [u8; 16], low in 1_u16..60_000, count in 1_u16..300, before in 0_u16..300,
    ) {
        let mut ports = PortChooser::new(key, low..=low + count - 1);
        let mut next = || ports.choose(local(), remote(80), |_| true).unwrap();
        (0..before).for_each(|_| assert!(next() >= low));
        let chosen: BTreeSet<u16> = (0..count).map(|_| next()).collect();
        prop_assert_eq!(chosen, (low..low + count).collect());
    }
}

#[test]
fn an_empty_range_gives_no_port() {
    #[expect(clippy::reversed_empty_ranges)]
    let range = 9..=8;
    assert_eq!(PortChooser::new([3; 16], range).choose(local(), remote(80), |_| true), None);
}
