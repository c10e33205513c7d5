//! Raw sockets that block.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Net;
use super::modes::{self, Modes};
use crate::proto::raw::RawOptions;
use crate::proto::{Error, ErrorReport, Owner, RawId, Received, SendOptions, SocketId};
use crate::runtime::{Shard, Side};
use crate::time::Instant;

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
pub struct RawSocket(Arc<Bound>);

struct Bound {
    net: Net,
    id: RawId,
    modes: Modes,
}

impl RawSocket {
    /// Opens a socket on an address of the stack, or on all of one family (`0.0.0.0`, `::`), for an IP protocol.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the stack hasn't the address, `InvalidInput` for protocol 0, `NetworkDown` if the stack is
    /// ending.
    pub fn bind(net: &Net, addr: IpAddr, protocol: u8) -> io::Result<RawSocket> {
        let open = |shard: &mut Shard, now| shard.stack.raw_bind(now, addr, protocol, Owner::APPLICATION);
        let id = net.shared().open(open)?;
        Ok(RawSocket(Arc::new(Bound { net: net.clone(), id, modes: Modes::default() })))
    }

    /// Sets the peer: [`send`](Self::send) sends to it, only its datagrams are received, and ICMP errors that are
    /// final are reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` if the address is of another family.
    pub fn connect(&self, addr: IpAddr) -> io::Result<()> {
        self.0.net.shared().open(|shard, now| shard.stack.raw_connect(now, self.0.id, addr))
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
        self.block_on(Side::Read, |shard, _| shard.stack.raw_recv_msg(self.0.id, buffer))
    }

    /// Like [`recv_msg`](Self::recv_msg), leaving the datagram where it is.
    pub fn peek_msg(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.block_on(Side::Read, |shard, _| shard.stack.raw_peek_msg(self.0.id, buffer))
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
        self.block_on(Side::Write, |shard, now| shard.stack.raw_send_to(now, self.0.id, data, addr, with))
    }

    /// Takes the oldest error report, if [`RawOptions::report_errors`] is on.
    pub fn recv_error(&self) -> io::Result<Option<ErrorReport>> {
        self.0.net.shared().call(|shard, _| shard.stack.raw_recv_error(self.0.id))
    }

    /// The pending error, which is then no longer pending.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.0.net.shared().call(|shard, _| shard.stack.raw_take_error(self.0.id))?;
        Ok(taken.map(io::Error::from))
    }

    /// This side's address; unspecified if the route decides.
    pub fn local_addr(&self) -> io::Result<IpAddr> {
        self.0.net.shared().ask(|stack| stack.raw_local_addr(self.0.id))
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<IpAddr> {
        self.0.net.shared().ask(|stack| stack.raw_peer_addr(self.0.id))
    }

    /// The socket's IP protocol.
    pub fn protocol(&self) -> io::Result<u8> {
        self.0.net.shared().ask(|stack| stack.raw_protocol(self.0.id))
    }

    /// The largest datagram that reaches the connected peer in one piece, IP header included, in bytes, as far as it
    /// is known.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn path_mtu(&self) -> io::Result<usize> {
        self.0.net.shared().ask(|stack| stack.raw_path_mtu(self.0.id))
    }

    /// The socket's options.
    pub fn options(&self) -> io::Result<RawOptions> {
        self.0.net.shared().ask(|stack| stack.raw_options(self.0.id))
    }

    /// Changes the socket's options.
    ///
    /// # Errors
    /// `InvalidInput` for options that its family or protocol doesn't know, or a time to live of 0.
    pub fn set_options(&self, options: RawOptions) -> io::Result<()> {
        self.0.net.shared().call(|shard, _| shard.stack.raw_set_options(self.0.id, options))
    }

    /// Sets the time to live (hop limit) of what is sent.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.set_options(RawOptions { ttl, ..self.options()? })
    }

    /// Another handle of the same socket: they share its options, time-outs and mode.
    pub fn try_clone(&self) -> io::Result<RawSocket> {
        Ok(RawSocket(Arc::clone(&self.0)))
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

    fn block_on<T>(
        &self,
        side: Side,
        verb: impl FnMut(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let Bound { net, id, modes } = &*self.0;
        net.shared().block_on(SocketId::Raw(*id), side, modes.patience(side), verb)
    }
}

impl fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RawSocket");
        if let (Ok(addr), Ok(protocol)) = (self.local_addr(), self.protocol()) {
            debug.field("addr", &addr).field("protocol", &protocol);
        }
        debug.field("id", &self.0.id).finish()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            shard.stack.raw_close(now, self.id);
            Ok(())
        });
    }
}
