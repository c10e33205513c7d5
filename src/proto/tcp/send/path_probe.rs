//! The path's MTU, found out without help (RFC 4821): whether large segments vanish, and what gets through instead.
//!
//! Owns the search: between a size that gets through and one that does not. Knows nothing of segments and windows;
//! when to send a probe, and what else its loss means, is `path`'s affair. All sizes are of whole datagrams.
//!
//! ```text
//!   nothing ──two time-outs of a large segment──▶ guess (a base size, to be confirmed)
//!      ▲                                            │ something of that size is acknowledged
//!      │ all the path could ever carry gets through ▼
//!      └──────────────────────────────── search: a probe at a time ◀── 10 minutes ──┐
//!                                                   │ the range has become small    │
//!                                                   └───────────▶ done ─────────────┘
//! ```
//!
//! The first probe is as large as before: what a burst of losses has pretended ends with it. Then the range is halved.
//! An ICMP "too big" lowers its upper end, and is the next to be tried.

use core::time::Duration;

use crate::proto::config::MtuProbing;
use crate::proto::ip::pmtu::Searched;
use crate::time::Instant;

/// A size to fall back to.
#[derive(Clone, Copy, Debug)]
struct Base {
    size: u64,
    /// Time-outs in a row of a segment that is larger.
    timeouts: u32,
}

/// Over IPv4: RFC 8899's BASE_PLPMTU, when a segment was lost that had been sent again; and the smallest that every host
/// takes, when that has not helped, since hardly a path is so narrow.
const BASES_IPV4: &[Base] = &[Base { size: 1200, timeouts: 2 }, Base { size: 576, timeouts: 4 }];
/// Over IPv6: its smallest MTU.
const BASES_IPV6: &[Base] = &[Base { size: 1280, timeouts: 2 }];
/// A range of fewer bytes isn't worth a probe (RFC 4821 section 7.3; as Linux).
const RANGE_MIN: u64 = 8;
/// After so long a larger MTU is looked for once more (RFC 4821 section 7.3; RFC 8899's PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Probes of a size whose loss tells nothing, until it does.
const INCONCLUSIVE_MAX: u32 = 2;

/// What bounds the datagrams of a connection, as far as others know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The path's MTU as routes tell it.
    pub(crate) route: u64,
    /// The MTU of the first link.
    pub(crate) link: u64,
    /// What the peer takes.
    pub(crate) peer: u64,
    pub(crate) is_ipv4: bool,
}

impl Limits {
    /// Nothing larger can ever be of use.
    fn ceiling(&self) -> u64 {
        self.link.min(self.peer)
    }

    fn bases(&self) -> &'static [Base] {
        if self.is_ipv4 { BASES_IPV4 } else { BASES_IPV6 }
    }
}

/// A segment larger than what is known to get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Where it begins.
    pub(crate) start: u64,
    /// One past its last position.
    pub(crate) end: u64,
    /// Its datagram.
    pub(crate) size: u64,
}

/// A range of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    /// `search_low`: gets through, as far as is known.
    low: u64,
    /// `search_high`: nothing larger is worth a probe.
    high: u64,
    /// `low` is a base size of which nothing has been acknowledged yet.
    is_guess: bool,
    /// A probe was lost.
    is_proven: bool,
    /// The next probe is of `high`, not of the middle.
    aims_high: bool,
    /// Probes since the range last changed that told nothing.
    inconclusive: u32,
    /// No probe before.
    waits_until: Option<Instant>,
}

impl Search {
    fn new(low: u64, high: u64) -> Self {
        Search {
            low,
            high,
            is_guess: false,
            is_proven: false,
            aims_high: true,
            inconclusive: 0,
            waits_until: None,
        }
    }

    //= RFC4821 7.3 converged
    fn is_done(&self) -> bool {
        self.high < self.low + if self.aims_high { 1 } else { RANGE_MIN }
    }

    fn next_size(&self) -> u64 {
        if self.aims_high { self.high } else { self.low + (self.high - self.low).div_ceil(2) }
    }

    fn found(&self) -> Searched {
        Searched { low: self.low as usize, high: self.high as usize, is_proven: self.is_proven }
    }

    /// The range has changed: the next probe may go at `waits_until`, or when all is to be tried again.
    fn narrowed(&mut self, waits_until: Option<Instant>, now: Instant) {
        self.inconclusive = 0;
        self.waits_until = if self.is_done() { Some(now + RAISE_AFTER) } else { waits_until };
    }
}

