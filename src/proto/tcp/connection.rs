//! A synchronised connection: two halves, who closed first, and the timers that belong to neither half.
//!
//! Owns the sending and the receiving half. How a segment is judged stands in `acceptance`; which
//! connections exist, and what becomes of one that ends, in `endpoint`.

use core::net::IpAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use arrayvec::ArrayVec;

use super::challenge::ChallengeBudget;
use super::closing::{OurSide, Sides, State, TheirSide};
use super::emit::{self, Says, Way};
use super::info::{TcpInfo, Timers};
use super::keepalive::{self, KeepAliveTimer};
use super::options::{KeepAlive, SocketOptions};
use super::recv::sack::BLOCKS_MAX;
use super::recv::{RecvHalf, RecvStart};
use super::send::path_probe::Limits;
use super::send::plan::{Kind, TextPlan};
use super::send::timer::{Expiry, Patience};
use super::send::{SendHalf, SendStart};
use super::seq::RcvPos;
use super::timestamps::Timestamps;
use super::way::KnownWay;
use crate::proto::buf::pages::Pool;
use crate::proto::buf::text::Text;
use crate::proto::config::{Config, MtuProbing};
use crate::proto::context::Context;
use crate::proto::error::Error;
use crate::proto::events::Readiness;
use crate::proto::ip::Route;
use crate::proto::packet::{PacketSink, Sent};
use crate::proto::trace::CloseReason;
use crate::proto::wire::tcp::Control;
use crate::proto::wire::tcp_options::{SackOption, TcpOptions};
use crate::time::Instant;

/// How a connection, or an attempt at one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both sides closed, and theirs closed first.
    Closed,
    /// Both sides closed, and we closed first.
    TimeWait,
    /// The peer sent a reset.
    ResetByPeer,
    /// The peer sent a reset after its FIN (CLOSE-WAIT): its stream was complete, and only a writer hears of it.
    ResetAfterFin,
    /// The peer sent a reset when all was said (CLOSING, LAST-ACK): nobody needs to hear of it.
    ResetWhenDone,
    /// We abort: the peer gets a reset.
    Aborted,
    /// The peer did not acknowledge what we sent for too long.
    TimedOut,
    /// The peer did not answer keep-alive probes.
    KeepAliveTimedOut,
    /// An orphan in FIN-WAIT-2 waited long enough.
    FinWait2TimedOut,
    /// The peer refused the attempt.
    Refused,
    /// An ICMP error ended the attempt.
    Unreachable(Error),
}

impl Ending {
    /// What the application hears.
    pub(crate) fn error(self) -> Option<Error> {
        match self {
            Ending::Closed | Ending::TimeWait | Ending::ResetWhenDone | Ending::FinWait2TimedOut => None,
            Ending::ResetByPeer => Some(Error::ConnectionReset),
            // As Linux.
            Ending::ResetAfterFin => Some(Error::BrokenPipe),
            Ending::Aborted => Some(Error::ConnectionAborted),
            Ending::TimedOut | Ending::KeepAliveTimedOut => Some(Error::TimedOut),
            Ending::Refused => Some(Error::ConnectionRefused),
            Ending::Unreachable(error) => Some(error),
        }
    }

    /// What the log says.
    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Ending::Closed | Ending::TimeWait => CloseReason::Closed,
            Ending::ResetByPeer | Ending::ResetAfterFin | Ending::ResetWhenDone => CloseReason::ResetByPeer,
            Ending::Aborted => CloseReason::Aborted,
            Ending::TimedOut | Ending::KeepAliveTimedOut => CloseReason::TimedOut,
            Ending::FinWait2TimedOut => CloseReason::FinWait2TimedOut,
            Ending::Refused => CloseReason::Refused,
            Ending::Unreachable(_) => CloseReason::Unreachable,
        }
    }
}

/// What a finished handshake settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) snd: SendStart,
    /// The position after the peer's SYN.
    pub(crate) rcv_first: RcvPos,
    /// The window that our SYN offered.
    pub(crate) rcv_offered: u16,
    /// The shift of the windows we send.
    pub(crate) rcv_scale: u8,
    /// What the peer's MSS option said, or its default.
    pub(crate) peer_mss: u64,
    /// Set if both sides have timestamps.
    pub(crate) timestamps: Option<Timestamps>,
}

