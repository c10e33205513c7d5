//! What an application may ask of TCP (RFC 9293 section 3.9.1).

use core::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use bytes::Bytes;

use super::*;
use crate::proto::buf::pages::Pool;
use crate::proto::error::SpliceError;
use crate::proto::events::{Readiness, SocketId};
use crate::proto::ip::Route;
use crate::proto::packet::len_of;
use crate::proto::stack::{Shutdown, TcpCensus};
use crate::proto::tcp::closing::{OurSide, TheirSide};
use crate::proto::tcp::connection::Ending;
use crate::proto::tcp::send::SendHalf;

/// Pieces that whoever reads in place is lent at once: as much as one super-segment has.
const LENT_MAX: usize = 17;

/// How unread bytes are taken.
#[derive(Debug)]
pub(crate) enum Take<'a> {
    /// Copied, and read.
    Copy(&'a mut [u8]),
    /// Copied, and left unread.
    Look(&'a mut [u8]),
    /// Read without being looked at, up to this many.
    Skip(usize),
}

/// What a read or a write has done.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Done {
    /// Bytes read or written.
    pub(crate) count: usize,
    /// The connection's timer has to be [armed](Endpoint::rearm) after that. Mostly not: so the context for it need not be
    /// made for each read and write.
    pub(crate) rearm: bool,
}

impl Done {
    /// So many bytes, and that is all.
    fn only(count: usize) -> Self {
        Done { count, rearm: false }
    }
}

impl Take<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Take::Copy(out) | Take::Look(out) => out.is_empty(),
            Take::Skip(max) => *max == 0,
        }
    }
}

/// Listeners.
impl Endpoint {
    pub(crate) fn listen(
        &mut self,
        ctx: &mut Context,
        local: SocketAddr,
        options: BindOptions,
        backlog: Option<usize>,
        owner: Owner,
    ) -> Result<ListenerId, Error> {
        if !local.ip().is_unspecified() && !ctx.ip.is_local(local.ip()) {
            return Err(Error::AddrNotAvailable);
        }
        if self.listeners.len() >= ctx.config.listeners {
            return Err(Error::NoBufferSpace);
        }
        let port = match local.port() {
            0 => self.free_listening_port(local.ip())?,
            port if !self.may_listen(SocketAddr::new(local.ip(), port), options) => {
                return Err(Error::AddrInUse);
            }
            port => port,
        };
        let local = SocketAddr::new(local.ip(), port);
        let id = self.listeners.insert(Listener::new(&ctx.config, local, options, backlog, owner));
        //= RFC9293 MUST-41
        self.demux.add_listener(local, id, options.reuse_port);
        Ok(id)
    }

    pub(crate) fn listener_options(&self, id: ListenerId) -> Result<SocketOptions, Error> {
        self.listeners.get(id).map(|listener| listener.options).ok_or(Error::NoSuchSocket)
    }

    pub(crate) fn set_listener_options(
        &mut self,
        id: ListenerId,
        options: SocketOptions,
    ) -> Result<(), Error> {
        self.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?.options = options;
        Ok(())
    }

    pub(crate) fn listener_addr(&self, id: ListenerId) -> Result<SocketAddr, Error> {
        self.listeners.get(id).map(|listener| listener.local).ok_or(Error::NoSuchSocket)
    }

    pub(crate) fn accept(&mut self, ctx: &mut Context, id: ListenerId) -> Result<(TcpId, SocketAddr), Error> {
        let listener = self.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let accepted = listener.pop().ok_or(Error::WouldBlock)?;
        if listener.has_waiting() {
            ctx.events.raise(SocketId::Listener(id), listener.owner, Readiness::READABLE);
        }
        let socket = self.sockets.get_mut(accepted).ok_or(Error::WouldBlock)?;
        socket.holder = Holder::Application;
        let mut readiness = Readiness::WRITABLE;
        readiness.set(Readiness::READABLE, socket.has_something_to_read());
        socket.raise(ctx, accepted, readiness);
        Ok((accepted, socket.tuple.remote_addr()))
    }

