//! The verbs of ICMP echo sockets.

use core::net::IpAddr;

use super::Stack;
use crate::proto::error::Error;
use crate::proto::events::Owner;
use crate::proto::ids::PingId;
use crate::proto::ping::{PingError, PingOptions, PingReceived};
use crate::time::Instant;

/// The verbs of ICMP echo sockets ("ping sockets"). Handles that were closed answer [`Error::NoSuchSocket`].
///
/// ```
/// use tunstack::proto::{Config, Egress, Error, Owner, Secrets, Sent, Stack};
/// use tunstack::time::Instant;
///
/// let now = Instant::ZERO;
/// let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), now);
/// let ping = stack.ping_bind(now, "127.0.0.1".parse().unwrap(), 0, Owner::APPLICATION).unwrap();
/// stack.ping_send_to(now, ping, 1, b"hello", Some("127.0.0.1".parse().unwrap())).unwrap();
/// let _ = stack.transmit(now, &mut |_egress: Egress<'_>| Sent::Taken);
/// let mut data = [0; 64];
/// let reply = stack.ping_recv(ping, &mut data).unwrap();
/// assert_eq!((reply.seq, &data[..reply.len]), (1, &b"hello"[..]));
/// assert_eq!(stack.ping_recv(ping, &mut data), Err(Error::WouldBlock));
/// ```
impl Stack {
    /// Opens a socket that sends echo requests from `local` (which may be unspecified: then the route decides)
    /// under the identifier `ident`, and receives the replies to them. Identifier 0 chooses a free one.
    ///
    /// # Errors
    /// `AddrInUse` (the identifier, or all of them, are taken), `AddrNotAvailable` (not an address of ours),
    /// `NoBufferSpace` (too many sockets).
    pub fn ping_bind(
        &mut self,
        now: Instant,
        local: IpAddr,
        ident: u16,
        owner: Owner,
    ) -> Result<PingId, Error> {
        let (ping, ctx) = with!(self, now, ping);
        ping.bind(ctx, local, ident, owner)
    }

    /// Sets the peer: only its replies are received (all, if it is a group), and final ICMP errors become pending
    /// errors.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` (families differ), `PermissionDenied` (a broadcast address).
    pub fn ping_connect(&mut self, now: Instant, id: PingId, remote: IpAddr) -> Result<(), Error> {
        let (ping, ctx) = with!(self, now, ping);
        ping.connect(ctx, id, remote)
    }

    /// Sends an echo request with the number `seq` to `to`, or to the connected peer.
    ///
    /// # Errors
    /// `MessageTooLong`, `DestinationRequired`, `NetworkUnreachable`, `PermissionDenied` (a broadcast address
    /// without [`PingOptions::broadcast`]), `WouldBlock` (queue full), or a pending error, told once.
    pub fn ping_send_to(
        &mut self,
        now: Instant,
        id: PingId,
        seq: u16,
        data: &[u8],
        to: Option<IpAddr>,
    ) -> Result<usize, Error> {
        let (ping, ctx) = with!(self, now, ping);
        ping.send_to(ctx, id, seq, data, to)
    }

    /// Receives one echo reply; of its data, what doesn't fit into `out` is lost.
    ///
    /// # Errors
    /// `WouldBlock`, or a pending error, told once.
    pub fn ping_recv(&mut self, id: PingId, out: &mut [u8]) -> Result<PingReceived, Error> {
        self.ping.recv(id, out, false)
    }

    /// Like [`ping_recv`](Self::ping_recv), leaving the reply in the queue.
    pub fn ping_peek(&mut self, id: PingId, out: &mut [u8]) -> Result<PingReceived, Error> {
        self.ping.recv(id, out, true)
    }

    /// Takes the oldest ICMP error about a request; there are none without [`PingOptions::report_errors`].
    pub fn ping_recv_error(&mut self, id: PingId) -> Result<Option<PingError>, Error> {
        self.ping.recv_error(id)
    }

    /// Closes a socket.
    pub fn ping_close(&mut self, now: Instant, id: PingId) {
        let (ping, ctx) = with!(self, now, ping);
        ping.close(ctx, id);
    }

    /// This side's address; unspecified if the route decides.
    pub fn ping_local_addr(&self, id: PingId) -> Result<IpAddr, Error> {
        self.ping.local_addr(id)
    }

    /// The socket's identifier, as it stands in its requests.
    pub fn ping_ident(&self, id: PingId) -> Result<u16, Error> {
        self.ping.ident(id)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn ping_peer_addr(&self, id: PingId) -> Result<IpAddr, Error> {
        self.ping.peer_addr(id)
    }

    /// The MTU of the path to the connected peer, in bytes, as far as it is known.
    ///
    /// # Errors
    /// `NotConnected`, `NetworkUnreachable`.
    pub fn ping_path_mtu(&self, id: PingId) -> Result<usize, Error> {
        let (local, peer) = (self.ping.local_addr(id)?, self.ping.peer_addr(id)?);
        let source = Some(local).filter(|local| !local.is_unspecified());
        self.ctx.ip.route(peer, source).map(|route| route.mtu)
    }

    /// A socket's options.
    pub fn ping_options(&self, id: PingId) -> Result<PingOptions, Error> {
        self.ping.options(id)
    }

    /// Changes a socket's options.
    ///
    /// # Errors
    /// `InvalidInput` (time to live 0).
    pub fn ping_set_options(&mut self, id: PingId, options: PingOptions) -> Result<(), Error> {
        self.ping.set_options(id, options)
    }

    /// Takes the pending error.
    pub fn ping_take_error(&mut self, id: PingId) -> Result<Option<Error>, Error> {
        self.ping.take_error(id)
    }

    /// How many ICMP echo sockets are open.
    pub fn ping_sockets(&self) -> usize {
        self.ping.len()
    }
}
