//! ICMP echo sockets (RFC 792, RFC 4443 section 4; Linux: SOCK_DGRAM with IPPROTO_ICMP): what `ping` is made of.
//!
//! Owns the sockets, which identifier is whose, the replies that came, and the ICMP errors about requests. Owns
//! not the shape of messages (`wire::icmp`), which of them are believed (`ip::icmp`), nor their way out (`ip`).
//!
//! As on Linux: an identifier belongs to one socket of a family, whatever its address; ICMP errors are pending
//! errors of connected sockets if they are final, and with [`PingOptions::report_errors`] (IP_RECVERR) of all
//! sockets, whatever they say. What differs: an identifier nobody asked for is drawn at random, so that nobody off
//! the path can guess it, and a connected socket hears its peer alone.

mod socket;

use core::net::IpAddr;

use hashbrown::HashMap;
use slotmap::SlotMap;

use super::context::Context;
use super::counters::DropReason;
use super::datagram_queue::{Arrival, Queued, Received};
use super::error::Error;
use super::events::{Owner, Readiness, SocketId};
use super::hash::Keyed;
use super::ids::PingId;
use super::ip::icmp::{IcmpError, IcmpErrorKind};
use super::ip::{self, Datagram};
use super::packet::DeviceId;
use super::sending::{Manner, MtuDiscover, Outgoing, Refusal, Refused, SendOptions};
use super::socket_errors::{ErrorCause, ErrorReport};
use super::wire::HeaderBuf;
use super::wire::icmp::{self as wire, Echo, Message};
use super::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};
use crate::time::Instant;
use socket::Socket;

/// Options of an ICMP echo socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingOptions {
    /// Time to live, hop limit of requests to one host. Those to groups don't leave the link.
    pub ttl: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// How requests keep to their path's MTU.
    pub mtu_discover: MtuDiscover,
    /// Whether requests to broadcast addresses may be sent.
    pub broadcast: bool,
    /// Every ICMP error about a request is kept for [`Stack::ping_recv_error`](super::Stack::ping_recv_error),
    /// and is the pending error too, whether the socket is connected or not (IP_RECVERR).
    pub report_errors: bool,
}

/// What is known of an echo reply that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReceived {
    /// Bytes of data that were copied out.
    pub len: usize,
    /// Bytes of data that were sent: more than `len` if they didn't fit.
    pub sent_len: usize,
    /// Who sent it.
    pub from: IpAddr,
    /// Which address of ours it came to.
    pub to: IpAddr,
    /// The interface that it came by; [`DeviceId::LOOPBACK`] if it came from the stack itself.
    pub device: DeviceId,
    /// The socket's identifier.
    pub ident: u16,
    /// Its number, as given to the request.
    pub seq: u16,
    /// Time to live, hop limit, as received.
    pub hop_limit: u8,
    /// Type of service, traffic class, as received.
    pub tos: u8,
    /// When it arrived.
    pub at: Instant,
}

/// An ICMP error about an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingError {
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Its type and code on the wire, in the family of `offender`.
    pub type_code: (u8, u8),
    /// Who says so: a router on the way, or the destination.
    pub offender: IpAddr,
    /// Where the request was to go.
    pub destination: IpAddr,
    /// The request's number.
    pub seq: u16,
    /// When the error arrived.
    pub at: Instant,
}

/// All ICMP echo sockets.
#[derive(Debug)]
pub struct Sockets {
    sockets: SlotMap<PingId, Socket>,
    /// Whose an identifier is, in each family (`true`: IPv4). Peers choose what is looked up, so it is keyed.
    idents: HashMap<(bool, u16), PingId, Keyed>,
    refused: Refused<PingId>,
}

impl PingOptions {
    fn manner(&self) -> Manner {
        let PingOptions { ttl, tos, broadcast, mtu_discover, report_errors: _ } = *self;
        Manner { ttl, tos, broadcast, mtu_discover }
    }
}

/// The verbs of sockets.
impl Sockets {
    /// No sockets. `table_key` keys the table that peers' identifiers are looked up in.
    pub(crate) fn new(table_key: [u8; 16]) -> Self {
        let idents = HashMap::with_hasher(Keyed::new(table_key));
        Sockets { sockets: SlotMap::with_key(), idents, refused: Refused::new() }
    }

