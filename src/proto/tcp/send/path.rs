//! How the sending half follows its path: the segment size, what is too large for the path, and probes.
//!
//! Owns which segments are taken for lost when the path turns out narrower, and when a probe may go. What is known of the
//! path's MTU is `path_probe`'s, in which sizes segments went out is `sizes`'. RFC 1191 section 6.4, RFC 4821 section 7.
//!
//! `acked`, `plan` and `timer` call here; whatever detects losses has to ask [`SendHalf::probe_was_lost`] before it takes
//! the loss for a sign of congestion.

use alloc::vec::Vec;

use super::SendHalf;
use super::path_probe::{Limits, PathProbe, Probe};
use super::plan::{Kind, TextPlan};
use super::recovery::Phase;
use super::sizes::Sizes;
use crate::proto::config::MtuProbing;
use crate::proto::ip::pmtu::Searched;
use crate::proto::tcp::seq::SndPos;
use crate::time::Instant;

/// Segments behind a probe that there must be room for: as many as tell of its loss.
const SEGMENTS_BEHIND: u64 = 3;
/// Duplicate ACKs that make a probe lost.
const DUPLICATES: u32 = 3;
/// How often in a flight "too big" makes segments go again at once. A path has few hops that are each narrower than the
/// one before; who claims more of them would have us send the same bytes for ever.
const QUICK_MAX: u32 = 4;

/// What the sending half knows of its path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) probe: PathProbe,
    sizes: Sizes,
    /// Bytes of a datagram that are not text.
    headers: u64,
    /// Where the last probe began, and how many duplicate ACKs have come for it.
    duplicates: Option<(SndPos, u32)>,
    /// How often "too big" was acted upon at once, before `quick_until` is acknowledged.
    quick: u32,
    quick_until: SndPos,
}

/// What a probe means for the segment that is to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeTurn {
    /// None is due.
    None,
    /// It goes now, with so many bytes of text.
    Goes(u64),
    /// It goes as soon as the congestion window has room; nothing else goes before.
    Waits,
}

impl Path {
    pub(crate) fn new(mode: MtuProbing, first: SndPos) -> Self {
        Path {
            probe: PathProbe::new(mode),
            sizes: Sizes::new(),
            headers: 0,
            duplicates: None,
            quick: 0,
            quick_until: first,
        }
    }

    /// Of what is on its way nothing will be heard.
    pub(super) fn trim(&mut self) {
        self.sizes.empty();
    }

    /// Another connection's: it goes on with the record of sizes, which is [`trim`](Self::trim)med.
    #[inline(always)]
    pub(super) fn renew(&mut self, mode: MtuProbing, first: SndPos) {
        let Path { probe, sizes: _, headers, duplicates, quick, quick_until } = self;
        *probe = PathProbe::new(mode);
        (*headers, *duplicates, *quick, *quick_until) = (0, None, 0, first);
    }
}

impl SendHalf {
    /// Follows the path from the beginning, where the handshake's word is what follows from it.
    #[inline]
    pub(crate) fn begin_path(&mut self, limits: Limits, headers: u64) {
        self.path.headers = headers;
        self.path.probe.begin(limits);
        debug_assert!(self.has_followed(limits.route, limits.link));
    }

    /// Something has changed: if no turn was taken since the handshake, the first asks what others have found out meanwhile.
    #[cold]
    pub(crate) fn begin_path_anew(&mut self) {
        self.path.probe.begin_anew();
    }

    /// Follows the path: `headers` bytes of each datagram are not text, and `shared` is what other connections know.
    pub(crate) fn follow_path(
        &mut self,
        limits: Limits,
        headers: u64,
        shared: Option<Searched>,
        now: Instant,
    ) {
        self.path.headers = headers;
        self.path.probe.follow(limits, shared, now);
        self.follow_mtu();
    }

    /// Whether [`follow_path`](Self::follow_path) would change nothing: nobody searches, and the route's and the first link's
    /// MTU are what they were.
    pub(crate) fn has_followed(&self, route: u64, link: u64) -> bool {
        let has_followed = self.path.probe.has_followed(route, link);
        let follows = |mtu: u64| self.mss == mtu.saturating_sub(self.path.headers).max(1);
        debug_assert!(!has_followed || self.path.probe.mtu().is_some_and(follows), "{self:?}");
        has_followed
    }

    /// Whether there is something to be told to the cache of paths.
    pub(crate) fn has_path_news(&self) -> bool {
        self.path.probe.has_news()
    }

    /// The datagram that carried `position` last.
    pub(crate) fn datagram_at(&self, position: SndPos) -> Option<u64> {
        self.path.sizes.at(position.get()).map(|text| text + self.path.headers)
    }

    /// A router says that datagrams of more than `mtu` bytes don't go on, of which `believed` is believed: what is on its way
    /// in larger ones is lost for certain, and goes again at once. That is no sign of congestion. True if there was any.
    //= RFC1191 6.4 retransmit, 6.4 no congestion, 6.4 decreases
    //= RFC8201 5.4 retransmit, 5.4 no congestion, 5.4 decreases
    pub(crate) fn too_big(&mut self, mtu: u64, believed: u64, now: Instant) -> bool {
        self.path.probe.too_big(believed, now);
        self.follow_mtu();
        if self.una >= self.path.quick_until {
            (self.path.quick, self.path.quick_until) = (0, self.nxt);
        }
        let size = mtu.saturating_sub(self.path.headers);
        let mut too_large = self.path.sizes.larger_than(size).peekable();
        if self.path.quick >= QUICK_MAX || too_large.peek().is_none() {
            return false;
        }
        let too_large: Vec<_> = too_large.collect();
        for range in too_large {
            self.lose(range);
        }
        self.path.quick += 1;
        // Duplicate ACKs for what follows tell nothing that isn't known already.
        self.recovery.losses_are_known(self.nxt);
        self.timer_restart(now);
        true
    }

