//! What becomes of a socket after each event: promotion, readiness, timers, and the end.

use super::*;
use crate::proto::events::{Readiness, SocketId};
use crate::proto::ids::{TcpTimer, TimerKey};
use crate::proto::ip::icmp::{self, IcmpError, IcmpErrorKind};
use crate::proto::ip::pmtu;
use crate::proto::tcp::closing::Sides;
use crate::proto::tcp::connection::{Ending, mss_for};
use crate::proto::tcp::time_wait::TimeWait;
use crate::proto::trace::{Record, TraceLevel};

impl Endpoint {
    /// A timer of ours has fired, and is disarmed.
    pub(crate) fn timer(&mut self, ctx: &mut Context, timer: TcpTimer) {
        match timer {
            TcpTimer::Socket(id) => self.socket_timer(ctx, id),
            TcpTimer::HalfOpen(id) => self.half_open_timer(ctx, id),
            TcpTimer::SynQueue => {
                self.half_open.timer_fired();
                while let Some(id) = self.half_open.next_late(ctx) {
                    self.half_open_timer(ctx, id);
                }
            }
            TcpTimer::TimeWait => {
                let demux = &mut self.demux;
                self.time_wait.timer(ctx, |id, at| demux.forget_at(at, Target::TimeWait(id)));
            }
        }
    }

    fn half_open_timer(&mut self, ctx: &mut Context, id: HalfOpenId) {
        let keeps = self.half_open.get_mut(id).is_some_and(|entry| entry.timer(ctx, id));
        if !keeps {
            ctx.counters.tcp_attempts_failed += 1;
            self.forget_half_open(ctx, id);
        }
    }

    fn socket_timer(&mut self, ctx: &mut Context, id: TcpId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.timer = None;
        let ending = match &mut socket.phase {
            Phase::Opening(opening) => opening.timer(ctx, &socket.tuple, &socket.options),
            Phase::Synchronised(connection) => connection.timer(ctx, socket.tuple.remote, &socket.options),
            Phase::Over(_) => None,
        };
        match ending {
            Some(ending) => {
                ctx.counters.tcp_given_up += u64::from(ending != Ending::FinWait2TimedOut);
                self.finish(ctx, id, ending);
            }
            None => self.settle(ctx, id),
        }
    }