    pub(crate) fn bind(
        &mut self,
        ctx: &mut Context,
        local: IpAddr,
        ident: u16,
        owner: Owner,
    ) -> Result<PingId, Error> {
        if self.sockets.len() >= ctx.config.ping_sockets {
            return Err(Error::NoBufferSpace);
        }
        if !local.is_unspecified() && !ctx.ip.is_local(local) {
            return Err(Error::AddrNotAvailable);
        }
        let is_v4 = local.is_ipv4();
        let is_free = |ident: &u16| !self.idents.contains_key(&(is_v4, *ident));
        let ident = match ident {
            0 => {
                let start = ctx.rng.within(1..=u16::MAX.into()) as u16;
                (start..=u16::MAX).chain(1..start).find(is_free)
            }
            named => Some(named).filter(is_free),
        };
        let ident = ident.ok_or(Error::AddrInUse)?;
        let options = PingOptions {
            ttl: ctx.config.ttl,
            tos: 0,
            mtu_discover: MtuDiscover::default(),
            broadcast: false,
            report_errors: false,
        };
        let id = self.sockets.insert(Socket::new(owner, local, ident, options));
        self.idents.insert((is_v4, ident), id);
        Ok(id)
    }

    pub(crate) fn connect(&mut self, ctx: &mut Context, id: PingId, remote: IpAddr) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        check_family(socket, remote)?;
        let route = socket.options.manner().route(ctx, None, socket.bound, remote)?;
        socket.local = route.source;
        socket.peer = Some(remote);
        Ok(())
    }

    /// Sends one echo request.
    pub(crate) fn send_to(
        &mut self,
        ctx: &mut Context,
        id: PingId,
        seq: u16,
        data: &[u8],
        to: Option<IpAddr>,
    ) -> Result<usize, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        let to = to.or(socket.peer).ok_or(Error::DestinationRequired)?;
        check_family(socket, to)?;
        let manner = socket.options.manner();
        let payload_len = wire::HEADER_LEN + data.len();
        let protocol = if to.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        let prepared = manner.prepare(ctx, SendOptions::default(), socket.local, to, protocol, payload_len);
        let Outgoing { route, header } = match prepared {
            Ok(outgoing) => outgoing,
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::TooLong { .. }) => return Err(Error::MessageTooLong),
            Err(Refusal::NoRoom) => {
                self.refused.add(id, &mut socket.is_refused);
                return Err(Error::WouldBlock);
            }
        };
        let mut written = HeaderBuf::new();
        let request = Message::EchoRequest(Echo { ident: socket.ident, seq, data });
        request.write_header(header.src, header.dst, &mut written);
        //= RFC1122 3.2.2.6 client
        //= RFC4443 4.1 request
        ip::send(ctx, &route, &header, &[&written, data]);
        ctx.counters.ping_requests_out += 1;
        Ok(data.len())
    }

    pub(crate) fn recv(&mut self, id: PingId, out: &mut [u8], peek: bool) -> Result<PingReceived, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        let received = socket.replies.take(out, peek).ok_or(Error::WouldBlock)?;
        let Received { len, sent_len, from, to, device, hop_limit, tos, at } = received;
        let (ident, from, seq) = (socket.ident, from.ip(), from.port());
        Ok(PingReceived { len, sent_len, from, to, device, ident, seq, hop_limit, tos, at })
    }

    pub(crate) fn recv_error(&mut self, id: PingId) -> Result<Option<PingError>, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        Ok(socket.errors.next_report().and_then(|report| told(&report)))
    }

    pub(crate) fn close(&mut self, ctx: &mut Context, id: PingId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        self.idents.remove(&(socket.bound.is_ipv4(), socket.ident));
        self.refused.remove(id, socket.is_refused);
        ctx.events.forget(SocketId::Ping(id));
    }

    pub(crate) fn local_addr(&self, id: PingId) -> Result<IpAddr, Error> {
        Ok(self.get(id)?.local)
    }

    pub(crate) fn ident(&self, id: PingId) -> Result<u16, Error> {
        Ok(self.get(id)?.ident)
    }

    pub(crate) fn peer_addr(&self, id: PingId) -> Result<IpAddr, Error> {
        self.get(id)?.peer.ok_or(Error::NotConnected)
    }

    pub(crate) fn options(&self, id: PingId) -> Result<PingOptions, Error> {
        Ok(self.get(id)?.options)
    }

    pub(crate) fn set_options(&mut self, id: PingId, options: PingOptions) -> Result<(), Error> {
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

    pub(crate) fn take_error(&mut self, id: PingId) -> Result<Option<Error>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.errors.take())
    }

    /// Sockets open now.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    fn get(&self, id: PingId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }
}

