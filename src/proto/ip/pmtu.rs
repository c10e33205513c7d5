//! What is known of the MTU of paths to other hosts (RFC 1191, RFC 8201).
//!
//! Owns the cache, and which "packet too big" and "fragmentation needed" are believed: those that quote a
//! packet of ours ([`sent_log`](super::sent_log); TCP asks for a sequence number in flight instead). Owns not
//! what a transport does about it: routes tell the MTU, and senders follow it.
//!
//! An entry only ever lowers the MTU, and is forgotten after a while, so that a path which has become better
//! is found out: the next large packet tries it. Below the floors nobody is believed, since packets of a few
//! bytes are what an attacker wants (RFC 1191 section 6, RFC 8201 section 6): for IPv6 the floor is its smallest MTU;
//! for IPv4 552 bytes, as on Linux. What is reported as less over IPv4 counts as 552, and datagrams on such
//! a path go without DF, so that the router that has no more room cuts them.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use super::icmp::{IcmpError, IcmpErrorKind};
use super::sent_log::SentLog;
use crate::proto::config::Config;
use crate::proto::context::{Context, TimerKey};
use crate::proto::counters::DropReason;
use crate::proto::timer_wheel::{TimerId, TimerWheel};
use crate::proto::wire::ip::PROTOCOL_TCP;
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
    timer: Option<TimerId>,
    entries_max: usize,
    sent: SentLog,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    mtu: usize,
    /// The path's MTU is smaller than what is believed.
    is_floored: bool,
    age: u64,
    expires: Instant,
}

impl PathMtu {
    /// Nothing is known.
    pub(crate) fn new(config: &Config) -> Self {
        PathMtu {
            by_destination: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            timer: None,
            entries_max: config.path_mtus,
            sent: SentLog::new(config.sent_log),
        }
    }

    /// The MTU of the path to `destination` in bytes, if it is known to be smaller than its first link's.
    #[inline]
    pub(crate) fn get(&self, destination: IpAddr) -> Option<usize> {
        self.by_destination.get(&destination).map(|entry| entry.mtu)
    }

    /// Whether the path may be even narrower than [`get`](Self::get) says: DF would make a black hole of it.
    #[inline]
    pub(crate) fn needs_cutting(&self, destination: IpAddr) -> bool {
        self.by_destination.get(&destination).is_some_and(|entry| entry.is_floored)
    }

    /// Forgets what was learnt too long ago.
    pub(crate) fn expire(&mut self, now: Instant, timers: &mut TimerWheel<TimerKey>) {
        self.timer = None;
        while self.oldest().is_some_and(|(_, expires)| expires <= now) {
            self.forget_oldest();
        }
        self.arm(timers);
    }

    fn forget(&mut self, destination: IpAddr) {
        if let Some(entry) = self.by_destination.remove(&destination) {
            self.by_age.remove(&entry.age);
        }
    }

    /// Notes that a datagram was sent, if it is so large that it may prove too large.
    pub(crate) fn note_sent(&mut self, rng: &mut Rng, sent: &Sent<'_>) {
        if sent.len > floor(sent.dst) {
            self.sent.note(rng, sent.src, sent.dst, sent.protocol, sent.transport);
        }
    }

