//! The TCP endpoint: which connections exist, and the way of a segment to the one it concerns.
//!
//! Owns the sockets, listeners, half-open connections, the TIME-WAIT table, demultiplexing, the secrets of
//! this layer and the list of connections with something to send. `verbs` holds what an application may
//! ask, `lifecycle` what becomes of a socket after each event, `transmit` the sending.

#[cfg(test)]
mod footprint;
mod lifecycle;
mod spare;
mod transmit;
mod verbs;

pub(crate) use verbs::{Done, Take};

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use slotmap::SlotMap;

use super::acceptance::{Arrival, Verdict};
use super::challenge::GlobalChallengeLimit;
use super::closing::State;
use super::connection::{Connection, Ending, Settled};
use super::cookies::Cookies;
use super::demux::{Demux, FourTuple, Located, Place, Target};
use super::emit::{self, Marks};
use super::handshake::{self, Handshake, PeerSyn};
use super::info::{TcpInfo, Timers};
use super::isn::IsnGenerator;
use super::listener::Listener;
use super::options::SocketOptions;
use super::ports::PortChooser;
use super::recent::Recent;
use super::recv::{self, RecvHalf};
use super::syn_queue::{self, HalfOpen, Ours, SynQueue};
use super::time_wait::{self, TimeWaitTable};
use super::way::{KnownWay, LatestRoutes};
use crate::proto::config::{Config, Secrets};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::error::Error;
use crate::proto::events::{Owner, Readiness, SocketId};
use crate::proto::ids::{HalfOpenId, ListenerId, TcpId, TimeWaitId};
use crate::proto::ip::{Cast, Datagram};
use crate::proto::packet::DeviceId;
use crate::proto::reuse::BindOptions;
use crate::proto::timer_wheel::TimerId;
use crate::proto::wire::tcp::{Control, FLAG_RST, FLAG_SYN, Segment, SeqNr};
use crate::time::Instant;
use spare::Spare;

/// The endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    sockets: SlotMap<TcpId, Socket>,
    listeners: SlotMap<ListenerId, Listener>,
    half_open: SynQueue,
    time_wait: TimeWaitTable,
    demux: Demux,
    recent: Recent<TcpId>,
    isn: IsnGenerator,
    latest_routes: LatestRoutes,
    cookies: Cookies,
    ports: PortChooser,
    challenge: GlobalChallengeLimit,
    /// Connections that may have something to send, and don't wait for a device.
    ready: VecDeque<TcpId>,
    /// Connections that wait for the rest of the batch, while the others have their turns.
    waiting: Vec<TcpId>,
    /// Connections that wait until a device has room.
    parked: Vec<Parked>,
    /// Sockets that could not write because the page pool was empty.
    starved: Vec<TcpId>,
    spare: Spare,
}

/// Connections with something to send by a device that has no room, in the order of their turns.
#[derive(Debug)]
struct Parked {
    device: DeviceId,
    queue: VecDeque<TcpId>,
}

/// A socket: it outlives its connection for as long as the application holds the handle.
#[derive(Debug)]
struct Socket {
    tuple: FourTuple,
    /// The tuple's in the table of connections.
    place: Place,
    owner: Owner,
    options: SocketOptions,
    /// What it lets others do with its port: a listener's for the connections it accepts, nothing for those that are
    /// opened from here (as Linux: nobody has set anything when the kernel chooses their port).
    bind_options: BindOptions,
    phase: Phase,
    holder: Holder,
    /// Told once.
    error: Option<Error>,
    /// Reads answer end of stream once all is read.
    read_shut: bool,
    opened: Instant,
    /// For the trace.
    last_state: State,
    /// Stands in the endpoint's queue of that name, or is parked.
    is_ready: bool,
    /// It is parked.
    is_parked: bool,
    /// Stands in the endpoint's queue of that name.
    is_starved: bool,
    timer: Option<(TimerId, Instant)>,
    way: KnownWay,
}

/// The phase a socket is in: three different types, since their fields mean something in one phase only.
#[derive(Debug)]
enum Phase {
    /// An active open is under way.
    Opening(Box<Handshake>),
    /// Data may flow.
    Synchronised(Box<Connection>),
    /// The connection is over, or never was.
    Over(Remains),
}