    /// An ICMP error about a segment of ours (RFC 9293 section 3.9.2.2, RFC 5927).
    //= RFC9293 MUST-54
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context, error: &IcmpError<'_>) -> Result<(), DropReason> {
        let tuple = FourTuple::new(error.local, error.remote);
        let seq = SeqNr(error.seq.ok_or(DropReason::IcmpMalformed)?);
        let Some(Target::Socket(id)) = self.demux.find(&tuple) else { return Err(DropReason::IcmpUnrelated) };
        let Some(socket) = self.sockets.get_mut(id) else { return Err(DropReason::IcmpUnrelated) };
        if let IcmpErrorKind::PacketTooBig(mtu) = error.kind {
            socket.packet_too_big(ctx, seq, mtu as usize)?;
            self.settle(ctx, id);
            return Ok(());
        }
        let meaning = Meaning::of(error.kind).ok_or(DropReason::IcmpIgnored)?;
        let soft_error = match &mut socket.phase {
            Phase::Opening(opening) if !opening.sent(seq) => return Err(DropReason::IcmpUnrelated),
            Phase::Opening(opening) => {
                //= RFC9293 SHLD-26: only before the connection is synchronised (RFC 5927 section 5.2).
                if let Meaning::Hard(error) = meaning {
                    ctx.counters.icmp_errors_in += 1;
                    self.finish(ctx, id, Ending::Unreachable(error));
                    return Ok(());
                }
                &mut opening.soft_error
            }
            Phase::Synchronised(connection) => {
                let quoted = connection.snd.una().unwrap(seq);
                if quoted < connection.snd.una() || quoted >= connection.snd.nxt() {
                    return Err(DropReason::IcmpUnrelated);
                }
                &mut connection.soft_error
            }
            Phase::Over(_) => return Err(DropReason::IcmpUnrelated),
        };
        //= RFC9293 MUST-47
        //= RFC9293 SHLD-25
        //= RFC9293 MUST-56/unreachable
        //= RFC1122 3.2.2.1 hint
        *soft_error = Some(meaning.error());
        ctx.counters.icmp_errors_in += 1;
        socket.raise(ctx, id, Readiness::SOFT_ERROR);
        Ok(())
    }

    /// The handshake of an active open is done: the socket is a connection now.
    pub(super) fn opened(&mut self, ctx: &mut Context, id: TcpId, settled: &Settled) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let mut connection = self.spare.connection(ctx, settled, &socket.options);
        // That is the way which the SYN went.
        connection.begin_path(ctx, &socket.way, &socket.tuple.remote);
        if socket.read_shut {
            connection.close_read(ctx);
        }
        if matches!(&socket.phase, Phase::Opening(opening) if opening.close_wanted) {
            connection.close_write(ctx);
        }
        if socket.holder == Holder::Nobody {
            // Nothing is unread yet, so this can't abort.
            connection.close(ctx, None);
        }
        trace_opened(ctx, &socket.tuple, true);
        if let Phase::Opening(opening) =
            core::mem::replace(&mut socket.phase, Phase::Synchronised(connection))
        {
            self.spare.take_handshake(opening);
        }
    }

    /// Brings everything that depends on a socket's state up to date. To be called after whatever may have
    /// changed it.
    pub(super) fn settle(&mut self, ctx: &mut Context, id: TcpId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if let Some(ending) = socket.settle(ctx, id, &mut self.ready) {
            self.finish(ctx, id, ending);
        }
    }

    /// Arms the timer of who needs it, after a verb whose answer tells that.
    #[cold]
    #[inline(never)]
    pub(crate) fn rearm(&mut self, ctx: &mut Context, id: TcpId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.rearm(ctx, id);
        }
    }

    /// Whether [`settle`](Self::settle) would find nothing to do but to arm the timer of who is about to have a turn.
    pub(crate) fn is_settled(&self, config: &Config, id: TcpId, now: Instant) -> bool {
        self.sockets.get(id).is_none_or(|socket| socket.is_settled(config, now))
    }

    /// Ends a connection, or an attempt at one. What the application may still want stays with its handle.
    pub(super) fn finish(&mut self, ctx: &mut Context, id: TcpId, ending: Ending) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.disarm(ctx);
        let nothing = Phase::Over(Remains::Attempt(None));
        let mut owes_ack = false;
        match core::mem::replace(&mut socket.phase, nothing) {
            Phase::Opening(opening) => {
                socket.phase = Phase::Over(socket.give_up_opening(ctx, &opening, ending));
                self.spare.take_handshake(opening);
            }
            Phase::Synchronised(connection) => {
                // Once it is forgotten, nobody else would acknowledge their FIN.
                owes_ack = connection.rcv.ack.is_due(ctx.now);
                socket.phase = Phase::Over(Remains::Connection(connection));
                socket.end_connection(ctx, ending);
            }
            Phase::Over(remains) => {
                socket.phase = Phase::Over(remains);
                return;
            }
        }
        if ending == Ending::TimeWait {
            self.wait(ctx, id, owes_ack);
        } else {
            self.demux.forget_at(&socket.located(), Target::Socket(id));
        }
        self.after_end(ctx, id, ending);
    }

    /// Remembers a connection that is over for 2 MSL.
    // Apart, so that the entry is made where it stays, and for those who wait alone.
    #[inline(never)]
    fn wait(&mut self, ctx: &mut Context, id: TcpId, owes_ack: bool) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let Phase::Over(Remains::Connection(connection)) = &socket.phase else { return };
        let at = socket.located();
        let forget = |id, at: &Located| self.demux.forget_at(at, Target::TimeWait(id));
        let entry_id = self.time_wait.insert(ctx, forget, || TimeWait {
            at,
            snd_nxt: connection.snd.nxt().wire(),
            rcv_nxt: connection.rcv.nxt().wire(),
            window: connection.rcv.window_field().0,
            marks: Marks::of(&socket.options),
            timestamps: connection.timestamps,
            bind_options: socket.bind_options,
        });
        if owes_ack && let Some(entry) = self.time_wait.get(entry_id) {
            entry.acknowledge_by(ctx, &mut socket.way);
        }
        self.demux.point(&at, Target::TimeWait(entry_id));
    }

    fn after_end(&mut self, ctx: &mut Context, id: TcpId, ending: Ending) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.trace_end(ctx, ending);
        match socket.holder {
            Holder::Nobody => self.remove(ctx, id),
            Holder::Application => {
                let mut readiness = Readiness::READABLE | Readiness::WRITABLE;
                readiness.set(Readiness::ERROR, socket.error.is_some());
                socket.raise(ctx, id, readiness);
            }
            // Whoever accepts it will find out.
            Holder::Queue(_) => {}
        }
    }

    /// Removes a socket whose handle is gone, and its events with that, and whose connection is over.
    pub(super) fn remove(&mut self, ctx: &mut Context, id: TcpId) {
        let Some(mut socket) = self.sockets.remove(id) else { return };
        debug_assert_ne!(self.demux.find(&socket.tuple), Some(Target::Socket(id)));
        socket.disarm(ctx);
        if let Phase::Over(Remains::Connection(connection)) = socket.phase {
            self.spare.take_connection(connection, &mut ctx.pool);
        }
    }
}