/// The state of the search.
#[derive(Clone, Debug)]
pub(crate) struct PathProbe {
    mode: MtuProbing,
    /// `None` before anybody was asked.
    limits: Option<Limits>,
    /// They are the handshake's, and no turn was taken with them yet.
    is_untried: bool,
    search: Option<Search>,
    probe: Option<Probe>,
    /// Time-outs in a row of a segment that a base size would have made smaller.
    timeouts: u32,
    /// What the cache of paths has not been told yet.
    news: Option<Searched>,
}

impl PathProbe {
    pub(crate) fn new(mode: MtuProbing) -> Self {
        PathProbe {
            mode,
            limits: None,
            is_untried: false,
            search: None,
            probe: None,
            timeouts: 0,
            news: None,
        }
    }

    /// What [`follow`](Self::follow) does at first where nobody knows more, and there is no search from the beginning.
    #[inline]
    pub(crate) fn begin(&mut self, limits: Limits) {
        debug_assert!(self.limits.is_none() && self.mode != MtuProbing::Always);
        (self.limits, self.is_untried) = (Some(limits), true);
    }

    /// The path was made use of as it is.
    #[inline]
    pub(crate) fn go_on(&mut self) {
        self.is_untried = false;
    }

    /// Others may have found something out meanwhile: where the path has only [begun](Self::begin), [`follow`](Self::follow) asks
    /// them.
    pub(crate) fn begin_anew(&mut self) {
        if self.is_untried {
            (self.limits, self.is_untried) = (None, false);
        }
    }

    /// The largest datagram that may go, but for probes. `None` before [`follow`](Self::follow).
    pub(crate) fn mtu(&self) -> Option<u64> {
        let limits = self.limits?;
        let search = self.search.map_or(u64::MAX, |search| search.low);
        Some(limits.route.min(limits.peer).min(search))
    }

    /// Whether [`follow`](Self::follow) wants to know what others have found out.
    pub(crate) fn asks_others(&self, route: u64) -> bool {
        self.mode != MtuProbing::Off
            && (self.search.is_some() || self.limits.is_none_or(|limits| route < limits.route))
    }

    /// Whether there is something that the cache of paths should know.
    pub(crate) fn take_news(&mut self) -> Option<Searched> {
        self.news.take()
    }

    /// Whether [`take_news`](Self::take_news) would take any.
    pub(crate) fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// Whether nothing is searched for, and these limits are known.
    pub(crate) fn has_followed(&self, route: u64, link: u64) -> bool {
        self.search.is_none()
            && self.limits.is_some_and(|limits| limits.route == route && limits.link == link)
    }

    /// Takes what others know by now: before each turn of sending.
    pub(crate) fn follow(&mut self, limits: Limits, shared: Option<Searched>, now: Instant) {
        let is_first = self.limits.replace(limits).is_none();
        self.is_untried = false;
        //= RFC4821 7.2 switch
        if self.mode == MtuProbing::Off {
            return;
        }
        match shared {
            Some(found) => self.join(found, now),
            None if is_first && self.mode == MtuProbing::Always => {
                //= RFC4821 7.2 initial
                let high = limits.route.min(limits.peer);
                let base = limits.bases().first().map_or(high, |base| high.min(base.size));
                let mut search = Search::new(base, high);
                search.narrowed(None, now);
                self.search = Some(search);
            }
            None => {}
        }
        let ceiling = limits.ceiling();
        let Some(search) = &mut self.search else { return };
        if search.waits_until.is_none_or(|at| at <= now) {
            search.waits_until = None;
            if search.is_done() && ceiling > search.low {
                //= RFC4821 7.3 raise
                *search = Search { high: ceiling, aims_high: true, inconclusive: 0, ..*search };
            }
        }
        search.high = search.high.min(ceiling).max(search.low.min(ceiling));
        search.low = search.low.min(search.high);
    }

    /// The size of the next probe, if one is to be sent.
    pub(crate) fn next_probe(&self) -> Option<u64> {
        let search = self.search.filter(|search| !search.is_guess && !search.is_done())?;
        //= RFC4821 7.4 preconditions: none is under way, and the last failure is a while ago.
        (self.probe.is_none() && search.waits_until.is_none()).then(|| search.next_size())
    }

    pub(crate) fn probe_sent(&mut self, probe: Probe) {
        self.probe = Some(probe);
    }

    /// The probe that is on its way.
    pub(crate) fn probe(&self) -> Option<Probe> {
        self.probe
    }