    /// Takes the connection that has waited longest, and raises no event: neither for it nor for those that wait behind it.
    #[cfg(feature = "daemon")]
    pub(crate) fn take_waiting(&mut self, id: ListenerId) -> Option<TcpId> {
        let listener = self.listeners.get_mut(id)?;
        while let Some(waiting) = listener.pop() {
            if let Some(socket) = self.sockets.get_mut(waiting) {
                socket.holder = Holder::Application;
                return Some(waiting);
            }
        }
        None
    }

    pub(crate) fn close_listener(&mut self, ctx: &mut Context, id: ListenerId) {
        let Some(mut listener) = self.listeners.remove(id) else { return };
        self.demux.remove_listener(listener.local, id);
        ctx.events.forget(SocketId::Listener(id));
        let half_open: Vec<HalfOpenId> =
            self.half_open.iter().filter(|(_, entry)| entry.listener == id).map(|(id, _)| id).collect();
        for entry in half_open {
            self.forget_half_open(ctx, entry);
        }
        while let Some(waiting) = listener.pop() {
            self.abort(ctx, waiting);
        }
    }

    /// Whether those that have the port let a listener come: other listeners, connections, and what is left of them.
    /// Half-open connections are their listener's and don't count.
    fn may_listen(&self, local: SocketAddr, options: BindOptions) -> bool {
        let of = |target| match target {
            Target::Socket(id) => self.sockets.get(id).map(|socket| socket.bind_options),
            Target::TimeWait(id) => self.time_wait.get(id).map(|entry| entry.bind_options),
            //= RFC9293 MUST-42
            Target::HalfOpen(_) => None,
        };
        self.demux.may_listen(local.ip(), local.port(), options.reuse_port)
            && self.demux.connections_at(local).filter_map(of).all(|theirs| theirs.get_along(options))
    }

    fn free_listening_port(&mut self, local: IpAddr) -> Result<u16, Error> {
        let demux = &self.demux;
        let nowhere = SocketAddr::new(local, 0);
        let free = |port| !demux.is_in_use(port) && !demux.is_listened(local, port);
        self.ports.choose(local, nowhere, free).ok_or(Error::AddrNotAvailable)
    }
}

/// Opening.
impl Endpoint {
    pub(crate) fn connect(
        &mut self,
        ctx: &mut Context,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        owner: Owner,
    ) -> Result<TcpId, Error> {
        let (at, route) = self.choose_ends(ctx, local, remote)?;
        let tuple = at.tuple;
        if self.sockets.len() >= ctx.config.connections {
            return Err(Error::NoBufferSpace);
        }
        let options = options.unwrap_or_else(|| SocketOptions::new(&ctx.config));
        let offsets = self.isn.of(&tuple);
        let iss = match self.demux.find_at(&at) {
            Some(Target::TimeWait(old)) => {
                let old_nxt = self.time_wait.get(old).map(|entry| entry.snd_nxt);
                self.end_time_wait(ctx, old);
                old_nxt.map(|old_nxt| offsets.isn_above(ctx.now, old_nxt))
            }
            Some(Target::Socket(_) | Target::HalfOpen(_)) | None => None,
        };
        let iss = iss.unwrap_or_else(|| offsets.isn_at(ctx.now));
        let handshake = Handshake::begin(ctx, &tuple, &options, iss, offsets.clock, &route);
        let (phase, way) = (Phase::Opening(self.spare.handshake(handshake)), KnownWay::by(ctx, &route));
        let now = ctx.now;
        let new = |_| Socket { phase, way, ..Socket::new(&at, owner, options, Holder::Application, now) };
        let id = self.sockets.insert_with_key(new);
        self.demux.add(&at, Target::Socket(id));
        ctx.counters.tcp_active_opens += 1;
        self.settle(ctx, id);
        Ok(id)
    }

