//! The variables of the sending half, and what the RFCs say follows from them.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::{CAPACITY, OVERRIDE, PEER, QUICK, R1, RTO_MAX, RTO_MIN};
use crate::proto::tcp::send::plan::{Kind, TextPlan};
use crate::proto::tcp::send::timer::Expiry;
use crate::proto::tcp::seq::SndPos;
use crate::time::Instant;

/// What the one timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Nothing,
    /// RFC 6298 section 5.
    Retransmit,
    /// RFC 9293 section 3.8.6.1.
    Persist,
    /// RFC 9293 section 3.8.6.2.1: the override time-out.
    Override,
}

/// RFC 5681 section 3.2, RFC 6582: which octets the recovery under way has to see acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovering {
    No,
    Fast(u64),
    Timeout(u64),
}

/// RFC 5682 section 2: how far F-RTO has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frto {
    No,
    /// Step 1: all up to here was sent again.
    First(u64),
    /// Step 2b: so many octets that were never sent may go.
    New(u64),
}

/// The variables. Positions are counted from the first octet of text.
pub(super) struct Snd {
    pub(super) una: u64,
    pub(super) nxt: u64,
    pub(super) wnd: u64,
    pub(super) wl1: u64,
    pub(super) wl2: u64,
    /// Max(SND.WND).
    pub(super) max_wnd: u64,
    /// How many octets the application has written.
    pub(super) written: u64,
    pub(super) closed: bool,
    /// In flight once, and believed lost since. The FIN stands at `written`.
    pub(super) lost: BTreeSet<u64>,
    pub(super) mss: u64,
    /// The text of the segment in which each octet in flight went out last.
    pub(super) sizes: BTreeMap<u64, u64>,
    /// How often "too big" was acted upon, and which octets have to be acknowledged before it counts anew.
    pub(super) quick: (u32, u64),
    pub(super) urgent: Option<u64>,
    pub(super) blocked: bool,
    pub(super) recovering: Recovering,
    pub(super) frto: Frto,
    pub(super) duplicates: u32,
    /// RFC 6582: `recover`.
    pub(super) recover: Option<u64>,
    /// RFC 5681 section 3.2 step 3: the lost segment goes whatever cwnd says.
    pub(super) regardless: bool,
    pub(super) purpose: Purpose,
    pub(super) at: Instant,
    /// It has expired, and nothing was sent since.
    pub(super) due: bool,
    pub(super) probes: i32,
    pub(super) retransmissions: u32,
    pub(super) retransmits: u64,
    /// RFC 6298 section 3: the segment that is timed, by its end.
    pub(super) timed: Option<(u64, Instant)>,
    pub(super) srtt: f64,
    pub(super) rttvar: f64,
    pub(super) backoff: i32,
}

impl Snd {
    pub(super) fn new(mss: u64, wnd: u64, rtt: f64) -> Self {
        Snd {
            una: 0,
            nxt: 0,
            wnd,
            wl1: PEER,
            wl2: 0,
            max_wnd: wnd,
            written: 0,
            closed: false,
            lost: BTreeSet::new(),
            mss,
            sizes: BTreeMap::new(),
            quick: (0, 0),
            urgent: None,
            blocked: false,
            recovering: Recovering::No,
            frto: Frto::No,
            duplicates: 0,
            recover: None,
            regardless: false,
            purpose: Purpose::Nothing,
            at: Instant::MAX,
            due: false,
            probes: 0,
            retransmissions: 0,
            retransmits: 0,
            timed: None,
            srtt: rtt,
            rttvar: rtt / 2.0,
            backoff: 0,
        }
    }

    /// One past the last octet that there will be, as far as is known.
    pub(super) fn end(&self) -> u64 {
        if self.closed { self.written + 1 } else { self.written }
    }

    pub(super) fn room(&self) -> u64 {
        (0..CAPACITY).filter(|n| self.una + n >= self.written).count() as u64
    }

    pub(super) fn write(&mut self, len: u64) -> u64 {
        let taken = len.min(self.room());
        self.written += taken;
        self.blocked |= taken < len;
        taken
    }