impl Settled {
    /// What was settled about our direction, with what the options leave of a segment.
    fn snd_start(&self) -> SendStart {
        let fixed = fixed_options_len(self.timestamps.as_ref());
        SendStart { mss: without_options(self.snd.mss, fixed), ..self.snd.clone() }
    }

    /// What was settled about their direction.
    fn rcv_start(&self) -> RecvStart {
        RecvStart {
            first: self.rcv_first,
            offered: self.rcv_offered,
            scale: self.rcv_scale,
            rtt: self.snd.rtt,
            sack: self.snd.sack,
        }
    }
}

/// A synchronised connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) snd: SendHalf,
    pub(crate) rcv: RecvHalf,
    pub(crate) sides: Sides,
    pub(crate) challenge: ChallengeBudget,
    pub(crate) keepalive: KeepAliveTimer,
    /// The application has let go of the handle.
    pub(crate) orphan: bool,
    /// When an orphan in FIN-WAIT-2 is given up; [`Instant::MAX`] if it is not in that state.
    fin_wait2_until: Instant,
    /// What to tell the application.
    pub(crate) signals: Readiness,
    pub(crate) received_tos: u8,
    /// The latest soft error since the peer last acknowledged anything (RFC 9293 MUST-47).
    pub(crate) soft_error: Option<Error>,
    peer_mss: u64,
    /// Set if both sides have timestamps.
    pub(crate) timestamps: Option<Timestamps>,
}

impl Connection {
    pub(crate) fn new(config: &Config, settled: &Settled, now: Instant) -> Self {
        Connection {
            snd: SendHalf::new(config, &settled.snd_start(), now),
            rcv: RecvHalf::new(config, &settled.rcv_start(), now),
            sides: Sides::OPEN,
            challenge: ChallengeBudget::new(now),
            keepalive: KeepAliveTimer::new(now),
            orphan: false,
            fin_wait2_until: Instant::MAX,
            signals: Readiness::empty(),
            received_tos: 0,
            soft_error: None,
            peer_mss: settled.peer_mss,
            //= RFC7323 3.2 remembered
            timestamps: settled.timestamps,
        }
    }

    /// How much the application may write ahead of what was sent.
    pub(crate) fn limit_unsent(&mut self, most: Option<u32>) {
        self.snd.limit_unsent(most);
        self.note_room();
    }

    /// Tells a writer that waits for room if there is some now.
    pub(crate) fn note_room(&mut self) {
        if self.snd.take_writable() {
            self.signals |= Readiness::WRITABLE;
        }
    }

    /// Another connection in the memory of one that is over.
    pub(crate) fn renew(&mut self, config: &Config, settled: &Settled, now: Instant) {
        // Field by field, since `*self = Connection::new(..)` makes it elsewhere and copies it.
        let Connection {
            snd,
            rcv,
            sides,
            challenge,
            keepalive,
            orphan,
            fin_wait2_until,
            signals,
            received_tos,
            soft_error,
            peer_mss,
            timestamps,
        } = self;
        snd.renew(config, &settled.snd_start(), now);
        rcv.renew(config, &settled.rcv_start(), now);
        *sides = Sides::OPEN;
        *challenge = ChallengeBudget::new(now);
        *keepalive = KeepAliveTimer::new(now);
        *orphan = false;
        *fin_wait2_until = Instant::MAX;
        *signals = Readiness::empty();
        *received_tos = 0;
        *soft_error = None;
        *peer_mss = settled.peer_mss;
        *timestamps = settled.timestamps;
    }

    /// It is over, and nobody will read from it: all goes but what is of use to another.
    pub(crate) fn retire(&mut self, pool: &mut Pool) {
        // An orphan's was cleared when it was released.
        if !self.orphan {
            self.rcv.clear(pool);
        }
        self.snd.retire();
    }

    pub(crate) fn state(&self) -> State {
        self.sides.state()
    }

    /// The application closes our side.
    pub(crate) fn close_write(&mut self, ctx: &mut Context) {
        if self.sides.ours() == OurSide::Open {
            self.sides.close_ours();
            self.snd.close();
            self.snd.timer_refresh(ctx.now);
        }
    }

    /// The application will read no more than has come by now.
    pub(crate) fn close_read(&mut self, ctx: &mut Context) {
        self.rcv.discard(&mut ctx.pool);
        self.rcv.tell_window();
    }

