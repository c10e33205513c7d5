//! The three-way handshake: what both sides of it share, and the active side (SYN-SENT, and SYN-RECEIVED
//! after a simultaneous open). RFC 9293 sections 3.5, 3.10.7.3 and 3.10.7.4.
//!
//! A handshake owns no buffers; promotion builds a new object from what was [`Settled`]. The passive side's
//! entries live in `syn_queue`.

use super::challenge::GlobalChallengeLimit;
use super::connection::{Ending, Settled, header_len, mss_for};
use super::demux::FourTuple;
use super::emit::{self, Marks, Says};
use super::options::SocketOptions;
use super::recv::{self, window::Window};
use super::send::SendStart;
use super::seq::{RcvPos, SndPos};
use super::timestamps::{TimestampClock, Timestamps, is_before};
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::error::Error;
use crate::proto::ip::Route;
use crate::proto::wire::tcp::{Control, Segment, SeqNr};
use crate::proto::wire::tcp_options::TcpOptions;
use crate::time::Instant;

/// What the peer's SYN said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerSyn {
    /// IRS.
    pub(crate) irs: SeqNr,
    /// The largest segment it takes.
    pub(super) mss: u16,
    /// Its window shift, if it offers scaling.
    pub(super) scale: Option<u8>,
    /// Its window, never scaled in a SYN.
    pub(super) window: u16,
    /// The window that our own SYN offers.
    pub(super) offered: u16,
    /// It understands selective acknowledgements, and so do we.
    pub(super) sack: bool,
    /// Its timestamp, if it has timestamps and so have we.
    pub(super) timestamp: Option<u32>,
}

impl PeerSyn {
    /// RFC 7323 section 2.3: larger shifts count as this one.
    //= RFC7323 2.3 largest
    const SCALE_MAX: u8 = 14;

    pub(crate) fn of(config: &Config, segment: &Segment<'_>, is_ipv4: bool, offered: u16) -> Self {
        //= RFC9293 MUST-15/v4
        //= RFC9293 MUST-15/v6
        let default = if is_ipv4 { 536 } else { 1220 };
        PeerSyn {
            irs: segment.seq,
            //= RFC9293 MUST-14
            mss: segment.options.mss.unwrap_or(default).max(config.mss_min),
            scale: segment.options.window_scale.map(|shift| shift.min(Self::SCALE_MAX)),
            window: segment.window,
            offered,
            sack: config.sack && segment.options.sack_permitted,
            timestamp: segment.options.timestamps.filter(|_| config.timestamps).map(|(value, _)| value),
        }
    }

    /// The options of our SYN; `peer` is what theirs said, if it came first, and `stamp` what our clock shows.
    pub(crate) fn our_options(
        config: &Config,
        mtu: usize,
        is_ipv4: bool,
        peer: Option<&PeerSyn>,
        stamp: u32,
    ) -> TcpOptions {
        //= RFC9293 MUST-67: what the interface can receive, less both fixed headers.
        let mss = mtu.saturating_sub(header_len(is_ipv4)).min(u16::MAX.into()) as u16;
        //= RFC7323 2.2 both, 2.3 answered
        let may_scale = peer.is_none_or(|syn| syn.scale.is_some());
        TcpOptions {
            //= RFC9293 MUST-14, SHLD-5/v4, SHLD-5/v6, MAY-3
            mss: Some(mss),
            //= RFC7323 2.2 offered
            window_scale: may_scale.then(|| Window::scale_for(config.recv_buffer as u64)),
            //= RFC2018 2 permitted
            sack_permitted: peer.map_or(config.sack, |syn| syn.sack),
            timestamps: match peer {
                //= RFC7323 3.2 initial, 3.2 no ACK
                None => config.timestamps.then_some((stamp, 0)),
                //= RFC7323 2.2 both
                Some(syn) => syn.timestamp.map(|value| (stamp, value)),
            },
            ..TcpOptions::NONE
        }
    }

