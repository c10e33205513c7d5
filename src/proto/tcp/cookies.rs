//! SYN cookies (RFC 4987 section 3.6): accepting connections without remembering who has asked for one.
//!
//! When a listener's queue of half-open connections is full, all that is to be known of one more stands in our SYN-ACK, in
//! numbers that the peer's ACK brings back: our initial sequence number has the time, the MSS and a proof that it is ours; the
//! low bits of our timestamp have the peer's window shift and whether it understands selective acknowledgements. Without
//! timestamps there is no room for those two, and the connection goes without.
//!
//! Owns what such a number looks like, and which have been taken back already. When one is given out and taken back is the endpoint's to decide.
//!
//! ```text
//! ISN     F(ends) + │ step: 8 │ (keyed function of ends, peer's ISN, step  +  what the SYN offered) mod 2^24 │
//! TSval             │ clock: 27                        │ selective acknowledgements: 1 │ shift, or 15 for none: 4 │
//! ```
//!
//! F and the step (2^24 ticks of 4 microseconds, 67 s) are those of other initial sequence numbers (RFC 6528), which these
//! therefore keep pace with. Who can't see our SYN-ACKs has to guess both F and the keyed function: one of 2^27 numbers will do.

use alloc::collections::BTreeSet;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use siphasher::sip::SipHasher24;

use super::connection::{Settled, mss_for};
use super::demux::FourTuple;
use super::emit::Says;
use super::handshake::PeerSyn;
use super::isn::Offsets;
use super::recv;
use super::timestamps::TimestampClock;
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::wire::tcp::{Segment, SeqNr};
use crate::time::{Instant, nanos};

/// The largest segments that a cookie can tell of. A peer's counts as the next smaller one: the defaults of both families and
/// what Ethernet, PPPoE, the usual tunnels and jumbo frames leave.
const SIZES: [u16; 8] = [0, 536, 1220, 1360, 1412, 1440, 1460, 8940];

/// Set in what the SYN offered, beside the index of its MSS: timestamps.
const HAS_TIMESTAMPS: u32 = 8;
/// One past the largest value of what the SYN offered.
const OFFERS: u32 = 16;

/// Bits of the step's rest, in which function and offer stand.
const STEP_BITS: u32 = 24;
const REST: u32 = (1 << STEP_BITS) - 1;
/// A cookie is believed in the step that it was made in, and in the next.
const STEPS: u64 = 2;

/// Bits of a timestamp that tell of options.
const OPTION_BITS: u32 = 5;
const OPTIONS: u32 = (1 << OPTION_BITS) - 1;
const SACK: u32 = 16;
const NO_SCALE: u32 = 15;

/// How long after the last cookie one may still come back: as long as it is believed.
pub(crate) const LIFETIME: Duration = Duration::from_micros(STEPS * (4 << STEP_BITS));

/// Makes cookies, and knows them again.
pub(crate) struct Cookies {
    key: [u8; 16],
    spent: Spent,
}