impl Phase {
    /// When something is to be done, unless the connection is synchronised: that is another question, and asked far more often.
    #[inline(never)]
    fn deadline(&self, options: &SocketOptions) -> Instant {
        match self {
            Phase::Opening(opening) => opening.deadline(options),
            Phase::Synchronised(_) | Phase::Over(_) => Instant::MAX,
        }
    }
}

/// What is left of a connection.
#[derive(Debug)]
enum Remains {
    /// All but what it sent: unread bytes, and what it can tell about itself.
    Connection(Box<Connection>),
    /// It was never open; the latest soft error of the attempt.
    Attempt(Option<Error>),
}

impl Remains {
    /// The receiving half of what was open once.
    fn rcv(&self) -> Option<&RecvHalf> {
        match self {
            Remains::Connection(connection) => Some(&connection.rcv),
            Remains::Attempt(_) => None,
        }
    }

    fn rcv_mut(&mut self) -> Option<&mut RecvHalf> {
        match self {
            Remains::Connection(connection) => Some(&mut connection.rcv),
            Remains::Attempt(_) => None,
        }
    }

    /// What it tells about itself, but for its state.
    fn info(&self, options: &SocketOptions) -> TcpInfo {
        match self {
            Remains::Connection(connection) => {
                TcpInfo { timers: Timers::empty(), ..connection.info(options) }
            }
            Remains::Attempt(soft_error) => TcpInfo { soft_error: *soft_error, ..TcpInfo::CLOSED },
        }
    }
}

/// Who holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The application.
    Application,
    /// A listener's accept queue.
    Queue(ListenerId),
    /// Nobody: it goes when its connection does.
    Nobody,
}