    /// What the handshake has settled, with our SYN numbered `iss` and the path's largest segment, as it was when our SYN went.
    pub(crate) fn settle(
        &self,
        ctx: &Context,
        iss: SeqNr,
        rtt: Option<u64>,
        clock: TimestampClock,
        mss_max: u64,
    ) -> Settled {
        let syn = RcvPos::of_syn(self.irs);
        Settled {
            snd: SendStart {
                syn: SndPos::of_syn(iss),
                mss: mss_max.min(self.mss.into()),
                //= RFC7323 2.2 SYN unscaled
                wnd: self.window.into(),
                //= RFC7323 2.2 scale
                scale: self.scale.unwrap_or(0),
                wl1: syn,
                rtt,
                sack: self.sack,
                clock: self.timestamp.map(|_| clock),
            },
            rcv_first: syn.plus(1),
            rcv_offered: self.offered,
            rcv_scale: self.rcv_scale(&ctx.config),
            peer_mss: self.mss.into(),
            timestamps: self.timestamps(clock, ctx.now),
        }
    }

    /// Whether a segment is acceptable before the connection is synchronised: at RCV.NXT, or in the window
    /// that our SYN offered.
    pub(crate) fn accepts(&self, segment: &Segment<'_>) -> bool {
        let offset = segment.seq.minus(self.irs.plus(1));
        (0..i32::from(self.offered).max(1)).contains(&offset)
    }

    /// Whether a segment that acknowledges our SYN says no more than that, and how large the window is now.
    pub(crate) fn hears_no_more_than_an_ack(&self, segment: &Segment<'_>) -> bool {
        segment.control == Control::None
            && segment.payload.is_empty()
            && segment.seq == self.rcv_nxt()
            && segment.urgent.is_none()
            && segment.options.sack.is_empty()
    }

    /// Whether a segment repeats the peer's SYN.
    pub(crate) fn is_repeated_by(&self, segment: &Segment<'_>) -> bool {
        segment.control == Control::Syn && segment.seq == self.irs
    }

    /// The shift of the windows we send in segments without SYN.
    fn rcv_scale(&self, config: &Config) -> u8 {
        //= RFC7323 2.2 scale
        self.scale.map_or(0, |_| Window::scale_for(config.recv_buffer as u64))
    }

    /// The window field of an ACK sent before the connection is open: what our SYN offered, but scaled, since
    /// only SYNs are not.
    pub(crate) fn ack_window(&self, config: &Config) -> u16 {
        self.offered >> self.rcv_scale(config)
    }

    /// The window field of our SYN.
    pub(crate) fn offered(&self) -> u16 {
        self.offered
    }

    /// The timestamps of the connection to be, if it has any.
    pub(crate) fn timestamps(&self, clock: TimestampClock, now: Instant) -> Option<Timestamps> {
        self.timestamp.map(|value| Timestamps::new(clock, value, now))
    }

    /// The same SYN has come again, and its timestamp is a later one.
    //= RFC7323 4.3 echo
    pub(crate) fn heard_again(&mut self, segment: &Segment<'_>) {
        if let (Some(known), Some((value, _))) = (&mut self.timestamp, segment.options.timestamps)
            && !is_before(value, *known)
        {
            *known = value;
        }
    }

    /// Why a segment is dropped for its timestamp, or the lack of one, before the connection is open.
    pub(crate) fn refuses_age(
        &self,
        clock: TimestampClock,
        segment: &Segment<'_>,
        now: Instant,
    ) -> Option<DropReason> {
        self.timestamps(clock, now).and_then(|stamps| stamps.refuses(segment, now))
    }

    /// The echo in a segment, if both sides have timestamps.
    pub(crate) fn echo(&self, segment: &Segment<'_>) -> Option<u32> {
        //= RFC7323 3.2 echo ignored
        let echo = segment.options.timestamps.filter(|_| segment.ack.is_some() && self.timestamp.is_some());
        echo.map(|(_, echo)| echo)
    }

