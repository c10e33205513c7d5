//! What becomes of a segment: the table of RFC 9293 section 3.10.7.4 for every length and window, and the checks behind
//! it, in 32-bit numbers that wrap.

use proptest::prelude::*;

use super::octets;
use crate::proto::config::Config;
use crate::proto::counters::DropReason;
use crate::proto::ip::testing::World;
use crate::proto::tcp::acceptance::{Arrival, Verdict};
use crate::proto::tcp::challenge::GlobalChallengeLimit;
use crate::proto::tcp::connection::{Connection, Ending, Settled};
use crate::proto::tcp::send::SendStart;
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::proto::wire::seq_nr::SeqNr;
use crate::proto::wire::tcp::{Control, Segment};

/// Section 3.4: "=<" and "<" of numbers modulo 2^32.
fn at_or_before(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) < 1 << 31
}

fn before(a: u32, b: u32) -> bool {
    a != b && at_or_before(a, b)
}

/// The variables that a segment is judged by.
#[derive(Clone, Copy, Debug)]
struct Tcb {
    rcv_nxt: u32,
    rcv_wnd: u32,
    snd_una: u32,
    snd_nxt: u32,
    /// MAX.SND.WND of RFC 5961 section 5.2.
    max_snd_wnd: u32,
}

/// What of a segment is judged.
#[derive(Clone, Copy, Debug)]
struct Seg {
    seq: u32,
    ack: Option<u32>,
    text: u32,
    control: Control,
}

impl Seg {
    /// SEG.LEN.
    fn len(&self) -> u32 {
        self.text + u32::from(matches!(self.control, Control::Syn | Control::Fin))
    }
}

impl Tcb {
    fn is_in_window(&self, seq: u32) -> bool {
        at_or_before(self.rcv_nxt, seq) && before(seq, self.rcv_nxt.wrapping_add(self.rcv_wnd))
    }

    /// Table 6, "Segment Acceptability Tests".
    fn is_acceptable_by_the_table(&self, seg: &Seg) -> bool {
        match (seg.len(), self.rcv_wnd) {
            (0, 0) => seg.seq == self.rcv_nxt,
            (0, _) => self.is_in_window(seg.seq),
            (_, 0) => false,
            (len, _) => self.is_in_window(seg.seq) || self.is_in_window(seg.seq.wrapping_add(len - 1)),
        }
    }

    /// What is looked at though the table says no. (A reset among it is challenged, not dropped: a peer that has
    /// aborted answers that with one that stands at RCV.NXT.)
    fn is_taken_nevertheless(&self, seg: &Seg) -> bool {
        let edge = self.rcv_nxt.wrapping_add(self.rcv_wnd);
        // From the edge itself a sender acknowledges that has filled the window and lost a part of it.
        let at_the_edge = seg.len() == 0 && self.rcv_wnd > 0 && seg.seq == edge;
        // MUST-66: a window of zero keeps text out, but neither RST and URG nor acknowledgements; what holds the octet
        // at RCV.NXT, or the whole window between its ends, may bring them.
        let end = seg.seq.wrapping_add(seg.len());
        let around = at_or_before(seg.seq, self.rcv_nxt) && before(self.rcv_nxt, end) && !before(end, edge);
        at_the_edge || around
    }

    /// The checks in their order, in ESTABLISHED.
    fn verdict(&self, seg: &Seg) -> Verdict {
        // First: the sequence number. RFC 5961 section 4.2: a SYN draws a challenge wherever it stands.
        if !self.is_acceptable_by_the_table(seg) && !self.is_taken_nevertheless(seg) {
            let is_syn = seg.control == Control::Syn;
            return match self.ack_problem(seg).filter(|_| self.is_right_before(seg)) {
                Some(problem) => Verdict::Dropped(problem),
                None if is_syn => Verdict::Dropped(DropReason::TcpChallenged),
                None => Verdict::Dropped(DropReason::TcpOutOfWindow),
            };
        }
        // Second and fourth: RST, exactly at RCV.NXT (RFC 5961 section 3.2), and SYN.
        match seg.control {
            Control::Rst if seg.seq == self.rcv_nxt => return Verdict::Ended(Ending::ResetByPeer),
            Control::Rst | Control::Syn => return Verdict::Dropped(DropReason::TcpChallenged),
            Control::None | Control::Fin => {}
        }
        self.ack_problem(seg).map_or(Verdict::Accepted, Verdict::Dropped)
    }

    /// Fifth: "if the ACK bit is off, drop the segment". RFC 5961 section 5.2:
    /// "((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT)".
    fn ack_problem(&self, seg: &Seg) -> Option<DropReason> {
        let Some(ack) = seg.ack else { return Some(DropReason::TcpUnexpected) };
        let oldest = self.snd_una.wrapping_sub(self.max_snd_wnd);
        let is_in_range = at_or_before(oldest, ack) && at_or_before(ack, self.snd_nxt);
        (!is_in_range).then_some(DropReason::TcpBadAck)
    }

