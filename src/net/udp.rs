//! UDP sockets that block.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::modes::{self, Modes};
use super::{Net, each_address};
use crate::proto::udp::UdpOptions;
use crate::proto::{Error, Owner, SocketId, UdpId};
use crate::runtime::{Shard, Side};
use crate::time::Instant;

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
pub struct UdpSocket(Arc<Bound>);

struct Bound {
    net: Net,
    id: UdpId,
    modes: Modes,
}

impl UdpSocket {
    /// Opens a socket on an address of the stack, or on all of one family (`0.0.0.0`, `[::]`; other than on Linux
    /// the latter takes no IPv4). Port 0 takes a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` if the stack hasn't the address, `NetworkDown` if it is ending.
    pub fn bind(net: &Net, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_address(addr, |addr| {
            let id = net.shared().open(|shard, now| shard.stack.udp_bind(now, addr, Owner::APPLICATION))?;
            Ok(UdpSocket(Arc::new(Bound { net: net.clone(), id, modes: Modes::default() })))
        })
    }

    /// Sets the peer: [`send`](Self::send) sends to it, only its datagrams are received, and ICMP errors are
    /// reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` if the address is of another family.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        each_address(addr, |addr| {
            self.0.net.shared().open(|shard, now| shard.stack.udp_connect(now, self.0.id, addr))
        })
    }

    /// Receives a datagram, and says from whom. What doesn't fit into `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over or the socket doesn't block; `ConnectionRefused` if the connected
    /// peer told that nobody listens.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.block_on(Side::Read, |shard, _| shard.stack.udp_recv_from(self.0.id, buffer))
    }

    /// Like [`recv_from`](Self::recv_from), leaving the datagram where it is.
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.block_on(Side::Read, |shard, _| shard.stack.udp_peek_from(self.0.id, buffer))
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
        let sent = self
            .block_on(Side::Write, |shard, now| shard.stack.udp_send_to(now, self.0.id, data, Some(addr)));
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
        self.block_on(Side::Write, |shard, now| shard.stack.udp_send_to(now, self.0.id, data, None))
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.net.shared().ask(|stack| stack.udp_peer_addr(self.0.id))
    }

    /// This side's address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.net.shared().ask(|stack| stack.udp_local_addr(self.0.id))
    }

    /// Another handle of the same socket: they share its options, time-outs and mode.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket(Arc::clone(&self.0)))
    }

    /// Whether receiving and sending answer `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.modes.set_nonblocking(nonblocking);
        Ok(())
    }

    /// How long receiving waits; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.modes.set_timeout(Side::Read, timeout)
    }

    /// How long receiving waits.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.modes.timeout(Side::Read))
    }

    /// How long sending waits for room; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.modes.set_timeout(Side::Write, timeout)
    }

    /// How long sending waits for room.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.modes.timeout(Side::Write))
    }

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

    /// Sets the type of service (traffic class) of what is sent.
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

    /// The pending error, which is then no longer pending.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.0.net.shared().call(|shard, _| shard.stack.udp_take_error(self.0.id))?;
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
        self.0.net.shared().ask(|stack| stack.udp_options(self.0.id))
    }

    fn change(&self, change: impl FnOnce(&mut UdpOptions)) -> io::Result<()> {
        self.0.net.shared().call(|shard, _| {
            let mut options = shard.stack.udp_options(self.0.id)?;
            change(&mut options);
            shard.stack.udp_set_options(self.0.id, options)
        })
    }

    fn block_on<T>(
        &self,
        side: Side,
        verb: impl FnMut(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let Bound { net, id, modes } = &*self.0;
        net.shared().block_on(SocketId::Udp(*id), side, modes.patience(side), verb)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("id", &self.0.id).finish()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            shard.stack.udp_close(now, self.id);
            Ok(())
        });
    }
}