    /// The options of an ACK sent before the connection is open.
    pub(crate) fn ack_options(&self, clock: TimestampClock, now: Instant) -> TcpOptions {
        let timestamps = self.timestamps(clock, now).map(|stamps| stamps.option(now));
        TcpOptions { timestamps, ..TcpOptions::NONE }
    }

    /// RCV.NXT.
    pub(crate) fn rcv_nxt(&self) -> SeqNr {
        self.irs.plus(1)
    }
}

/// How far an active open has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED, after a simultaneous open (RFC 9293 MUST-10).
    SynReceived(PeerSyn),
}

/// An active open under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    iss: SeqNr,
    clock: TimestampClock,
    stage: Stage,
    /// The window that our SYN offers.
    offered: u16,
    /// The path's MTU, for the MSS we announce.
    mtu: usize,
    retransmissions: u32,
    /// Sent again before its timer expired: the peer's SYN came once more.
    sent_twice: bool,
    first_sent: Instant,
    last_sent: Instant,
    next_at: Instant,
    /// The application has closed while in SYN-RECEIVED: FIN follows as soon as we are established.
    pub(crate) close_wanted: bool,
    /// The latest soft error (RFC 9293 MUST-47).
    pub(crate) soft_error: Option<Error>,
}

/// What a segment did to an active open.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing.
    Dropped(DropReason),
    /// Something was sent; the open goes on.
    Continues,
    /// It failed.
    Ended(Ending),
    /// The connection is open. What else the segment says is still to be processed: from the first check on,
    /// or only its text where it was a SYN-ACK.
    Established { settled: Settled, only_text: bool },
}

impl Handshake {
    /// Begins an open: sends the SYN by `route`.
    pub(crate) fn begin(
        ctx: &mut Context,
        tuple: &FourTuple,
        options: &SocketOptions,
        iss: SeqNr,
        clock: TimestampClock,
        route: &Route,
    ) -> Self {
        let handshake = Handshake {
            iss,
            clock,
            stage: Stage::SynSent,
            offered: recv::syn_window(ctx),
            mtu: route.mtu,
            retransmissions: 0,
            sent_twice: false,
            first_sent: ctx.now,
            last_sent: ctx.now,
            next_at: ctx.now + ctx.config.rto_initial,
            close_wanted: false,
            soft_error: None,
        };
        let says = handshake.syn(ctx, tuple);
        emit::queue_by(ctx, route, tuple, Marks::of(options), &says);
        handshake
    }

    /// Whether the peer's SYN has come (SYN-RECEIVED).
    pub(crate) fn has_peer_syn(&self) -> bool {
        matches!(self.stage, Stage::SynReceived(_))
    }

    /// Whether an ICMP error that quotes sequence number `seq` can be about our SYN.
    pub(crate) fn sent(&self, seq: SeqNr) -> bool {
        seq == self.iss
    }

    /// What a reset of ours says: only a peer that has told us its SYN needs one (RFC 9293 section 3.10.5).
    pub(crate) fn reset(&self, now: Instant) -> Option<Says> {
        match self.stage {
            Stage::SynSent => None,
            Stage::SynReceived(peer) => {
                let says = Says::reset(self.iss.plus(1), Some(peer.rcv_nxt()));
                //= RFC7323 5.2 reset of an abort
                Some(says.with(peer.ack_options(self.clock, now)))
            }
        }
    }

    /// A segment has come.
    pub(crate) fn segment_arrives(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        tuple: &FourTuple,
        options: &SocketOptions,
        segment: &Segment<'_>,
    ) -> Outcome {
        match self.stage {
            Stage::SynSent => self.in_syn_sent(ctx, tuple, options, segment),
            Stage::SynReceived(mut peer) => {
                if peer.is_repeated_by(segment) {
                    peer.heard_again(segment);
                    self.stage = Stage::SynReceived(peer);
                }
                self.in_syn_received(ctx, global, tuple, options, segment, &peer)
            }
        }
    }

