//! What only a sender can have whose peer reports what it has (RFC 2018): loss detection by time (RFC 8985), and a window
//! that follows what arrives (RFC 9937).
//!
//! Owns what these four need together. Without SACK, `recovery` counts duplicate acknowledgements instead.

use core::ops::Range;
use core::time::Duration;

use super::flight::Flight;
use super::prr::Prr;
use super::rack::{Arrived, Path, Rack};
use super::rtt::Rtt;
use super::scoreboard::{Report, Scoreboard};
use super::tlp::LossProbe;
use crate::proto::buf::ranges::Ranges;
use crate::proto::tcp::seq::SndPos;
use crate::proto::tcp::timestamps::{TimestampClock, is_before};
use crate::time::Instant;

/// The state of a sender with SACK.
#[derive(Clone, Debug)]
pub(crate) struct Selective {
    pub(crate) board: Scoreboard,
    pub(crate) flight: Flight,
    pub(crate) rack: Rack,
    /// Set during fast recovery.
    pub(crate) prr: Option<Prr>,
    pub(crate) probe: LossProbe,
    /// What was sent again and has not arrived, wherever it stands now.
    repeated: Ranges,
}

/// What an acknowledgement says to have arrived that had not been said before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrivals {
    /// Octets.
    pub(crate) delivered: u64,
    /// The shortest round trip of what was sent once.
    pub(crate) rtt: Option<Duration>,
}

/// An acknowledgement as far as it concerns what has arrived.
pub(crate) struct Acknowledged<'a> {
    pub(crate) una: SndPos,
    pub(crate) ack: SndPos,
    pub(crate) report: &'a Report,
    pub(crate) now: Instant,
    /// Our clock, and what of it the segment echoes.
    pub(crate) echo: Option<(TimestampClock, u32)>,
}

/// What has arrived while one acknowledgement is looked at.
struct Tally<'a> {
    flight: &'a mut Flight,
    rack: &'a mut Rack,
    lost: &'a mut Ranges,
    repeated: &'a mut Ranges,
    /// RACK.fack before.
    highest: u64,
    acknowledged: &'a Acknowledged<'a>,
    min_rtt: Option<Duration>,
    latest: Option<(Instant, u64)>,
    arrivals: Arrivals,
}

impl Selective {
    pub(crate) fn new(first: SndPos, ranges_max: usize) -> Self {
        Selective {
            board: Scoreboard::new(ranges_max),
            flight: Flight::default(),
            rack: Rack::new(first),
            prr: None,
            probe: LossProbe::default(),
            repeated: Ranges::new(),
        }
    }

    /// Takes over what an acknowledgement says. What has arrived is not `lost` any more.
    pub(crate) fn arrive(&mut self, acked: &Acknowledged<'_>, lost: &mut Ranges, rtt: &Rtt) -> Arrivals {
        if acked.report.blocks.is_empty() && self.all_was_sent_once(lost) {
            self.arrive_in_order(acked)
        } else {
            self.arrive_anyhow(acked, lost, rtt)
        }
    }

    /// Whether nothing has been reported, believed lost or sent again that is not settled.
    fn all_was_sent_once(&self, lost: &Ranges) -> bool {
        self.board.sacked().is_empty()
            && lost.is_empty()
            && self.repeated.is_empty()
            && !self.flight.has_repeats()
    }

    /// The same for nearly all acknowledgements: nothing has to be told from anything else, and of what arrives the last
    /// was sent last.
    fn arrive_in_order(&mut self, acked: &Acknowledged<'_>) -> Arrivals {
        let new = acked.una.get()..acked.ack.get();
        let (highest, rack) = (self.rack.highest(), &mut self.rack);
        let mut latest = None;
        self.flight.tell_fresh(&new, &mut |sent| {
            rack.note_order(sent.range.end, false, highest);
            latest = Some((sent.at, sent.range.end));
        });
        let rtt = latest.map(|(at, end)| rack.arrived(at, end, acked.now));
        Arrivals { delivered: new.end - new.start, rtt }
    }

    /// The same, whatever the acknowledgement reports and whatever has gone how often.
    #[inline(never)]
    fn arrive_anyhow(&mut self, acked: &Acknowledged<'_>, lost: &mut Ranges, rtt: &Rtt) -> Arrivals {
        let mut tally = Tally {
            flight: &mut self.flight,
            highest: self.rack.highest(),
            rack: &mut self.rack,
            repeated: &mut self.repeated,
            lost,
            acknowledged: acked,
            min_rtt: rtt.min_rtt(),
            latest: None,
            arrivals: Arrivals::default(),
        };
        self.board.acknowledge(acked.una.get(), acked.ack.get(), |new| tally.add(new));
        if !acked.report.blocks.is_empty() {
            // In the order of positions, so that of all this none stands below what came before it.
            let mut blocks = acked.report.blocks.clone();
            blocks.sort_unstable_by_key(|block| block.start);
            for block in blocks {
                self.board.report(block.start.max(acked.ack.get())..block.end, |new| tally.add(new));
            }
        }
        let Tally { latest, arrivals, .. } = tally;
        if let Some((at, end)) = latest {
            self.rack.arrived(at, end, acked.now);
        }
        arrivals
    }

    /// Tells what is lost at `now`, and when to look again.
    pub(crate) fn detect(
        &mut self,
        una: SndPos,
        window: Duration,
        now: Instant,
        is_lost: impl FnMut(Range<u64>),
    ) -> Option<Instant> {
        let arrived = Arrived { una, sacked: self.board.sacked() };
        self.rack.detect(&mut self.flight, &arrived, window, now, is_lost)
    }

