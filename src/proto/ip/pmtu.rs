//! What is known of the MTU of paths to other hosts (RFC 1191, RFC 8201).
//!
//! Owns the cache, and the log of what was sent. Owns not whose word is taken for it, which is
//! [`icmp::too_big`](super::icmp)'s, nor what a transport does about it: routes tell the MTU, and senders follow it.
//!
//! An entry only ever lowers the MTU, and is forgotten after a while, so that a path which has become better
//! is found out: the next large packet tries it. Below the floors nobody is believed, since packets of a few
//! bytes are what an attacker wants (RFC 1191 section 6, RFC 8201 section 6): for IPv6 the floor is its smallest MTU;
//! for IPv4 552 bytes, as on Linux. What is reported as less over IPv4 counts as 552, and datagrams on such
//! a path go without DF, so that the router that has no more room cuts them.
//!
//! What TCP finds out by itself ([`Searched`]) is kept here, too, so that the next connection need not. A guess binds
//! TCP alone, which goes on searching; what a lost probe has proven binds all, and rises when a larger probe gets through.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use super::sent_log::SentLog;
use crate::proto::config::Config;
use crate::proto::ids::TimerKey;
use crate::proto::timer_wheel::{TimerId, TimerWheel};
use crate::rng::Rng;
use crate::time::Instant;

/// Path MTUs that are smaller than their first link's.
#[derive(Debug)]
pub(crate) struct PathMtu {
    /// Ordered, so that nobody can make it slow; small, so that this costs little.
    by_destination: BTreeMap<IpAddr, Entry>,
    /// The destinations by the order in which they were learnt, which is that of their expiry.
    by_age: BTreeMap<u64, IpAddr>,
    next_age: u64,
    /// Entries that are gone.
    forgotten: u64,
    timer: Option<TimerId>,
    entries_max: usize,
    sent: SentLog,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What all believe.
    mtu: Option<usize>,
    /// What TCP knows besides.
    search: Option<Searched>,
    /// The path's MTU is smaller than what is believed.
    is_floored: bool,
    age: u64,
    expires: Instant,
}

/// How far TCP has come in its search for a path's MTU (RFC 4821).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Searched {
    /// Gets through.
    pub(crate) low: usize,
    /// Nothing larger is worth a probe.
    pub(crate) high: usize,
    /// A probe was lost: it is not by chance that nothing larger gets through.
    pub(crate) is_proven: bool,
}

impl PathMtu {
    /// Nothing is known.
    pub(crate) fn new(config: &Config) -> Self {
        PathMtu {
            by_destination: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            forgotten: 0,
            timer: None,
            entries_max: config.path_mtus,
            sent: SentLog::new(config.sent_log),
        }
    }

    /// The MTU of the path to `destination` in bytes, if it is known to be smaller than its first link's.
    #[inline]
    pub(crate) fn get(&self, destination: IpAddr) -> Option<usize> {
        self.by_destination.get(&destination).and_then(|entry| entry.mtu)
    }

    /// Whether anything is known of the path to `destination`.
    #[inline]
    pub(crate) fn knows(&self, destination: &IpAddr) -> bool {
        !self.by_destination.is_empty() && self.by_destination.contains_key(destination)
    }