impl Socket {
    /// As [`Endpoint::settle`], where the socket has been looked up. `Some` if that finds the connection to have ended: it is to
    /// be [finished](Endpoint::finish).
    pub(super) fn settle(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        ready: &mut VecDeque<TcpId>,
    ) -> Option<Ending> {
        // Mostly a connection is open, as it was.
        if !self.is_open_still() {
            self.trace_state(ctx);
            if let Some(ending) = self.connection().and_then(|connection| connection.ending()) {
                return Some(ending);
            }
        }
        let signals = self.take_signals();
        if !signals.is_empty() {
            self.tell(ctx, id, signals);
        }
        self.settle_turn(ctx, id, ready, signals);
        None
    }

    /// Tells the application, if it holds the handle.
    #[inline(never)]
    pub(super) fn raise(&self, ctx: &mut Context, id: TcpId, readiness: Readiness) {
        self.tell(ctx, id, readiness);
    }

    /// The same, for the way of a segment: it stands where it is called.
    #[inline(always)]
    fn tell(&self, ctx: &mut Context, id: TcpId, mut readiness: Readiness) {
        if self.holder == Holder::Application {
            //= RFC9293 SHLD-20
            if readiness.contains(Readiness::SOFT_ERROR) && !self.options.report_soft_errors {
                readiness -= Readiness::SOFT_ERROR;
            }
            ctx.events.raise(SocketId::Tcp(id), self.owner, readiness);
        }
    }

    /// What the connection has for the application, which is to be told of it.
    pub(super) fn take_signals(&mut self) -> Readiness {
        let signals = self.connection().map(|connection| &mut connection.signals);
        signals.map_or(Readiness::empty(), |signals| core::mem::replace(signals, Readiness::empty()))
    }

    /// After the application has written, which ends nothing and is no news to the application: gets in line for a turn.
    /// Tells whether the timer is to be armed.
    #[inline(always)]
    pub(super) fn settle_sending(&mut self, id: TcpId, ready: &mut VecDeque<TcpId>, now: Instant) -> bool {
        if !self.is_ready && self.connection().is_some_and(|connection| connection.wants_transmit(now)) {
            self.get_in_line(id, ready);
        }
        // After a turn it is armed anyway.
        !self.is_ready || self.is_parked
    }

    fn is_interactive(&self) -> bool {
        matches!(&self.phase, Phase::Synchronised(connection) if connection.rcv.ack.is_interactive())
    }

    #[inline(never)]
    fn get_in_line(&mut self, id: TcpId, ready: &mut VecDeque<TcpId>) {
        self.is_ready = true;
        ready.push_back(id);
    }

    /// The same after it has only read: that may open the window so far that the peer is told at once, or leave it unused,
    /// though it is large. Mostly it does neither.
    pub(super) fn settle_reading(&mut self, id: TcpId, ready: &mut VecDeque<TcpId>, now: Instant) -> bool {
        matches!(&self.phase, Phase::Synchronised(connection) if connection.rcv.wants_settling(now))
            && self.settle_sending(id, ready, now)
    }

    /// Gets in line for a turn, if there may be something to send. Who has no turn soon has the timer armed.
    fn settle_turn(&mut self, ctx: &mut Context, id: TcpId, ready: &mut VecDeque<TcpId>, told: Readiness) {
        // Who answers what comes does so before the turn: when the acknowledgement would be due that goes with the answer need not
        // be known until then.
        if told.contains(Readiness::READABLE) && !self.is_ready && self.is_interactive() {
            return self.get_in_line(id, ready);
        }
        if self.settle_sending(id, ready, ctx.now) {
            self.rearm(ctx, id);
        }
    }