    /// As [`detect`](Self::detect), when the retransmission timer has expired.
    pub(crate) fn detect_on_timeout(
        &mut self,
        una: SndPos,
        window: Duration,
        now: Instant,
        is_lost: impl FnMut(Range<u64>),
    ) {
        let arrived = Arrived { una, sacked: self.board.sacked() };
        self.rack.detect_on_timeout(&mut self.flight, &arrived, window, now, is_lost);
    }

    /// The reordering window.
    pub(crate) fn window(&self, rtt: &Rtt, recovers: bool, mss: u64) -> Duration {
        let sacked = self.board.sacked();
        let segments_sacked = (sacked.total() / mss.max(1)).max(sacked.len() as u64);
        self.rack.window(&Path { min_rtt: rtt.min_rtt(), srtt: rtt.srtt(), recovers, segments_sacked })
    }

    /// The peer has thrown away what it had reported: what stands at SND.UNA is among it.
    //= RFC2018 5 left edge, 8 reneging
    pub(crate) fn has_reneged(&self, una: SndPos) -> bool {
        self.board.sacked().containing(una.get()).is_some()
    }

    /// It has; and of what stands below `nxt` nothing is known any more, nor in which order it comes.
    pub(crate) fn forget_reports(&mut self, una: SndPos, nxt: SndPos) {
        self.board.clear();
        self.repeated.insert(una.get()..nxt.get());
    }

    /// Of what is on its way nothing will be heard.
    pub(super) fn trim(&mut self) {
        self.flight = core::mem::take(&mut self.flight).emptied();
        self.repeated.clear();
    }

    /// `range` was sent again.
    pub(crate) fn sent_again(&mut self, range: Range<u64>, now: Instant) {
        self.repeated.insert(range.clone());
        self.flight.sent_again(range, now);
    }

    /// What was believed lost is on its way after all. When it was sent is not known any more: at the latest now.
    pub(crate) fn restore(&mut self, lost: &Ranges, now: Instant) {
        for range in lost.iter() {
            self.flight.sent_again(range, now);
        }
    }
}

impl Tally<'_> {
    fn add(&mut self, new: Range<u64>) {
        let Acknowledged { now, echo, ack, .. } = *self.acknowledged;
        self.arrivals.delivered += new.end - new.start;
        self.note_late(&new);
        let (flight, rack, min_rtt) = (&mut *self.flight, &mut *self.rack, self.min_rtt);
        let (latest, arrivals, highest) = (&mut self.latest, &mut self.arrivals, self.highest);
        flight.arrived(&new, |sent| {
            rack.note_order(sent.range.end, sent.again, highest);
            // What is echoed is what was in order last (RFC 7323 section 4.3): of what is only reported it says nothing.
            let echo = echo.filter(|_| new.end <= ack.get());
            let echo_is_older = echo.is_some_and(|(clock, echo)| is_before(echo, clock.at(sent.at)));
            if Rack::is_ambiguous(&sent, now, min_rtt, echo_is_older) {
                return;
            }
            *latest = (*latest).max(Some((sent.at, sent.range.end)));
            if !sent.again {
                let rtt = now.since(sent.at);
                arrivals.rtt = Some(arrivals.rtt.map_or(rtt, |least| least.min(rtt)));
            }
        });
    }

    /// What was believed lost, and was not sent again yet, has come all the same: late, if it stands below what had come.
    //= RFC8985 6.2 reordering
    fn note_late(&mut self, new: &Range<u64>) {
        if self.lost.is_empty() && self.repeated.is_empty() {
            return;
        }
        let mut from = new.start;
        while let Some(lost) = self.lost.overlapping(from..new.end) {
            let lost = lost.start.max(from)..lost.end.min(new.end);
            for once in self.repeated.gaps(lost.clone()) {
                self.rack.note_order(once.end, false, self.highest);
            }
            self.rack.note_order(lost.end, true, self.highest);
            from = lost.end;
        }
        self.lost.remove(new.clone());
        self.repeated.remove(new.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use alloc::format;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_arrives_in_order_is_taken_as_if_anything_might_have_come(
            sent in prop::collection::vec((1_u64..3_000, 0_u64..3), 1..8),
            acked in prop::collection::vec(0_u64..6_000, 1..8),
        ) {
            let mut selective = Selective::new(SndPos::at(100), 4);
            let (mut nxt, mut now) = (100, Instant::from_millis(1));
            for (len, pause) in sent {
                now += Duration::from_millis(pause);
                selective.flight.sent(nxt..nxt + len, now);
                nxt += len;
            }
            let (rtt, report) = (Rtt::new(&Config::default()), Report::default());
            let mut una = 100;
            for len in acked {
                now += Duration::from_millis(1);
                let ack = (una + len).min(nxt);
                let (una_before, ack_now) = (SndPos::at(una), SndPos::at(ack));
                let said = Acknowledged { una: una_before, ack: ack_now, report: &report, now, echo: None };
                let (mut other, mut lost) = (selective.clone(), Ranges::new());
                let arrivals = selective.arrive(&said, &mut lost, &rtt);
                let expected = other.arrive_anyhow(&said, &mut lost, &rtt);
                prop_assert_eq!(format!("{arrivals:?} {selective:?}"), format!("{expected:?} {other:?}"));
                una = ack;
            }
        }
    }
}
