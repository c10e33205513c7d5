use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const RTO: Duration = Duration::from_millis(200);

/// The machine beside a path that silently drops what is larger than its MTU.
struct World {
    probe: PathProbe,
    limits: Limits,
    now: Instant,
    at: u64,
    sizes: Vec<u64>,
}

fn limits(mtu: u64, is_ipv4: bool) -> Limits {
    Limits { route: mtu, link: mtu, peer: u64::MAX, is_ipv4 }
}

impl World {
    fn new(mode: MtuProbing, limits: Limits) -> Self {
        let now = Instant::from_millis(1000);
        let mut probe = PathProbe::new(mode);
        probe.follow(limits, None, now);
        World { probe, limits, now, at: 0, sizes: Vec::new() }
    }

    fn follow(&mut self) {
        self.now += Duration::from_millis(50);
        self.probe.follow(self.limits, None, self.now);
    }

    fn mtu(&self) -> u64 {
        self.probe.mtu().unwrap()
    }

    fn passes(&mut self, size: u64) {
        self.at += 1;
        self.probe.passed(size, self.at, self.now);
    }

    /// So many time-outs of the largest segments that may be.
    fn times_out(&mut self, count: usize) {
        for _ in 0..count {
            let size = self.mtu();
            self.probe.timed_out(size);
        }
    }

    /// Sends segments of what is believed to get through, until some do; returns after how many time-outs.
    fn until_through(&mut self, mtu: u64) -> u32 {
        for timeouts in 0..20 {
            let size = self.mtu();
            if size <= mtu {
                self.passes(size);
                return timeouts;
            }
            self.probe.timed_out(size);
        }
        panic!("nothing gets through");
    }

    /// One probe, if one is due, and what becomes of it.
    fn round(&mut self, mtu: u64) -> bool {
        self.follow();
        let Some(size) = self.probe.next_probe() else { return false };
        assert!(size > self.mtu() && size <= self.limits.ceiling(), "{size}");
        self.sizes.push(size);
        self.probe.probe_sent(Probe { start: self.at, end: self.at + 1, size });
        assert_eq!(self.probe.next_probe(), None, "one at a time");
        if size <= mtu {
            self.passes(size);
        } else {
            self.probe.probe_failed(RTO, self.now);
        }
        true
    }

    /// Rounds until nothing is looked for any more.
    fn search(&mut self, mtu: u64) {
        for _ in 0..200 {
            self.round(mtu);
        }
    }
}

//= RFC4821 7.7 full stop
#[test]
fn a_black_hole_is_one_that_swallows_the_same_large_segment_twice() {
    for (is_ipv4, base) in [(true, 1200), (false, 1280)] {
        let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, is_ipv4));
        assert!(!world.probe.timed_out(1500));
        world.passes(1500);
        assert!(!world.probe.timed_out(1500), "it got through in between");
        // Small ones are lost for other reasons.
        let smallest = if is_ipv4 { 576 } else { 1280 };
        for _ in 0..5 {
            assert!(!world.probe.timed_out(smallest));
        }
        assert!(world.probe.timed_out(1500));
        assert_eq!(world.mtu(), base);
        assert_eq!(world.probe.next_probe(), None, "a guess is confirmed first");
        assert_eq!(world.probe.take_news(), None);
        world.passes(base);
        let news = Searched { low: base as usize, high: 1500, is_proven: false };
        assert_eq!(world.probe.take_news(), Some(news));
    }
}

//= RFC4821 7.7 lower bound
#[test]
fn what_is_still_lost_falls_to_the_smallest_size_of_all_and_no_further() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    assert_eq!(world.until_through(600), 4);
    assert_eq!(world.mtu(), 576);
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.times_out(20);
    assert_eq!(world.mtu(), 576);
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, false));
    world.times_out(20);
    assert_eq!(world.mtu(), 1280);
}

#[test]
fn what_is_not_large_but_larger_than_the_smallest_size_of_all_has_more_patience() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    let fell = [756; 4].map(|size| world.probe.timed_out(size));
    assert_eq!((fell, world.mtu()), ([false, false, false, true], 576));
}

#[test]
fn a_guess_ends_when_a_large_segment_turns_out_to_have_arrived() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.times_out(2);
    assert_eq!(world.mtu(), 1200);
    world.passes(1500);
    assert_eq!((world.mtu(), world.probe.next_probe()), (1500, None));
    assert_eq!(world.probe.take_news(), Some(Searched { low: 1500, high: 1500, is_proven: false }));
}

//= RFC4821 7.6.1 success, 7.6.2 failure, 7.3 converged
#[test]
fn the_search_tries_what_was_lost_and_then_halves_the_range() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.until_through(1400);
    world.search(1400);
    assert_eq!(world.sizes, [1500, 1350, 1425, 1387, 1406, 1396, 1401]);
    assert_eq!(world.mtu(), 1396);
    assert_eq!(world.probe.take_news(), Some(Searched { low: 1396, high: 1400, is_proven: true }));
}

#[test]
fn what_a_burst_of_losses_has_pretended_ends_with_the_first_probe() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.times_out(2);
    world.passes(1200);
    world.search(1500);
    assert_eq!((world.mtu(), world.sizes), (1500, [1500].into()));
}

//= RFC4821 7.3 raise
#[test]
fn after_ten_minutes_a_larger_mtu_is_looked_for_again() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, false));
    world.until_through(1400);
    world.search(1400);
    let (found, tried) = (world.mtu(), world.sizes.len());
    world.now += Duration::from_secs(580);
    assert!(!world.round(1500));
    world.now += Duration::from_secs(20);
    assert!(world.round(1500));
    assert!(found < 1400 && world.sizes[tried..] == [1500], "{:?}", world.sizes);
    assert_eq!((world.mtu(), world.probe.search), (1500, None));
}