    /// Arms the timer for the earliest deadline. A later one is left to be found out when the timer fires.
    pub(super) fn rearm(&mut self, ctx: &mut Context, id: TcpId) {
        match &self.phase {
            Phase::Synchronised(connection) if !connection.has_rare_deadlines(&self.options) => {
                let at = connection.usual_deadline(&self.options, ctx.now);
                debug_assert_eq!(at, connection.deadline(&ctx.config, &self.options, ctx.now));
                self.arm_by(ctx, id, at);
            }
            Phase::Opening(_) | Phase::Synchronised(_) | Phase::Over(_) => self.rearm_anyhow(ctx, id),
        }
    }

    // Apart, so that the other needs hardly any registers.
    #[inline(never)]
    fn rearm_anyhow(&mut self, ctx: &mut Context, id: TcpId) {
        let at = match &self.phase {
            Phase::Synchronised(connection) => connection.deadline(&ctx.config, &self.options, ctx.now),
            other => other.deadline(&self.options),
        };
        self.arm_by(ctx, id, at);
    }

    #[inline]
    fn arm_by(&mut self, ctx: &mut Context, id: TcpId, at: Instant) {
        if at < self.timer.map_or(Instant::MAX, |(_, armed)| armed) {
            self.arm(ctx, id, at);
        }
    }

    // Apart, since mostly the timer is armed for something earlier.
    #[inline(never)]
    fn arm(&mut self, ctx: &mut Context, id: TcpId, at: Instant) {
        let timer = match self.timer {
            Some((timer, _)) => {
                ctx.timers.reschedule(timer, at);
                timer
            }
            None => ctx.timers.insert(TimerKey::Tcp(TcpTimer::Socket(id)), at),
        };
        self.timer = Some((timer, at));
    }

    /// See [`Endpoint::is_settled`].
    fn is_settled(&self, config: &Config, now: Instant) -> bool {
        let Phase::Synchronised(connection) = &self.phase else { return true };
        let armed = self.timer.map_or(Instant::MAX, |(_, at)| at);
        let deadline = connection.deadline(config, &self.options, now);
        let is_armed = armed <= deadline || (self.is_ready && !self.is_parked);
        is_armed
            && self.last_state == self.state()
            && connection.ending().is_none()
            && connection.signals.is_empty()
    }

    /// Whether neither side is closed, and that is no news.
    fn is_open_still(&self) -> bool {
        self.last_state == State::Established
            && matches!(&self.phase, Phase::Synchronised(connection) if connection.sides == Sides::OPEN)
    }

    fn disarm(&mut self, ctx: &mut Context) {
        if let Some((timer, _)) = self.timer.take() {
            ctx.timers.remove(timer);
        }
    }

    fn trace_state(&mut self, ctx: &mut Context) {
        let (from, to) = (self.last_state, self.state());
        if from != to {
            self.last_state = to;
            let tuple = &self.tuple;
            ctx.trace.record(ctx.now, TraceLevel::Debug, || Record::State { ends: tuple.ends(), from, to });
        }
    }

    /// An attempt to open a connection ends.
    fn give_up_opening(&mut self, ctx: &mut Context, opening: &Handshake, ending: Ending) -> Remains {
        ctx.counters.tcp_attempts_failed += 1;
        if let Some(reset) = opening.reset(ctx.now).filter(|_| ending == Ending::Aborted) {
            emit::queue(ctx, &self.tuple, Marks::of(&self.options), &reset);
        }
        // As Linux: what ICMP said explains a time-out better than the time-out does.
        let error = opening.soft_error.filter(|_| ending == Ending::TimedOut).or(ending.error());
        self.error = self.error.or(error);
        Remains::Attempt(opening.soft_error)
    }

    /// A connection ends, and gives back what nobody will want.
    fn end_connection(&mut self, ctx: &mut Context, ending: Ending) {
        let Phase::Over(Remains::Connection(connection)) = &mut self.phase else { return };
        if matches!(ending, Ending::Aborted | Ending::KeepAliveTimedOut) {
            let reset = connection.reset(ctx.now);
            emit::queue(ctx, &self.tuple, Marks::of(&self.options), &reset);
        }
        connection.release(ctx);
        // Mostly it was closed, and there is none.
        if let Some(error) = ending.error() {
            let soft_error = connection.soft_error.filter(|_| ending == Ending::TimedOut);
            self.error.get_or_insert(soft_error.unwrap_or(error));
        }
    }