    /// How often what [`get`](Self::get) and [`needs_cutting`](Self::needs_cutting) say may have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.next_age + self.forgotten
    }

    /// How far the search for it has come, if there is one.
    pub(crate) fn searched(&self, destination: IpAddr) -> Option<Searched> {
        self.by_destination.get(&destination).and_then(|entry| entry.search)
    }

    /// TCP has found something out; `link` is the MTU of the first link.
    //= RFC4821 5.2 shared
    pub(crate) fn found(
        &mut self,
        destination: IpAddr,
        found: Searched,
        link: usize,
        expires: Instant,
        timers: &mut TimerWheel<TimerKey>,
    ) {
        if found.low >= link {
            // Nothing is narrower than the first link.
            self.forget(destination);
            return;
        }
        let known = self.by_destination.get(&destination).copied();
        if !found.is_proven {
            let search = Some(found).filter(|found| found.low < found.high);
            match self.by_destination.get_mut(&destination) {
                // A guess makes nothing last longer that others have said.
                Some(entry) => return entry.search = search,
                None if search.is_none() => return,
                None => {}
            }
        }
        let mtu = if found.is_proven { Some(found.low) } else { known.and_then(|entry| entry.mtu) };
        let is_floored = known.is_some_and(|entry| entry.is_floored);
        self.insert(destination, mtu, Some(found), is_floored, expires);
        self.arm(timers);
    }

    /// Whether the path may be even narrower than [`get`](Self::get) says: DF would make a black hole of it.
    #[inline]
    pub(crate) fn needs_cutting(&self, destination: &IpAddr) -> bool {
        // Asked for each segment, while there is mostly nothing to be found.
        !self.by_destination.is_empty()
            && self.by_destination.get(destination).is_some_and(|entry| entry.is_floored)
    }

    /// Forgets what was learnt too long ago.
    pub(crate) fn expire(&mut self, now: Instant, timers: &mut TimerWheel<TimerKey>) {
        self.timer = None;
        //= RFC1191 6.3 stale, 3 raise
        //= RFC8201 5.3 stale, 4 raise
        while self.oldest().is_some_and(|(_, expires)| expires <= now) {
            self.forget_oldest();
        }
        self.arm(timers);
    }

    fn forget(&mut self, destination: IpAddr) {
        if let Some(entry) = self.by_destination.remove(&destination) {
            self.by_age.remove(&entry.age);
            self.forgotten += 1;
        }
    }

    /// Notes that a datagram was sent, if it is so large that it may prove too large.
    pub(crate) fn note_sent(&mut self, rng: &mut Rng, sent: &Sent<'_>) {
        if sent.len > floor(sent.dst) {
            self.sent.note(rng, sent.src, sent.dst, sent.protocol, sent.transport);
        }
    }

    /// Takes word of what reaches `destination`: datagrams of `mtu` bytes, while routes said `known` so far. Returns
    /// whether that is news: an MTU is never raised, nor believed below the floor.
    pub(crate) fn lower(
        &mut self,
        destination: IpAddr,
        mtu: usize,
        known: usize,
        expires: Instant,
        timers: &mut TimerWheel<TimerKey>,
    ) -> bool {
        let known = known.min(self.get(destination).unwrap_or(usize::MAX));
        //= RFC1191 3 never below 68
        // Our own link may take less than the floor.
        let floor = floor(destination).min(known);
        let is_floored = mtu < floor;
        //= RFC8201 4 never below 1280, 4 discard: a node must not reduce its estimate of the path MTU below the IPv6 minimum link MTU.
        let is_believed = match destination {
            IpAddr::V4(_) => mtu.max(floor) < known || (is_floored && !self.needs_cutting(&destination)),
            //= RFC8504 5.7 minimum
            IpAddr::V6(_) => !is_floored && mtu < known,
        };
        let search = self.searched(destination);
        // Though it may get through less than that, nothing that is larger need be tried any more.
        let narrows = search.is_some_and(|search| !is_floored && mtu < search.high);
        if is_believed || narrows {
            let believed = if is_believed { Some(mtu.clamp(floor, known)) } else { self.get(destination) };
            let search = search.map(|search| {
                let limit = mtu.max(floor);
                Searched { low: search.low.min(limit), high: search.high.min(limit), ..search }
            });
            let is_floored = is_floored || self.needs_cutting(&destination);
            //= RFC1191 3 reduce
            //= RFC8201 4 reduce
            self.insert(destination, believed, search, is_floored, expires);
            self.arm(timers);
        }
        is_believed || narrows
    }

    /// Whether what is quoted of a packet's transport header is of one that was sent lately.
    pub(crate) fn has_sent(&self, src: IpAddr, dst: IpAddr, protocol: u8, transport: &[u8]) -> bool {
        self.sent.holds(src, dst, protocol, transport)
    }

    fn oldest(&self) -> Option<(IpAddr, Instant)> {
        let (_, destination) = self.by_age.first_key_value()?;
        Some((*destination, self.by_destination.get(destination)?.expires))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, destination)) = self.by_age.pop_first() {
            self.by_destination.remove(&destination);
            self.forgotten += 1;
        }
    }

    fn insert(
        &mut self,
        destination: IpAddr,
        mtu: Option<usize>,
        search: Option<Searched>,
        is_floored: bool,
        expires: Instant,
    ) {
        self.forget(destination);
        if self.by_destination.len() >= self.entries_max {
            self.forget_oldest();
        }
        let age = self.next_age;
        self.next_age += 1;
        self.by_destination.insert(destination, Entry { mtu, search, is_floored, age, expires });
        self.by_age.insert(age, destination);
    }

    /// The timer fires for the oldest entry; if that has gone by then, it is armed again.
    fn arm(&mut self, timers: &mut TimerWheel<TimerKey>) {
        if self.timer.is_none()
            && let Some((_, expires)) = self.oldest()
        {
            self.timer = Some(timers.insert(TimerKey::PathMtu, expires));
        }
    }
}

/// A datagram that leaves, as far as it can be told again from a quotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    /// The first bytes of the transport header.
    pub(crate) transport: &'a [u8],
    /// Of the whole datagram, in bytes.
    pub(crate) len: usize,
}

