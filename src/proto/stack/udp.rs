//! UDP's socket verbs.

use core::net::SocketAddr;

use super::Stack;
use crate::proto::datagram_queue::Received;
use crate::proto::error::Error;
use crate::proto::events::Owner;
use crate::proto::ids::UdpId;
use crate::proto::reuse::BindOptions;
use crate::proto::sending::SendOptions;
use crate::proto::socket_errors::ErrorReport;
use crate::proto::udp::UdpOptions;
use crate::time::Instant;

/// UDP's socket verbs.
impl Stack {
    /// Opens a socket. Port 0 chooses a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `NoBufferSpace` (too many sockets).
    pub fn udp_bind(&mut self, now: Instant, local: SocketAddr, owner: Owner) -> Result<UdpId, Error> {
        self.udp_bind_with(now, local, BindOptions::NONE, owner)
    }

    /// Like [`udp_bind`](Self::udp_bind), beside others that agree to share the port. Port 0 chooses one that nobody
    /// has.
    pub fn udp_bind_with(
        &mut self,
        now: Instant,
        local: SocketAddr,
        options: BindOptions,
        owner: Owner,
    ) -> Result<UdpId, Error> {
        let (udp, ctx) = with!(self, now, udp);
        udp.bind(ctx, local, options, owner)
    }

    /// Sets the peer: only its datagrams are received, and ICMP errors are reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` (families differ).
    pub fn udp_connect(&mut self, now: Instant, id: UdpId, remote: SocketAddr) -> Result<(), Error> {
        let (udp, ctx) = with!(self, now, udp);
        udp.connect(ctx, id, remote)
    }

    /// Sends one datagram to `to`, or to the connected peer.
    ///
    /// # Errors
    /// `MessageTooLong`, `DestinationRequired`, `NetworkUnreachable`, `WouldBlock` (queue full), or a pending
    /// error, told once.
    pub fn udp_send_to(
        &mut self,
        now: Instant,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
    ) -> Result<usize, Error> {
        let (udp, ctx) = with!(self, now, udp);
        udp.send_to(ctx, id, data, to, SendOptions::default())
    }

    /// Receives one datagram; what doesn't fit into `out` is lost.
    ///
    /// # Errors
    /// `WouldBlock`, or a pending error, told once.
    pub fn udp_recv_from(&mut self, id: UdpId, out: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.udp.recv_from(id, out, false).map(|read| (read.len, read.from))
    }

    /// Like [`udp_recv_from`](Self::udp_recv_from), leaving the datagram in the queue.
    pub fn udp_peek_from(&mut self, id: UdpId, out: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.udp.recv_from(id, out, true).map(|read| (read.len, read.from))
    }

    /// Like [`udp_send_to`](Self::udp_send_to), from an address of ours that the caller chooses, or with another time to
    /// live or type of service.
    ///
    /// # Errors
    /// Also `AddrNotAvailable` if the source isn't ours, `InvalidInput` if it is of another family or a loopback
    /// address that was to leave the stack, or the time to live is 0.
    pub fn udp_send_msg(
        &mut self,
        now: Instant,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        let (udp, ctx) = with!(self, now, udp);
        udp.send_to(ctx, id, data, to, with)
    }

    /// Like [`udp_send_msg`](Self::udp_send_msg), in datagrams of `segment_size` bytes each, the last of what is left
    /// (UDP_SEGMENT): all of them or none. Where the device cuts super-datagrams ([`Offloads::uso`](crate::proto::Offloads::uso)) they
    /// leave as one.
    ///
    /// # Errors
    /// Also `InvalidInput` for more than 64 datagrams or a size of 0, and `MessageTooLong` for more bytes than one
    /// datagram could have, 65,535 with its headers.
    pub fn udp_send_segments(
        &mut self,
        now: Instant,
        id: UdpId,
        data: &[u8],
        segment_size: usize,
        to: Option<SocketAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        let (udp, ctx) = with!(self, now, udp);
        udp.send_segments(ctx, id, data, segment_size, to, with)
    }

    /// Like [`udp_recv_from`](Self::udp_recv_from), and tells all that is known of the datagram: the address it
    /// was sent to, and whether it was longer than `out`.
    pub fn udp_recv_msg(&mut self, id: UdpId, out: &mut [u8]) -> Result<Received, Error> {
        self.udp.recv_from(id, out, false)
    }

    /// Closes a socket.
    pub fn udp_close(&mut self, now: Instant, id: UdpId) {
        let (udp, ctx) = with!(self, now, udp);
        udp.close(ctx, id);
    }

    /// This side's address.
    pub fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.udp.local_addr(id)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn udp_peer_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.udp.peer_addr(id)
    }

    /// A socket's options.
    pub fn udp_options(&self, id: UdpId) -> Result<UdpOptions, Error> {
        self.udp.options(id)
    }

    /// Changes a socket's options.
    pub fn udp_set_options(&mut self, id: UdpId, options: UdpOptions) -> Result<(), Error> {
        self.udp.set_options(id, options)
    }

    /// Takes the pending error.
    pub fn udp_take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> {
        self.udp.take_error(id)
    }

    /// Takes the oldest error report; there are none without [`UdpOptions::report_errors`]. The error of the next one
    /// becomes the pending one.
    pub fn udp_recv_error(&mut self, id: UdpId) -> Result<Option<ErrorReport>, Error> {
        self.udp.recv_error(id)
    }

    /// The MTU of the path to the connected peer, in bytes, as far as it is known: at most that of its first link
    /// (IP_MTU).
    ///
    /// # Errors
    /// `NotConnected`, or why there is no route to the peer any more.
    pub fn udp_path_mtu(&self, id: UdpId) -> Result<usize, Error> {
        self.udp.path_mtu(&self.ctx.ip, id)
    }
}
