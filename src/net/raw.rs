//! Raw sockets that block.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Net;
use super::bound::{Bound, ways_to_wait};
use super::modes;
use crate::proto::raw::RawOptions;
use crate::proto::{ErrorReport, Owner, RawId, Received, SendOptions, Stack};
use crate::runtime::Side;

/// A socket that sends and receives datagrams of one IP protocol, over IPv4 or IPv6: SOCK_RAW of a [`Net`]. It
/// needs no rights, since the network is the program's own.
///
/// It receives a copy of every datagram of its protocol that is for the stack, which the stack's own transports get
/// all the same: over IPv4 with the IP header, over IPv6 without.
///
/// ```
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, RawSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, right) = MemoryDevice::pair(1500)?;
/// # let here = Net::builder().device(left).addr("fd09::1/64").start()?;
/// # let there = Net::builder().device(right).addr("fd09::2/64").start()?;
/// // Protocol 253 is for experiments (RFC 3692).
/// let theirs = RawSocket::bind(&there, "::".parse().unwrap(), 253)?;
/// let ours = RawSocket::bind(&here, "::".parse().unwrap(), 253)?;
/// ours.send_to(b"experiment", "fd09::2".parse().unwrap())?;
///
/// let mut data = [0; 64];
/// let received = theirs.recv_msg(&mut data)?;
/// assert_eq!(&data[..received.len], b"experiment");
/// assert_eq!(received.from.ip(), "fd09::1".parse::<std::net::IpAddr>().unwrap());
/// # Ok(())
/// # }
/// ```
pub struct RawSocket(Arc<Bound<RawId>>);

impl RawSocket {
    /// Opens a socket on an address of the stack, or on all of one family (`0.0.0.0`, `::`), for an IP protocol.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the stack hasn't the address, `InvalidInput` for protocol 0, `NetworkDown` if the stack is
    /// ending.
    pub fn bind(net: &Net, addr: IpAddr, protocol: u8) -> io::Result<RawSocket> {
        let open = |stack: &mut Stack, now| stack.raw_bind(now, addr, protocol, Owner::APPLICATION);
        Ok(RawSocket(Bound::open(net, open)?))
    }

    /// Sets the peer: [`send`](Self::send) sends to it, only its datagrams are received, and ICMP errors that are
    /// final are reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` if the address is of another family.
    pub fn connect(&self, addr: IpAddr) -> io::Result<()> {
        self.0.connect(|stack, now, id| stack.raw_connect(now, id, addr))
    }

    /// Receives a datagram, and says from whom. What doesn't fit into `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over or the socket doesn't block; a pending error, told once.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
        self.recv_msg(buffer).map(|received| (received.len, received.from.ip()))
    }

    /// Like [`recv_from`](Self::recv_from), with all that is known of the datagram.
    pub fn recv_msg(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.block_on(Side::Read, |stack, _, id| stack.raw_recv_msg(id, buffer))
    }

    /// Like [`recv_msg`](Self::recv_msg), leaving the datagram where it is.
    pub fn peek_msg(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.block_on(Side::Read, |stack, _, id| stack.raw_peek_msg(id, buffer))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// `InvalidInput` for an address of another family, or data that isn't as the options say; `NetworkUnreachable`,
    /// `PermissionDenied` for a broadcast address without the option, EMSGSIZE for too long a datagram.
    pub fn send_to(&self, data: &[u8], addr: IpAddr) -> io::Result<usize> {
        self.send_msg(data, Some(addr), SendOptions::default())
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// EDESTADDRREQ if there is none; else see [`send_to`](Self::send_to).
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.send_msg(data, None, SendOptions::default())
    }

    /// Sends a datagram to `addr` (to the connected peer if there is none) from an address of the stack, or with a time
    /// to live or type of service, of its own. (One with [`RawOptions::header_included`] has them in its header.)
    ///
    /// # Errors
    /// `AddrNotAvailable` if the source isn't the stack's; else see [`send_to`](Self::send_to).
    pub fn send_msg(&self, data: &[u8], addr: Option<IpAddr>, with: SendOptions) -> io::Result<usize> {
        self.0.block_on(Side::Write, |stack, now, id| stack.raw_send_to(now, id, data, addr, with))
    }

    /// Takes the oldest error report, if [`RawOptions::report_errors`] is on.
    pub fn recv_error(&self) -> io::Result<Option<ErrorReport>> {
        self.0.call(Stack::raw_recv_error)
    }

    /// The pending error, which is then no longer pending.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.0.call(Stack::raw_take_error)?;
        Ok(taken.map(io::Error::from))
    }

    /// This side's address; unspecified if the route decides.
    pub fn local_addr(&self) -> io::Result<IpAddr> {
        self.0.ask(Stack::raw_local_addr)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<IpAddr> {
        self.0.ask(Stack::raw_peer_addr)
    }

    /// The socket's IP protocol.
    pub fn protocol(&self) -> io::Result<u8> {
        self.0.ask(Stack::raw_protocol)
    }

    /// The largest datagram that reaches the connected peer in one piece, IP header included, in bytes, as far as it
    /// is known.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn path_mtu(&self) -> io::Result<usize> {
        self.0.ask(Stack::raw_path_mtu)
    }

    /// The socket's options.
    pub fn options(&self) -> io::Result<RawOptions> {
        self.0.ask(Stack::raw_options)
    }

    /// Changes the socket's options.
    ///
    /// # Errors
    /// `InvalidInput` for options that its family or protocol doesn't know, or a time to live of 0.
    pub fn set_options(&self, options: RawOptions) -> io::Result<()> {
        self.0.call(|stack, id| stack.raw_set_options(id, options))
    }

    /// Sets the time to live (hop limit) of what is sent.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.set_options(RawOptions { ttl, ..self.options()? })
    }

    ways_to_wait!();
}

impl fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RawSocket");
        if let (Ok(addr), Ok(protocol)) = (self.local_addr(), self.protocol()) {
            debug.field("addr", &addr).field("protocol", &protocol);
        }
        debug.field("id", &self.0.id()).finish()
    }
}