impl Cookies {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Cookies { key, spent: Spent::default() }
    }

    /// The SYN-ACK for `peer`.
    //= RFC4987 3.6 cookies
    pub(crate) fn syn_ack(
        &self,
        ctx: &Context,
        offsets: Offsets,
        tuple: &FourTuple,
        peer: &PeerSyn,
        mtu: usize,
    ) -> Says {
        let offer = Offer::of(peer);
        let step = step_at(ctx.now);
        let rest = self.function(tuple, peer.irs, step).wrapping_add(offer.0) & REST;
        let iss = offsets.isn.plus((step as u32) << STEP_BITS | rest);
        let peer = offer.told(peer);
        let stamp = stamp(offsets.clock, &peer, ctx.now);
        let options = PeerSyn::our_options(&ctx.config, mtu, tuple.local.is_ipv4(), Some(&peer), stamp);
        Says::syn(iss, Some(peer.rcv_nxt()), recv::cookie_window(&ctx.config), options)
    }

    /// What `segment`, which acknowledges a cookie, settles; `None` if it doesn't, or if the cookie is too old.
    pub(crate) fn settle(
        &self,
        ctx: &Context,
        offsets: Offsets,
        tuple: &FourTuple,
        segment: &Segment<'_>,
    ) -> Option<Settled> {
        let iss = segment.ack?.plus(u32::MAX);
        let irs = segment.seq.plus(u32::MAX);
        let offer = self.offer(offsets, tuple, irs, iss, ctx.now)?;
        if self.spent.contains(self.name(tuple), irs) {
            return None;
        }
        let clock = offsets.clock;
        let (peer, rtt) = offer.peer(ctx, clock, segment)?;
        let mtu = ctx.ip.route(tuple.remote, Some(tuple.local)).map_or(usize::MAX, |route| route.mtu);
        Some(peer.settle(ctx, iss, rtt, clock, mss_for(mtu, tuple.local.is_ipv4())))
    }

    /// Whether `segment`, which settles nothing, may come from a peer that was given a cookie of late: then what it sent first
    /// is lost or late. It will send that again, unless a reset takes the connection from it that it believes to have. The
    /// proof can't be looked at, since it has the peer's initial sequence number in it; the step can, and of strangers' numbers
    /// one in 128 has one of these. Whose cookie was taken lately had a connection that is over, and has to hear of it.
    pub(crate) fn may_come(
        &self,
        ctx: &Context,
        offsets: Offsets,
        tuple: &FourTuple,
        segment: &Segment<'_>,
    ) -> bool {
        let Some(iss) = segment.ack.map(|ack| ack.plus(u32::MAX)) else { return false };
        let is_recent = baked_at(offsets, iss, ctx.now).is_some();
        is_recent && !self.spent.contains_any(self.name(tuple))
    }

    /// `segment` has brought a cookie back, and its connection is open. It shall not open another: a duplicate of its first
    /// text that was late, or is replayed, would be taken for text of a new connection once the old one is over.
    pub(crate) fn spend(&mut self, now: Instant, tuple: &FourTuple, segment: &Segment<'_>) {
        self.spent.insert(self.name(tuple), segment.seq.plus(u32::MAX), step_at(now));
    }

    /// What stands for the ends of a connection.
    fn name(&self, tuple: &FourTuple) -> u64 {
        tuple.secret_number(&self.key)
    }

    /// What the SYN offered for which `iss` was the answer.
    fn offer(
        &self,
        offsets: Offsets,
        tuple: &FourTuple,
        irs: SeqNr,
        iss: SeqNr,
        now: Instant,
    ) -> Option<Offer> {
        let (number, step) = baked_at(offsets, iss, now)?;
        let offer = number.wrapping_sub(self.function(tuple, irs, step)) & REST;
        (offer < OFFERS).then_some(Offer(offer))
    }

    fn function(&self, tuple: &FourTuple, irs: SeqNr, step: u64) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        tuple.hash(&mut hasher);
        hasher.write_u32(irs.0);
        hasher.write_u64(step);
        hasher.finish() as u32
    }
}

impl core::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cookies(..)")
    }
}

/// SYNs whose cookies were taken in this step or the one before, by their ends and their numbers. By the next they are outdated.
///
/// Not the cookies themselves: what acknowledges a few octets that we have sent since looks like the cookie of a SYN that offered
/// something else.
#[derive(Default)]
struct Spent {
    step: u64,
    of_this: BTreeSet<(u64, u32)>,
    of_last: BTreeSet<(u64, u32)>,
}

impl Spent {
    /// Most that are remembered of a step: a thousand connections a second, in a megabyte or two. What comes beyond them
    /// may be replayed.
    const MAX: usize = 1 << 16;

    fn contains(&self, ends: u64, irs: SeqNr) -> bool {
        [&self.of_this, &self.of_last].into_iter().any(|spent| spent.contains(&(ends, irs.0)))
    }

    /// Whether there is one of these ends.
    fn contains_any(&self, ends: u64) -> bool {
        let all = (ends, 0)..=(ends, u32::MAX);
        [&self.of_this, &self.of_last].into_iter().any(|spent| spent.range(all.clone()).next().is_some())
    }

    fn insert(&mut self, ends: u64, irs: SeqNr, step: u64) {
        if step != self.step {
            let last = core::mem::take(&mut self.of_this);
            self.of_last = if step == self.step + 1 { last } else { BTreeSet::new() };
            self.step = step;
        }
        if self.of_this.len() < Self::MAX {
            self.of_this.insert((ends, irs.0));
        }
    }
}

/// What a cookie tells of the SYN: the index of an MSS, and whether there were timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer(u32);

impl Offer {
    fn of(peer: &PeerSyn) -> Self {
        let smaller = SIZES.iter().filter(|size| **size <= peer.mss).count() as u32;
        let index = smaller.saturating_sub(1);
        Offer(if peer.timestamp.is_some() { index | HAS_TIMESTAMPS } else { index })
    }