impl Endpoint {
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> Self {
        Endpoint {
            sockets: SlotMap::with_key(),
            listeners: SlotMap::with_key(),
            half_open: SynQueue::new(),
            time_wait: TimeWaitTable::new(),
            demux: Demux::new(secrets.tables),
            recent: Recent::new(),
            isn: IsnGenerator::new(secrets.isn),
            latest_routes: LatestRoutes::default(),
            cookies: Cookies::new(secrets.cookies),
            ports: PortChooser::new(secrets.ports, config.ephemeral_ports.clone()),
            challenge: GlobalChallengeLimit::new(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            parked: Vec::new(),
            starved: Vec::new(),
            spare: Spare::default(),
        }
    }

    /// Takes a datagram that carries TCP.
    // Inlined where the datagram was read: most are for an open connection, and a call would cost a tenth of finding it.
    #[inline(always)]
    pub(crate) fn receive(&mut self, ctx: &mut Context, datagram: &Datagram<'_>) -> Result<(), DropReason> {
        //= RFC9293 MUST-57/opening
        //= RFC9293 MUST-57/validation
        if datagram.cast != Cast::Unicast {
            return Err(DropReason::NotUnicast);
        }
        //= RFC9293 MUST-3
        let Datagram { payload, ref src, ref dst, checksum, .. } = *datagram;
        let mut place = None;
        let segment = Segment::parse_into(&mut place, payload, [src, dst], checksum)?;
        ctx.counters.tcp_segments_in += 1;
        emit::trace_received(&mut ctx.trace, datagram, segment);
        match self.guess(segment, datagram) {
            Some(id) => self.for_socket(ctx, id, segment, datagram),
            None => self.for_whom_it_concerns(ctx, segment, datagram),
        }
    }

    /// The open connection that a segment is for, if it is one of those that had some lately.
    #[inline(always)]
    fn guess(&self, segment: &Segment<'_>, datagram: &Datagram<'_>) -> Option<TcpId> {
        // These are mostly for no open connection, and whoever sends many of them shall not keep the guesses in the cache.
        if segment.flags & (FLAG_SYN | FLAG_RST) != 0 {
            return None;
        }
        let id = self.recent.guess(segment.dst_port, segment.src_port)?;
        let Socket { tuple, phase: Phase::Synchronised(_), .. } = self.sockets.get(id)? else { return None };
        let is_it = tuple.local == datagram.dst && tuple.remote == datagram.src;
        debug_assert!(
            !is_it || self.demux.find(&emit::tuple_of(datagram, segment)) == Some(Target::Socket(id))
        );
        is_it.then_some(id)
    }

    /// The way of a segment that nobody was guessed for.
    #[inline(never)]
    fn for_whom_it_concerns(
        &mut self,
        ctx: &mut Context,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let mut at = Located::nowhere(emit::tuple_of(datagram, segment));
        // Most that are for a half-open connection end the handshake, and come right after its SYN.
        if segment.flags & (FLAG_SYN | FLAG_RST) == 0
            && let Some((id, entry)) = self.half_open.guess(&at.tuple)
        {
            at.place = entry.at.place;
            debug_assert_eq!(self.demux.find_at(&at), Some(Target::HalfOpen(id)));
            return self.for_half_open(ctx, id, &at, segment, datagram);
        }
        self.demux.place(&mut at);
        match self.demux.find_at(&at) {
            Some(Target::Socket(id)) => {
                self.recent.note(&at.tuple, id);
                self.for_found_socket(ctx, id, segment, datagram)
            }
            Some(Target::HalfOpen(id)) => self.for_half_open(ctx, id, &at, segment, datagram),
            Some(Target::TimeWait(id)) => self.for_time_wait(ctx, id, &at, segment),
            None => self.for_listener(ctx, &at, segment, datagram),
        }
    }

    /// LISTEN (RFC 9293 section 3.10.7.2), or CLOSED (3.10.7.1) if nobody listens.
    fn for_listener(
        &mut self,
        ctx: &mut Context,
        at: &Located,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let tuple = &at.tuple;
        let Some(listener_id) = self.demux.find_listener(tuple) else {
            emit::refuse(ctx, tuple, segment);
            return Err(DropReason::TcpNoSocket);
        };
        match (segment.control, segment.ack) {
            (Control::Rst, _) => Err(DropReason::TcpUnexpected),
            (_, Some(_)) => match self.takes_cookie(ctx, listener_id, at, segment)? {
                Some(socket) => self.for_found_socket(ctx, socket, segment, datagram),
                None => {
                    emit::refuse(ctx, tuple, segment);
                    Err(DropReason::TcpUnexpected)
                }
            },
            // SYN with FIN is no way to open a connection, though RFC 9293 does not forbid it (as Linux).
            (Control::Syn, None) if !segment.fin_with_syn => {
                self.begin_half_open(ctx, listener_id, at, segment, None)
            }
            (Control::Syn | Control::Fin | Control::None, None) => Err(DropReason::TcpUnexpected),
        }
    }

    /// A SYN for a listener. `old_nxt` is set if an entry in TIME-WAIT makes room for it.
    fn begin_half_open(
        &mut self,
        ctx: &mut Context,
        listener_id: ListenerId,
        at: &Located,
        segment: &Segment<'_>,
        old_nxt: Option<SeqNr>,
    ) -> Result<(), DropReason> {
        let tuple = &at.tuple;
        let listener = self.listeners.get_mut(listener_id).ok_or(DropReason::TcpNoSocket)?;
        let admission = listener.admits_syn(&ctx.config);
        let wants_cookie = admission == Err(DropReason::TcpSynQueueFull) && ctx.config.syn_cookies;
        if !wants_cookie {
            admission?;
        }
        let route = self.latest_routes.ask(ctx, tuple.remote, Some(tuple.local));
        let route = route.map_err(|_| DropReason::TcpNoSocket)?;
        let peer = PeerSyn::of(&ctx.config, segment, tuple.local.is_ipv4(), recv::syn_window(ctx));
        let (marks, offsets) = (Marks::of(&listener.options), self.isn.of(tuple));
        //= RFC4987 3.7 hybrid, 4 defence
        if wants_cookie {
            let syn_ack = self.cookies.syn_ack(ctx, offsets, tuple, &peer, route.mtu);
            listener.gives_cookie(ctx.now);
            ctx.counters.tcp_syn_cookies_sent += 1;
            emit::queue_by(ctx, &route, tuple, marks, &syn_ack);
            return Ok(());
        }
        let iss = match old_nxt {
            Some(old_nxt) => offsets.isn_above(ctx.now, old_nxt),
            None => offsets.isn_at(ctx.now),
        };
        listener.half_open += 1;
        let ours = Ours { iss, clock: offsets.clock };
        let way = KnownWay::by(ctx, &route);
        let now = ctx.now;
        let new = || HalfOpen::new(*at, listener_id, ours, peer, marks, way, now);
        let id = self.half_open.insert(ctx, tuple, new);
        self.demux.add(at, Target::HalfOpen(id));
        if let Some(entry) = self.half_open.get_mut(id) {
            entry.begin(ctx, &route);
        }
        Ok(())
    }

    /// An ACK that nobody waits for may bring a cookie back: then the connection is open, if there is room for it. One that
    /// tells of a cookie without bringing it back is dropped without a reset.
    fn takes_cookie(
        &mut self,
        ctx: &mut Context,
        listener_id: ListenerId,
        at: &Located,
        segment: &Segment<'_>,
    ) -> Result<Option<TcpId>, DropReason> {
        let tuple = &at.tuple;
        let listener = self.listeners.get(listener_id).ok_or(DropReason::TcpNoSocket)?;
        if segment.control == Control::Syn || !listener.awaits_cookies(ctx.now) {
            return Ok(None);
        }
        let offsets = self.isn.of(tuple);
        let Some(settled) = self.cookies.settle(ctx, offsets, tuple, segment) else {
            ctx.counters.tcp_syn_cookies_failed += 1;
            //= RFC4987 3.6 later text
            let may_come = self.cookies.may_come(ctx, offsets, tuple, segment);
            return if may_come { Err(DropReason::TcpUnexpected) } else { Ok(None) };
        };
        let socket = self.promote(ctx, at, listener_id, &settled, KnownWay::NONE)?;
        self.cookies.spend(ctx.now, tuple, segment);
        ctx.counters.tcp_syn_cookies_received += 1;
        Ok(Some(socket))
    }

    // Apart, since it is once a connection, and the way of all other segments stands where it is called.
    #[inline(never)]
    fn for_half_open(
        &mut self,
        ctx: &mut Context,
        id: HalfOpenId,
        at: &Located,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let Some(entry) = self.half_open.get_mut(id) else { return Err(DropReason::TcpNoSocket) };
        match entry.segment_arrives(ctx, &mut self.challenge, id, segment) {
            syn_queue::Outcome::Dropped(reason) => Err(reason),
            syn_queue::Outcome::Continues => Ok(()),
            syn_queue::Outcome::Forget => {
                ctx.counters.tcp_attempts_failed += 1;
                self.forget_half_open(ctx, id);
                Ok(())
            }
            syn_queue::Outcome::BadAck => {
                let listener = entry.listener;
                let Some(socket) = self.takes_cookie(ctx, listener, at, segment)? else {
                    emit::refuse(ctx, &at.tuple, segment);
                    return Err(DropReason::TcpBadAck);
                };
                self.end_half_open(ctx, id);
                self.for_found_socket(ctx, socket, segment, datagram)
            }
            syn_queue::Outcome::Established { only_opens } => {
                let (listener, way) = (entry.listener, entry.way);
                let settled = entry.settle(ctx, segment);
                let socket = self.promote(ctx, at, listener, &settled, way)?;
                self.end_half_open(ctx, id);
                if !only_opens {
                    return self.for_found_socket(ctx, socket, segment, datagram);
                }
                if let Some(socket) = self.sockets.get_mut(socket)
                    && let Some(connection) = socket.connection()
                {
                    connection.opened_by(segment, datagram.tos, ctx.now);
                    connection.check_invariants();
                }
                self.settle(ctx, socket);
                Ok(())
            }
        }
    }

    /// As [`for_socket`](Self::for_socket), and apart: that stands where it is called for those that were guessed.
    #[inline(never)]
    fn for_found_socket(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.for_socket(ctx, id, segment, datagram)
    }

    #[inline(always)]
    fn for_socket(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let Some(socket) = self.sockets.get_mut(id) else { return Err(DropReason::TcpNoSocket) };
        let Phase::Synchronised(connection) = &mut socket.phase else {
            return self.for_opening(ctx, id, segment, datagram);
        };
        let seq = connection.rcv.nxt().unwrap(segment.seq);
        let arrival = arrival(segment, seq, datagram);
        let verdict = connection.segment_arrives(ctx, &mut self.challenge, &arrival);
        connection.check_invariants();
        if verdict != Verdict::Accepted {
            return self.after_verdict(ctx, id, verdict);
        }
        if let Some(ending) = socket.settle(ctx, id, &mut self.ready) {
            self.finish(ctx, id, ending);
        }
        Ok(())
    }

    /// The way of a segment for a socket that is not open yet, or is over.
    #[inline(never)]
    fn for_opening(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let Some(socket) = self.sockets.get_mut(id) else { return Err(DropReason::TcpNoSocket) };
        let Phase::Opening(opening) = &mut socket.phase else { return Err(DropReason::TcpNoSocket) };
        let challenge = &mut self.challenge;
        let outcome = opening.segment_arrives(ctx, challenge, &socket.tuple, &socket.options, segment);
        let verdict = self.after_opening(ctx, id, outcome, segment, datagram);
        self.after_verdict(ctx, id, verdict)
    }

    #[inline(never)]
    fn after_verdict(&mut self, ctx: &mut Context, id: TcpId, verdict: Verdict) -> Result<(), DropReason> {
        match verdict {
            Verdict::Accepted => {
                self.settle(ctx, id);
                Ok(())
            }
            Verdict::Dropped(reason) => {
                self.settle(ctx, id);
                Err(reason)
            }
            Verdict::Ended(ending) => {
                self.finish(ctx, id, ending);
                // No other segment makes us abort.
                if ending == Ending::Aborted { Err(DropReason::TcpDataAfterClose) } else { Ok(()) }
            }
        }
    }

    /// What a segment did to an active open; if it is open now, the rest of the segment.
    fn after_opening(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        outcome: handshake::Outcome,
        segment: &Segment<'_>,
        datagram: &Datagram<'_>,
    ) -> Verdict {
        match outcome {
            handshake::Outcome::Dropped(reason) => Verdict::Dropped(reason),
            handshake::Outcome::Continues => Verdict::Accepted,
            handshake::Outcome::Ended(ending) => Verdict::Ended(ending),
            handshake::Outcome::Established { settled, only_text } => {
                let first = settled.rcv_first;
                self.opened(ctx, id, &settled);
                let Some(connection) = self.sockets.get_mut(id).and_then(Socket::connection) else {
                    return Verdict::Dropped(DropReason::TcpNoSocket);
                };
                if only_text {
                    // Our ACK finishes the handshake on their side. In a simultaneous open our SYN-ACK was it.
                    connection.rcv.ack.at_once();
                    connection.first_text(ctx, &arrival(segment, first, datagram))
                } else {
                    let seq = connection.rcv.nxt().unwrap(segment.seq);
                    connection.segment_arrives(ctx, &mut self.challenge, &arrival(segment, seq, datagram))
                }
            }
        }
    }

    fn for_time_wait(
        &mut self,
        ctx: &mut Context,
        id: TimeWaitId,
        at: &Located,
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        match self.time_wait.segment_arrives(ctx, &mut self.challenge, id, segment) {
            time_wait::Outcome::Dropped(reason) => Err(reason),
            time_wait::Outcome::Restarted => Ok(()),
            time_wait::Outcome::Reopens(old_nxt) => {
                let listener_id = self.demux.find_listener(&at.tuple);
                let listener =
                    listener_id.and_then(|id| self.listeners.get(id).map(|listener| (id, listener)));
                let Some((listener_id, listener)) = listener else {
                    self.time_wait.acknowledge(ctx, id);
                    return Err(DropReason::TcpUnexpected);
                };
                // A cookie will not do: its number might not be above all the old ones.
                listener.admits_syn(&ctx.config)?;
                self.end_time_wait(ctx, id);
                self.begin_half_open(ctx, listener_id, at, segment, Some(old_nxt))
            }
        }
    }

    /// An entry in TIME-WAIT makes room for a new connection.
    fn end_time_wait(&mut self, ctx: &mut Context, id: TimeWaitId) {
        if let Some(at) = self.time_wait.remove(ctx, id) {
            self.demux.forget_at(&at, Target::TimeWait(id));
            ctx.counters.tcp_time_wait_reused += 1;
        }
    }

    /// Makes a connection whose handshake is done a socket in its listener's accept queue.
    fn promote(
        &mut self,
        ctx: &mut Context,
        at: &Located,
        listener_id: ListenerId,
        settled: &Settled,
        way: KnownWay,
    ) -> Result<TcpId, DropReason> {
        let listener = self.listeners.get_mut(listener_id).ok_or(DropReason::TcpNoSocket)?;
        // As Linux: the peer believes that it is connected, and will send its ACK again with its data.
        if listener.is_full() {
            return Err(DropReason::TcpAcceptQueueFull);
        }
        if self.sockets.len() >= ctx.config.connections {
            return Err(DropReason::NoMemory);
        }
        let mut connection = self.spare.connection(ctx, settled, &listener.options);
        connection.begin_path(ctx, &way, &at.tuple.remote);
        lifecycle::trace_opened(ctx, &at.tuple, false);
        // It is made where it stays: it would have to be moved there.
        let socket_id = self.sockets.insert_with_key(|_| Socket {
            phase: Phase::Synchronised(connection),
            bind_options: listener.bind_options,
            way,
            // So that the log tells of the state that the half-open connection was in.
            last_state: State::SynReceived,
            ..Socket::new(at, listener.owner, listener.options, Holder::Queue(listener_id), ctx.now)
        });
        self.demux.point(at, Target::Socket(socket_id));
        self.recent.note(&at.tuple, socket_id);
        ctx.counters.tcp_passive_opens += 1;
        listener.push(socket_id);
        ctx.events.raise(SocketId::Listener(listener_id), listener.owner, Readiness::READABLE);
        Ok(socket_id)
    }

    /// Forgets a half-open connection.
    fn forget_half_open(&mut self, ctx: &mut Context, id: HalfOpenId) {
        if let Some(entry) = self.half_open.get_mut(id) {
            self.demux.forget_at(&entry.at, Target::HalfOpen(id));
        }
        self.end_half_open(ctx, id);
    }

    /// Ends a half-open connection whose tuple points at the connection it has become.
    fn end_half_open(&mut self, ctx: &mut Context, id: HalfOpenId) {
        if let Some(listener) = self.half_open.remove(ctx, id)
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
    }
}

impl Socket {
    // Inlined, each field is written where it is to stay; else the whole is moved there.
    #[inline(always)]
    fn new(at: &Located, owner: Owner, options: SocketOptions, holder: Holder, now: Instant) -> Self {
        Socket {
            tuple: at.tuple,
            place: at.place,
            owner,
            options,
            bind_options: BindOptions::NONE,
            phase: Phase::Over(Remains::Attempt(None)),
            holder,
            error: None,
            read_shut: false,
            opened: now,
            last_state: State::Closed,
            is_ready: false,
            is_parked: false,
            is_starved: false,
            timer: None,
            way: KnownWay::NONE,
        }
    }

    fn located(&self) -> Located {
        Located { tuple: self.tuple, place: self.place }
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.phase {
            Phase::Synchronised(connection) => Some(connection),
            Phase::Opening(_) | Phase::Over(_) => None,
        }
    }

    fn state(&self) -> State {
        match &self.phase {
            Phase::Opening(opening) if opening.has_peer_syn() => State::SynReceived,
            Phase::Opening(_) => State::SynSent,
            Phase::Synchronised(connection) => connection.state(),
            Phase::Over(_) => State::Closed,
        }
    }
}

fn arrival<'a>(segment: &'a Segment<'a>, seq: super::seq::RcvPos, datagram: &Datagram<'_>) -> Arrival<'a> {
    let whole = segment.payload.len() as u64;
    let segment_size = datagram.gso_size.map_or(whole, |size| u64::from(size.get()).min(whole));
    Arrival { segment, seq, len: segment.len().into(), segment_size, tos: datagram.tos }
}
