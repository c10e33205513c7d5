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
    /// The shortest round trip of what was sent once, in nanoseconds.
    pub(crate) rtt: Option<u64>,
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
            let rtt = self.arrive_in_order(acked.una..acked.ack, acked.now);
            Arrivals { delivered: acked.ack.since(acked.una), rtt }
        } else {
            self.arrive_anyhow(acked, lost, rtt)
        }
    }

    /// Whether nothing has been reported, believed lost or sent again that is not settled.
    pub(crate) fn all_was_sent_once(&self, lost: &Ranges) -> bool {
        self.board.sacked().is_empty()
            && lost.is_empty()
            && self.repeated.is_empty()
            && !self.flight.has_repeats()
    }

    /// The same for nearly all acknowledgements: nothing has to be told from anything else, and of what arrives the last
    /// was sent last. Tells its round trip in nanoseconds.
    #[inline(always)]
    pub(crate) fn arrive_in_order(&mut self, new: Range<SndPos>, now: Instant) -> Option<u64> {
        let new = new.start.get()..new.end.get();
        if let Some(at) = self.flight.sent_at_once(&new) {
            self.rack.note_order(new.end, false, self.rack.highest());
            return Some(self.rack.arrived(at, new.end, now));
        }
        let (highest, rack) = (self.rack.highest(), &mut self.rack);
        let mut latest = None;
        self.flight.tell_fresh(&new, &mut |sent| {
            rack.note_order(sent.range.end, false, highest);
            latest = Some((sent.at, sent.range.end));
        });
        latest.map(|(at, end)| rack.arrived(at, end, now))
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

    /// Another connection's: it goes on with the records, which are [`trim`](Self::trim)med.
    #[inline(always)]
    pub(super) fn renew(&mut self, first: SndPos, ranges_max: usize) {
        let Selective { board, flight: _, rack, prr, probe, repeated } = self;
        debug_assert!(repeated.is_empty() && board.sacked().is_empty(), "it was retired");
        board.limit_to(ranges_max);
        *rack = Rack::new(first);
        *prr = None;
        *probe = LossProbe::default();
    }

    /// Of what is on its way nothing will be heard.
    pub(super) fn trim(&mut self) {
        self.flight.empty();
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
                let rtt = now.nanos_since(sent.at);
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
    use crate::proto::tcp::send::scoreboard::SackBlocks;
    use crate::proto::tcp::timestamps::TimestampClock;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const FIRST: u64 = 100;
    const MSS: u64 = 1_000;
    const MIN_RTT: Duration = Duration::from_millis(4);

    /// What happens to a sender. Lengths are in octets, and cut to what there is.
    #[derive(Clone, Debug)]
    enum Event {
        /// So much goes out for the first time.
        Sent(u64),
        /// Of what is lost, so much goes out again.
        SentAgain(u64),
        /// As much of the end goes out again, though nothing says that it is lost.
        Probed(u64),
        /// What went out so far behind SND.UNA, and is so long, is lost: its packets were too large.
        Lost(u64, u64),
        /// Milliseconds pass, and what is late is lost.
        Waited(u64),
        TimedOut,
        /// What was believed lost is on its way.
        Undone,
        /// So much is acknowledged, and what stands there behind the old SND.UNA, and is so long, is reported. It echoes
        /// what was said so many milliseconds ago.
        Acknowledged {
            len: u64,
            blocks: Vec<(u64, u64)>,
            echo: Option<u64>,
        },
    }

    fn acknowledged() -> impl Strategy<Value = Event> {
        let blocks = prop_oneof![
            3 => Just(Vec::new()),
            1 => prop::collection::vec((0_u64..6_000, 1_u64..2_000), 1..4),
        ];
        let len = prop_oneof![1 => Just(0), 4 => 0_u64..3_000, 2 => Just(u64::MAX)];
        (len, blocks, prop::option::of(0_u64..9)).prop_map(|(len, blocks, echo)| Event::Acknowledged {
            len,
            blocks,
            echo,
        })
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (1_u64..3_000).prop_map(Event::Sent),
            3 => (1_u64..3_000).prop_map(Event::SentAgain),
            1 => (1_u64..2_000).prop_map(Event::Probed),
            1 => (0_u64..4_000, 1_u64..3_000).prop_map(|(from, len)| Event::Lost(from, len)),
            3 => (0_u64..9).prop_map(Event::Waited),
            1 => Just(Event::TimedOut),
            1 => Just(Event::Undone),
            6 => acknowledged(),
        ]
    }

    /// What of a sender concerns what has arrived, each step as `SendHalf` takes it.
    #[derive(Clone, Debug)]
    struct Sender {
        selective: Selective,
        lost: Ranges,
        una: u64,
        nxt: u64,
        now: Instant,
        rtt: Rtt,
        clock: TimestampClock,
    }

    impl Sender {
        fn new() -> Self {
            let now = Instant::from_millis(100);
            let mut rtt = Rtt::new(&Config::default());
            rtt.sample(MIN_RTT, now);
            Sender {
                selective: Selective::new(SndPos::at(FIRST), 4),
                lost: Ranges::new(),
                una: FIRST,
                nxt: FIRST,
                now,
                rtt,
                clock: TimestampClock::ahead_by(0x7654_3210),
            }
        }

        fn takes(&mut self, event: &Event) -> Result<(), TestCaseError> {
            match *event {
                Event::Sent(len) => {
                    self.selective.flight.sent(self.nxt..self.nxt + len, self.now);
                    self.nxt += len;
                }
                Event::SentAgain(len) => self.sends_again(len),
                Event::Probed(len) => self.probes(len),
                Event::Lost(from, len) => self.loses(self.una + from..self.una + from + len),
                Event::Waited(millis) => {
                    self.now += Duration::from_millis(millis);
                    self.detects();
                }
                Event::TimedOut => self.times_out(),
                Event::Undone => {
                    self.selective.restore(&self.lost, self.now);
                    self.lost.clear();
                }
                Event::Acknowledged { len, ref blocks, echo } => self.hears(len, blocks, echo)?,
            }
            Ok(())
        }

        fn sends_again(&mut self, len: u64) {
            let Some(lost) = self.lost.first() else { return };
            let again = lost.start..lost.end.min(lost.start + len);
            self.lost.remove(again.clone());
            self.selective.sent_again(again, self.now);
        }

        fn probes(&mut self, len: u64) {
            let tail = self.una.max(self.nxt.saturating_sub(len))..self.nxt;
            if tail.is_empty() || !self.lost.is_empty() || !self.selective.board.sacked().is_empty() {
                return;
            }
            self.selective.flight.forget(&tail);
            self.selective.sent_again(tail, self.now);
        }

        fn loses(&mut self, range: Range<u64>) {
            let range = range.start..range.end.min(self.nxt);
            if !range.is_empty() {
                self.selective.flight.forget(&range);
                self.selective.board.sacked().gaps(range).for_each(|missing| self.lost.insert(missing));
            }
        }

        fn detects(&mut self) {
            if self.una == self.nxt {
                return self.selective.flight.clear();
            }
            let window = self.selective.window(&self.rtt, !self.lost.is_empty(), MSS);
            let lost = &mut self.lost;
            self.selective.detect(SndPos::at(self.una), window, self.now, |range| lost.insert(range));
        }

        fn times_out(&mut self) {
            let una = SndPos::at(self.una);
            if self.selective.has_reneged(una) {
                self.selective.forget_reports(una, SndPos::at(self.nxt));
                return self.loses(self.una..self.nxt);
            }
            let window = self.selective.window(&self.rtt, true, MSS);
            let lost = &mut self.lost;
            self.selective.detect_on_timeout(una, window, self.now, |range| lost.insert(range));
            self.loses(self.una..self.una + MSS);
        }

        /// Takes an acknowledgement in the way that is chosen for it, which is to come to what the general way comes to.
        fn hears(&mut self, len: u64, blocks: &[(u64, u64)], echo: Option<u64>) -> Result<(), TestCaseError> {
            self.now += Duration::from_millis(1);
            let ack = self.una.saturating_add(len).min(self.nxt);
            let place = |(from, len): &(u64, u64)| self.una + from..self.una + from + len;
            let blocks: SackBlocks = blocks.iter().map(place).collect();
            let report = Report::read(&blocks, SndPos::at(ack), SndPos::at(FIRST), SndPos::at(self.nxt));
            let mut general = self.clone();
            let said = Acknowledged {
                una: SndPos::at(self.una),
                ack: SndPos::at(ack),
                report: &report,
                now: self.now,
                echo: echo.map(|millis| {
                    let sent = Instant::from_nanos(self.now.as_nanos() - millis * 1_000_000);
                    (self.clock, self.clock.at(sent))
                }),
            };
            let arrivals = self.selective.arrive(&said, &mut self.lost, &self.rtt);
            let expected = general.selective.arrive_anyhow(&said, &mut general.lost, &general.rtt);
            self.moves_to(ack);
            general.moves_to(ack);
            prop_assert_eq!(self.with(arrivals), general.with(expected));
            Ok(())
        }

        fn moves_to(&mut self, ack: u64) {
            self.una = ack;
            self.lost.remove_below(ack);
            self.detects();
        }

        fn with(&self, arrivals: Arrivals) -> String {
            format!("{arrivals:?} {self:?}")
        }
    }

    proptest! {
        #[test]
        fn what_arrives_in_order_is_taken_as_if_anything_might_have_come(
            events in prop::collection::vec(event(), 1..32),
        ) {
            let mut sender = Sender::new();
            for event in &events {
                sender.takes(event)?;
            }
            // When all has arrived, whatever it was, the short way is open again.
            sender.hears(u64::MAX, &[], None)?;
            sender.takes(&Event::Sent(MSS))?;
            prop_assert!(sender.selective.all_was_sent_once(&sender.lost));
            sender.hears(MSS, &[], None)?;
        }
    }
}