/// No MTU smaller than this is believed.
pub(crate) fn floor(destination: IpAddr) -> usize {
    match destination {
        IpAddr::V4(_) => 552,
        IpAddr::V6(_) => 1280,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::icmp::learn;
    use crate::proto::ip::testing::{World, ip};
    use alloc::collections::BTreeMap as Model;
    use core::time::Duration;
    use proptest::prelude::*;

    fn learnt(world: &mut World, destination: &str, mtu: usize) -> Option<usize> {
        learn(world.ctx(), ip(destination), mtu);
        world.ip.path_mtu.get(ip(destination))
    }

    fn pass(world: &mut World, time: Duration) {
        world.now += time;
        while let Some(key) = world.timers.pop_due(world.now) {
            assert_eq!(key, TimerKey::PathMtu);
            world.ip.path_mtu.expire(world.now, &mut world.timers);
        }
    }

    #[test]
    fn a_path_s_mtu_is_what_was_last_believed_and_never_rises() {
        let mut world = World::new();
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.1")), None);
        for (mtu, then) in
            [(1500, None), (9000, None), (1400, Some(1400)), (1450, Some(1400)), (1300, Some(1300))]
        {
            assert_eq!(learnt(&mut world, "10.9.0.1", mtu), then);
        }
        assert_eq!((world.counters.path_mtus_learnt, world.counters.path_mtus_refused), (2, 3));
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.3")), None);
        assert_eq!(world.ip.route(ip("10.9.0.1"), None).map(|route| route.mtu), Ok(1300));
        assert_eq!(world.ip.route(ip("10.9.0.3"), None).map(|route| route.mtu), Ok(1500));
    }

    //= RFC8201 4 never below 1280, 4 discard
    //= RFC8504 5.7 minimum
    #[test]
    fn less_than_the_least_is_not_believed_over_ipv6_and_calls_for_cutting_over_ipv4() {
        let mut world = World::new();
        assert_eq!(learnt(&mut world, "fd09::1", 1279), None);
        assert_eq!(learnt(&mut world, "fd09::1", 0), None);
        assert_eq!(learnt(&mut world, "fd09::1", 1280), Some(1280));
        assert_eq!(learnt(&mut world, "10.9.0.1", 552), Some(552));
        assert!(!world.ip.path_mtu.needs_cutting(&ip("10.9.0.1")));
        assert_eq!(learnt(&mut world, "10.9.0.1", 551), Some(552));
        assert!(world.ip.path_mtu.needs_cutting(&ip("10.9.0.1")));
        let learnt_so_far = world.counters.path_mtus_learnt;
        assert_eq!(learnt(&mut world, "10.9.0.1", 68), Some(552));
        assert_eq!(world.counters.path_mtus_learnt, learnt_so_far);
        assert_eq!(learnt(&mut world, "10.9.0.3", 0), Some(552));
    }

    //= RFC8201 5.3 stale, 4 raise
    //= RFC1191 6.3 stale, 3 raise
    #[test]
    fn what_was_learnt_is_forgotten_after_ten_minutes() {
        let mut world = World::new();
        learnt(&mut world, "10.9.0.1", 1400);
        pass(&mut world, Duration::from_secs(300));
        learnt(&mut world, "fd09::1", 1400);
        // Learnt again: its ten minutes begin anew.
        learnt(&mut world, "10.9.0.1", 1300);
        pass(&mut world, Duration::from_secs(599));
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.1")), Some(1300));
        pass(&mut world, Duration::from_secs(1));
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.1")), None);
        assert_eq!(world.ip.path_mtu.get(ip("fd09::1")), None);
        assert!(world.timers.is_empty());
    }

    fn finds(world: &mut World, destination: &str, low: usize, high: usize, is_proven: bool) {
        let expires = world.now + world.config.path_mtu_expiry;
        let found = Searched { low, high, is_proven };
        world.ip.path_mtu.found(ip(destination), found, 1500, expires, &mut world.timers);
    }

    fn known(world: &World, destination: &str) -> (Option<usize>, Option<(usize, usize)>) {
        let searched = world.ip.path_mtu.searched(ip(destination));
        (world.ip.path_mtu.get(ip(destination)), searched.map(|found| (found.low, found.high)))
    }

    //= RFC4821 5.2 shared
    #[test]
    fn a_guess_of_tcp_s_binds_tcp_alone_and_what_it_has_proven_binds_all() {
        let mut world = World::new();
        let peer = "10.9.0.1";
        finds(&mut world, peer, 1200, 1500, false);
        assert_eq!(known(&world, peer), (None, Some((1200, 1500))));
        finds(&mut world, peer, 1200, 1499, true);
        assert_eq!(known(&world, peer), (Some(1200), Some((1200, 1499))));
        // It rises when more gets through, which no router could make it do.
        finds(&mut world, peer, 1350, 1499, true);
        assert_eq!(known(&world, peer), (Some(1350), Some((1350, 1499))));
        assert_eq!(learnt(&mut world, peer, 1450), Some(1350));
        assert_eq!(known(&world, peer), (Some(1350), Some((1350, 1450))), "the search has become shorter");
        assert_eq!(learnt(&mut world, peer, 1300), Some(1300));
        assert_eq!(known(&world, peer), (Some(1300), Some((1300, 1300))));
        // As large as the link: there is nothing to be known.
        finds(&mut world, peer, 1500, 1500, true);
        assert_eq!(known(&world, peer), (None, None));
        pass(&mut world, Duration::from_secs(600));
        assert!(world.timers.is_empty());
    }

    #[test]
    fn a_guess_makes_nothing_last_longer_and_proof_does() {
        let mut world = World::new();
        let peer = "10.9.0.1";
        learnt(&mut world, peer, 1400);
        pass(&mut world, Duration::from_secs(500));
        finds(&mut world, peer, 1200, 1400, false);
        assert_eq!(known(&world, peer), (Some(1400), Some((1200, 1400))));
        // All of it gets through: no search is left.
        finds(&mut world, peer, 1400, 1400, false);
        assert_eq!(known(&world, peer), (Some(1400), None));
        pass(&mut world, Duration::from_secs(100));
        assert_eq!(known(&world, peer), (None, None));
        finds(&mut world, peer, 1400, 1400, false);
        assert!(world.timers.is_empty(), "nothing to be kept");
        finds(&mut world, peer, 1200, 1400, true);
        pass(&mut world, Duration::from_secs(500));
        finds(&mut world, peer, 1300, 1400, true);
        pass(&mut world, Duration::from_secs(599));
        assert_eq!(known(&world, peer), (Some(1300), Some((1300, 1400))));
        pass(&mut world, Duration::from_secs(1));
        assert_eq!(known(&world, peer), (None, None));
    }

    #[test]
    fn what_may_be_cut_stays_so_whatever_tcp_finds() {
        let mut world = World::new();
        learnt(&mut world, "10.9.0.1", 300);
        finds(&mut world, "10.9.0.1", 552, 552, true);
        assert!(world.ip.path_mtu.needs_cutting(&ip("10.9.0.1")));
        finds(&mut world, "10.9.0.1", 552, 552, false);
        assert!(world.ip.path_mtu.needs_cutting(&ip("10.9.0.1")));
    }

    #[test]
    fn the_oldest_makes_room_and_a_forgotten_one_may_be_learnt_again() {
        let mut world = World::with(Config { path_mtus: 2, ..Config::default() });
        for (host, mtu) in [("10.9.0.1", 1400), ("10.9.0.3", 1400), ("10.9.0.1", 1300), ("10.9.0.4", 1400)] {
            assert_eq!(learnt(&mut world, host, mtu), Some(mtu));
        }
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.3")), None);
        world.ip.path_mtu.forget(ip("10.9.0.1"));
        assert_eq!(learnt(&mut world, "10.9.0.1", 1499), Some(1499));
    }

    proptest! {
        /// The naive model: a map with times, searched from end to end.
        #[test]
        fn any_reports_are_kept_as_by_the_naive_model(
            steps in prop::collection::vec((0..6_u8, 500..1600_usize, 0..200_u64), 1..80),
        ) {
            let mut world = World::with(Config { path_mtus: 4, ..Config::default() });
            let mut model: Model<u8, (usize, Instant)> = Model::new();
            for (host, mtu, wait) in steps {
                pass(&mut world, Duration::from_secs(wait));
                model.retain(|_, (_, since)| world.now < *since + Duration::from_secs(600));
                let known = model.get(&host).map_or(1500, |(mtu, _)| *mtu);
                let destination = IpAddr::from([10, 9, 0, 10 + host]);
                let is_news = learn(world.ctx(), destination, mtu);
                let clamped = mtu.max(552);
                if clamped < known || (mtu < 552 && is_news) {
                    if !model.contains_key(&host) && model.len() == 4 {
                        let oldest = model.iter().min_by_key(|(_, (_, since))| *since).map(|(host, _)| *host);
                        model.remove(&oldest.unwrap());
                    }
                    model.insert(host, (clamped, world.now));
                } else {
                    prop_assert!(!is_news);
                }
                for host in 0..6 {
                    let known = world.ip.path_mtu.get(IpAddr::from([10, 9, 0, 10 + host]));
                    prop_assert_eq!(known, model.get(&host).map(|(mtu, _)| *mtu));
                }
                // Distinct times, so that the model's oldest is the oldest.
                world.now += Duration::from_millis(1);
            }
        }
    }
}