    /// When [`timer`](Self::timer) has something to do.
    pub(crate) fn deadline(&self, options: &SocketOptions) -> Instant {
        self.next_at.min(self.gives_up_at(options))
    }

    /// Retransmits, or gives up. `Some` if it gives up.
    pub(crate) fn timer(
        &mut self,
        ctx: &mut Context,
        tuple: &FourTuple,
        options: &SocketOptions,
    ) -> Option<Ending> {
        //= RFC9293 MUST-22
        if ctx.now >= self.gives_up_at(options) {
            return Some(Ending::TimedOut);
        }
        if ctx.now >= self.next_at {
            self.retransmissions += 1;
            if self.retransmissions == options.r1_retransmits {
                ctx.ip.negative_advice(tuple.remote);
                ctx.counters.negative_advice += 1;
                self.soft_error.get_or_insert(Error::TimedOut);
            }
            let doubled = ctx
                .config
                .rto_initial
                .saturating_mul(1u32.checked_shl(self.retransmissions).unwrap_or(u32::MAX));
            self.next_at = ctx.now + doubled.min(ctx.config.rto_max);
            self.last_sent = ctx.now;
            ctx.counters.tcp_retransmits += 1;
            ctx.counters.tcp_timeouts += 1;
            self.send(ctx, tuple, options);
        }
        None
    }

    //= RFC9293 MUST-23
    fn gives_up_at(&self, options: &SocketOptions) -> Instant {
        self.first_sent + options.user_timeout.unwrap_or(options.r2_syn)
    }

    /// Sends our SYN, as a SYN-ACK once the peer's has come.
    fn send(&self, ctx: &mut Context, tuple: &FourTuple, options: &SocketOptions) {
        let says = self.syn(ctx, tuple);
        emit::queue(ctx, tuple, Marks::of(options), &says);
    }

    fn syn(&self, ctx: &Context, tuple: &FourTuple) -> Says {
        let peer = match &self.stage {
            Stage::SynSent => None,
            Stage::SynReceived(peer) => Some(peer),
        };
        let stamp = self.clock.at(ctx.now);
        let syn_options = PeerSyn::our_options(&ctx.config, self.mtu, tuple.local.is_ipv4(), peer, stamp);
        Says::syn(self.iss, peer.map(PeerSyn::rcv_nxt), self.offered, syn_options)
    }

    /// RFC 9293 section 3.10.7.3.
    fn in_syn_sent(
        &mut self,
        ctx: &mut Context,
        tuple: &FourTuple,
        options: &SocketOptions,
        segment: &Segment<'_>,
    ) -> Outcome {
        // First: the ACK, which can only be for our SYN.
        let acks_our_syn = segment.ack == Some(self.iss.plus(1));
        if segment.ack.is_some() && !acks_our_syn {
            emit::refuse(ctx, tuple, segment);
            return Outcome::Dropped(DropReason::TcpBadAck);
        }
        match segment.control {
            // Second: a reset is believed only with an acceptable ACK.
            Control::Rst if acks_our_syn => {
                ctx.counters.tcp_resets_in += 1;
                Outcome::Ended(Ending::Refused)
            }
            // Fourth: the SYN.
            Control::Syn => {
                let peer = PeerSyn::of(&ctx.config, segment, tuple.local.is_ipv4(), self.offered);
                if acks_our_syn {
                    return self.established(ctx, tuple, &peer, segment, true);
                }
                self.simultaneous_open(ctx, tuple, options, peer)
            }
            Control::Rst | Control::None | Control::Fin => Outcome::Dropped(DropReason::TcpUnexpected),
        }
    }