    /// The device has taken a segment.
    #[inline(always)]
    pub(super) fn path_sent(&mut self, plan: &TextPlan) {
        let (start, end) = (plan.start.get(), plan.end().get());
        if plan.kind == Kind::PathProbe {
            self.path.probe.probe_sent(Probe { start, end, size: plan.len + self.path.headers });
            self.path.duplicates = Some((plan.start, 0));
        }
        // The last of several may be shorter.
        let last = plan.last();
        let last_len = plan.start.plus(plan.len).since(last);
        if plan.is_super() && last_len < plan.size {
            self.path.sizes.sent(start..last.get(), plan.size);
            self.path.sizes.sent(last.get()..end, last_len);
        } else {
            self.path.sizes.sent(start..end, plan.size);
        }
    }

    /// Beside that, one that may have been sent before.
    pub(super) fn path_sent_again(&mut self, plan: &TextPlan, now: Instant) {
        if plan.start < self.nxt {
            self.path.probe.sent_again(plan.start.get(), plan.end().get(), self.rtt.rto(), now);
        }
    }

    /// All below `ack` is acknowledged.
    #[inline(always)]
    pub(super) fn path_acked(&mut self, ack: SndPos, now: Instant) {
        if let Some(text) = self.path.sizes.advance(ack.get())
            && self.path.probe.passed(text + self.path.headers, ack.get(), now)
        {
            self.follow_mtu();
        }
    }

    /// The retransmission timer has run out.
    pub(super) fn path_timed_out(&mut self) {
        if self.datagram_at(self.una).is_some_and(|size| self.path.probe.timed_out(size)) {
            self.follow_mtu();
        }
    }

    /// Whether a duplicate ACK tells of a probe, and of nothing else. The third makes it lost: it goes again in segments
    /// that get through, and that is no sign of congestion.
    //= RFC4821 7.6.2 no congestion
    pub(super) fn is_about_probe(&mut self, now: Instant) -> bool {
        //= RFC4821 7.6.4 congestion
        let is_open = self.recovery.phase() == Phase::Open;
        let Some((_, count)) = self.path.duplicates.as_mut().filter(|(at, _)| is_open && *at == self.una)
        else {
            return false;
        };
        *count += 1;
        if *count == DUPLICATES {
            self.probe_was_lost(now);
        }
        true
    }

    /// The probe, if it is what stands at SND.UNA, was lost alone. True if it is.
    pub(super) fn probe_was_lost(&mut self, now: Instant) -> bool {
        let Some(probe) = self.path.probe.probe().filter(|probe| probe.start == self.una.get()) else {
            return false;
        };
        self.path.probe.probe_failed(self.rtt.rto(), now);
        self.lose(probe.start..probe.end);
        self.timer_restart(now);
        true
    }

    /// The same where SACK tells what is lost: whether the probe is all of it.
    //= RFC4821 7.6.2 no congestion
    pub(super) fn only_probe_was_lost(&mut self, now: Instant) -> bool {
        let is_all = |probe: &Probe| {
            self.lost.first().is_some_and(|range| probe.start <= range.start)
                && self.lost.last().is_some_and(|range| range.end <= probe.end)
        };
        self.path.probe.probe().as_ref().is_some_and(is_all) && self.probe_was_lost(now)
    }

    /// Whether new text is to go as a probe, of `unsent` bytes and with so much room in the peer's window and the
    /// congestion window.
    //= RFC4821 7.4 preconditions
    pub(super) fn probe_turn(
        &self,
        unsent: u64,
        window_room: u64,
        cwnd_room: impl FnOnce() -> u64,
    ) -> ProbeTurn {
        let Some(size) = self.path.probe.next_probe() else { return ProbeTurn::None };
        let text = size.saturating_sub(self.path.headers);
        let with_those_behind = text + SEGMENTS_BEHIND * self.mss;
        let is_wanted = text > self.mss
            && self.recovery.phase() == Phase::Open
            && unsent >= with_those_behind
            && window_room >= with_those_behind
            && self.cc.cwnd() >= with_those_behind;
        match is_wanted {
            false => ProbeTurn::None,
            true if cwnd_room() >= text => ProbeTurn::Goes(text),
            true => ProbeTurn::Waits,
        }
    }

    /// Whether [`probe_turn`](Self::probe_turn) may say anything but no.
    pub(super) fn may_probe_path(&self) -> bool {
        self.path.probe.next_probe().is_some()
    }

    pub(super) fn follow_mtu(&mut self) {
        // Until the path has been asked for, the handshake's word holds.
        if let Some(mtu) = self.path.probe.mtu() {
            self.set_mss(mtu.saturating_sub(self.path.headers).max(1));
        }
    }
}