    /// Whether the offered window holds an octet: "SND.UNA =< x < SND.UNA + SND.WND".
    pub(super) fn in_window(&self, at: u64) -> bool {
        self.una <= at && at < self.una + self.wnd
    }

    pub(super) fn in_flight(&self) -> u64 {
        (self.una..self.nxt).filter(|at| !self.lost.contains(at)).count() as u64
    }

    /// The segment to be sent now.
    pub(super) fn plan(&self, nodelay: bool, cwnd: u64) -> Option<TextPlan> {
        if self.purpose == Purpose::Persist && self.due {
            // Section 3.8.6.1: at least one octet of new data, if there is any, "even if the send window is zero".
            let text = u64::from(self.una < self.written);
            return Some(self.segment(Kind::Probe, self.una, text, text == 0));
        }
        if let Frto::New(most) = self.frto {
            return self.plan_frto(most, cwnd);
        }
        match self.lost.first() {
            Some(first) => self.plan_lost(*first, cwnd),
            None => self.plan_new(nodelay, cwnd),
        }
    }

    /// New octets, as many as may go, though others are lost.
    pub(super) fn plan_frto(&self, most: u64, cwnd: u64) -> Option<TextPlan> {
        let queued = self.written.saturating_sub(self.nxt);
        let usable = (self.nxt..self.nxt + self.wnd).filter(|at| self.in_window(*at)).count() as u64;
        let text =
            [queued, usable, self.mss, most, cwnd.saturating_sub(self.in_flight())].into_iter().min()?;
        let fin = self.closed && text == queued && text < usable;
        (text > 0).then(|| self.segment(Kind::New, self.nxt, text, fin))
    }

    /// What is lost goes again, with what follows it as long as that is lost too, or was never sent.
    pub(super) fn plan_lost(&self, first: u64, cwnd: u64) -> Option<TextPlan> {
        let may_go = |at: &u64| (self.lost.contains(at) || *at >= self.nxt) && self.in_window(*at);
        let text = (first..self.written).take_while(may_go).take(self.mss as usize).count() as u64;
        let fin = self.closed && first + text == self.written && may_go(&self.written);
        let fits = self.in_flight() + text <= cwnd || self.regardless;
        ((text > 0 || fin) && fits).then(|| self.segment(Kind::Retransmission, first, text, fin))
    }

    /// Section 3.8.6.2.1: D is what is queued, U the usable window.
    pub(super) fn plan_new(&self, nodelay: bool, cwnd: u64) -> Option<TextPlan> {
        let queued = (self.nxt..self.written).count() as u64;
        let usable = (self.nxt..self.nxt + self.wnd).filter(|at| self.in_window(*at)).count() as u64;
        // RFC 3042: two more, while two duplicates have come.
        let more = if self.recovering == Recovering::No { self.duplicates.min(2) } else { 0 };
        let may_fly = (cwnd + u64::from(more) * self.mss).saturating_sub(self.in_flight());
        let text = [queued, usable, self.mss, may_fly].into_iter().min()?;
        let fin = self.closed && self.nxt <= self.written && text == queued && text < usable;
        // Section 3.7.4, Nagle: a small one waits while anything is unacknowledged.
        let idle = self.una == self.nxt || nodelay;
        // What was written is PUSHed; nothing will follow what is closed; what is urgent does not wait.
        let pushed = text == queued && (idle || self.closed || self.urgent.is_some());
        let worth = text >= self.mss
            || pushed
            || (idle && 2 * text >= self.max_wnd)
            || (self.purpose == Purpose::Override && self.due);
        (fin || (text > 0 && worth)).then(|| self.segment(Kind::New, self.nxt, text, fin))
    }

    pub(super) fn segment(&self, kind: Kind, start: u64, len: u64, fin: bool) -> TextPlan {
        let urgent = self.urgent.filter(|mark| *mark > start);
        TextPlan {
            kind,
            start: SndPos::at(start),
            len,
            size: len,
            fin,
            psh: len > 0 && start + len == self.written,
            urgent: urgent.map(|mark| u16::try_from(mark - start).unwrap_or(u16::MAX)),
        }
    }

