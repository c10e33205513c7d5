//! UDP sockets that block.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::bound::{Bound, ways_to_wait};
use super::modes;
use super::{BindOptions, Net, each_address};
use crate::proto::udp::UdpOptions;
use crate::proto::{ErrorReport, MtuDiscover, Owner, Received, SendOptions, Stack, UdpId};
use crate::runtime::Side;

/// A UDP socket: [`std::net::UdpSocket`] on a [`Net`].
///
/// ```
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, UdpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, right) = MemoryDevice::pair(1500)?;
/// # let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
/// # let there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
/// let server = UdpSocket::bind(&there, "10.9.0.2:53")?;
/// let client = UdpSocket::bind(&here, "10.9.0.1:0")?;
/// client.send_to(b"question", "10.9.0.2:53")?;
///
/// let mut buffer = [0; 100];
/// let (len, from) = server.recv_from(&mut buffer)?;
/// assert_eq!(&buffer[..len], b"question");
/// assert_eq!(from, client.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket(Arc<Bound<UdpId>>);

impl UdpSocket {
    /// Opens a socket on an address of the stack, or on all of one family (`0.0.0.0`, `[::]`; other than on Linux
    /// the latter takes no IPv4). Port 0 takes a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` if the stack hasn't the address, `NetworkDown` if it is ending.
    pub fn bind(net: &Net, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        UdpSocket::bind_with(net, addr, BindOptions::NONE)
    }