//= RFC4821 7.4 preconditions
#[test]
fn no_probe_goes_soon_after_one_that_failed() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.until_through(1300);
    assert!(world.round(1300));
    let failed = world.now;
    while !world.round(1300) {}
    assert_eq!(world.now - failed, RTO);
}

//= RFC4821 7.6.4 inconclusive
#[test]
fn a_probe_lost_with_others_is_sent_again_and_counts_the_second_time() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.until_through(1300);
    for (round, proven) in [(1, false), (2, true)] {
        world.now += 2 * RTO;
        world.follow();
        assert_eq!(world.probe.next_probe(), Some(1500), "{round}");
        world.probe.probe_sent(Probe { start: 10, end: 20, size: 1500 });
        world.probe.sent_again(5, 10, RTO, world.now);
        world.probe.sent_again(20, 25, RTO, world.now);
        assert!(world.probe.probe().is_some());
        world.probe.sent_again(19, 25, RTO, world.now);
        assert_eq!(world.probe.probe(), None);
        world.follow();
        assert_eq!(world.probe.next_probe(), None);
        assert_eq!(world.probe.search.unwrap().is_proven, proven);
    }
    world.now += 2 * RTO;
    world.follow();
    assert_eq!(world.probe.next_probe(), Some(1350));
}

#[test]
fn too_big_ends_a_probe_and_is_the_next_size_to_be_tried() {
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.until_through(1300);
    world.follow();
    world.probe.probe_sent(Probe { start: 0, end: 1, size: 1500 });
    world.probe.too_big(1442, world.now);
    assert_eq!((world.probe.probe(), world.mtu(), world.probe.next_probe()), (None, 1200, Some(1442)));
    world.probe.too_big(1100, world.now);
    world.follow();
    assert_eq!((world.mtu(), world.probe.next_probe()), (1100, None), "the search is over");
    // Without a search the cache is all that it changes.
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.probe.too_big(1400, world.now);
    assert_eq!(world.mtu(), 1500);
}

#[test]
fn a_probe_is_no_larger_than_what_the_peer_takes() {
    let mut world = World::new(MtuProbing::AfterBlackHole, Limits { peer: 1440, ..limits(1500, true) });
    assert_eq!(world.mtu(), 1440);
    world.until_through(1300);
    world.search(2000);
    assert_eq!((world.mtu(), world.sizes), (1440, [1440].into()));
}

//= RFC4821 7.2 initial, 7.2 switch
#[test]
fn the_switch_says_whether_and_from_when_on_is_searched() {
    let mut world = World::new(MtuProbing::Off, limits(1500, true));
    (0..20).for_each(|_| assert!(!world.probe.timed_out(1500)));
    world.search(1400);
    assert_eq!((world.mtu(), world.sizes.len()), (1500, 0));
    let mut world = World::new(MtuProbing::Always, limits(9000, false));
    assert_eq!(world.mtu(), 1280);
    world.search(9000);
    assert_eq!((world.mtu(), world.sizes), (9000, [9000].into()));
    let mut world = World::new(MtuProbing::Always, limits(1000, true));
    world.search(1000);
    assert_eq!((world.mtu(), world.sizes.len()), (1000, 0));
}

#[test]
fn what_others_have_found_is_where_the_search_goes_on() {
    let found = Searched { low: 1300, high: 1420, is_proven: true };
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    assert!(!world.probe.asks_others(1500) && world.probe.asks_others(1300));
    world.probe.follow(world.limits, Some(found), world.now);
    assert_eq!((world.mtu(), world.probe.next_probe()), (1300, Some(1360)));
    assert!(world.probe.asks_others(1500));
    // All that is left to be found is nothing: it is believed for ten minutes.
    let found = Searched { low: 1418, ..found };
    world.probe.follow(world.limits, Some(found), world.now);
    assert_eq!((world.mtu(), world.probe.next_probe()), (1418, None));
    world.now += RAISE_AFTER;
    world.probe.follow(world.limits, Some(found), world.now);
    assert_eq!(world.probe.next_probe(), Some(1500));
    // A guess of our own is not given up for what others have found before, but for less.
    let mut world = World::new(MtuProbing::AfterBlackHole, limits(1500, true));
    world.times_out(2);
    world.probe.follow(world.limits, Some(found), world.now);
    assert_eq!(world.mtu(), 1200);
    world.probe.follow(world.limits, Some(Searched { low: 576, ..found }), world.now);
    assert_eq!(world.mtu(), 576);
}

proptest! {
    #[test]
    fn any_path_is_found_out_to_within_a_few_bytes(
        link in 600..9001_u64,
        share in 0..1001_u64,
        is_ipv4: bool,
        always: bool,
        told in prop::option::of(0..1001_u64),
    ) {
        let least = if is_ipv4 { 576 } else { 1280 };
        let link = link.max(least);
        let mtu = least + (link - least) * share / 1000;
        let mode = if always { MtuProbing::Always } else { MtuProbing::AfterBlackHole };
        let mut world = World::new(mode, limits(link, is_ipv4));
        prop_assert!(world.until_through(mtu) <= 4);
        if let Some(share) = told {
            // A router of the path speaks up, truly. The route knows it from then on, too.
            let said = mtu + (link - mtu) * share / 1000;
            world.probe.too_big(said, world.now);
            world.limits.route = said;
            world.probe.follow(world.limits, None, world.now);
        }
        world.search(mtu);
        let found = world.mtu();
        prop_assert!(found <= mtu && found + RANGE_MIN > mtu, "{} of {}: {:?}", found, mtu, world.sizes);
        prop_assert!(world.sizes.len() <= 12, "{:?}", world.sizes);
    }
}