    pub(crate) fn connect_result(&mut self, id: TcpId) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        match &socket.phase {
            Phase::Opening(_) => Err(Error::InProgress),
            Phase::Synchronised(_) => Ok(()),
            Phase::Over(remains) => match socket.error.take() {
                Some(error) => Err(error),
                None if remains.rcv().is_some() => Ok(()),
                None => Err(Error::NotConnected),
            },
        }
    }

    /// Both ends of a connection to be opened, and the way there.
    fn choose_ends(
        &mut self,
        ctx: &Context,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<(Located, Route), Error> {
        if remote.port() == 0 || local.is_some_and(|local| local.is_ipv4() != remote.is_ipv4()) {
            return Err(Error::InvalidInput);
        }
        //= RFC9293 MUST-46/broadcast
        if ctx.ip.is_broadcast_or_multicast(remote.ip()) {
            return Err(Error::NetworkUnreachable);
        }
        //= RFC9293 MUST-43
        let source = local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        if source.is_some_and(|source| !ctx.ip.is_local(source)) {
            return Err(Error::AddrNotAvailable);
        }
        //= RFC9293 MUST-44
        let route = self.latest_routes.ask(ctx, remote.ip(), source)?;
        let wanted = local.map_or(0, |local| local.port());
        //= RFC9293 MUST-45
        let at = match wanted {
            0 => self.free_port(ctx.now, route.source, remote).ok_or(Error::AddrNotAvailable)?,
            port => {
                let at = locate(&self.demux, route.source, port, remote);
                if is_taken(&self.demux, &self.time_wait, &at, ctx.now) {
                    return Err(Error::AddrInUse);
                }
                at
            }
        };
        Ok((at, route))
    }

    /// A port that has nothing to do with `remote` yet, or, where all have, one that is only remembered for a connection that
    /// is over and gives way.
    fn free_port(&mut self, now: Instant, source: IpAddr, remote: SocketAddr) -> Option<Located> {
        let (demux, time_wait) = (&self.demux, &self.time_wait);
        //= RFC6056 3.2 services
        let at = |port| {
            let may = !demux.is_listened(source, port);
            may.then(|| locate(demux, source, port, remote))
        };
        let free = |port| at(port).filter(|at| demux.find_at(at).is_none());
        let reusable = |port| at(port).filter(|at| !is_taken(demux, time_wait, at, now));
        self.ports.choose_of(source, remote, free).or_else(|| self.ports.choose_of(source, remote, reusable))
    }
}

/// The ends of a connection to be opened.
fn locate(demux: &Demux, source: IpAddr, port: u16, remote: SocketAddr) -> Located {
    demux.locate(FourTuple::new(SocketAddr::new(source, port), remote))
}

/// Whether there is no opening a connection with these ends.
fn is_taken(demux: &Demux, time_wait: &TimeWaitTable, at: &Located, now: Instant) -> bool {
    match demux.find_at(at) {
        None => false,
        Some(Target::TimeWait(id)) => !time_wait.get(id).is_some_and(|entry| entry.gives_way_to_us(now)),
        Some(Target::Socket(_) | Target::HalfOpen(_)) => true,
    }
}

