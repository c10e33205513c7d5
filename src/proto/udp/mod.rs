//! UDP (RFC 768, RFC 1122 section 4.1): sockets with a bounded queue of datagrams.
//!
//! Owns the sockets, who listens where, and what they have received. Owns not the shape of a datagram
//! (`wire::udp`) nor its way out (`ip`).
//!
//! What follows Linux where RFCs leave it open: who may be bound beside whom and which of several takes a datagram
//! (`bindings`), that a socket bound to the wildcard takes on the source that leads to its peer when it is
//! connected, and which ICMP errors are told to whom (`socket_errors`).
//! What doesn't: a socket bound to `[::]` speaks IPv6 only, and one that is connected again chooses its
//! source again.

mod bindings;
mod socket;

use core::net::SocketAddr;
use core::num::NonZeroU16;

use slotmap::SlotMap;

use super::context::Context;
use super::counters::DropReason;
use super::datagram_queue::{Arrival, Queued, Received};
use super::error::Error;
use super::events::{Owner, Readiness, SocketId};
use super::ids::UdpId;
use super::ip::icmp::{self, IcmpError};
use super::ip::{self, Cast, Datagram, Layer, LeftToDevice};
use super::reuse::BindOptions;
use super::sending::{self, Manner, MtuDiscover, Outgoing, Refusal, Refused, SendOptions};
use super::socket_errors::ErrorReport;
use super::wire::HeaderBuf;
use super::wire::ip::PROTOCOL_UDP;
use super::wire::udp::{self as wire, UdpHeader};
use bindings::Bindings;
use socket::Socket;

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Time to live, hop limit of datagrams to one host. Those to groups don't leave the link (RFC 1112
    /// section 6.1).
    pub ttl: u8,
    /// Type of service, traffic class; the lower two bits are those of ECN (RFC 3168).
    pub tos: u8,
    /// Whether datagrams to broadcast addresses may be sent.
    pub broadcast: bool,
    /// What becomes of datagrams that are larger than their path's MTU.
    pub mtu_discover: MtuDiscover,
    /// Every error about a datagram is kept for [`Stack::udp_recv_error`](super::Stack::udp_recv_error), and is the
    /// pending error too, whether the socket is connected or not (IP_RECVERR).
    pub report_errors: bool,
}

/// All UDP sockets.
#[derive(Debug)]
pub struct Sockets {
    sockets: SlotMap<UdpId, Socket>,
    bindings: Bindings,
    refused: Refused<UdpId>,
}

impl UdpOptions {
    fn manner(&self) -> Manner {
        //= RFC1122 4.1.4 interface
        let UdpOptions { ttl, tos, broadcast, mtu_discover, report_errors: _ } = *self;
        Manner { ttl, tos, broadcast, mtu_discover }
    }
}

/// The verbs of sockets.
impl Sockets {
    /// No sockets. `table_key` keys the table that peers' addresses are looked up in.
    pub(crate) fn new(table_key: [u8; 16]) -> Self {
        Sockets { sockets: SlotMap::with_key(), bindings: Bindings::new(table_key), refused: Refused::new() }
    }

    pub(crate) fn bind(
        &mut self,
        ctx: &mut Context,
        local: SocketAddr,
        bind_options: BindOptions,
        owner: Owner,
    ) -> Result<UdpId, Error> {
        if self.sockets.len() >= ctx.config.udp_sockets {
            return Err(Error::NoBufferSpace);
        }
        let address = local.ip();
        // One bound to a broadcast address or a group hears what is sent there, and sends from elsewhere.
        if !address.is_unspecified()
            && !ctx.ip.is_local(address)
            && !ctx.ip.is_broadcast_or_multicast(address)
        {
            return Err(Error::AddrNotAvailable);
        }
        let port = match local.port() {
            0 => self.bindings.choose_port(address, &ctx.config.ephemeral_ports, &mut ctx.rng),
            port => self.bindings.admits(address, port, bind_options).then_some(port),
        };
        let local = SocketAddr::new(address, port.ok_or(Error::AddrInUse)?);
        let options = UdpOptions {
            ttl: ctx.config.ttl,
            tos: 0,
            broadcast: false,
            mtu_discover: MtuDiscover::default(),
            report_errors: false,
        };
        let id = self.sockets.insert(Socket::new(owner, local, bind_options, options));
        self.bindings.insert(self.sockets[id].standing(id));
        Ok(id)
    }