    /// The application lets go of the handle. `Some` if that aborts the connection.
    pub(crate) fn close(&mut self, ctx: &mut Context, linger: Option<Duration>) -> Option<Ending> {
        //= RFC9293 SHLD-3: who closes without having read all tells the peer so.
        if self.rcv.readable() > 0 || linger == Some(Duration::ZERO) {
            return Some(Ending::Aborted);
        }
        self.close_write(ctx);
        //= RFC9293 MAY-1: nobody will read; text that comes draws a reset.
        self.orphan = true;
        self.rcv.close(&mut ctx.pool);
        self.watch_fin_wait2(ctx);
        None
    }

    /// How the connection has ended, if it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        // Asked after each segment, while most connections go on.
        let is_over = self.sides.ours() == OurSide::Closed && self.sides.theirs() == TheirSide::Closed;
        is_over.then(|| if self.state() == State::TimeWait { Ending::TimeWait } else { Ending::Closed })
    }

    /// Starts the orphan's FIN-WAIT-2 timer when it gets there.
    pub(crate) fn watch_fin_wait2(&mut self, ctx: &Context) {
        if self.orphan && self.state() == State::FinWait2 && self.fin_wait2_until == Instant::MAX {
            self.fin_wait2_until = ctx.now + ctx.config.fin_wait2_timeout;
        }
    }

    /// When [`timer`](Self::timer) has something to do; [`Instant::MAX`] if never.
    pub(crate) fn deadline(&self, config: &Config, options: &SocketOptions, now: Instant) -> Instant {
        let mut at = self.usual_deadline(options, now);
        if let Some(settings) = &options.keepalive {
            at = at.min(self.keepalive_deadline(settings));
        }
        if let Some(lapse) = self.rcv.lapses_at(config) {
            at = at.min(lapse);
        }
        at
    }

    /// The same where it [has none of the rare ones](Self::has_rare_deadlines).
    #[inline]
    pub(crate) fn usual_deadline(&self, options: &SocketOptions, now: Instant) -> Instant {
        let at = self.snd.timer_deadline(&self.patience(options)).min(self.fin_wait2_until);
        // An ACK that is due waits for the device, not for the clock.
        match self.rcv.ack.deadline() {
            Some(ack) if ack > now => at.min(ack),
            Some(_) | None => at,
        }
    }

    /// Whether it may have to be kept alive, or has more memory promised than others: not while it sends, or not much.
    #[inline]
    pub(crate) fn has_rare_deadlines(&self, options: &SocketOptions) -> bool {
        (options.keepalive.is_some() && self.may_keep_alive()) || self.rcv.may_lapse()
    }

    #[inline]
    fn keepalive_deadline(&self, settings: &KeepAlive) -> Instant {
        if self.may_keep_alive() { self.keepalive.deadline(settings) } else { Instant::MAX }
    }

    /// Runs what is due. `Some` if that ends the connection.
    pub(crate) fn timer(
        &mut self,
        ctx: &mut Context,
        remote: IpAddr,
        options: &SocketOptions,
    ) -> Option<Ending> {
        self.rcv.lapse(&ctx.config, &mut ctx.pool, ctx.now);
        let mss = self.snd.mss();
        let expiry = self.snd.timer_expired(&self.patience(options), &mut ctx.counters, ctx.now);
        ctx.counters.tcp_black_holes += u64::from(self.snd.mss() < mss);
        match expiry {
            Some(Expiry::GiveUp) => return Some(Ending::TimedOut),
            Some(Expiry::Trouble) => self.trouble(ctx, remote),
            Some(Expiry::Retransmit | Expiry::GoOn) | None => {}
        }
        if matches!(expiry, Some(Expiry::Trouble | Expiry::Retransmit)) {
            ctx.counters.tcp_timeouts += 1;
        }
        if let Some(settings) = options.keepalive.filter(|_| self.may_keep_alive())
            && self.keepalive.expired(&settings, ctx.now) == Some(keepalive::Expiry::GiveUp)
        {
            return Some(Ending::KeepAliveTimedOut);
        }
        (self.fin_wait2_until <= ctx.now).then_some(Ending::FinWait2TimedOut)
    }

    /// Whether [`transmit`](Self::transmit) may have something to send: it decides whether that goes now.
    pub(crate) fn wants_transmit(&self, now: Instant) -> bool {
        self.rcv.ack.is_due(now) || self.snd.has_something_to_plan() || self.wants_probe()
    }

    /// Whether all there is to send is an acknowledgement that packets yet to be looked at may share.
    pub(crate) fn may_wait(&self, options: &SocketOptions, now: Instant) -> bool {
        //= RFC9293 MUST-59
        self.rcv.ack.is_due(now)
            && self.rcv.ack.may_wait(self.rcv.wnd(), now)
            && self.snd.plan(options.nodelay, self.sack_len(), 0).is_none()
            && !self.wants_probe()
    }

    /// Sends one segment or super-segment, if there is one to send. The driver asks for it once all that has come is processed.
    pub(crate) fn transmit(
        &mut self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        way: &Way<'_>,
        nodelay: bool,
    ) -> Option<Attempt> {
        let one = |sent| Attempt { sent, segments: 1 };
        //= RFC9293 MUST-58: an acknowledgement that text can carry is not sent by itself.
        if self.snd.has_something_to_plan()
            && let Some(attempt) = self.transmit_text(ctx, sink, way, nodelay)
        {
            Some(attempt)
        } else if self.rcv.ack.is_due(ctx.now) {
            Some(one(self.send_ack(ctx, sink, way)))
        } else if self.wants_probe() {
            Some(one(self.send_keepalive(ctx, sink, way)))
        } else {
            None
        }
    }

    /// Sends what text goes next that way.
    #[inline(always)]
    fn transmit_text(
        &mut self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        way: &Way<'_>,
        nodelay: bool,
    ) -> Option<Attempt> {
        let sack_len = self.sack_len();
        // All segments that a device makes of one have the same options: none that the first alone would have.
        let differ = self.rcv.reports_duplicate() || self.rcv.ack.waiting() > 0;
        let is_much = self.snd.unacknowledged_text() + sack_len > self.snd.mss();
        let most = if is_much && !differ { self.most_at_once(ctx, way, sack_len) } else { 0 };
        if sack_len == 0 && most == 0 && self.snd.has_only_new_text() {
            let plan = self.snd.plan_one_of_new(nodelay)?;
            return Some(Attempt { sent: self.send_text(ctx, sink, way, &plan), segments: 1 });
        }
        self.transmit_planned(ctx, sink, way, |snd| snd.plan(nodelay, sack_len, most))
    }

    /// How much text a super-segment may have that goes this way; 0 if none may.
    #[inline(never)]
    fn most_at_once(&self, ctx: &Context, way: &Way<'_>, sack_len: u64) -> u64 {
        if !emit::takes_supers(ctx, way) {
            return 0;
        }
        let headers = header_len(way.tuple.remote.is_ipv4()) as u64;
        let fits = DATAGRAM_MAX - headers - fixed_options_len(self.timestamps.as_ref()) - sack_len;
        fits.min(self.snd.mss() * ctx.config.super_segment_max)
    }

    /// Tells others what was found out about the path to `remote`; `route` is the way there. To be called before they are
    /// asked, which is [`follow_path`](Self::follow_path).
    #[cold]
    pub(crate) fn tell_path(&mut self, ctx: &mut Context, route: &Route, remote: IpAddr) -> bool {
        let news = self.snd.path().probe.take_news();
        if let Some(found) = news {
            let expires = ctx.now + ctx.config.path_mtu_expiry;
            ctx.ip.path_mtu.found(remote, found, route.link_mtu, expires, &mut ctx.timers);
        }
        news.is_some()
    }

    /// Whether there is nothing to tell, and the route says what it said before: so it mostly is.
    #[inline]
    pub(crate) fn has_followed_path(&self, route: &Route) -> bool {
        self.snd.has_followed(route.mtu as u64, route.link_mtu as u64) && !self.snd.has_path_news()
    }

    /// The largest segment for the path to `remote`, to which `route` is the way.
    //= RFC9293 MUST-16
    // Inlined, since each connection calls it once, and it has hardly anything to do then.
    #[inline(always)]
    pub(crate) fn follow_path(&mut self, ctx: &Context, route: &Route, remote: IpAddr) {
        let asks = self.snd.path().probe.asks_others(route.mtu as u64);
        let is_cut = asks && ctx.ip.path_mtu.needs_cutting(&remote);
        // What routers may cut proves nothing.
        let link = if is_cut { route.mtu } else { route.link_mtu };
        let (limits, headers) = self.path_limits(route.mtu as u64, link as u64, remote.is_ipv4());
        let shared = if asks { ctx.ip.path_mtu.searched(remote) } else { None };
        self.snd.follow_path(limits, headers, shared, ctx.now);
    }

    /// What a path with these MTUs allows, and how many bytes of each datagram are not text.
    #[inline(always)]
    fn path_limits(&self, route: u64, link: u64, is_ipv4: bool) -> (Limits, u64) {
        let fixed = header_len(is_ipv4) as u64;
        let limits = Limits { route, link, peer: self.peer_mss + fixed, is_ipv4 };
        (limits, fixed + fixed_options_len(self.timestamps.as_ref()))
    }

    /// The same for one that has just been opened by a handshake that took this way: then mostly there is nothing to be found out
    /// that the handshake has not, and the first turn need not ask. Else it does.
    #[inline]
    pub(crate) fn begin_path(&mut self, ctx: &Context, way: &KnownWay, remote: &IpAddr) {
        let Some((route, link)) = way.mtus(ctx) else { return };
        let is_to_search = ctx.config.mtu_probing == MtuProbing::Always || ctx.ip.path_mtu.knows(remote);
        // The option of the handshake says no more than that.
        if is_to_search || route > u16::MAX.into() {
            return;
        }
        let (limits, headers) = self.path_limits(route.into(), link.into(), remote.is_ipv4());
        self.snd.begin_path(limits, headers);
    }

    /// What a reset of ours says.
    pub(crate) fn reset(&self, now: Instant) -> Says {
        //= RFC7323 3.2 in resets, 5.2 reset of an abort
        Says::reset(self.snd.bare_seq().wire(), Some(self.rcv.nxt().wire())).with(self.options(now, 0))
    }

    /// Gives memory back. Unread bytes stay if the application can still read them.
    pub(crate) fn release(&mut self, ctx: &mut Context) {
        ctx.counters.tcp_send_buffers_grown += u64::from(self.snd.buffer_has_grown(&ctx.config));
        ctx.counters.tcp_recv_buffers_grown += u64::from(self.rcv.buffer_has_grown(&ctx.config));
        self.snd.clear(&mut ctx.pool);
        self.snd.trim();
        if !self.orphan {
            self.rcv.clear_ahead(&mut ctx.pool);
        } else if !self.rcv.is_over() {
            // It was aborted after its application had closed it; the end of the stream has cleared all others.
            self.rcv.clear(&mut ctx.pool);
        }
        debug_assert!(!self.orphan || self.rcv.holds_nothing(), "what was closed was cleared");
    }

    pub(crate) fn info(&self, options: &SocketOptions) -> TcpInfo {
        let rtt = self.snd.rtt();
        TcpInfo {
            state: self.state(),
            srtt: rtt.srtt(),
            rttvar: rtt.rttvar(),
            min_rtt: rtt.min_rtt(),
            rto: rtt.rto(),
            backoff: self.snd.retransmissions(),
            cwnd: self.snd.cwnd(),
            ssthresh: self.snd.cc().ssthresh(),
            snd_mss: self.snd.mss() as u32,
            rcv_mss: self.rcv.mss() as u32,
            snd_wnd: self.snd.wnd() as u32,
            rcv_wnd: self.rcv.wnd() as u32,
            snd_wscale: self.snd.scale(),
            rcv_wscale: self.rcv.window.scale(),
            unsent: self.snd.unsent(),
            unacknowledged: self.snd.outstanding(),
            lost: self.snd.lost(),
            sacked: self.snd.sacked(),
            in_recovery: self.snd.in_recovery(),
            timers: self.timers(options),
            unread: self.rcv.readable(),
            bytes_acked: self.snd.bytes_acked(),
            bytes_received: self.rcv.bytes_received(),
            retransmits: self.snd.retransmits(),
            undone: self.snd.undone(),
            duplicates_in: self.rcv.duplicates,
            out_of_order_in: self.rcv.out_of_order,
            urgent_unread: self.rcv.urgent_unread(),
            soft_error: self.soft_error,
            received_tos: self.received_tos,
        }
    }

    /// The timers that are running.
    fn timers(&self, options: &SocketOptions) -> Timers {
        let mut timers = self.snd.timer_running();
        timers.set(Timers::DELAYED_ACK, self.rcv.ack.is_delayed());
        timers.set(Timers::KEEP_ALIVE, options.keepalive.is_some() && self.may_keep_alive());
        timers
    }

    pub(crate) fn check_invariants(&self) {
        self.snd.check_invariants();
        self.rcv.check_invariants();
        debug_assert_eq!(self.rcv.fin_received(), self.sides.theirs() == TheirSide::Closed);
    }

    //= RFC9293 MUST-20/r1
    //= RFC9293 SHLD-9
    fn trouble(&mut self, ctx: &mut Context, remote: IpAddr) {
        ctx.ip.negative_advice(remote);
        ctx.counters.negative_advice += 1;
        self.soft_error.get_or_insert(Error::TimedOut);
        self.signals |= Readiness::SOFT_ERROR;
    }

    fn patience(&self, options: &SocketOptions) -> Patience {
        Patience {
            r1: options.r1_retransmits,
            r2: options.r2,
            user_timeout: options.user_timeout,
            orphan: self.orphan,
        }
    }

    //= RFC9293 MUST-26
    fn may_keep_alive(&self) -> bool {
        !self.snd.is_unfinished()
    }

    /// A probe that had to wait for the device may have been overtaken by something to say.
    fn wants_probe(&self) -> bool {
        self.keepalive.probe_is_due() && self.may_keep_alive()
    }

    /// Sends text as it is planned, be it a super-segment or what was sent before.
    // By itself, so that the way of one new segment is laid out for what that is known to be.
    #[inline(never)]
    fn transmit_planned(
        &mut self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        way: &Way<'_>,
        plan: impl FnOnce(&SendHalf) -> Option<TextPlan>,
    ) -> Option<Attempt> {
        let plan = plan(&self.snd)?;
        let sent = self.send_text(ctx, sink, way, &plan);
        Some(Attempt { sent, segments: plan.segments() as usize })
    }

    #[inline(always)]
    fn send_text(
        &mut self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        way: &Way<'_>,
        plan: &TextPlan,
    ) -> Sent {
        let (window, edge) = self.rcv.window_field();
        let mut says = Says {
            seq: plan.start.wire(),
            ack: Some(self.rcv.nxt().wire()),
            control: if plan.fin { Control::Fin } else { Control::None },
            psh: plan.psh,
            urgent: plan.urgent,
            window,
            options: self.options_without_sack(ctx.now),
        };
        if self.rcv.has_sack_blocks() {
            says.options.sack = self.sack_option(self.sack_blocks_beside_text());
        }
        let gso_size = u16::try_from(plan.size).ok().filter(|_| plan.is_super()).and_then(NonZeroU16::new);
        let has_text = plan.len > 0;
        let text = if has_text { self.snd.text_in_one(plan.start, plan.len) } else { None };
        let sent = if text.is_some() || !has_text {
            emit::send(ctx, sink, way, &says, text.as_slice(), gso_size)
        } else {
            self.send_pieces(ctx, sink, way, &says, plan, gso_size)
        };
        if sent == Sent::Taken {
            match plan.kind {
                Kind::New => {}
                Kind::Retransmission | Kind::LossProbe => ctx.counters.tcp_retransmits += plan.segments(),
                Kind::Probe => ctx.counters.tcp_window_probes += 1,
                Kind::PathProbe => ctx.counters.tcp_path_probes += 1,
            }
            self.snd.commit(plan, ctx.now);
            self.count_reports(ctx, &says.options);
            self.rcv.acknowledged(edge, true, ctx.now);
            emit::note_sent(ctx, way.tuple, &says, plan.len as usize, gso_size);
        }
        sent
    }

    /// Hands text to the sink that stands in several places.
    #[inline(never)]
    fn send_pieces(
        &self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        way: &Way<'_>,
        says: &Says,
        plan: &TextPlan,
        gso_size: Option<NonZeroU16>,
    ) -> Sent {
        // Collected, the whole of them would be moved once more.
        let mut pieces = ArrayVec::<&[u8], { Text::PIECES_MAX }>::new();
        self.snd.text(plan.start, plan.len, &mut pieces);
        emit::send(ctx, sink, way, says, &pieces, gso_size)
    }

    // By itself, as what follows it: the way of text is long enough.
    #[inline(never)]
    fn send_ack(&mut self, ctx: &mut Context, sink: &mut dyn PacketSink, way: &Way<'_>) -> Sent {
        let (window, edge) = self.rcv.window_field();
        let says = Says::ack(self.snd.bare_seq().wire(), self.rcv.nxt().wire(), window)
            .with(self.options(ctx.now, BLOCKS_MAX));
        let sent = emit::send(ctx, sink, way, &says, &[], None);
        if sent == Sent::Taken {
            self.count_reports(ctx, &says.options);
            self.rcv.acknowledged(edge, false, ctx.now);
            emit::note_sent(ctx, way.tuple, &says, 0, None);
        }
        sent
    }

    /// The options of a segment sent now, with up to `blocks` of what came ahead of its turn.
    //= RFC7323 3.2 every segment
    //= RFC2018 4 all circumstances, 4 reported
    fn options(&self, now: Instant, blocks: usize) -> TcpOptions {
        let mut options = self.options_without_sack(now);
        if self.rcv.has_sack_blocks() {
            options.sack = self.sack_option(blocks);
        }
        options
    }

    /// Made where they are to stand: they are large, for they have room for what is rarely there.
    #[inline]
    fn options_without_sack(&self, now: Instant) -> TcpOptions {
        let timestamps = self.timestamps.map(|stamps| stamps.option(now));
        TcpOptions { timestamps, ..TcpOptions::NONE }
    }

    #[cold]
    fn sack_option(&self, blocks: usize) -> SackOption {
        let wire =
            |block: core::ops::Range<u64>| (RcvPos::at(block.start).wire(), RcvPos::at(block.end).wire());
        self.rcv.sack_blocks(blocks).into_iter().map(wire).collect()
    }

    /// A segment with these options has gone out.
    fn count_reports(&self, ctx: &mut Context, options: &TcpOptions) {
        if !options.sack.is_empty() {
            ctx.counters.tcp_sacks_out += 1;
            ctx.counters.tcp_dsacks_out += u64::from(self.rcv.reports_duplicate());
        }
    }

    /// How many blocks go with text: as many as fit, but no more than leave half of the segment to the text.
    fn sack_blocks_beside_text(&self) -> usize {
        (self.snd.mss() / 2).saturating_sub(4) as usize / 8
    }

    /// Room in a segment with text that [`options`](Self::options) takes beside timestamps.
    fn sack_len(&self) -> u64 {
        if !self.rcv.has_sack_blocks() {
            return 0;
        }
        //= RFC2018 3 room
        let most = if self.timestamps.is_some() { BLOCKS_MAX - 1 } else { BLOCKS_MAX };
        match self.rcv.sack_blocks(most.min(self.sack_blocks_beside_text())).len() as u64 {
            0 => 0,
            blocks => 4 + 8 * blocks,
        }
    }

    #[cold]
    //= RFC9293 SHLD-12: no data, one sequence number below what the peer expects.
    fn send_keepalive(&mut self, ctx: &mut Context, sink: &mut dyn PacketSink, way: &Way<'_>) -> Sent {
        let (window, edge) = self.rcv.window_field();
        let seq = self.snd.nxt().wire().plus(u32::MAX);
        let says = Says::ack(seq, self.rcv.nxt().wire(), window).with(self.options(ctx.now, BLOCKS_MAX));
        let sent = emit::send(ctx, sink, way, &says, &[], None);
        if sent == Sent::Taken {
            self.count_reports(ctx, &says.options);
            self.rcv.acknowledged(edge, false, ctx.now);
            self.keepalive.probe_sent(ctx.now);
            ctx.counters.tcp_keepalives += 1;
            emit::note_sent(ctx, way.tuple, &says, 0, None);
        }
        sent
    }
}

/// An attempt to send a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) sent: Sent,
    /// Segments on the wire that it is, or would have been.
    pub(crate) segments: usize,
}

/// No IP datagram without the jumbo option is larger.
const DATAGRAM_MAX: u64 = 65_535;

/// Room that options take in each segment.
fn fixed_options_len(timestamps: Option<&Timestamps>) -> u64 {
    timestamps.map_or(0, |_| Timestamps::OPTION_LEN)
}

/// The text that fits beside options (RFC 6691): an MSS option counts neither's.
fn without_options(mss: u64, options_len: u64) -> u64 {
    mss.saturating_sub(options_len).max(1)
}

/// The text that fits into a datagram of `mtu` bytes beside the headers.
pub(crate) fn mss_for(mtu: usize, is_ipv4: bool) -> u64 {
    //= RFC8200 8.3 larger header
    mtu.saturating_sub(header_len(is_ipv4)).max(1) as u64
}

/// IP and TCP headers without options.
pub(crate) fn header_len(is_ipv4: bool) -> usize {
    if is_ipv4 { 40 } else { 60 }
}