/// Reading, writing, closing.
impl Endpoint {
    pub(crate) fn read(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        take: Take<'_>,
        now: Instant,
    ) -> Result<Done, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if take.is_empty() {
            return Ok(Done::only(0));
        }
        let rcv = socket.rcv()?;
        let is_look = matches!(take, Take::Look(_));
        let count = rcv.map_or(0, |rcv| match take {
            Take::Copy(out) => rcv.read(out, pool, now),
            Take::Look(out) => rcv.peek(out),
            Take::Skip(max) => rcv.consume(max, pool, now),
        });
        if count == 0 {
            return socket.end_of_reading().map(Done::only);
        }
        // A look has changed nothing.
        let rearm = !is_look && socket.settle_reading(id, &mut self.ready, now);
        Ok(Done { count, rearm })
    }

    /// Lends unread bytes as they lie to `look`, which tells how many of them are read now.
    pub(crate) fn read_in_place(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        now: Instant,
        look: impl FnOnce(&[&[u8]]) -> usize,
    ) -> Result<Done, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let Some(rcv) = socket.rcv()?.filter(|rcv| rcv.readable() > 0) else {
            return socket.end_of_reading().map(Done::only);
        };
        let pieces: ArrayVec<&[u8], LENT_MAX> = rcv.unread(usize::MAX).take(LENT_MAX).collect();
        let count = look(&pieces).min(len_of(&pieces));
        drop(pieces);
        if count == 0 {
            return Ok(Done::only(0));
        }
        rcv.consume(count, pool, now);
        Ok(Done { count, rearm: socket.settle_reading(id, &mut self.ready, now) })
    }

    /// Lends `fill` room in the send buffer, and sends what it puts there: so many bytes as it tells.
    pub(crate) fn write_in_place(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        now: Instant,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<Done, Error> {
        self.write_by(id, now, |connection| connection.snd.write_in_place(pool, now, fill))
    }

    pub(crate) fn write(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        data: &[u8],
        urgent: bool,
        now: Instant,
    ) -> Result<Done, Error> {
        self.write_by(id, now, |connection| {
            if data.is_empty() {
                return Some(0);
            }
            let count = connection.snd.write(data, pool, now);
            if urgent && count > 0 {
                connection.snd.mark_urgent();
            }
            (count > 0).then_some(count)
        })
    }

    /// Queues bytes from the front of `bytes`, which keeps the others.
    pub(crate) fn write_bytes(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        bytes: &mut Bytes,
        now: Instant,
    ) -> Result<Done, Error> {
        self.write_by(id, now, |connection| {
            if bytes.is_empty() {
                return Some(0);
            }
            Some(connection.snd.share(bytes, pool, now)).filter(|count| *count > 0)
        })
    }

    /// Has `write` queue bytes, which tells how many; `None` if there is no room for any.
    #[inline(always)]
    fn write_by(
        &mut self,
        id: TcpId,
        now: Instant,
        write: impl FnOnce(&mut Connection) -> Option<usize>,
    ) -> Result<Done, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let connection = socket.writable()?;
        match write(connection) {
            None => {
                self.note_starved(id);
                Err(Error::WouldBlock)
            }
            Some(0) => Ok(Done::only(0)),
            Some(count) => {
                connection.snd.timer_refresh(now);
                Ok(Done { count, rearm: socket.settle_sending(id, &mut self.ready, now) })
            }
        }
    }

    /// Moves up to `max` bytes that came on `from` to where those wait that `to` is to send, which may be the same. What it
    /// answers is about `to`; if that is another, `from` is to be [settled](Self::settle_reader) next.
    pub(crate) fn splice(
        &mut self,
        pool: &mut Pool,
        from: TcpId,
        to: TcpId,
        max: usize,
        now: Instant,
    ) -> Result<Done, SpliceError> {
        if max == 0 {
            return Ok(Done::only(0));
        }
        if from == to {
            return self.send_back(pool, from, max, now).map(|(done, _)| done);
        }
        self.splice_to_another(pool, from, to, max, now)
    }

    /// Moves up to `max` bytes, at least one, that came on a connection to where those wait that it is to send. Tells also whether a
    /// read would find something now.
    #[inline(always)]
    pub(crate) fn send_back(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        max: usize,
        now: Instant,
    ) -> Result<(Done, bool), SpliceError> {
        let socket = self.sockets.get_mut(id).ok_or(SpliceError::Read(Error::NoSuchSocket))?;
        let unread = socket.unread().map_err(SpliceError::Read)?;
        if unread == 0 {
            let end = socket.end_of_reading().map_err(SpliceError::Read)?;
            return Ok((Done::only(end), true));
        }
        let Connection { rcv, snd, sides, .. } = socket.writable().map_err(SpliceError::Write)?;
        let count = carry(pool, rcv, snd, unread.min(max as u64), now);
        if count == 0 {
            self.note_starved(id);
            return Err(SpliceError::Write(Error::WouldBlock));
        }
        let has_more = (count as u64) < unread || sides.theirs() == TheirSide::Closed;
        Ok((Done { count, rearm: socket.settle_sending(id, &mut self.ready, now) }, has_more))
    }

    #[inline(never)]
    fn splice_to_another(
        &mut self,
        pool: &mut Pool,
        from: TcpId,
        to: TcpId,
        max: usize,
        now: Instant,
    ) -> Result<Done, SpliceError> {
        let source = self.sockets.get_mut(from).ok_or(SpliceError::Read(Error::NoSuchSocket))?;
        let unread = source.unread().map_err(SpliceError::Read)?;
        if unread == 0 {
            return source.end_of_reading().map(Done::only).map_err(SpliceError::Read);
        }
        let both = self.sockets.get_disjoint_mut([from, to]);
        let [source, sink] = both.ok_or(SpliceError::Write(Error::NoSuchSocket))?;
        let Connection { snd, .. } = sink.writable().map_err(SpliceError::Write)?;
        let rcv = source.rcv().map_err(SpliceError::Read)?;
        let count = rcv.map_or(0, |rcv| carry(pool, rcv, snd, unread.min(max as u64), now));
        if count == 0 {
            self.note_starved(to);
            return Err(SpliceError::Write(Error::WouldBlock));
        }
        Ok(Done { count, rearm: sink.settle_sending(to, &mut self.ready, now) })
    }

    /// What remains to be done after bytes of `id` were spliced away: as after a read of so many.
    pub(crate) fn settle_reader(&mut self, id: TcpId, count: usize, now: Instant) -> Done {
        let socket = self.sockets.get_mut(id);
        Done { count, rearm: socket.is_some_and(|socket| socket.settle_reading(id, &mut self.ready, now)) }
    }

    /// Whether a read would find something now, but for the end that one's own side has put to reading.
    #[cfg(feature = "daemon")]
    pub(crate) fn has_something_to_read(&self, id: TcpId) -> bool {
        self.sockets.get(id).is_some_and(Socket::has_something_to_read)
    }

    /// A write found no room: it may be the pool that has none.
    fn note_starved(&mut self, id: TcpId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let Phase::Synchronised(connection) = &socket.phase else { return };
        // One that holds text hears of room by its acknowledgement.
        if connection.snd.room() > 0 && !connection.snd.holds_text() && !socket.is_starved {
            socket.is_starved = true;
            self.starved.push(id);
        }
    }

    pub(crate) fn shutdown(&mut self, ctx: &mut Context, id: TcpId, how: Shutdown) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
        match &mut socket.phase {
            Phase::Over(_) => return Err(Error::NotConnected),
            Phase::Opening(opening) => {
                if write && !opening.has_peer_syn() {
                    // RFC 9293 section 3.10.4: CLOSE in SYN-SENT deletes the attempt.
                    self.finish(ctx, id, Ending::Aborted);
                    return Ok(());
                }
                opening.close_wanted |= write;
            }
            Phase::Synchronised(connection) => {
                if read {
                    connection.close_read(ctx);
                }
                if write {
                    connection.close_write(ctx);
                }
            }
        }
        if read {
            socket.read_shut = true;
            socket.raise(ctx, id, Readiness::READABLE);
        }
        self.settle(ctx, id);
        Ok(())
    }

    pub(crate) fn close(&mut self, ctx: &mut Context, id: TcpId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let linger = socket.options.linger;
        socket.holder = Holder::Nobody;
        ctx.events.forget(SocketId::Tcp(id));
        let ending = match &mut socket.phase {
            Phase::Opening(opening) if opening.has_peer_syn() => None,
            Phase::Opening(_) => Some(Ending::Aborted),
            Phase::Synchronised(connection) => connection.close(ctx, linger),
            Phase::Over(_) => return self.remove(ctx, id),
        };
        match ending {
            Some(ending) => self.finish(ctx, id, ending),
            None => self.settle(ctx, id),
        }
    }

    pub(crate) fn abort(&mut self, ctx: &mut Context, id: TcpId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.holder = Holder::Nobody;
        ctx.events.forget(SocketId::Tcp(id));
        match &mut socket.phase {
            Phase::Over(_) => self.remove(ctx, id),
            Phase::Opening(_) => self.finish(ctx, id, Ending::Aborted),
            Phase::Synchronised(connection) => {
                connection.orphan = true;
                self.finish(ctx, id, Ending::Aborted);
            }
        }
    }

    pub(crate) fn abort_all(&mut self, ctx: &mut Context) {
        let ids: Vec<TcpId> = self.sockets.keys().collect();
        for id in ids {
            // The handle stays with whoever holds it: reads and writes tell what happened.
            if !matches!(self.sockets.get(id), Some(Socket { phase: Phase::Over(_), .. }) | None) {
                self.finish(ctx, id, Ending::Aborted);
            }
        }
    }
}