    /// RFC 1191 section 6.4: what is larger is lost, and goes again at once. It is no sign of congestion.
    pub(super) fn too_big(&mut self, size: u64, now: Instant) -> bool {
        if self.una >= self.quick.1 {
            self.quick = (0, self.nxt);
        }
        let large: BTreeSet<u64> =
            self.sizes.iter().filter(|(_, of)| **of > size).map(|(at, _)| *at).collect();
        if large.is_empty() || self.quick.0 == QUICK {
            return false;
        }
        self.quick.0 += 1;
        self.lost.extend(large);
        if self.recovering == Recovering::No {
            (self.recover, self.duplicates) = (Some(self.nxt), 0);
        }
        if self.purpose == Purpose::Retransmit {
            self.arm(now);
        }
        true
    }

    pub(super) fn sent(&mut self, kind: Kind, start: u64, len: u64, end: u64, now: Instant) {
        self.sizes.extend((start..end).map(|at| (at, len)));
        if kind == Kind::New {
            self.timed = self.timed.or(Some((end, now)));
            if let Frto::New(most) = &mut self.frto {
                *most -= (*most).min(end - start);
            }
        } else {
            self.lost.retain(|at| !(start..end).contains(at));
            self.retransmits += u64::from(start < self.nxt);
            if matches!(self.frto, Frto::First(_)) && kind == Kind::Retransmission {
                self.frto = Frto::First(end.min(self.nxt));
            }
            // Karn: what was sent twice measures nothing.
            self.timed = self.timed.filter(|(timed_end, _)| *timed_end <= start);
        }
        self.nxt = self.nxt.max(end);
        self.regardless = false;
        self.due = false;
        // What is repaired has the timer run anew.
        let is_repair = kind == Kind::Retransmission
            && start == self.una
            && matches!(self.recovering, Recovering::Fast(_));
        if self.purpose != self.wanted_purpose() || kind == Kind::Probe || is_repair {
            self.arm(now);
        }
    }

    /// Section 3.10.7.4, fifth check, for SND.UNA =< SEG.ACK =< SND.NXT.
    pub(super) fn acknowledged(&mut self, ack: u64, seq: u64, wnd: u64, bare: bool, now: Instant) {
        // RFC 5681 section 2. (What answers a probe of a window of zero is none.)
        let is_duplicate = self.una < self.nxt && bare && ack == self.una && wnd == self.wnd && wnd != 0;
        // A departure: what acknowledges anything new is believed, wherever it stands.
        if self.wl1 < seq || (self.wl1 == seq && self.wl2 <= ack) || ack > self.una {
            // What was probed with goes out again once the window opens.
            if self.wnd == 0 && wnd > 0 && self.probes > 0 {
                self.lost.extend(self.una..self.nxt);
            }
            (self.wnd, self.wl1, self.wl2) = (wnd, seq, ack);
            self.max_wnd = self.max_wnd.max(wnd);
        }
        if let Some((_, sent)) = self.timed.filter(|(end, _)| *end <= ack) {
            self.measure(now.since(sent).as_secs_f64());
        }
        let is_progress = ack > self.una;
        self.una = ack;
        self.lost.retain(|at| *at >= ack);
        self.sizes.retain(|at, _| *at >= ack);
        self.urgent = self.urgent.filter(|mark| *mark > ack);
        self.ask_frto(is_progress, is_duplicate);
        if is_progress {
            self.duplicates = 0;
            self.retransmissions = 0;
            self.progress();
        } else if is_duplicate {
            self.duplicate();
        }
        if self.purpose != self.wanted_purpose() || (is_progress && self.purpose == Purpose::Retransmit) {
            self.arm(now);
        }
    }

    /// RFC 5682 section 2.1, steps 2 and 3.
    pub(super) fn ask_frto(&mut self, is_progress: bool, is_duplicate: bool) {
        match self.frto {
            Frto::First(end) if is_progress => {
                let covers_all = self.una == self.nxt || self.una < end;
                let may_send = self.in_window(self.nxt) && self.nxt < self.written;
                self.frto = if covers_all || !may_send { Frto::No } else { Frto::New(2 * self.mss) };
            }
            Frto::New(_) if is_progress => {
                // The time-out was spurious: nothing is lost, nothing recovers.
                self.lost.clear();
                (self.recovering, self.regardless, self.frto) = (Recovering::No, false, Frto::No);
                // RFC 4015 section 4: duplicates count at once.
                self.recover = None;
            }
            _ if is_duplicate => self.frto = Frto::No,
            Frto::No | Frto::First(_) | Frto::New(_) => {}
        }
    }