    pub(crate) fn connect(&mut self, ctx: &mut Context, id: UdpId, remote: SocketAddr) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let remote = check_remote(socket, remote)?;
        let route = socket.options.manner().route(ctx, None, socket.bound.ip(), remote.ip())?;
        let address = if socket.bound.ip().is_unspecified() { route.source } else { socket.bound.ip() };
        let local = SocketAddr::new(address, socket.bound.port());
        // It would be in its own way.
        self.bindings.remove(socket.standing(id));
        let is_admitted = self.bindings.admits(local.ip(), local.port(), socket.bind_options);
        if is_admitted {
            socket.local = local;
            socket.peer = Some(remote);
        }
        self.bindings.insert(socket.standing(id));
        if is_admitted { Ok(()) } else { Err(Error::AddrInUse) }
    }

    /// Sends one datagram, to the peer unless told where.
    pub(crate) fn send_to(
        &mut self,
        ctx: &mut Context,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        let (outgoing, ports) = self.prepare(ctx, id, data.len(), to, with)?;
        send(ctx, &outgoing, ports, data);
        Ok(data.len())
    }

    /// Sends datagrams of `size` bytes each, the last of what is left: all of them or none.
    pub(crate) fn send_segments(
        &mut self,
        ctx: &mut Context,
        id: UdpId,
        data: &[u8],
        size: usize,
        to: Option<SocketAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        if data.len() <= size {
            return self.send_to(ctx, id, data, to, with);
        }
        if size == 0 || data.len().div_ceil(size) > ip::SEGMENTS_MAX {
            return Err(Error::InvalidInput);
        }
        let count = data.len().div_ceil(size);
        let (outgoing, ports) = self.prepare(ctx, id, size, to, with)?;
        let Outgoing { route, header } = outgoing;
        // Whoever cuts it has to be able to say how long all of it is.
        if header.len() + wire::HEADER_LEN + data.len() > usize::from(u16::MAX) {
            return Err(Error::MessageTooLong);
        }
        let one = wire::HEADER_LEN + size;
        let gso_size = u16::try_from(size).ok().and_then(NonZeroU16::new);
        let gso_size =
            gso_size.filter(|_| LeftToDevice::of(ctx, &route, &header, one) == LeftToDevice::SumAndCut);
        let room = match gso_size {
            Some(_) => ip::room_for_super(ctx, &route, &header, wire::HEADER_LEN + data.len()),
            None => ip::room_for_all(ctx, &route, &header, one, count),
        };
        match (room, gso_size) {
            (ip::Room::Later, _) => {
                self.refuse(id);
                return Err(Error::WouldBlock);
            }
            (ip::Room::Never, _) => return Err(Error::MessageTooLong),
            (ip::Room::Now, Some(gso_size)) => send_super(ctx, &outgoing, ports, data, gso_size),
            (ip::Room::Now, None) => send_each(ctx, outgoing, ports, data, size),
        }
        Ok(data.len())
    }

    /// Decides how a datagram with `len` bytes of data goes, and from which port to which.
    fn prepare(
        &mut self,
        ctx: &mut Context,
        id: UdpId,
        len: usize,
        to: Option<SocketAddr>,
        with: SendOptions,
    ) -> Result<(Outgoing, UdpHeader), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        let to = to.or(socket.peer).ok_or(Error::DestinationRequired)?;
        let to = check_remote(socket, to)?;
        let payload_len = wire::HEADER_LEN + len;
        let local = socket.local.ip();
        let manner = socket.options.manner();
        let mut outgoing = match manner.prepare(ctx, with, local, to.ip(), PROTOCOL_UDP, payload_len) {
            Ok(outgoing) => outgoing,
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::TooLong { mtu }) => {
                return Err(socket.errors.too_long(ctx, socket.options.report_errors, to, mtu));
            }
            Err(Refusal::NoRoom) => {
                self.refused.add(id, &mut socket.is_refused);
                return Err(Error::WouldBlock);
            }
        };
        let ports = UdpHeader { src_port: socket.local.port(), dst_port: to.port() };
        let from = SocketAddr::new(outgoing.header.src, ports.src_port);
        outgoing.header.flow_label = ctx.ip.flows.label(from, to, PROTOCOL_UDP);
        Ok((outgoing, ports))
    }

    /// A socket waits for room in the outbox.
    fn refuse(&mut self, id: UdpId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            self.refused.add(id, &mut socket.is_refused);
        }
    }

    pub(crate) fn recv_from(&mut self, id: UdpId, out: &mut [u8], peek: bool) -> Result<Received, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        socket.queue.take(out, peek).ok_or(Error::WouldBlock)
    }

    pub(crate) fn close(&mut self, ctx: &mut Context, id: UdpId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        self.bindings.remove(socket.standing(id));
        self.refused.remove(id, socket.is_refused);
        ctx.events.forget(SocketId::Udp(id));
    }

    pub(crate) fn local_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        Ok(self.get(id)?.local)
    }

    pub(crate) fn peer_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.get(id)?.peer.ok_or(Error::NotConnected)
    }

    pub(crate) fn options(&self, id: UdpId) -> Result<UdpOptions, Error> {
        Ok(self.get(id)?.options)
    }

    pub(crate) fn set_options(&mut self, id: UdpId, options: UdpOptions) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if options.ttl == 0 {
            return Err(Error::InvalidInput);
        }
        if !options.report_errors {
            socket.errors.forget_reports();
        }
        socket.options = options;
        Ok(())
    }

    pub(crate) fn take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.errors.take())
    }

    pub(crate) fn recv_error(&mut self, id: UdpId) -> Result<Option<ErrorReport>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.errors.next_report())
    }

    /// The MTU of the path to the peer (IP_MTU).
    pub(crate) fn path_mtu(&self, ip: &Layer, id: UdpId) -> Result<usize, Error> {
        let socket = self.get(id)?;
        let peer = socket.peer.ok_or(Error::NotConnected)?;
        sending::path_mtu(ip, socket.local.ip(), peer.ip())
    }

    /// Sockets open now.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    fn get(&self, id: UdpId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }
}