/// Asking and telling.
impl Endpoint {
    pub(crate) fn options(&self, id: TcpId) -> Result<SocketOptions, Error> {
        self.socket(id).map(|socket| socket.options)
    }

    pub(crate) fn set_options(
        &mut self,
        ctx: &mut Context,
        id: TcpId,
        options: SocketOptions,
    ) -> Result<(), Error> {
        //= RFC9293 SHLD-21
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.options = options;
        if let Phase::Synchronised(connection) = &mut socket.phase {
            connection.limit_unsent(options.notsent_lowat);
        }
        self.settle(ctx, id);
        Ok(())
    }

    pub(crate) fn local_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        self.socket(id).map(|socket| socket.tuple.local_addr())
    }

    pub(crate) fn peer_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        let socket = self.socket(id)?;
        match socket.phase {
            Phase::Synchronised(_) => Ok(socket.tuple.remote_addr()),
            Phase::Opening(_) | Phase::Over(_) => Err(Error::NotConnected),
        }
    }

    pub(crate) fn take_error(&mut self, id: TcpId) -> Result<Option<Error>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.error.take())
    }

    pub(crate) fn info(&self, id: TcpId) -> Result<TcpInfo, Error> {
        let socket = self.socket(id)?;
        Ok(match &socket.phase {
            Phase::Opening(opening) => TcpInfo {
                state: socket.state(),
                soft_error: opening.soft_error,
                timers: Timers::RETRANSMIT,
                ..TcpInfo::CLOSED
            },
            Phase::Synchronised(connection) => connection.info(&socket.options),
            Phase::Over(remains) => {
                let waits = matches!(self.demux.find(&socket.tuple), Some(Target::TimeWait(_)));
                let rcv = remains.rcv();
                let state = if waits && rcv.is_some() { State::TimeWait } else { State::Closed };
                let unread = rcv.map_or(0, RecvHalf::readable);
                TcpInfo { state, unread, ..remains.info(&socket.options) }
            }
        })
    }

    pub(crate) fn unfinished(&self) -> usize {
        let unfinished = |socket: &&Socket| match &socket.phase {
            Phase::Opening(_) => socket.holder == Holder::Nobody,
            Phase::Synchronised(connection) => connection.snd.is_unfinished(),
            Phase::Over(_) => false,
        };
        self.sockets.values().filter(unfinished).count()
    }

    pub(crate) fn census(&self) -> TcpCensus {
        TcpCensus {
            sockets: self.sockets.len(),
            listeners: self.listeners.len(),
            half_open: self.half_open.len(),
            time_wait: self.time_wait.len(),
            ..TcpCensus::default()
        }
    }

    fn socket(&self, id: TcpId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }
}