    fn has_timestamps(self) -> bool {
        self.0 & HAS_TIMESTAMPS != 0
    }

    fn mss(self, config: &Config) -> u16 {
        let index = (self.0 & !HAS_TIMESTAMPS) as usize;
        SIZES.get(index).copied().unwrap_or(0).max(config.mss_min)
    }

    /// What our SYN-ACK answers of `peer`'s SYN.
    fn told(self, peer: &PeerSyn) -> PeerSyn {
        match self.has_timestamps() {
            true => *peer,
            false => PeerSyn { scale: None, sack: false, ..*peer },
        }
    }

    /// The SYN again, as far as a cookie tells of it, and the round-trip time of our SYN-ACK in nanoseconds.
    fn peer(
        self,
        ctx: &Context,
        clock: TimestampClock,
        segment: &Segment<'_>,
    ) -> Option<(PeerSyn, Option<u64>)> {
        let bare = PeerSyn {
            irs: segment.seq.plus(u32::MAX),
            mss: self.mss(&ctx.config),
            scale: None,
            // The segment at hand tells more.
            window: segment.window,
            //= RFC9293 SHLD-14: what the SYN-ACK offered, however much memory there was.
            offered: recv::cookie_window(&ctx.config),
            sack: false,
            timestamp: None,
        };
        if !self.has_timestamps() {
            return Some((bare, None));
        }
        //= RFC7323 3.2 missing
        let (value, echo) = segment.options.timestamps?;
        let scale = (echo & NO_SCALE != NO_SCALE).then_some((echo & NO_SCALE) as u8);
        let sack = ctx.config.sack && echo & SACK != 0;
        // Too large by less than the low bits can tell.
        let rtt = clock.since(echo, ctx.now).filter(|rtt| *rtt < LIFETIME);
        Some((PeerSyn { scale, sack, timestamp: Some(value), ..bare }, rtt.map(nanos)))
    }
}

/// What our clock shows, or showed a moment ago, with the peer's options in the low bits.
fn stamp(clock: TimestampClock, peer: &PeerSyn, now: Instant) -> u32 {
    let sack = if peer.sack { SACK } else { 0 };
    let options = sack | peer.scale.map_or(NO_SCALE, u32::from);
    let shown = clock.at(now);
    let stamp = shown & !OPTIONS | options;
    // Not ahead of the clock, or what we send next would seem old.
    if shown & OPTIONS < options { stamp.wrapping_sub(OPTIONS + 1) } else { stamp }
}

/// `iss` without the ends, and the step that it was made in, if that is a recent one.
fn baked_at(offsets: Offsets, iss: SeqNr, now: Instant) -> Option<(u32, u64)> {
    let number = iss.0.wrapping_sub(offsets.isn.0);
    let age = (step_at(now) as u32).wrapping_sub(number >> STEP_BITS) & 0xff;
    let step = step_at(now).checked_sub(age.into()).filter(|_| u64::from(age) < STEPS)?;
    Some((number, step))
}

