//! The sending half of a synchronised connection: our bytes, until they are acknowledged.
//!
//! ```text
//!        una                 nxt                end
//!   ──────┼───────────────────┼──────────────────┼──────────▶ positions (SndPos)
//!   acked │  in flight, or    │  written, not    │ FIN stands
//!         │  marked `lost`    │  sent yet        │ here
//!         └── wnd (theirs) ───────────┘
//!         └── cwnd (ours) ────────┘
//! ```
//!
//! Owns the text, the peer's window, RTT and the retransmission timer, loss recovery and congestion
//! control, and what is known of the path's MTU. `plan` decides what to send and changes nothing; `commit` advances once the device has taken
//! it. There is no separate path for retransmissions: whatever is lost is marked so, and planned first.
//! RFC 9293 sections 3.4, 3.7.4, 3.8; RFC 5681, 6298, 6582; with SACK, RFC 2018, 2883, 8985 and 9937.

pub(crate) mod acked;
pub(crate) mod buffer;
pub(crate) mod flight;
pub(crate) mod frto;
pub(crate) mod path;
pub(crate) mod path_probe;
pub(crate) mod plan;
pub(crate) mod prr;
pub(crate) mod rack;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod scoreboard;
pub(crate) mod selective;
pub(crate) mod sizes;
pub(crate) mod timer;
pub(crate) mod tlp;
pub(crate) mod undo;

use bytes::{Buf, Bytes};

use crate::proto::buf::pages::Pool;
use crate::proto::buf::ranges::Ranges;
use crate::proto::buf::text::Text;
use crate::proto::config::Config;
use crate::proto::tcp::congestion::new_reno::NewReno;
use crate::proto::tcp::congestion::{Chosen, Controller};
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::proto::tcp::timestamps::TimestampClock;
use crate::time::Instant;

use buffer::SendBuffer;
use path::Path;
use recovery::Recovery;
use rtt::Rtt;
use selective::Selective;
use timer::SendTimer;

/// What the handshake settled about our direction.
#[derive(Clone, Debug)]
pub(crate) struct SendStart {
    /// The position of our SYN.
    pub(crate) syn: SndPos,
    /// The largest segment we may send.
    pub(crate) mss: u64,
    /// The peer's window as its last segment told, unscaled if that was a SYN.
    pub(crate) wnd: u64,
    /// The shift of window fields to come.
    pub(crate) scale: u8,
    /// The position of the segment that told the window.
    pub(crate) wl1: RcvPos,
    /// Round-trip time of the handshake in nanoseconds, if nothing in it was sent twice.
    pub(crate) rtt: Option<u64>,
    /// The peer reports what it has beyond SND.UNA (RFC 2018).
    pub(crate) sack: bool,
    /// Our clock, where timestamps are in use.
    pub(crate) clock: Option<TimestampClock>,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct SendHalf {
    una: SndPos,
    nxt: SndPos,
    /// One past the last byte written.
    end: SndPos,
    text: Text,
    /// Set once the application has closed: FIN stands at `end`.
    fin: bool,
    /// SND.WND in bytes.
    wnd: u64,
    /// The largest window the peer has ever offered (RFC 9293 section 3.8.6.2.1).
    max_wnd: u64,
    wl1: RcvPos,
    wl2: SndPos,
    scale: u8,
    mss: u64,
    path: Path,
    buffer: SendBuffer,
    /// In flight once, and believed lost since.
    lost: Ranges,
    recovery: Recovery,
    /// Set if the peer reports what it has.
    selective: Option<Selective>,
    clock: Option<TimestampClock>,
    rtt: Rtt,
    cc: Chosen,
    timer: SendTimer,
    /// The one segment being timed: its end, and when it went out.
    timed: Option<(SndPos, Instant)>,
    /// The position after the last urgent byte (RFC 9293 MUST-62).
    urgent: Option<SndPos>,
    /// The application was told that there is no room, and not since that there is some: not even by a write that found some.
    write_blocked: bool,
    last_sent: Instant,
    /// Where the last segment begins that was sent for the first time.
    tail: SndPos,
    opened: Instant,
    first: SndPos,
    retransmits: u64,
    undone: u64,
}

impl SendHalf {
    pub(crate) fn new(config: &Config, start: &SendStart, now: Instant) -> Self {
        let mut rtt = Rtt::new(config);
        let cc = first_window(&mut rtt, config, start, now);
        let first = start.syn.plus(1);
        SendHalf {
            una: first,
            nxt: first,
            end: first,
            text: Text::new(first.get()),
            fin: false,
            wnd: start.wnd,
            max_wnd: start.wnd,
            wl1: start.wl1,
            wl2: first,
            scale: start.scale,
            mss: start.mss,
            path: Path::new(config.mtu_probing, first),
            buffer: SendBuffer::new(config.send_buffer_initial as u64, config.send_buffer as u64),
            lost: Ranges::new(),
            recovery: Recovery::new(),
            selective: start.sack.then(|| Selective::new(first, config.sack_ranges)),
            clock: start.clock,
            rtt,
            cc: Chosen::NewReno(cc),
            timer: SendTimer::new(config),
            timed: None,
            urgent: None,
            write_blocked: false,
            last_sent: now,
            tail: first,
            opened: now,
            first,
            retransmits: 0,
            undone: 0,
        }
    }