    /// Whether it is dropped and answered, but its acknowledgement is looked at: a departure, for probes of windows
    /// that cross.
    fn is_right_before(&self, seg: &Seg) -> bool {
        seg.control == Control::None && seg.text == 0 && seg.seq.wrapping_add(1) == self.rcv_nxt
    }

    /// The variables behind an accepted segment: SND.UNA, and RCV.NXT by what lies in the window and begins at it.
    fn after(&self, seg: &Seg) -> (u32, u32) {
        let una = seg.ack.filter(|ack| before(self.snd_una, *ack)).unwrap_or(self.snd_una);
        let text_ends = seg.seq.wrapping_add(seg.text);
        let mut nxt = self.rcv_nxt;
        while at_or_before(seg.seq, nxt) && before(nxt, text_ends) && self.is_in_window(nxt) {
            nxt = nxt.wrapping_add(1);
        }
        // The FIN takes no room.
        let fin = seg.control == Control::Fin && nxt == text_ends;
        (una, nxt.wrapping_add(u32::from(fin)))
    }
}

/// How a connection comes to the variables that a segment is to find.
#[derive(Clone, Copy, Debug)]
struct Setting {
    iss: u32,
    irs: u32,
    /// RCV.BUFF, and how many unread octets lie in it.
    buffer: u32,
    unread: u32,
    /// How many octets are in flight, and how many acknowledged.
    in_flight: u32,
    acked: u32,
    snd_wnd: u32,
}

struct Host {
    world: World,
    global: GlobalChallengeLimit,
}

impl Host {
    fn new() -> Self {
        let config = Config { challenge_acks: u32::MAX, challenge_acks_global: 1 << 30, ..Config::default() };
        Host { world: World::with(config), global: GlobalChallengeLimit::new() }
    }

    fn connection(&mut self, setting: &Setting) -> (Connection, Tcb) {
        let settled = Settled {
            snd: SendStart {
                syn: SndPos::of_syn(SeqNr(setting.iss)),
                mss: 1000,
                wnd: setting.snd_wnd.into(),
                scale: 0,
                wl1: RcvPos::of_syn(SeqNr(setting.irs)),
                rtt: Some(10_000_000),
                sack: false,
                clock: None,
            },
            rcv_first: RcvPos::of_syn(SeqNr(setting.irs)).plus(1),
            rcv_offered: setting.buffer.min(65_535) as u16,
            rcv_scale: 0,
            peer_mss: 1000,
            timestamps: None,
        };
        self.world.config.recv_buffer = setting.buffer as usize;
        let now = self.world.now;
        let mut connection = Connection::new(&self.world.config, &settled, now);
        self.write(&mut connection, setting.acked);
        let ack = setting.iss.wrapping_add(1 + setting.acked);
        let said = Seg { seq: setting.irs.wrapping_add(1), ack: Some(ack), text: 0, control: Control::None };
        assert_eq!(self.give(&mut connection, &said, setting.snd_wnd), Verdict::Accepted);
        self.write(&mut connection, setting.in_flight);
        let unread = octets(0, setting.unread.into());
        let first = settled.rcv_first;
        connection.rcv.segment(self.world.ctx(), first, &unread, false, 1000);
        let (_, edge) = connection.rcv.window_field();
        connection.rcv.acknowledged(edge, false, now);
        let tcb = Tcb {
            rcv_nxt: setting.irs.wrapping_add(1 + setting.unread),
            rcv_wnd: setting.buffer - setting.unread,
            snd_una: setting.iss.wrapping_add(1 + setting.acked),
            snd_nxt: setting.iss.wrapping_add(1 + setting.acked + setting.in_flight),
            max_snd_wnd: setting.snd_wnd,
        };
        (connection, tcb)
    }

    /// Sends so many octets.
    fn write(&mut self, connection: &mut Connection, count: u32) {
        let now = self.world.now;
        connection.snd.write(&octets(0, count.into()), &mut self.world.pool, now);
        while let Some(plan) = connection.snd.plan(true, 0, 0) {
            connection.snd.commit(&plan, now);
        }
    }

    fn give(&mut self, connection: &mut Connection, seg: &Seg, window: u32) -> Verdict {
        let payload = octets(0, seg.text.into());
        let segment = Segment {
            seq: SeqNr(seg.seq),
            ack: seg.ack.map(SeqNr),
            control: seg.control,
            window: window as u16,
            payload: &payload,
            ..Segment::BARE
        };
        let seq = connection.rcv.nxt().unwrap(segment.seq);
        let arrival = Arrival { segment: &segment, seq, len: segment.len().into(), segment_size: 0, tos: 0 };
        connection.segment_arrives(self.world.ctx(), &mut self.global, &arrival)
    }

