//! ICMP echo sockets that block: what `ping` is made of.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Net;
use super::bound::{Bound, ways_to_wait};
use super::modes;
use crate::proto::ping::{PingError, PingOptions, PingReceived};
use crate::proto::{MtuDiscover, Owner, PingId, Stack};
use crate::runtime::Side;

/// A socket that sends ICMP echo requests and receives the replies to them, over IPv4 or IPv6. On Linux it would be
/// one of the kind SOCK_DGRAM with IPPROTO_ICMP.
///
/// ```
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, PingSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, right) = MemoryDevice::pair(1500)?;
/// # let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
/// # let _there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
/// let socket = PingSocket::bind(&here, "0.0.0.0".parse().unwrap())?;
/// socket.send_to(1, b"anybody there?", "10.9.0.2".parse().unwrap())?;
///
/// let mut data = [0; 64];
/// let reply = socket.recv(&mut data)?;
/// assert_eq!((reply.seq, &data[..reply.len]), (1, &b"anybody there?"[..]));
/// # Ok(())
/// # }
/// ```
pub struct PingSocket(Arc<Bound<PingId>>);

impl PingSocket {
    /// Opens a socket that sends from an address of the stack; from an unspecified one (`0.0.0.0`, `::`) it sends
    /// from the address that leads to the destination. Its identifier is drawn at random.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the stack hasn't the address, `NetworkDown` if it is ending.
    pub fn bind(net: &Net, addr: IpAddr) -> io::Result<PingSocket> {
        let open = |stack: &mut Stack, now| stack.ping_bind(now, addr, 0, Owner::APPLICATION);
        Ok(PingSocket(Bound::open(net, open)?))
    }

    /// Sets the peer: [`send`](Self::send) sends to it, only its replies are received, and ICMP errors that are
    /// final are reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` if the address is of another family.
    pub fn connect(&self, addr: IpAddr) -> io::Result<()> {
        self.0.connect(|stack, now, id| stack.ping_connect(now, id, addr))
    }

    /// Sends a request with the number `seq` to the connected peer.
    ///
    /// # Errors
    /// EDESTADDRREQ if there is none; else see [`send_to`](Self::send_to).
    pub fn send(&self, seq: u16, data: &[u8]) -> io::Result<usize> {
        self.0.block_on(Side::Write, |stack, now, id| stack.ping_send_to(now, id, seq, data, None))
    }

    /// Sends a request with the number `seq`.
    ///
    /// # Errors
    /// EMSGSIZE for more data than fits, `NetworkUnreachable`, `PermissionDenied` for a broadcast address without
    /// [`set_broadcast`](Self::set_broadcast), or a pending error, told once.
    pub fn send_to(&self, seq: u16, data: &[u8], addr: IpAddr) -> io::Result<usize> {
        self.0.block_on(Side::Write, |stack, now, id| stack.ping_send_to(now, id, seq, data, Some(addr)))
    }

    /// Receives a reply. What of its data doesn't fit into `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over or the socket doesn't block; a pending error, told once.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<PingReceived> {
        self.0.block_on(Side::Read, |stack, _, id| stack.ping_recv(id, buffer))
    }

    /// Takes the oldest ICMP error about a request, if [`set_report_errors`](Self::set_report_errors) is on.
    pub fn recv_error(&self) -> io::Result<Option<PingError>> {
        self.0.call(Stack::ping_recv_error)
    }

    /// The identifier of the socket's requests.
    pub fn ident(&self) -> io::Result<u16> {
        self.0.ask(Stack::ping_ident)
    }

    /// The largest request that reaches the connected peer in one piece, IP header included, in bytes.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn path_mtu(&self) -> io::Result<usize> {
        self.0.ask(Stack::ping_path_mtu)
    }

    ways_to_wait!();

    /// Sets the time to live (hop limit) of requests.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.change(|options| options.ttl = ttl)
    }

    /// Sets the type of service (traffic class) of requests.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        self.change(|options| options.tos = tos)
    }

    /// Sets what becomes of requests that are larger than the path's MTU (IP_MTU_DISCOVER). By default they are
    /// fragmented here, and smaller ones go unfragmented.
    pub fn set_mtu_discover(&self, mode: MtuDiscover) -> io::Result<()> {
        self.change(|options| options.mtu_discover = mode)
    }

    /// Whether requests may be sent to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.change(|options| options.broadcast = broadcast)
    }

    /// Whether every ICMP error about a request is reported, and kept for [`recv_error`](Self::recv_error)
    /// (IP_RECVERR).
    pub fn set_report_errors(&self, report_errors: bool) -> io::Result<()> {
        self.change(|options| options.report_errors = report_errors)
    }

    fn change(&self, change: impl FnOnce(&mut PingOptions)) -> io::Result<()> {
        self.0.call(|stack, id| {
            let mut options = stack.ping_options(id)?;
            change(&mut options);
            stack.ping_set_options(id, options)
        })
    }
}

impl fmt::Debug for PingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PingSocket");
        if let Ok(ident) = self.ident() {
            debug.field("ident", &ident);
        }
        debug.field("id", &self.0.id()).finish()
    }
}