    /// Like [`bind`](Self::bind), beside other sockets that agree to share the port. What is sent to one host goes to
    /// the one bound last ([`reuse_addr`](BindOptions::reuse_addr)) or to one of all
    /// ([`reuse_port`](BindOptions::reuse_port)), broadcasts go to each.
    ///
    /// ```
    /// use tunstack::net::{BindOptions, UdpSocket};
    /// # use tunstack::net::Net;
    /// # let (left, _right) = tunstack::device::MemoryDevice::pair(1500)?;
    /// # let net = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    ///
    /// let share = BindOptions { reuse_port: true, ..BindOptions::NONE };
    /// let first = UdpSocket::bind_with(&net, "10.9.0.1:53", share)?;
    /// let second = UdpSocket::bind_with(&net, "10.9.0.1:53", share)?;
    /// assert!(UdpSocket::bind(&net, "10.9.0.1:53").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_with(net: &Net, addr: impl ToSocketAddrs, options: BindOptions) -> io::Result<UdpSocket> {
        each_address(addr, |addr| {
            let open = |stack: &mut Stack, now| stack.udp_bind_with(now, addr, options, Owner::APPLICATION);
            Ok(UdpSocket(Bound::open(net, open)?))
        })
    }

    /// Sets the peer: [`send`](Self::send) sends to it, only its datagrams are received, and ICMP errors are
    /// reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` if the address is of another family.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        each_address(addr, |addr| self.0.connect(|stack, now, id| stack.udp_connect(now, id, addr)))
    }

    /// Receives a datagram, and says from whom. What doesn't fit into `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over or the socket doesn't block; `ConnectionRefused` if the connected
    /// peer told that nobody listens.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.block_on(Side::Read, |stack, _, id| stack.udp_recv_from(id, buffer))
    }

    /// Like [`recv_from`](Self::recv_from), leaving the datagram where it is.
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.block_on(Side::Read, |stack, _, id| stack.udp_peek_from(id, buffer))
    }

    /// Sends a datagram to the first address of `addr`.
    ///
    /// # Errors
    /// `InvalidInput` for no address or port 0, EAFNOSUPPORT for an address of another family,
    /// `NetworkUnreachable`, `PermissionDenied` for a broadcast address without
    /// [`set_broadcast`](Self::set_broadcast), EMSGSIZE for too long a datagram.
    pub fn send_to(&self, data: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        let sent =
            self.0.block_on(Side::Write, |stack, now, id| stack.udp_send_to(now, id, data, Some(addr)));
        sent.map_err(|error| self.explain(error, addr))
    }

    /// Receives a datagram from the connected peer.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).map(|(len, _)| len)
    }

    /// Like [`recv`](Self::recv), leaving the datagram where it is.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.peek_from(buffer).map(|(len, _)| len)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// EDESTADDRREQ if there is none; else see [`send_to`](Self::send_to).
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.0.block_on(Side::Write, |stack, now, id| stack.udp_send_to(now, id, data, None))
    }

    /// Receives a datagram with all that is known of it: who sent it and to which address, by which device it came,
    /// hop limit, type of service with its ECN bits, and whether it was longer than `buffer`.
    ///
    /// ```
    /// use tunstack::net::{SendOptions, UdpSocket};
    /// # use tunstack::{device::MemoryDevice, net::Net};
    /// # let (left, right) = MemoryDevice::pair(1500)?;
    /// # let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    /// # let there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
    /// let server = UdpSocket::bind(&there, "0.0.0.0:53")?;
    /// let client = UdpSocket::bind(&here, "10.9.0.1:0")?;
    /// let with = SendOptions { tos: Some(0b01), ttl: Some(9), ..SendOptions::default() };
    /// client.send_msg(b"question", Some("10.9.0.2:53".parse().unwrap()), with)?;
    ///
    /// let mut buffer = [0; 4];
    /// let asked = server.recv_msg(&mut buffer)?;
    /// assert_eq!((asked.tos, asked.hop_limit, asked.len, asked.sent_len), (0b01, 9, 4, 8));
    /// // The answer comes from the address that was asked.
    /// let with = SendOptions { source: Some(asked.to), ..SendOptions::default() };
    /// server.send_msg(b"answer", Some(asked.from), with)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_msg(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0.block_on(Side::Read, |stack, _, id| stack.udp_recv_msg(id, buffer))
    }

    /// Sends a datagram to `addr` (to the connected peer if there is none) from an address of the stack, or with a time
    /// to live or type of service, of its own.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the source isn't the stack's; else see [`send_to`](Self::send_to).
    pub fn send_msg(&self, data: &[u8], addr: Option<SocketAddr>, with: SendOptions) -> io::Result<usize> {
        let sent =
            self.0.block_on(Side::Write, |stack, now, id| stack.udp_send_msg(now, id, data, addr, with));
        sent.map_err(|error| match addr {
            Some(addr) => self.explain(error, addr),
            None => error,
        })
    }

    /// Like [`send_msg`](Self::send_msg), in datagrams of `segment_size` bytes each, the last of what is left: what
    /// Linux does with UDP_SEGMENT, and QUIC asks for. All of them are on their way or none is. They cost little more
    /// than one where the device cuts super-datagrams ([`Offloads::uso`](crate::proto::Offloads::uso)).
    ///
    /// ```
    /// use tunstack::net::{SendOptions, UdpSocket};
    /// # use tunstack::{device::MemoryDevice, net::Net};
    /// # let (left, right) = MemoryDevice::pair(1500)?;
    /// # let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    /// # let there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
    /// let server = UdpSocket::bind(&there, "10.9.0.2:443")?;
    /// let client = UdpSocket::bind(&here, "10.9.0.1:0")?;
    /// client.connect("10.9.0.2:443")?;
    /// client.send_segments(b"onetwoend", 3, None, SendOptions::default())?;
    ///
    /// let mut buffer = [0; 100];
    /// for expected in [b"one", b"two", b"end"] {
    ///     let len = server.recv(&mut buffer)?;
    ///     assert_eq!(&buffer[..len], expected);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for more than 64 datagrams or a size of 0, EMSGSIZE if all together are longer than one datagram
    /// can be (65,535 bytes with its headers); else see [`send_msg`](Self::send_msg).
    pub fn send_segments(
        &self,
        data: &[u8],
        segment_size: usize,
        addr: Option<SocketAddr>,
        with: SendOptions,
    ) -> io::Result<usize> {
        let sent = self.0.block_on(Side::Write, |stack, now, id| {
            stack.udp_send_segments(now, id, data, segment_size, addr, with)
        });
        sent.map_err(|error| match addr {
            Some(addr) => self.explain(error, addr),
            None => error,
        })
    }

    /// Takes the oldest error report, if [`set_report_errors`](Self::set_report_errors) is on. It doesn't wait for one:
    /// a blocked [`recv`](Self::recv) returns with the error when there is one.
    pub fn recv_error(&self) -> io::Result<Option<ErrorReport>> {
        self.0.call(Stack::udp_recv_error)
    }

    /// The largest datagram that reaches the connected peer in one piece, IP header included, in bytes, as far as it
    /// is known (IP_MTU).
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn path_mtu(&self) -> io::Result<usize> {
        self.0.ask(Stack::udp_path_mtu)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.ask(Stack::udp_peer_addr)
    }

    /// This side's address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.ask(Stack::udp_local_addr)
    }

    ways_to_wait!();

    /// Sets the time to live (hop limit) of what is sent.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.change(|options| options.ttl = ttl)
    }

    /// The time to live (hop limit) of what is sent.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.options()?.ttl.into())
    }

    /// Sets the type of service (traffic class) of what is sent; the lower two bits are those of ECN (RFC 3168).
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        self.change(|options| options.tos = tos)
    }

    /// The type of service (traffic class) of what is sent.
    pub fn tos(&self) -> io::Result<u8> {
        Ok(self.options()?.tos)
    }

    /// Whether datagrams may be sent to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.change(|options| options.broadcast = broadcast)
    }

    /// Whether datagrams may be sent to broadcast addresses.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.options()?.broadcast)
    }

    /// What becomes of datagrams that are larger than their path's MTU (IP_MTU_DISCOVER).
    pub fn set_mtu_discover(&self, mode: MtuDiscover) -> io::Result<()> {
        self.change(|options| options.mtu_discover = mode)
    }

    /// What becomes of datagrams that are larger than their path's MTU.
    pub fn mtu_discover(&self) -> io::Result<MtuDiscover> {
        Ok(self.options()?.mtu_discover)
    }

    /// Whether every error about a datagram is kept for [`recv_error`](Self::recv_error), and makes the next call
    /// fail, even if the socket isn't connected or the error may pass (IP_RECVERR).
    pub fn set_report_errors(&self, report_errors: bool) -> io::Result<()> {
        self.change(|options| options.report_errors = report_errors)
    }

    /// Whether every error is kept.
    pub fn report_errors(&self) -> io::Result<bool> {
        Ok(self.options()?.report_errors)
    }

    /// The pending error, which is then no longer pending.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.0.call(Stack::udp_take_error)?;
        Ok(taken.map(io::Error::from))
    }

    /// To the core an address of another family is one invalid input among others; the kernel tells them apart.
    fn explain(&self, error: io::Error, to: SocketAddr) -> io::Error {
        let other_family = || self.local_addr().is_ok_and(|local| local.is_ipv4() != to.is_ipv4());
        if error.kind() == io::ErrorKind::InvalidInput && other_family() {
            return rustix::io::Errno::AFNOSUPPORT.into();
        }
        error
    }

    fn options(&self) -> io::Result<UdpOptions> {
        self.0.ask(Stack::udp_options)
    }

    fn change(&self, change: impl FnOnce(&mut UdpOptions)) -> io::Result<()> {
        self.0.call(|stack, id| {
            let mut options = stack.udp_options(id)?;
            change(&mut options);
            stack.udp_set_options(id, options)
        })
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("id", &self.0.id()).finish()
    }
}