/// Moves up to so many bytes, which are there to be read, from one half to another, and tells how many.
fn carry(pool: &mut Pool, rcv: &mut RecvHalf, snd: &mut SendHalf, wanted: u64, now: Instant) -> usize {
    let count = match rcv.unread_in_one(wanted) {
        Some(all) => snd.write(all, pool, now),
        // No more than there is room for in memory.
        None => copy_pieces(pool, rcv, snd, wanted as usize, now),
    };
    snd.timer_refresh(now);
    rcv.skip(count as u64, pool, now);
    count
}

/// Copies bytes that stand in several places, and tells how many.
#[inline(never)]
fn copy_pieces(pool: &mut Pool, rcv: &RecvHalf, snd: &mut SendHalf, max: usize, now: Instant) -> usize {
    let mut count = 0;
    for piece in rcv.unread(max) {
        let stored = snd.write(piece, pool, now);
        count += stored;
        if stored < piece.len() {
            break;
        }
    }
    count
}

/// What is asked of phases in which no data flows.
impl Phase {
    #[inline(never)]
    fn rcv(&mut self) -> Result<Option<&mut RecvHalf>, Error> {
        match self {
            Phase::Opening(_) => Err(Error::WouldBlock),
            Phase::Synchronised(connection) => Ok(Some(&mut connection.rcv)),
            Phase::Over(remains) => Ok(remains.rcv_mut()),
        }
    }

