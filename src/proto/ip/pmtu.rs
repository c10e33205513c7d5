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

    /// Forgets the path to a destination: its MTU will be found out again.
    pub(crate) fn forget(&mut self, destination: IpAddr) {
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