/// What the stack tells the sockets.
impl Sockets {
    /// Delivers a datagram, or answers port unreachable.
    pub(crate) fn receive(&mut self, ctx: &mut Context, datagram: &Datagram<'_>) -> Result<(), DropReason> {
        let read = wire::parse(datagram.payload, datagram.src, datagram.dst, datagram.checksum)?;
        //= RFC768 source port
        let arrival = Arrival::of(datagram, read.src_port);
        let local = SocketAddr::new(datagram.dst, read.dst_port);
        let queued = match datagram.cast {
            Cast::Unicast => {
                let id = self.bindings.lookup(local, arrival.from);
                id.map(|id| queue(ctx, &mut self.sockets, id, datagram, arrival, read.payload))
            }
            // Each gets a copy, and one that can take none does not hinder the others.
            Cast::Broadcast | Cast::Multicast => self
                .bindings
                .lookup_all(local, arrival.from)
                .map(|id| queue(ctx, &mut self.sockets, id, datagram, arrival, read.payload))
                .reduce(Result::or),
        };
        queued.unwrap_or_else(|| {
            //= RFC1122 4.1.3.1 ports: a datagram for a port without a listener SHOULD draw port unreachable.
            //= RFC1122 3.2.2.1 port, 3.4 send ICMP
            //= RFC4443 3.1 port
            icmp::complain(ctx, datagram, icmp::Complaint::PortUnreachable);
            Err(DropReason::UdpNoSocket)
        })
    }

    /// Reports an ICMP error to the socket that it concerns.
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context, error: &IcmpError<'_>) -> Result<(), DropReason> {
        let id = self.bindings.lookup(error.local, error.remote);
        let Some((id, socket)) = id.and_then(|id| Some((id, self.sockets.get_mut(id)?))) else {
            return Err(DropReason::IcmpUnrelated);
        };
        let quoted = error.transport.get(wire::HEADER_LEN..).unwrap_or_default();
        let listening = socket.listening();
        //= RFC1122 3.2.2.1 pass up
        //= RFC4443 3.1 pass up
        socket.errors.icmp(ctx, error, listening, quoted)?;
        ctx.counters.icmp_errors_in += 1;
        let readiness = Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
        ctx.events.raise(SocketId::Udp(id), socket.owner, readiness);
        Ok(())
    }

    /// Tells the sockets that were refused for want of room that there is some again.
    pub(crate) fn outbox_relieved(&mut self, ctx: &mut Context) {
        for id in self.refused.served() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.is_refused = false;
            ctx.events.raise(SocketId::Udp(id), socket.owner, Readiness::WRITABLE);
        }
    }
}