/// What the stack tells the sockets.
impl Sockets {
    /// Delivers an echo reply.
    pub(crate) fn receive(
        &mut self,
        ctx: &mut Context,
        datagram: &Datagram<'_>,
        echo: Echo<'_>,
    ) -> Result<(), DropReason> {
        let socket = self.find(ctx, datagram.src, datagram.dst, echo.ident);
        let (id, socket) = socket.ok_or(DropReason::PingNoSocket)?;
        let arrival = Arrival::of(datagram, echo.seq);
        match socket.replies.push(arrival, echo.data, ctx.config.ping_recv_buffer) {
            Queued::First => ctx.events.raise(SocketId::Ping(id), socket.owner, Readiness::READABLE),
            Queued::Behind => {}
            Queued::Full => return Err(DropReason::PingQueueFull),
        }
        ctx.counters.ping_replies_in += 1;
        Ok(())
    }

    /// Reports an ICMP error about an ICMP message to the socket that sent it.
    // RFC 1122 section 3.2.2.1: a destination unreachable message MUST be reported to the transport layer.
    // RFC 1122 section 3.2.2.6: what is received in answer to an echo request MUST be passed to the ICMP user
    // interface.
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context, error: &IcmpError<'_>) -> Result<(), DropReason> {
        let (local, remote) = (error.local.ip(), error.remote.ip());
        let (ident, _) =
            wire::quoted_echo_request(local, error.transport).ok_or(DropReason::IcmpUnrelated)?;
        let (id, socket) = self.find(ctx, remote, local, ident).ok_or(DropReason::IcmpUnrelated)?;
        let listening = socket.listening();
        //= RFC1122 3.2.2.1 pass up, 3.2.2.6 errors
        socket.errors.icmp(ctx, error, listening, error.transport)?;
        ctx.counters.icmp_errors_in += 1;
        let readiness = Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
        ctx.events.raise(SocketId::Ping(id), socket.owner, readiness);
        Ok(())
    }

    /// Tells the sockets that were refused for want of room that there is some again.
    pub(crate) fn outbox_relieved(&mut self, ctx: &mut Context) {
        for id in self.refused.served() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.is_refused = false;
            ctx.events.raise(SocketId::Ping(id), socket.owner, Readiness::WRITABLE);
        }
    }

    /// The socket that a message between these two is for.
    fn find(&mut self, ctx: &Context, from: IpAddr, to: IpAddr, ident: u16) -> Option<(PingId, &mut Socket)> {
        let id = *self.idents.get(&(to.is_ipv4(), ident))?;
        let socket = self.sockets.get_mut(id)?;
        let hears = socket.hears(from, to, |peer| ctx.ip.is_broadcast_or_multicast(peer));
        hears.then_some((id, socket))
    }
}

fn check_family(socket: &Socket, remote: IpAddr) -> Result<(), Error> {
    if remote.is_ipv4() == socket.local.is_ipv4() { Ok(()) } else { Err(Error::InvalidInput) }
}

/// A report as echo sockets tell it. `None` if it is about no ICMP message.
fn told(report: &ErrorReport) -> Option<PingError> {
    let ErrorCause::Icmp { kind, type_code, offender } = report.cause else { return None };
    let (_, seq) = wire::quoted_echo_request(report.destination.ip(), &report.quoted)?;
    Some(PingError { kind, type_code, offender, destination: report.destination.ip(), seq, at: report.at })
}

#[cfg(test)]
mod tests;