/// How often the clock of initial sequence numbers has come through its low bits.
fn step_at(now: Instant) -> u64 {
    now.as_micros() / (4 << STEP_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tcp::isn::IsnGenerator;

    fn tuple(port: u16) -> FourTuple {
        FourTuple::new("10.9.0.2:7".parse().unwrap(), ([10, 9, 0, 1], port).into())
    }

    fn peer(mss: u16, timestamp: Option<u32>) -> PeerSyn {
        PeerSyn { irs: SeqNr(1000), mss, scale: Some(7), window: 1000, offered: 1000, sack: true, timestamp }
    }

    /// The number in the SYN-ACK for `peer` at `now`.
    fn baked(cookies: &Cookies, isn: &IsnGenerator, peer: &PeerSyn, now: Instant) -> SeqNr {
        let step = step_at(now);
        let rest = cookies.function(&tuple(1), peer.irs, step).wrapping_add(Offer::of(peer).0) & REST;
        isn.of(&tuple(1)).isn.plus((step as u32) << STEP_BITS | rest)
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_cookie_is_known_again_for_two_steps_and_by_nobody_else() {
        let (cookies, isn) = (Cookies::new([5; 16]), IsnGenerator::new([6; 16]));
        for begin in [0, 999_999, 255 * 67_109, 1 << 40] {
            let at = |later: u64| Instant::from_millis(begin + later);
            let syn = peer(1460, Some(1));
            let iss = baked(&cookies, &isn, &syn, at(0));
            let known = |port, irs, iss, later| {
                cookies.offer(isn.of(&tuple(port)), &tuple(port), SeqNr(irs), iss, at(later))
            };
            for later in [0, 1, 67_000] {
                assert_eq!(known(1, 1000, iss, later), Some(Offer(6 | HAS_TIMESTAMPS)), "{later} ms later");
            }
            assert_eq!(known(1, 1000, iss, 135_000), None, "outdated");
            assert_eq!(known(1, 1000, iss, 256 * 67_109), None, "the step's low bits come again");
            assert_eq!(known(2, 1000, iss, 0), None, "somebody else's");
            assert_eq!(known(1, 1001, iss, 0), None, "for another SYN");
            let strange = Cookies::new([7; 16]);
            assert_eq!(
                strange.offer(isn.of(&tuple(1)), &tuple(1), SeqNr(1000), iss, at(0)),
                None,
                "of another boot"
            );
        }
    }

    #[test]
    fn what_was_spent_is_remembered_for_as_long_as_it_would_be_good_and_no_longer() {
        let mut spent = Spent::default();
        let irs = SeqNr(77);
        for (ends, step) in [(1, 5), (2, 5), (3, 6)] {
            spent.insert(ends, irs, step);
        }
        assert_eq!([1, 2, 3, 4].map(|ends| spent.contains(ends, irs)), [true, true, true, false]);
        spent.insert(4, irs, 7);
        assert_eq!([1, 2, 3, 4].map(|ends| spent.contains(ends, irs)), [false, false, true, true]);
        assert_eq!([1, 2, 3, 4].map(|ends| spent.contains_any(ends)), [false, false, true, true]);
        assert!(!spent.contains(4, SeqNr(78)), "the same ends may open another connection");
        spent.insert(5, irs, 90);
        assert_eq!([3, 4, 5].map(|ends| spent.contains(ends, irs)), [false, false, true]);
        for ends in 0..2 * Spent::MAX as u64 {
            spent.insert(ends, irs, 91);
        }
        assert_eq!(spent.of_this.len(), Spent::MAX);
    }

    #[test]
    fn of_the_numbers_around_a_cookie_only_those_that_stand_for_an_offer_are_one() {
        let (cookies, isn) = (Cookies::new([5; 16]), IsnGenerator::new([6; 16]));
        let now = Instant::from_millis(10 * MINUTE);
        let first = baked(&cookies, &isn, &peer(0, None), now);
        let is_one = |number: u32| {
            let iss = first.plus(number);
            cookies.offer(isn.of(&tuple(1)), &tuple(1), SeqNr(1000), iss, now).is_some()
        };
        assert_eq!((0..100_000).filter(|number| is_one(*number)).count(), OFFERS as usize);
        assert!((0..OFFERS).all(is_one));
    }

    #[test]
    fn cookies_keep_pace_with_other_initial_sequence_numbers() {
        let (cookies, isn) = (Cookies::new([5; 16]), IsnGenerator::new([6; 16]));
        for minutes in 0..300 {
            let now = Instant::from_millis(minutes * MINUTE);
            let iss = baked(&cookies, &isn, &peer(1460, Some(1)), now);
            let apart = iss.minus(isn.of(&tuple(1)).isn_at(now));
            assert!(apart.unsigned_abs() < 1 << STEP_BITS, "{apart} after {minutes} minutes");
        }
    }

    #[test]
    fn the_largest_segment_is_rounded_down() {
        let config = Config::default();
        let told = |mss| Offer::of(&peer(mss, None)).mss(&config);
        assert_eq!([48, 535, 536, 1219].map(told), [48, 48, 536, 536]);
        assert_eq!([1460, 1459, 8960, u16::MAX].map(told), [1460, 1440, 8940, 8940]);
    }

    #[test]
    fn options_stand_in_the_low_bits_of_a_timestamp_that_is_not_ahead_of_the_clock() {
        let clock = TimestampClock::ahead_by(0x1234_5678);
        for millis in 0..200 {
            let now = Instant::from_millis(5_000 + millis);
            for scale in [None, Some(0), Some(7), Some(14)] {
                let stamp = stamp(clock, &PeerSyn { scale, ..peer(1460, Some(1)) }, now);
                let ago = clock.since(stamp, now).unwrap();
                assert!(ago < Duration::from_millis(32), "{ago:?}");
                assert_eq!(stamp & OPTIONS, SACK | scale.map_or(NO_SCALE, u32::from));
            }
        }
    }
}