    /// SND.UNA.
    pub(crate) fn una(&self) -> SndPos {
        self.una
    }

    /// SND.NXT: one past the highest position sent.
    pub(crate) fn nxt(&self) -> SndPos {
        self.nxt
    }

    /// SEG.SEQ of a segment without text: SND.NXT, but never past the peer's window. A probe's octet moves SND.NXT
    /// past a window of zero, and the peer must still take our acknowledgements and resets.
    pub(crate) fn bare_seq(&self) -> SndPos {
        self.nxt.min(self.right_edge())
    }

    /// SND.WND in bytes.
    pub(crate) fn wnd(&self) -> u64 {
        self.wnd
    }

    /// The largest window ever offered.
    pub(crate) fn max_wnd(&self) -> u64 {
        self.max_wnd
    }

    pub(crate) fn scale(&self) -> u8 {
        self.scale
    }

    pub(crate) fn mss(&self) -> u64 {
        self.mss
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(crate) fn cc(&self) -> &dyn Controller {
        &*self.cc
    }

    /// Segments sent that carried bytes sent before.
    pub(crate) fn retransmits(&self) -> u64 {
        self.retransmits
    }

    /// Whether the send buffer is larger than it was at first.
    pub(crate) fn buffer_has_grown(&self, config: &Config) -> bool {
        self.buffer.size() > config.send_buffer_initial as u64
    }

    /// Recoveries that were needless.
    pub(crate) fn undone(&self) -> u64 {
        self.undone
    }

    /// Bytes written and not sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.end.since(self.nxt)
    }

    /// Bytes written and not acknowledged.
    pub(crate) fn unacknowledged_text(&self) -> u64 {
        self.end.since(self.una)
    }

    /// Positions sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> u64 {
        self.nxt.since(self.una)
    }

    /// The congestion window in force: during fast recovery with SACK, that of RFC 9937.
    pub(crate) fn cwnd(&self) -> u64 {
        let prr = self.selective.as_ref().and_then(|selective| selective.prr.as_ref());
        prr.map_or_else(|| self.cc.cwnd(), |prr| prr.cwnd())
    }

    /// Positions of those that the peer has, beyond SND.UNA.
    pub(crate) fn sacked(&self) -> u64 {
        self.selective.as_ref().map_or(0, |selective| selective.board.sacked().total())
    }