    /// All below `una` is acknowledged, `size` being the largest datagram that has carried any of it.
    /// Tells whether there is a search, which has got on by that.
    #[inline]
    pub(crate) fn passed(&mut self, size: u64, una: u64, now: Instant) -> bool {
        self.timeouts = 0;
        if self.probe.is_some_and(|probe| probe.end <= una) {
            self.probe = None;
        }
        let searches = self.search.is_some();
        if searches {
            self.search_on(size, now);
        }
        searches
    }

    #[cold]
    fn search_on(&mut self, size: u64, now: Instant) {
        let (Some(search), Some(limits)) = (&mut self.search, self.limits) else { return };
        if search.is_guess {
            search.is_guess = false;
            self.news = Some(search.found());
        }
        if size > search.low {
            //= RFC4821 7.6.1 success
            search.low = size;
            search.high = search.high.max(size);
            search.aims_high &= size < search.high;
            search.narrowed(None, now);
            self.news = Some(search.found());
        }
        // All that was to be tried gets through, or all that can ever be of use.
        let is_over = search.low >= limits.ceiling() || (search.low >= search.high && !search.is_proven);
        if is_over && self.mode == MtuProbing::AfterBlackHole {
            self.search = None;
        }
    }

    /// The probe, and as far as is known nothing else, was lost. No other goes within `rto`.
    //= RFC4821 7.6.2 failure
    pub(crate) fn probe_failed(&mut self, rto: Duration, now: Instant) {
        let (Some(probe), Some(search)) = (self.probe.take(), &mut self.search) else { return };
        search.high = probe.size.saturating_sub(1).clamp(search.low, search.high.max(search.low));
        search.aims_high = false;
        search.is_proven = true;
        search.narrowed(Some(now + rto), now);
        self.news = Some(search.found());
    }

    /// The probe was lost with other segments, or may have been: that need not be for its size.
    //= RFC4821 7.6.4 inconclusive
    pub(crate) fn probe_is_inconclusive(&mut self, rto: Duration, now: Instant) {
        let Some(search) = self.search.as_mut().filter(|_| self.probe.is_some()) else { return };
        search.inconclusive += 1;
        if search.inconclusive >= INCONCLUSIVE_MAX {
            return self.probe_failed(rto, now);
        }
        search.waits_until = Some(now + 2 * rto);
        self.probe = None;
    }

    /// What went out again held part of the probe: it tells nothing any more.
    pub(crate) fn sent_again(&mut self, start: u64, end: u64, rto: Duration, now: Instant) {
        if self.probe.is_some_and(|probe| probe.start < end && start < probe.end) {
            self.probe_is_inconclusive(rto, now);
        }
    }

    /// The retransmission timer has run out for a segment whose datagram has `size` bytes. True if that makes a smaller
    /// MTU of the path.
    //= RFC4821 7.7 full stop, 7.7 lower bound
    //= RFC8504 5.7 without ICMP
    pub(crate) fn timed_out(&mut self, size: u64) -> bool {
        let Some(base) = self.smaller_base(size) else { return false };
        self.timeouts += 1;
        if self.timeouts < base.timeouts {
            return false;
        }
        self.probe = None;
        let high = self.search.map(|search| search.high).or(self.mtu()).unwrap_or(base.size);
        self.search = Some(Search { is_guess: true, ..Search::new(base.size, high) });
        true
    }

    /// A router says that datagrams of more than `mtu` bytes don't go on, and is believed.
    pub(crate) fn too_big(&mut self, mtu: u64, now: Instant) {
        self.probe = self.probe.filter(|probe| probe.size <= mtu);
        if let Some(search) = self.search.as_mut().filter(|search| mtu < search.high) {
            *search = Search { low: search.low.min(mtu), high: mtu, aims_high: true, ..*search };
            search.narrowed(None, now);
        }
    }

    /// What to fall back to when datagrams of `size` bytes vanish.
    fn smaller_base(&self, size: u64) -> Option<Base> {
        let (limits, mtu) = (self.limits?, self.mtu()?.min(size));
        let may_fall = self.mode != MtuProbing::Off;
        limits.bases().iter().copied().find(|base| may_fall && base.size < mtu)
    }

    /// Another connection to the same place has found something out.
    fn join(&mut self, found: Searched, now: Instant) {
        let (low, high) = (found.low as u64, found.high as u64);
        match &mut self.search {
            Some(search) if search.is_guess && low >= search.low => {}
            Some(search) if (search.low, search.high) == (low, high) => search.is_proven |= found.is_proven,
            Some(_) | None => {
                let mut search = Search::new(low, high);
                search.is_proven = found.is_proven;
                search.aims_high = !found.is_proven;
                search.narrowed(None, now);
                self.search = Some(search);
            }
        }
    }
}

#[cfg(test)]
mod tests;
