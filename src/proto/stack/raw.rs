//! The verbs of raw sockets.

use core::net::IpAddr;

use super::Stack;
use crate::proto::datagram_queue::Received;
use crate::proto::error::Error;
use crate::proto::events::Owner;
use crate::proto::ids::RawId;
use crate::proto::raw::RawOptions;
use crate::proto::sending::SendOptions;
use crate::proto::socket_errors::ErrorReport;
use crate::time::Instant;

/// The verbs of raw sockets. Handles that were closed answer [`Error::NoSuchSocket`].
///
/// ```
/// use tunstack::proto::{Config, Egress, Owner, Secrets, Sent, Stack};
/// use tunstack::time::Instant;
///
/// let now = Instant::ZERO;
/// let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), now);
/// // Protocol 253 is for experiments (RFC 3692).
/// let raw = stack.raw_bind(now, "127.0.0.1".parse().unwrap(), 253, Owner::APPLICATION).unwrap();
/// stack.raw_send_to(now, raw, b"hello", Some("127.0.0.1".parse().unwrap()), Default::default()).unwrap();
/// let _ = stack.transmit(now, &mut |_egress: Egress<'_>| Sent::Taken);
/// let mut data = [0; 64];
/// let received = stack.raw_recv_msg(raw, &mut data).unwrap();
/// assert_eq!(&data[20..received.len], b"hello"); // behind the IPv4 header
/// ```
impl Stack {
    /// Opens a socket that gets a copy of every datagram of a protocol that comes to `local` (to any address of its
    /// family if it is unspecified), and sends from there.
    ///
    /// # Errors
    /// `InvalidInput` (protocol 0), `AddrNotAvailable` (not an address of ours), `NoBufferSpace` (too many sockets).
    pub fn raw_bind(
        &mut self,
        now: Instant,
        local: IpAddr,
        protocol: u8,
        owner: Owner,
    ) -> Result<RawId, Error> {
        let (raw, ctx) = with!(self, now, raw);
        raw.bind(ctx, local, protocol, owner)
    }

    /// Sets the peer: only its datagrams are received, and final ICMP errors become pending errors.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` (families differ), `PermissionDenied` (a broadcast address).
    pub fn raw_connect(&mut self, now: Instant, id: RawId, remote: IpAddr) -> Result<(), Error> {
        let (raw, ctx) = with!(self, now, raw);
        raw.connect(ctx, id, remote)
    }

    /// Sends a datagram to `to`, or to the connected peer.
    ///
    /// # Errors
    /// `MessageTooLong`, `DestinationRequired`, `NetworkUnreachable`, `PermissionDenied` (a broadcast address
    /// without [`RawOptions::broadcast`]), `InvalidInput` (families differ; no room for the checksum, or no header,
    /// where the options say that there is one), `WouldBlock` (queue full), or a pending error, told once.
    pub fn raw_send_to(
        &mut self,
        now: Instant,
        id: RawId,
        data: &[u8],
        to: Option<IpAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        let (raw, ctx) = with!(self, now, raw);
        raw.send_to(ctx, id, data, to, with)
    }

    /// Receives one datagram, over IPv4 with its header; what doesn't fit into `out` is lost.
    ///
    /// # Errors
    /// `WouldBlock`, or a pending error, told once.
    pub fn raw_recv_msg(&mut self, id: RawId, out: &mut [u8]) -> Result<Received, Error> {
        self.raw.recv_from(id, out, false)
    }

    /// Like [`raw_recv_msg`](Self::raw_recv_msg), leaving the datagram in the queue.
    pub fn raw_peek_msg(&mut self, id: RawId, out: &mut [u8]) -> Result<Received, Error> {
        self.raw.recv_from(id, out, true)
    }

    /// Takes the oldest error report; there are none without [`RawOptions::report_errors`].
    pub fn raw_recv_error(&mut self, id: RawId) -> Result<Option<ErrorReport>, Error> {
        self.raw.recv_error(id)
    }

    /// Closes a socket.
    pub fn raw_close(&mut self, now: Instant, id: RawId) {
        let (raw, ctx) = with!(self, now, raw);
        raw.close(ctx, id);
    }

    /// This side's address; unspecified if the route decides.
    pub fn raw_local_addr(&self, id: RawId) -> Result<IpAddr, Error> {
        self.raw.local_addr(id)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn raw_peer_addr(&self, id: RawId) -> Result<IpAddr, Error> {
        self.raw.peer_addr(id)
    }

    /// The protocol of a socket's datagrams.
    pub fn raw_protocol(&self, id: RawId) -> Result<u8, Error> {
        self.raw.protocol(id)
    }

    /// A socket's options.
    pub fn raw_options(&self, id: RawId) -> Result<RawOptions, Error> {
        self.raw.options(id)
    }

    /// Changes a socket's options.
    ///
    /// # Errors
    /// `InvalidInput` (time to live 0; a header of its own over IPv6; a checksum over IPv4, at an odd place, or
    /// elsewhere than at 2 in ICMPv6).
    pub fn raw_set_options(&mut self, id: RawId, options: RawOptions) -> Result<(), Error> {
        self.raw.set_options(id, options)
    }

    /// Takes the pending error.
    pub fn raw_take_error(&mut self, id: RawId) -> Result<Option<Error>, Error> {
        self.raw.take_error(id)
    }

    /// The MTU of the path to the connected peer, in bytes, as far as it is known (IP_MTU).
    ///
    /// # Errors
    /// `NotConnected`, or why there is no route to the peer any more.
    pub fn raw_path_mtu(&self, id: RawId) -> Result<usize, Error> {
        self.raw.path_mtu(&self.ctx.ip, id)
    }

    /// How many raw sockets are open.
    pub fn raw_sockets(&self) -> usize {
        self.raw.len()
    }
}