    fn trace_end(&mut self, ctx: &mut Context, ending: Ending) {
        let to = if ending == Ending::TimeWait { State::TimeWait } else { State::Closed };
        let from = core::mem::replace(&mut self.last_state, to);
        let tuple = &self.tuple;
        if from != to {
            ctx.trace.record(ctx.now, TraceLevel::Debug, || Record::State { ends: tuple.ends(), from, to });
        }
        let (bytes_in, bytes_out) = match &self.phase {
            Phase::Over(Remains::Connection(connection)) => {
                (connection.rcv.bytes_received(), connection.snd.bytes_acked())
            }
            Phase::Opening(_) | Phase::Synchronised(_) | Phase::Over(Remains::Attempt(_)) => (0, 0),
        };
        ctx.trace.record(ctx.now, TraceLevel::Info, || Record::Closed {
            ends: tuple.ends(),
            reason: ending.reason(),
            bytes_in,
            bytes_out,
            duration: ctx.now.since(self.opened),
        });
    }
}

impl Socket {
    /// A router says that segments of more than `mtu` bytes don't go on. Believed if it quotes one that is on its way
    /// (RFC 5927 section 7.2) and larger than that.
    fn packet_too_big(&mut self, ctx: &mut Context, seq: SeqNr, mtu: usize) -> Result<(), DropReason> {
        // A SYN is smaller than any MTU that is believed.
        let Phase::Synchronised(connection) = &mut self.phase else { return Err(DropReason::IcmpUnrelated) };
        let quoted = connection.snd.una().unwrap(seq);
        if quoted < connection.snd.una() || quoted >= connection.snd.nxt() {
            return Err(DropReason::IcmpUnrelated);
        }
        //= RFC1191 3 no increase
        //= RFC8201 4 no increase
        let was_larger = connection.snd.datagram_at(quoted).is_some_and(|size| size > mtu as u64);
        let is_usable = mss_for(mtu, self.tuple.local.is_ipv4()) >= ctx.config.mss_min.into();
        if !was_larger || !is_usable {
            return Err(DropReason::IcmpIgnored);
        }
        let (remote, local, floor) = (self.tuple.remote, self.tuple.local, pmtu::floor(self.tuple.remote));
        if let Ok(route) = ctx.ip.route(remote, Some(local)) {
            connection.tell_path(ctx, &route, remote);
        }
        let is_news = icmp::learn(ctx, remote, mtu);
        // Another connection may have heard it first. What is on its way here is lost all the same.
        if !is_news && mtu < floor {
            return Err(DropReason::IcmpIgnored);
        }
        if let Ok(route) = ctx.ip.route(remote, Some(local)) {
            connection.follow_path(ctx, &route, remote);
        }
        if connection.snd.too_big(mtu as u64, mtu.max(floor) as u64, ctx.now) || is_news {
            ctx.counters.icmp_errors_in += 1;
            return Ok(());
        }
        Err(DropReason::IcmpIgnored)
    }
}

/// Tells the log of a connection that is open.
pub(super) fn trace_opened(ctx: &mut Context, tuple: &FourTuple, active: bool) {
    ctx.trace.record(ctx.now, TraceLevel::Info, || Record::Opened { ends: tuple.ends(), active });
}

/// What an ICMP error means to a connection.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// It ends an attempt to open one.
    Hard(Error),
    /// It is only reported.
    Soft(Error),
}

impl Meaning {
    /// `None` for what is not for TCP to hear, and for "packet too big", which is no error.
    fn of(kind: IcmpErrorKind) -> Option<Self> {
        match kind {
            IcmpErrorKind::PortUnreachable => Some(Meaning::Hard(Error::ConnectionRefused)),
            IcmpErrorKind::ProtocolUnreachable => Some(Meaning::Hard(Error::ProtocolUnreachable)),
            IcmpErrorKind::NetworkUnreachable => Some(Meaning::Soft(Error::NetworkUnreachable)),
            //= RFC9293 MUST-56/time-exceeded
            IcmpErrorKind::HostUnreachable | IcmpErrorKind::Prohibited | IcmpErrorKind::TimeExceeded => {
                Some(Meaning::Soft(Error::HostUnreachable))
            }
            //= RFC9293 MUST-56/parameter
            IcmpErrorKind::ParameterProblem | IcmpErrorKind::Other => {
                Some(Meaning::Soft(Error::ProtocolUnreachable))
            }
            //= RFC9293 MUST-55
            IcmpErrorKind::SourceQuench | IcmpErrorKind::PacketTooBig(_) => None,
        }
    }

    fn error(self) -> Error {
        match self {
            Meaning::Hard(error) | Meaning::Soft(error) => error,
        }
    }
}