    /// Positions of those that are believed lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.total()
    }

    pub(crate) fn in_recovery(&self) -> bool {
        self.recovery.phase() != recovery::Phase::Open
    }

    /// Whether anything, a FIN included, is not acknowledged or not even sent.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.una < self.end_with_fin()
    }

    /// Bytes of text the peer has acknowledged.
    pub(crate) fn bytes_acked(&self) -> u64 {
        self.una.min(self.end).since(self.first)
    }

    /// Bytes that can be written now.
    pub(crate) fn room(&self) -> u64 {
        self.buffer.room(self.end.since(self.una), self.unsent())
    }

    /// Not more than so many bytes may be written ahead of what was sent.
    pub(crate) fn limit_unsent(&mut self, most: Option<u32>) {
        self.buffer.limit_unsent(most);
    }

    /// Whether text waits or is on its way. Its acknowledgement, then, makes room.
    pub(crate) fn holds_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Queues bytes and returns how many found room; none marks the half as blocked, so that the
    /// application hears when there is room again.
    pub(crate) fn write(&mut self, data: &[u8], pool: &mut Pool, now: Instant) -> usize {
        debug_assert!(!self.fin, "nothing is written after the FIN");
        let count = self.room().min(data.len() as u64) as usize;
        self.note_idle(now);
        let stored = self.text.write_at(self.end.get(), &data[..count], pool);
        self.end = self.end.plus(stored as u64);
        self.write_blocked |= stored < data.len();
        stored
    }

    /// Queues bytes from the front of `bytes`, which keeps the others: as [`write`](Self::write), but they are not copied, if they
    /// are not few.
    pub(crate) fn share(&mut self, bytes: &mut Bytes, pool: &mut Pool, now: Instant) -> usize {
        if self.is_room_too_little_for(bytes) {
            self.write_blocked = true;
            return 0;
        }
        let count = self.room().min(bytes.len() as u64) as usize;
        if count < Text::SHARE_MIN {
            let stored = self.write(bytes, pool, now);
            bytes.advance(stored);
            return stored;
        }
        debug_assert!(!self.fin, "nothing is written after the FIN");
        self.note_idle(now);
        self.text.share_at(self.end.get(), bytes.split_to(count));
        self.end = self.end.plus(count as u64);
        self.write_blocked |= !bytes.is_empty();
        count
    }

    /// Whether bytes that are to be shared wait for more room. Else a writer who comes again and again would have all of them copied,
    /// a few at a time. There will be more: nobody is told of so little, and an empty buffer has enough.
    fn is_room_too_little_for(&self, bytes: &Bytes) -> bool {
        let (least, room) = (Text::SHARE_MIN as u64, self.room());
        bytes.len() as u64 >= least && room < least && room < self.buffer.worth_waking()
    }

    /// Queues what `fill` puts into the room that it is lent, and returns how many bytes. `None` if there is no room, which marks
    /// the half as blocked.
    pub(crate) fn write_in_place(
        &mut self,
        pool: &mut Pool,
        now: Instant,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<usize> {
        debug_assert!(!self.fin, "nothing is written after the FIN");
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let stored = match room {
            0 => None,
            _ => self.text.write_in_place(self.end.get(), room, pool, fill),
        };
        self.write_blocked |= stored.is_none();
        if let Some(stored @ 1..) = stored {
            self.note_idle(now);
            self.end = self.end.plus(stored as u64);
        }
        stored
    }

    /// Something is written: a while in which nothing was sent has an end.
    fn note_idle(&mut self, now: Instant) {
        if self.end == self.una && now > self.last_sent.plus_nanos(self.rtt.rto_nanos()) {
            //= RFC5681 4.1 idle
            self.cc.on_idle();
        }
    }

    /// Sets the urgent mark after the last byte written (RFC 9293 section 3.8.5).
    pub(crate) fn mark_urgent(&mut self) {
        self.urgent = Some(self.end);
    }

    /// The application has closed: FIN follows what is queued.
    pub(crate) fn close(&mut self) {
        self.fin = true;
    }

    /// Whether the FIN is acknowledged.
    pub(crate) fn fin_acknowledged(&self) -> bool {
        self.fin && self.una > self.end
    }

    /// Tells, once, that a blocked writer has room again: so much that it is worth
    /// waking it. To be asked after each acknowledgement, which may have made the buffer larger, and when something was sent.
    pub(crate) fn take_writable(&mut self) -> bool {
        self.buffer.follow(self.cc.cwnd());
        let writable = self.write_blocked && self.room() >= self.buffer.worth_waking();
        if writable {
            self.write_blocked = false;
        }
        writable
    }

    /// What is to be told to the cache of paths.
    pub(crate) fn path(&mut self) -> &mut Path {
        &mut self.path
    }

    /// The largest segment is now `mss`.
    pub(crate) fn set_mss(&mut self, mss: u64) {
        if mss != self.mss {
            self.mss = mss;
            self.cc.on_mss(mss);
        }
    }

    /// Adds the pieces of text at `start..start + len` to `out`.
    pub(crate) fn text<'a>(&'a self, start: SndPos, len: u64, out: &mut impl Extend<&'a [u8]>) {
        self.text.pieces(start.get(), len as usize, out);
    }

    /// The same as one piece, if it is one that is found at once.
    pub(crate) fn text_in_one(&self, start: SndPos, len: u64) -> Option<&[u8]> {
        self.text.piece(start.get(), len as usize)
    }

    /// Gives all pages back.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        self.text.clear(pool);
    }

    /// Nothing will be sent any more, nor heard of what was: its records are of no use, as far as they are not little.
    pub(crate) fn trim(&mut self) {
        if let Some(selective) = &mut self.selective {
            selective.trim();
        }
        self.path.trim();
    }

    /// Nobody will ask any more: of what it is [`trim`](Self::trim)med to, only what is of use to another stays.
    pub(crate) fn retire(&mut self) {
        self.lost.clear();
        self.recovery.undo = None;
        if let Some(selective) = &mut self.selective {
            selective.board.clear();
        }
    }

    /// Another connection's in the memory of one of the same stack that is over, and is [`retire`](Self::retire)d: it goes on with the
    /// records.
    // Field by field: as a whole, the old one would be dropped, and what the next goes on with be taken out before that.
    #[inline(always)]
    pub(crate) fn renew(&mut self, config: &Config, start: &SendStart, now: Instant) {
        let at = start.syn.plus(1);
        let SendHalf {
            una,
            nxt,
            end,
            text,
            fin,
            wnd,
            max_wnd,
            wl1,
            wl2,
            scale,
            mss,
            path,
            buffer,
            lost,
            recovery,
            selective,
            clock,
            rtt,
            cc,
            timer,
            timed,
            urgent,
            write_blocked,
            last_sent,
            tail,
            opened,
            first,
            retransmits,
            undone,
        } = self;
        debug_assert!(lost.is_empty(), "it was retired");
        (*una, *nxt, *end, *wl2, *tail, *first) = (at, at, at, at, at, at);
        text.renew(at.get());
        *fin = false;
        (*wnd, *max_wnd, *wl1, *scale, *mss) = (start.wnd, start.wnd, start.wl1, start.scale, start.mss);
        path.renew(config.mtu_probing, at);
        *buffer = SendBuffer::new(config.send_buffer_initial as u64, config.send_buffer as u64);
        *recovery = Recovery::new();
        match selective {
            Some(selective) if start.sack => selective.renew(at, config.sack_ranges),
            Some(_) | None => *selective = start.sack.then(|| Selective::new(at, config.sack_ranges)),
        }
        *clock = start.clock;
        rtt.renew(config);
        *cc = Chosen::NewReno(first_window(rtt, config, start, now));
        timer.renew(config);
        (*timed, *urgent) = (None, None);
        *write_blocked = false;
        (*last_sent, *opened) = (now, now);
        (*retransmits, *undone) = (0, 0);
    }

    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.una <= self.nxt && self.nxt <= self.end_with_fin());
        debug_assert!(self.lost.total() + self.sacked() <= self.outstanding(), "{self:?}");
        debug_assert!(self.lost.first().is_none_or(|range| range.start >= self.una.get()));
        debug_assert!(self.lost.iter().next_back().is_none_or(|range| range.end <= self.nxt.get()));
    }

    /// The end of what we will ever send, as far as the application has said.
    fn end_with_fin(&self) -> SndPos {
        self.end.plus(u64::from(self.fin))
    }

    /// Positions believed to be in the network.
    //= RFC9937 6.2 in flight: what was sent again after it was lost is lost no more.
    fn flight(&self) -> u64 {
        self.outstanding().saturating_sub(self.lost.total() + self.sacked())
    }

    /// SND.UNA + SND.WND: nothing at or past it may be sent, but for probes.
    fn right_edge(&self) -> SndPos {
        self.una.plus(self.wnd)
    }
}

/// The congestion window to begin with. What the handshake tells of the round trip is told to `rtt`.
#[inline(always)]
fn first_window(rtt: &mut Rtt, config: &Config, start: &SendStart, now: Instant) -> NewReno {
    let mut cc = NewReno::new(start.mss, config.initial_window_segments.into());
    match start.rtt {
        Some(sample) => rtt.sample_nanos(sample, now),
        None => {
            rtt.syn_was_lost();
            cc.start_small();
        }
    }
    cc
}
