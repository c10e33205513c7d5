//! ICMP echo sockets that block: what `ping` is made of.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Net;
use super::modes::{self, Modes};
use crate::proto::ping::{PingError, PingOptions, PingReceived};
use crate::proto::{Error, Owner, PingId, SocketId};
use crate::runtime::{Shard, Side};
use crate::time::Instant;

/// An ICMP echo socket: sends echo requests, and receives the replies to them.
///
/// ```
/// use std::net::IpAddr;
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, PingSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, right) = MemoryDevice::pair(1500)?;
/// # let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
/// # let _there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
/// let ping = PingSocket::bind(&here, IpAddr::from([0, 0, 0, 0]))?;
/// ping.connect(IpAddr::from([10, 9, 0, 2]))?;
/// ping.send(1, b"hello")?;
///
/// let mut buffer = [0; 100];
/// let reply = ping.recv(&mut buffer)?;
/// assert_eq!((reply.seq, &buffer[..reply.len]), (1, &b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub struct PingSocket(Arc<Bound>);

struct Bound {
    net: Net,
    id: PingId,
    modes: Modes,
}

impl PingSocket {
    /// Opens a socket on an address of the stack, or on all of one family (`0.0.0.0`, `::`).
    ///
    /// # Errors
    /// `AddrNotAvailable` if the stack hasn't the address, `NetworkDown` if it is ending.
    pub fn bind(net: &Net, addr: IpAddr) -> io::Result<PingSocket> {
        let bind = |shard: &mut Shard, now| shard.stack.ping_bind(now, addr, 0, Owner::APPLICATION);
        let id = net.shared().open(bind)?;
        Ok(PingSocket(Arc::new(Bound { net: net.clone(), id, modes: Modes::default() })))
    }

    /// Sets the peer: [`send`](Self::send) sends to it, and only its replies are received.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` for the other family, `PermissionDenied` for a broadcast address.
    pub fn connect(&self, to: IpAddr) -> io::Result<()> {
        self.0.net.shared().open(|shard, now| shard.stack.ping_connect(now, self.0.id, to))
    }

    /// Sends an echo request with this number to the connected peer.
    ///
    /// # Errors
    /// EDESTADDRREQ if there is none, EMSGSIZE for too long a request, or a pending ICMP error, told once.
    pub fn send(&self, seq: u16, data: &[u8]) -> io::Result<usize> {
        self.block_on(Side::Write, |shard, now| shard.stack.ping_send_to(now, self.0.id, seq, data, None))
    }

    /// Receives a reply. What of its data doesn't fit into `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over, or a pending ICMP error, told once.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<PingReceived> {
        self.block_on(Side::Read, |shard, _| shard.stack.ping_recv(self.0.id, buffer))
    }

    /// The oldest ICMP error about a request, where [they are reported](Self::set_report_errors).
    pub fn recv_error(&self) -> io::Result<Option<PingError>> {
        self.0.net.shared().call(|shard, _| shard.stack.ping_recv_error(self.0.id))
    }

    /// How long receiving waits; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.modes.set_timeout(Side::Read, timeout)
    }

    /// Sets the time to live (hop limit) of requests.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.change(|options| options.ttl = ttl)
    }

    /// Whether requests may be sent to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.change(|options| options.broadcast = broadcast)
    }

    /// Whether every ICMP error about a request is kept for [`recv_error`](Self::recv_error).
    pub fn set_report_errors(&self, report: bool) -> io::Result<()> {
        self.change(|options| options.report_errors = report)
    }

    /// Whether requests larger than the path's MTU are refused in place of being sent in fragments.
    pub fn set_dont_fragment(&self, dont: bool) -> io::Result<()> {
        self.change(|options| options.dont_fragment = dont)
    }

    /// Another handle of the same socket: they share its options, time-outs and mode.
    pub fn try_clone(&self) -> io::Result<PingSocket> {
        Ok(PingSocket(Arc::clone(&self.0)))
    }

    fn change(&self, change: impl FnOnce(&mut PingOptions)) -> io::Result<()> {
        self.0.net.shared().call(|shard, _| {
            let mut options = shard.stack.ping_options(self.0.id)?;
            change(&mut options);
            shard.stack.ping_set_options(self.0.id, options)
        })
    }

    fn block_on<T>(
        &self,
        side: Side,
        verb: impl FnMut(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let Bound { net, id, modes } = &*self.0;
        net.shared().block_on(SocketId::Ping(*id), side, modes.patience(side), verb)
    }
}

impl fmt::Debug for PingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PingSocket").field("id", &self.0.id).finish()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            shard.stack.ping_close(now, self.id);
            Ok(())
        });
    }
}