    #[inline(never)]
    fn refuses_to_write(&self) -> Error {
        match self {
            Phase::Opening(opening) if !opening.close_wanted => Error::WouldBlock,
            Phase::Opening(_) | Phase::Synchronised(_) | Phase::Over(_) => Error::BrokenPipe,
        }
    }
}

impl Socket {
    /// Where there may be something to read; nowhere if the connection never was, and not yet while it opens.
    #[inline]
    fn rcv(&mut self) -> Result<Option<&mut RecvHalf>, Error> {
        match &mut self.phase {
            Phase::Synchronised(connection) => Ok(Some(&mut connection.rcv)),
            other => other.rcv(),
        }
    }

    /// How many bytes there are to be read.
    #[inline]
    fn unread(&mut self) -> Result<u64, Error> {
        Ok(self.rcv()?.map_or(0, |rcv| rcv.readable()))
    }

    /// The connection, if it can be written to; or the pending error, which is told thereby.
    #[inline]
    fn writable(&mut self) -> Result<&mut Connection, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match &mut self.phase {
            Phase::Synchronised(connection) => {
                let is_open = connection.sides.ours() == OurSide::Open;
                if is_open { Ok(connection) } else { Err(Error::BrokenPipe) }
            }
            other => Err(other.refuses_to_write()),
        }
    }

    /// What a read answers when there is nothing to read.
    //= RFC9293 MUST-12
    #[inline]
    fn end_of_reading(&mut self) -> Result<usize, Error> {
        let Phase::Synchronised(connection) = &self.phase else { return self.end_of_reading_another() };
        let is_end = connection.sides.theirs() == TheirSide::Closed || self.read_shut;
        if is_end { Ok(0) } else { Err(Error::WouldBlock) }
    }

    /// The same where the connection is not open.
    #[inline(never)]
    fn end_of_reading_another(&mut self) -> Result<usize, Error> {
        match &self.phase {
            // As Linux: a stream that was complete stays so, whatever happened after its end.
            Phase::Over(remains) if remains.rcv().is_some_and(RecvHalf::fin_received) => Ok(0),
            Phase::Over(remains) => {
                if let Some(error) = self.error.take() {
                    return Err(error);
                }
                if remains.rcv().is_some() || self.read_shut { Ok(0) } else { Err(Error::NotConnected) }
            }
            Phase::Opening(_) | Phase::Synchronised(_) if self.read_shut => Ok(0),
            Phase::Opening(_) | Phase::Synchronised(_) => Err(Error::WouldBlock),
        }
    }

    fn has_something_to_read(&self) -> bool {
        match &self.phase {
            Phase::Opening(_) => false,
            Phase::Synchronised(connection) => {
                connection.rcv.readable() > 0 || connection.sides.theirs() == TheirSide::Closed
            }
            Phase::Over(_) => true,
        }
    }
}