    pub(super) fn progress(&mut self) {
        match self.recovering {
            Recovering::No => {}
            Recovering::Fast(all) | Recovering::Timeout(all) if self.una >= all => {
                self.recovering = Recovering::No;
                self.regardless = false;
                self.frto = Frto::No;
            }
            // RFC 6582 section 3.2 step 3: "retransmit the first unacknowledged segment".
            Recovering::Fast(_) => self.first_is_lost(),
            Recovering::Timeout(_) => {}
        }
    }

    pub(super) fn duplicate(&mut self) {
        if self.recovering == Recovering::No {
            self.duplicates += 1;
            if self.duplicates == 3 && self.recover.is_none_or(|recover| self.una > recover) {
                self.recovering = Recovering::Fast(self.nxt);
                self.frto = Frto::No;
                self.recover = Some(self.nxt);
                self.first_is_lost();
            }
        }
    }

    pub(super) fn first_is_lost(&mut self) {
        self.lost.extend((self.una..self.nxt).take(self.mss as usize));
        self.regardless = true;
    }

    pub(super) fn expire(&mut self, now: Instant) -> Option<Expiry> {
        if self.purpose == Purpose::Nothing || self.due || now < self.at {
            return None;
        }
        if self.purpose != Purpose::Retransmit {
            self.due = true;
            self.probes += i32::from(self.purpose == Purpose::Persist);
            return Some(Expiry::GoOn);
        }
        self.retransmissions += 1;
        // Not while another recovery is under way.
        let asks = self.recovering == Recovering::No || matches!(self.frto, Frto::First(_));
        let first = (self.una + self.mss).min(self.nxt);
        self.frto = if asks { Frto::First(first) } else { Frto::No };
        self.recovering = Recovering::Timeout(self.nxt);
        self.recover = Some(self.nxt);
        self.duplicates = 0;
        self.regardless = true;
        self.lost.extend(self.una..self.nxt);
        self.timed = None;
        self.backoff += 1;
        self.at = now + self.time_out(self.backoff);
        Some(if self.retransmissions == R1 { Expiry::Trouble } else { Expiry::Retransmit })
    }

    pub(super) fn wanted_purpose(&self) -> Purpose {
        match () {
            () if self.una == self.end() => Purpose::Nothing,
            () if self.wnd == 0 => Purpose::Persist,
            () if self.una < self.nxt => Purpose::Retransmit,
            () => Purpose::Override,
        }
    }

    pub(super) fn refresh(&mut self, now: Instant) {
        if self.purpose != self.wanted_purpose() {
            self.arm(now);
        }
    }

    pub(super) fn arm(&mut self, now: Instant) {
        let purpose = self.wanted_purpose();
        if self.purpose != purpose {
            (self.purpose, self.due, self.probes) = (purpose, false, 0);
        }
        self.at = match purpose {
            Purpose::Nothing => Instant::MAX,
            Purpose::Retransmit => now + self.time_out(self.backoff),
            // Section 3.8.6.1: the first probe after the retransmission time-out, the intervals growing.
            Purpose::Persist => now + self.time_out(self.probes),
            Purpose::Override => now + OVERRIDE,
        };
    }

    /// RFC 6298 section 2, in seconds.
    pub(super) fn measure(&mut self, rtt: f64) {
        self.rttvar = 0.75 * self.rttvar + 0.25 * (self.srtt - rtt).abs();
        self.srtt = 0.875 * self.srtt + 0.125 * rtt;
        (self.timed, self.backoff) = (None, 0);
    }

    pub(super) fn time_out(&self, doublings: i32) -> Duration {
        let rto = (self.srtt + (4.0 * self.rttvar).max(1e-6)).max(RTO_MIN);
        let doubled = (0..doublings.min(40)).fold(rto, |rto, _| 2.0 * rto);
        Duration::from_secs_f64(doubled.min(RTO_MAX))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.purpose != Purpose::Nothing && !self.due).then_some(self.at)
    }
}