    fn oldest(&self) -> Option<(IpAddr, Instant)> {
        let (_, destination) = self.by_age.first_key_value()?;
        Some((*destination, self.by_destination.get(destination)?.expires))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, destination)) = self.by_age.pop_first() {
            self.by_destination.remove(&destination);
        }
    }

    fn insert(&mut self, destination: IpAddr, mtu: usize, is_floored: bool, expires: Instant) {
        self.forget(destination);
        if self.by_destination.len() >= self.entries_max {
            self.forget_oldest();
        }
        let age = self.next_age;
        self.next_age += 1;
        self.by_destination.insert(destination, Entry { mtu, is_floored, age, expires });
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

/// Notes that datagrams of more than `mtu` bytes do not reach `destination`. The caller has made sure that who
/// says so has seen a packet of ours (RFC 5927). Returns whether that is news: an MTU is never raised, nor
/// believed below the floor.
pub(crate) fn learn(ctx: &mut Context<'_>, destination: IpAddr, mtu: usize) -> bool {
    let floor = floor(destination);
    let known = ctx
        .ip
        .route(destination, None)
        .map_or(usize::MAX, |route| route.mtu.min(ctx.ip.path_mtu.get(destination).unwrap_or(usize::MAX)));
    let is_floored = mtu < floor;
    //= RFC8201 section 4: a node must not reduce its estimate of the path MTU below the IPv6 minimum link MTU.
    let is_believed = match destination {
        IpAddr::V4(_) => {
            mtu.max(floor) < known || (is_floored && !ctx.ip.path_mtu.needs_cutting(destination))
        }
        IpAddr::V6(_) => !is_floored && mtu < known,
    };
    if !is_believed {
        ctx.counters.path_mtus_refused += 1;
        return false;
    }
    let expires = ctx.now + ctx.config.path_mtu_expiry;
    let path_mtu = &mut ctx.ip.path_mtu;
    path_mtu.insert(destination, mtu.clamp(floor, known), is_floored, expires);
    path_mtu.arm(ctx.timers);
    ctx.counters.path_mtus_learnt += 1;
    true
}

/// Deals with an error that says "too big", before its transport hears of it. `quoted` is the quoted packet from
/// its IP header on. Sets the MTU of one that names none, and learns from one that quotes a packet of ours. What
/// TCP's quote is worth, TCP knows.
///
/// # Errors
/// `IcmpUnrelated` if we have sent no such packet lately.
pub(crate) fn packet_too_big(
    ctx: &mut Context<'_>,
    error: &mut IcmpError<'_>,
    quoted: &[u8],
) -> Result<(), DropReason> {
    let IcmpErrorKind::PacketTooBig(reported) = error.kind else { return Ok(()) };
    let mtu = next_hop_mtu(reported, quoted);
    error.kind = IcmpErrorKind::PacketTooBig(mtu);
    if error.protocol == PROTOCOL_TCP {
        return Ok(());
    }
    let (src, dst) = (error.local.ip(), error.remote.ip());
    if !ctx.ip.path_mtu.sent.holds(src, dst, error.protocol, error.transport) {
        return Err(DropReason::IcmpUnrelated);
    }
    learn(ctx, dst, mtu as usize);
    Ok(())
}

/// No MTU smaller than this is believed.
fn floor(destination: IpAddr) -> usize {
    match destination {
        IpAddr::V4(_) => 552,
        IpAddr::V6(_) => 1280,
    }
}

/// The MTU that a router reports, or what to try if it is older than RFC 1191 and reports none: the next of the
/// sizes that links have, below the size of the packet that was too large (section 7).
fn next_hop_mtu(reported: u32, quoted: &[u8]) -> u32 {
    const PLATEAUS: [u16; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
    match *quoted {
        [first, _, high, low, ..] if reported == 0 && first >> 4 == 4 => {
            let len = u16::from_be_bytes([high, low]);
            PLATEAUS.iter().copied().find(|plateau| *plateau < len).unwrap_or(68).into()
        }
        _ => reported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{TUN, World, datagram, header, icmp_message, ip};
    use crate::proto::ip::{Route, icmp, send};
    use crate::proto::wire::icmp::{ErrorMessage, Message};
    use crate::proto::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
    use alloc::collections::BTreeMap as Model;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    fn learnt(world: &mut World, destination: &str, mtu: usize) -> Option<usize> {
        learn(&mut world.ctx(), ip(destination), mtu);
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

    //= RFC8201 section 4
    #[test]
    fn less_than_the_least_is_not_believed_over_ipv6_and_calls_for_cutting_over_ipv4() {
        let mut world = World::new();
        assert_eq!(learnt(&mut world, "fd09::1", 1279), None);
        assert_eq!(learnt(&mut world, "fd09::1", 0), None);
        assert_eq!(learnt(&mut world, "fd09::1", 1280), Some(1280));
        assert_eq!(learnt(&mut world, "10.9.0.1", 552), Some(552));
        assert!(!world.ip.path_mtu.needs_cutting(ip("10.9.0.1")));
        assert_eq!(learnt(&mut world, "10.9.0.1", 551), Some(552));
        assert!(world.ip.path_mtu.needs_cutting(ip("10.9.0.1")));
        let learnt_so_far = world.counters.path_mtus_learnt;
        assert_eq!(learnt(&mut world, "10.9.0.1", 68), Some(552));
        assert_eq!(world.counters.path_mtus_learnt, learnt_so_far);
        assert_eq!(learnt(&mut world, "10.9.0.3", 0), Some(552));
    }

    //= RFC8201 section 5.3
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

    /// Sends a datagram and returns what left.
    fn sent(world: &mut World, src: &str, dst: &str, protocol: u8, transport: &[u8]) -> Vec<Vec<u8>> {
        let route = Route { device: TUN, source: ip(src), mtu: 1500 };
        send(&mut world.ctx(), &route, &header(src, dst, protocol), &[transport]);
        core::iter::from_fn(|| world.sent()).map(|(_, bytes)| bytes).collect()
    }

    fn complained(
        world: &mut World,
        from: &str,
        to: &str,
        word: u32,
        quoted: &[u8],
    ) -> Result<(), DropReason> {
        let (kind, code) = if ip(from).is_ipv4() { (3, 4) } else { (2, 0) };
        let bytes = icmp_message(from, to, Message::Error(ErrorMessage { kind, code, word, quoted }));
        let datagram = world.input(&bytes)?;
        icmp::receive(&mut world.ctx(), &datagram).map(|_| ())
    }

    //= RFC5927 section 7.2
    #[test]
    fn only_who_quotes_what_we_have_sent_is_believed() {
        for (us, them, router, icmp) in [
            ("10.9.0.2", "10.9.0.1", "172.16.0.1", PROTOCOL_ICMP),
            ("fd09::2", "fd09::1", "fd88::1", PROTOCOL_ICMPV6),
        ] {
            for protocol in [PROTOCOL_UDP, icmp, 99] {
                let mut transport = [7; 1400];
                // A length that UDP's could be; an echo request.
                transport[4..6].copy_from_slice(&1400_u16.to_be_bytes());
                let mut world = World::new();
                let mut forged = datagram(&header(us, them, protocol), &transport);
                assert_eq!(complained(&mut world, router, us, 1300, &forged), Err(DropReason::IcmpUnrelated));
                let ours = sent(&mut world, us, them, protocol, &transport);
                // Another port, identifier, first word.
                let at = forged.len() - 1400 + 1;
                forged[at] ^= 1;
                assert_eq!(complained(&mut world, router, us, 1300, &forged), Err(DropReason::IcmpUnrelated));
                assert_eq!(world.ip.path_mtu.get(ip(them)), None);
                let quoted = &ours[0][..forged.len() - 1400 + 8];
                assert_eq!(complained(&mut world, router, us, 1300, quoted), Ok(()));
                assert_eq!(world.ip.path_mtu.get(ip(them)), Some(1300), "{them} {protocol}");
            }
        }
    }

    #[test]
    fn the_first_part_of_what_was_cut_is_proof_enough() {
        let mut world = World::new();
        let parts = sent(&mut world, "fd09::2", "fd09::1", PROTOCOL_UDP, &[7; 4000]);
        assert_eq!(parts.len(), 3);
        let later = complained(&mut world, "fd88::1", "fd09::2", 1300, &parts[1]);
        assert_eq!((later, world.ip.path_mtu.get(ip("fd09::1"))), (Err(DropReason::IcmpUnrelated), None));
        assert_eq!(complained(&mut world, "fd88::1", "fd09::2", 1300, &parts[0]), Ok(()));
        assert_eq!(world.ip.path_mtu.get(ip("fd09::1")), Some(1300));
        assert_eq!(sent(&mut world, "fd09::2", "fd09::1", PROTOCOL_UDP, &[7; 1300]).len(), 1);
    }

    #[test]
    fn small_datagrams_prove_nothing_since_they_never_were_too_big() {
        let mut world = World::new();
        for (us, them, len) in [("10.9.0.2", "10.9.0.1", 552 - 20), ("fd09::2", "fd09::1", 1280 - 40)] {
            let ours = sent(&mut world, us, them, 99, &alloc::vec![1; len]);
            assert_eq!(complained(&mut world, them, us, 1300, &ours[0]), Err(DropReason::IcmpUnrelated));
        }
    }

    //= RFC1191 section 5
    #[test]
    fn a_router_that_names_no_mtu_means_the_next_lower_plateau() {
        let quoted = |len: u16| {
            let [high, low] = len.to_be_bytes();
            next_hop_mtu(0, &[0x45, 0, high, low, 0, 0])
        };
        for (len, mtu) in [(65_535, 32_000), (1500, 1492), (1492, 1006), (577, 508), (296, 68), (20, 68)] {
            assert_eq!(quoted(len), mtu, "{len}");
        }
        assert_eq!((next_hop_mtu(1400, &[0x45, 0, 5, 220]), next_hop_mtu(0, &[0x60; 40])), (1400, 0));
        let mut world = World::new();
        let ours = sent(&mut world, "10.9.0.2", "10.9.0.1", 99, &[1; 1480]);
        assert_eq!(complained(&mut world, "10.9.0.1", "10.9.0.2", 0, &ours[0]), Ok(()));
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.1")), Some(1492));
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
                let is_news = learn(&mut world.ctx(), destination, mtu);
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