/// Sends a datagram that has room.
fn send(ctx: &mut Context, outgoing: &Outgoing, ports: UdpHeader, data: &[u8]) {
    let Outgoing { route, header } = outgoing;
    let mut written = HeaderBuf::new();
    match LeftToDevice::of(ctx, route, header, wire::HEADER_LEN + data.len()) {
        left @ (LeftToDevice::Sum | LeftToDevice::SumAndCut) => {
            ports.write_seeded(header.src, header.dst, data.len(), &mut written);
            ip::send_unsummed(ctx, route, header, &written, data, left);
        }
        LeftToDevice::Nothing => {
            ports.write(header.src, header.dst, &[data], &mut written);
            ip::send_admitted(ctx, route, header, &[&written, data]);
        }
    }
    ctx.counters.udp_out += 1;
}

/// Leaves it to the device to make datagrams of `size` bytes each.
fn send_super(ctx: &mut Context, outgoing: &Outgoing, ports: UdpHeader, data: &[u8], size: NonZeroU16) {
    let Outgoing { route, header } = outgoing;
    let one = usize::from(size.get());
    // Whoever complains of one of them quotes that, and whoever complains before they are cut, all.
    for len in [one, data.len() % one] {
        let mut written = HeaderBuf::new();
        ports.write_seeded(header.src, header.dst, len, &mut written);
        ip::note_sent(ctx, route, header, &written, len);
    }
    let mut written = HeaderBuf::new();
    ports.write_seeded(header.src, header.dst, data.len(), &mut written);
    ip::send_super_datagram(ctx, route, header, &written, data, size);
    ctx.counters.udp_out += data.len().div_ceil(one) as u64;
}

/// Sends datagrams of `size` bytes each one by one.
fn send_each(ctx: &mut Context, mut outgoing: Outgoing, ports: UdpHeader, data: &[u8], size: usize) {
    for (index, segment) in data.chunks(size).enumerate() {
        if index > 0 {
            outgoing.header.ident = ip::ident_of(ctx, &outgoing.header);
        }
        send(ctx, &outgoing, ports, segment);
    }
}

/// Puts a datagram into a socket's queue.
fn queue(
    ctx: &mut Context,
    sockets: &mut SlotMap<UdpId, Socket>,
    id: UdpId,
    datagram: &Datagram<'_>,
    arrival: Arrival,
    data: &[u8],
) -> Result<(), DropReason> {
    let socket = sockets.get_mut(id).ok_or(DropReason::UdpNoSocket)?;
    // A super-datagram stands for several, each of which is a message of its own.
    let one = datagram.gso_size.map_or(usize::MAX, |size| size.get().into());
    let mut rest = data;
    loop {
        let (message, behind) = rest.split_at_checked(one).unwrap_or((rest, &[]));
        match socket.queue.push(arrival, message, ctx.config.udp_recv_buffer) {
            Queued::First => ctx.events.raise(SocketId::Udp(id), socket.owner, Readiness::READABLE),
            Queued::Behind => {}
            Queued::Full => return Err(DropReason::UdpQueueFull),
        }
        ctx.counters.udp_in += 1;
        rest = behind;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// A peer's address as it is kept: of the socket's family, with a port, and without scope and flow label
/// (they are not on the wire, so what comes back could not be compared with them).
fn check_remote(socket: &Socket, remote: SocketAddr) -> Result<SocketAddr, Error> {
    if remote.is_ipv4() != socket.local.is_ipv4() || remote.port() == 0 {
        return Err(Error::InvalidInput);
    }
    Ok(SocketAddr::new(remote.ip(), remote.port()))
}

#[cfg(test)]
mod tests;