    /// Gives the segment to a connection, and tells what became of both.
    fn judge(&mut self, setting: &Setting, place: impl Fn(&Tcb) -> Seg) {
        let (mut connection, tcb) = self.connection(setting);
        let seg = place(&tcb);
        let verdict = self.give(&mut connection, &seg, setting.snd_wnd);
        assert_eq!(verdict, tcb.verdict(&seg), "{seg:?} {tcb:?}");
        let is_heard = verdict == Verdict::Dropped(DropReason::TcpOutOfWindow) && tcb.is_right_before(&seg);
        let expected = match verdict {
            Verdict::Accepted => tcb.after(&seg),
            Verdict::Dropped(_) if is_heard => (tcb.after(&seg).0, tcb.rcv_nxt),
            Verdict::Dropped(_) | Verdict::Ended(_) => (tcb.snd_una, tcb.rcv_nxt),
        };
        let found = (connection.snd.una().wire().0, connection.rcv.nxt().wire().0);
        assert_eq!(found, expected, "{seg:?} {tcb:?}");
        assert_eq!(connection.snd.nxt().wire().0, tcb.snd_nxt);
        // Section 3.10.7.4: what is not acceptable draws an acknowledgement, unless the RST bit is set.
        if verdict == Verdict::Dropped(DropReason::TcpOutOfWindow) {
            assert_eq!(connection.rcv.ack.is_due(self.world.now), seg.control != Control::Rst);
        }
        if matches!(verdict, Verdict::Dropped(DropReason::TcpChallenged | DropReason::TcpBadAck)) {
            assert!(connection.rcv.ack.is_due(self.world.now));
        }
        connection.check_invariants();
        connection.snd.clear(&mut self.world.pool);
        connection.rcv.clear(&mut self.world.pool);
    }
}

const CONTROLS: [Control; 4] = [Control::None, Control::Fin, Control::Syn, Control::Rst];

/// Numbers that wrap nowhere near, and those that wrap within the window.
const FIRST: [u32; 4] = [1000, u32::MAX - 3, (1 << 31) - 4, u32::MAX];

//= RFC9293 MUST-66
//= RFC5961 3.2 exact, 3.2 in window, 3.2 outside, 4.2
#[test]
fn every_small_segment_is_judged_by_the_table_of_the_rfc() {
    let mut host = Host::new();
    for (irs, unread) in FIRST.into_iter().flat_map(|irs| (0..=4).map(move |unread| (irs, unread))) {
        let setting = Setting { iss: 77, irs, buffer: 4, unread, in_flight: 0, acked: 0, snd_wnd: 1000 };
        for (control, text) in
            CONTROLS.into_iter().flat_map(|control| (0..=7).map(move |text| (control, text)))
        {
            for offset in -9..=9 {
                host.judge(&setting, |tcb| {
                    let seq = tcb.rcv_nxt.wrapping_add_signed(offset);
                    Seg { seq, ack: Some(tcb.snd_nxt), text, control }
                });
            }
        }
    }
}

//= RFC5961 5.2 range
//= RFC9293 MAY-12
#[test]
fn every_acknowledgement_is_judged_by_the_range_of_the_rfc() {
    let mut host = Host::new();
    let far = [i32::MIN, i32::MIN + 9, i32::MAX - 9, i32::MAX, -100_000, 100_000];
    for (iss, acked) in FIRST.into_iter().flat_map(|iss| [0, 2, 9].map(|acked| (iss, acked))) {
        for in_flight in [0, 1, 5] {
            let setting = Setting { iss, irs: 77, buffer: 100, unread: 0, in_flight, acked, snd_wnd: 11 };
            for offset in (-24..=24).chain(far) {
                for text in [0, 3] {
                    host.judge(&setting, |tcb| {
                        let ack = Some(tcb.snd_una.wrapping_add_signed(offset));
                        Seg { seq: tcb.rcv_nxt, ack, text, control: Control::None }
                    });
                }
            }
            host.judge(&setting, |tcb| Seg { seq: tcb.rcv_nxt, ack: None, text: 3, control: Control::None });
        }
    }
}

proptest! {
    #[test]
    fn any_segment_is_judged_by_the_rules_of_the_rfc(
        (iss, irs) in any::<(u32, u32)>(),
        (buffer, unread) in (1_u32..60_000).prop_flat_map(|buffer| (Just(buffer), 0..=buffer.min(1000))),
        (in_flight, acked, snd_wnd) in (0_u32..1000, 0_u32..1000, 1000_u32..65_536),
        anchor in prop::sample::select(&[0, 1, 2][..]),
        by in prop_oneof![-4_i32..5, -2000_i32..2000, any::<i32>()],
        ack in prop_oneof![Just(Some(0)), Just(None), (-70_000_i32..2000).prop_map(Some), any::<i32>().prop_map(Some)],
        text in prop_oneof![Just(0_u32), 0_u32..2000, 0_u32..65_000],
        control in prop::sample::select(&CONTROLS[..]),
    ) {
        let setting = Setting { iss, irs, buffer, unread, in_flight, acked, snd_wnd };
        Host::new().judge(&setting, |tcb| {
            let edge = tcb.rcv_nxt.wrapping_add(tcb.rcv_wnd);
            // Around RCV.NXT, around the edge, or with its end around RCV.NXT.
            let anchor = [tcb.rcv_nxt, edge, tcb.rcv_nxt.wrapping_sub(text)][anchor];
            let ack = ack.map(|ack| tcb.snd_una.wrapping_add_signed(ack));
            Seg { seq: anchor.wrapping_add_signed(by), ack, text, control }
        });
    }
}