    //= RFC9293 MUST-10
    fn simultaneous_open(
        &mut self,
        ctx: &mut Context,
        tuple: &FourTuple,
        options: &SocketOptions,
        peer: PeerSyn,
    ) -> Outcome {
        self.stage = Stage::SynReceived(peer);
        self.next_at = ctx.now + ctx.config.rto_initial;
        self.last_sent = ctx.now;
        self.send(ctx, tuple, options);
        Outcome::Continues
    }

    /// RFC 9293 section 3.10.7.4, for a connection that was opened actively (MUST-11).
    fn in_syn_received(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        tuple: &FourTuple,
        options: &SocketOptions,
        segment: &Segment<'_>,
        peer: &PeerSyn,
    ) -> Outcome {
        // A simultaneous open's SYN-ACK repeats the SYN and brings the ACK we wait for.
        let acks_our_syn = segment.ack == Some(self.iss.plus(1));
        if peer.is_repeated_by(segment) && acks_our_syn {
            return self.established(ctx, tuple, peer, segment, true);
        }
        if peer.is_repeated_by(segment) {
            self.sent_twice = true;
            self.send(ctx, tuple, options);
            return Outcome::Continues;
        }
        if !peer.accepts(segment) {
            if segment.control != Control::Rst && global.allows(ctx) {
                self.send_ack(ctx, tuple, options, peer);
            }
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        if let Some(reason) = peer.refuses_age(self.clock, segment, ctx.now) {
            if reason == DropReason::TcpOldTimestamp && global.allows(ctx) {
                self.send_ack(ctx, tuple, options, peer);
            }
            return Outcome::Dropped(reason);
        }
        match (segment.control, segment.ack) {
            (Control::Rst, _) if segment.seq == peer.rcv_nxt() => {
                ctx.counters.tcp_resets_in += 1;
                //= RFC9293 MUST-11: a `HalfOpen`, of a passive open, would go back to LISTEN.
                Outcome::Ended(Ending::Refused)
            }
            (Control::Rst | Control::Syn, _) => {
                if global.allows(ctx) {
                    self.send_ack(ctx, tuple, options, peer);
                }
                Outcome::Dropped(DropReason::TcpChallenged)
            }
            (Control::None | Control::Fin, None) => Outcome::Dropped(DropReason::TcpUnexpected),
            (Control::None | Control::Fin, Some(_)) if acks_our_syn => {
                self.established(ctx, tuple, peer, segment, false)
            }
            (Control::None | Control::Fin, Some(_)) => {
                emit::refuse(ctx, tuple, segment);
                Outcome::Dropped(DropReason::TcpBadAck)
            }
        }
    }

    fn established(
        &self,
        ctx: &Context,
        tuple: &FourTuple,
        peer: &PeerSyn,
        segment: &Segment<'_>,
        only_text: bool,
    ) -> Outcome {
        let rtt = self.measured(peer.echo(segment), ctx.now);
        let mss_max = mss_for(self.mtu, tuple.local.is_ipv4());
        let settled = peer.settle(ctx, self.iss, rtt, self.clock, mss_max);
        Outcome::Established { settled, only_text }
    }

    fn send_ack(&self, ctx: &mut Context, tuple: &FourTuple, options: &SocketOptions, peer: &PeerSyn) {
        let window = peer.ack_window(&ctx.config);
        let says = Says::ack(self.iss.plus(1), peer.rcv_nxt(), window);
        let says = says.with(peer.ack_options(self.clock, ctx.now));
        emit::queue(ctx, tuple, Marks::of(options), &says);
    }

    /// The round-trip time of our SYN, in nanoseconds. If it was sent twice nobody knows (Karn's rule), unless the echo tells that the first was
    /// answered: then none was lost, and the others were for nothing (as Linux; the Eifel detection of RFC 3522).
    fn measured(&self, echo: Option<u32>, now: Instant) -> Option<u64> {
        if echo == Some(self.clock.at(self.first_sent)) {
            return Some(now.nanos_since(self.first_sent));
        }
        (self.retransmissions == 0 && !self.sent_twice).then(|| now.nanos_since(self.last_sent))
    }
}
