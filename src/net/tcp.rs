//! TCP sockets that block.

mod lending;

use std::fmt;
use std::io::{self, Read, Write};
use std::iter::FusedIterator;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::modes::{self, Modes};
use super::{BindOptions, KeepAlive, Net, SocketOptions, TcpInfo, each_address};
use crate::proto::tcp::closing::State;
use crate::proto::{Error, ListenerId, Owner, SocketId, TcpId, stack};
use crate::runtime::{Patience, Shard, Side};
use crate::time::Instant;

/// A socket that listens for connections: [`std::net::TcpListener`] on a [`Net`].
///
/// ```
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, _right) = MemoryDevice::pair(1500)?;
/// let net = Net::builder().device(left).addr("10.9.0.2/24").start()?;
/// let listener = TcpListener::bind(&net, "10.9.0.2:0")?;
/// let client = TcpStream::connect(&net, listener.local_addr()?)?;
/// let (server, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// assert_eq!(server.local_addr()?, client.peer_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct TcpListener(Arc<Listening>);

struct Listening {
    net: Net,
    id: ListenerId,
    modes: Modes,
}

const REUSE_ADDR: BindOptions = BindOptions { reuse_addr: true, reuse_port: false };

impl TcpListener {
    /// Listens on an address of the stack, or on all of one family (`0.0.0.0`, `[::]`; other than on Linux the
    /// latter takes no IPv4), with a backlog of 128. Port 0 takes a free one.
    ///
    /// It reuses the address, as `std`'s do on Unix: connections accepted earlier on the port, and what is left of
    /// them, are no hindrance.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` if the stack hasn't the address, `NetworkDown` if it is ending.
    pub fn bind(net: &Net, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        TcpListener::bind_with(net, addr, REUSE_ADDR)
    }

    /// Like [`bind`](Self::bind), saying who else may have the port: with [`reuse_port`](BindOptions::reuse_port),
    /// several listeners get each its share of the connections; without [`reuse_addr`](BindOptions::reuse_addr), nobody
    /// may have it, not even a connection in TIME-WAIT.
    ///
    /// ```
    /// use tunstack::net::{BindOptions, TcpListener};
    /// # use tunstack::net::Net;
    /// # let (left, _right) = tunstack::device::MemoryDevice::pair(1500)?;
    /// # let net = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    ///
    /// let share = BindOptions { reuse_addr: true, reuse_port: true };
    /// let workers = [
    ///     TcpListener::bind_with(&net, "10.9.0.1:80", share)?,
    ///     TcpListener::bind_with(&net, "10.9.0.1:80", share)?,
    /// ];
    /// assert!(TcpListener::bind(&net, "10.9.0.1:80").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_with(net: &Net, addr: impl ToSocketAddrs, options: BindOptions) -> io::Result<TcpListener> {
        each_address(addr, |addr| TcpListener::listen(net, addr, options, None))
    }

    /// Like [`bind`](Self::bind), with another backlog: up to `backlog + 1` connections wait to be accepted,
    /// as on Linux.
    pub fn bind_with_backlog(net: &Net, addr: impl ToSocketAddrs, backlog: usize) -> io::Result<TcpListener> {
        each_address(addr, |addr| TcpListener::listen(net, addr, REUSE_ADDR, Some(backlog)))
    }

    fn listen(
        net: &Net,
        addr: SocketAddr,
        options: BindOptions,
        backlog: Option<usize>,
    ) -> io::Result<TcpListener> {
        let id = net.shared().open(|shard, now| {
            let id = shard.stack.tcp_listen_with(now, addr, options, backlog, Owner::APPLICATION)?;
            shard.listeners.insert(id);
            Ok(id)
        })?;
        Ok(TcpListener(Arc::new(Listening { net: net.clone(), id, modes: Modes::default() })))
    }

    /// The address that the socket listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.net.shared().ask(|stack| stack.tcp_listener_addr(self.0.id))
    }

    /// Another handle of the same socket.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener(Arc::clone(&self.0)))
    }

    /// Waits for a connection. Any number of threads may.
    ///
    /// # Errors
    /// `WouldBlock` if the socket doesn't block, `NetworkDown` when the stack ends.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Listening { net, id, modes } = &*self.0;
        let (stream, peer) = net.shared().block_on(
            SocketId::Listener(*id),
            Side::Read,
            modes.patience(Side::Read),
            |shard, now| {
                let accepted = shard.stack.tcp_accept(now, *id)?;
                shard.handles += 1;
                Ok(accepted)
            },
        )?;
        Ok((TcpStream::new(net, stream), peer))
    }

    /// The connections, one after another, without end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Like [`incoming`](Self::incoming), owning the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    /// Whether [`accept`](Self::accept) answers `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.modes.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Sets the time to live of connections accepted from now on.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 and 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = modes::ttl(ttl)?;
        self.change(|options| options.ttl = ttl)
    }

    /// The time to live of connections accepted from now on.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.options()?.ttl.into())
    }

    /// The options that connections accepted from now on start with.
    pub fn options(&self) -> io::Result<SocketOptions> {
        self.0.net.shared().ask(|stack| stack.tcp_listener_options(self.0.id))
    }

    /// Sets the options that connections accepted from now on start with.
    ///
    /// # Errors
    /// As [`TcpStream::set_options`].
    pub fn set_options(&self, options: SocketOptions) -> io::Result<()> {
        self.change(|current| *current = options)
    }

    fn change(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        self.0.net.shared().call(|shard, _| {
            let mut options = shard.stack.tcp_listener_options(self.0.id)?;
            change(&mut options);
            modes::check(&options)?;
            shard.stack.tcp_set_listener_options(self.0.id, options)
        })
    }

    /// The pending error; a listener has none.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.local_addr().map(|_| None)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("id", &self.0.id).finish()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            shard.listeners.remove(&self.id);
            shard.stack.tcp_close_listener(now, self.id);
            Ok(())
        });
    }
}

/// Connections of a [`TcpListener`], one after another: see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

/// Connections of a [`TcpListener`], one after another: see [`TcpListener::into_incoming`].
#[derive(Debug)]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for IntoIncoming {}

/// A TCP connection: [`std::net::TcpStream`] on a [`Net`].
///
/// Dropping the last handle closes the connection as `std` does: what was written and the FIN still go, in
/// the background; unread data makes it a reset. See [`set_linger`](Self::set_linger) for other ways.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let (left, right) = MemoryDevice::pair(1500)?;
/// # let net = Net::builder().device(left).addr("10.9.0.1/24").start()?;
/// # let there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
/// let listener = TcpListener::bind(&there, "10.9.0.2:7")?;
/// let mut stream = TcpStream::connect(&net, "10.9.0.2:7")?;
/// let (mut server, _) = listener.accept()?;
///
/// server.write_all(b"greetings")?;
/// let mut buffer = [0; 9];
/// stream.read_exact(&mut buffer)?;
/// assert_eq!(&buffer, b"greetings");
///
/// stream.set_read_timeout(Some(Duration::from_millis(10)))?;
/// assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// assert_eq!(stream.tcp_info()?.bytes_received, 9);
/// # Ok(())
/// # }
/// ```
pub struct TcpStream(Arc<Connected>);

struct Connected {
    net: Net,
    id: TcpId,
    modes: Modes,
    /// An error that came after part of a write had been taken; told by the next call.
    deferred: Mutex<Option<Error>>,
}

/// Opening.
impl TcpStream {
    fn new(net: &Net, id: TcpId) -> Self {
        let (modes, deferred) = (Modes::default(), Mutex::new(None));
        TcpStream(Arc::new(Connected { net: net.clone(), id, modes, deferred }))
    }

    /// Opens a connection.
    ///
    /// Host names are resolved by the host's resolver, not through the stack.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `HostUnreachable`, `NetworkUnreachable`, as the attempt ended;
    /// `AddrNotAvailable` if no port is left; `NetworkDown` if the stack is ending.
    pub fn connect(net: &Net, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_address(addr, |addr| TcpStream::open(net, None, addr, None, Patience::Forever))
    }

    /// Like [`connect`](Self::connect), waiting for `timeout` at most.
    ///
    /// # Errors
    /// Also `TimedOut` when the time is over, and `InvalidInput` for a time of zero.
    pub fn connect_timeout(net: &Net, addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        TcpStream::open(net, None, *addr, None, Patience::For(timeout))
    }

    /// Like [`connect`](Self::connect), from a given address (port 0 for any) and with options that hold from
    /// the first SYN on.
    ///
    /// # Errors
    /// Also `AddrInUse`, `AddrNotAvailable` for a local address that isn't the stack's, and `InvalidInput` if
    /// the two addresses are of different families or an option is impossible (see
    /// [`set_options`](Self::set_options)).
    pub fn connect_with(
        net: &Net,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> io::Result<TcpStream> {
        TcpStream::open(net, local, remote, Some(options), Patience::Forever)
    }

    fn open(
        net: &Net,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        patience: Patience,
    ) -> io::Result<TcpStream> {
        let id = net.shared().open(|shard, now| {
            options.as_ref().map_or(Ok(()), modes::check)?;
            let id = shard.stack.tcp_connect(now, local, remote, options, Owner::APPLICATION)?;
            shard.handles += 1;
            Ok(id)
        })?;
        // From here on a failure drops the stream, and with it the attempt.
        let stream = TcpStream::new(net, id);
        let wait =
            stream.block_on(Side::Write, patience, |shard, _| match shard.stack.tcp_connect_result(id) {
                Err(Error::InProgress) => Err(Error::WouldBlock),
                result => result,
            });
        match wait {
            Ok(()) => Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))
            }
            Err(error) => Err(error),
        }
    }
}

/// Reading, writing, closing.
impl TcpStream {
    /// Reads without taking: the next read returns the same bytes.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(|shard, now| shard.stack.tcp_peek(now, self.0.id, buffer))
    }

    /// Closes one or both directions. Blocked readers return.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => stack::Shutdown::Read,
            Shutdown::Write => stack::Shutdown::Write,
            Shutdown::Both => stack::Shutdown::Both,
        };
        let shared = self.0.net.shared();
        let result = shared.call(|shard, now| shard.stack.tcp_shutdown(now, self.0.id, how));
        shared.wake_socket(SocketId::Tcp(self.0.id));
        result
    }

    /// Another handle of the same connection: they share its options, time-outs and mode.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream(Arc::clone(&self.0)))
    }

    /// Writes, and marks the last byte as urgent (RFC 9293 section 3.8.5). For old protocols only: RFC 6093
    /// says why. The receiver finds the mark in [`TcpInfo::urgent_unread`].
    pub fn send_urgent(&self, data: &[u8]) -> io::Result<usize> {
        self.send(data.len(), |shard, now, written| {
            shard.stack.tcp_write_urgent(now, self.0.id, &data[written..])
        })
    }

    fn receive(&self, verb: impl FnMut(&mut Shard, Instant) -> Result<usize, Error>) -> io::Result<usize> {
        self.tell_deferred()?;
        self.block_on(Side::Read, self.0.modes.patience(Side::Read), verb)
    }

    /// Writes `len` bytes, all of them, as a blocking write to a kernel socket does; less only if the time is over or the
    /// connection fails on the way, or if the socket doesn't block. `write` is told how many were written before.
    fn send(
        &self,
        len: usize,
        mut write: impl FnMut(&mut Shard, Instant, usize) -> Result<usize, Error>,
    ) -> io::Result<usize> {
        self.tell_deferred()?;
        let mut written = 0;
        let result = self.block_on(Side::Write, self.0.modes.patience(Side::Write), |shard, now| {
            loop {
                written += write(shard, now, written)?;
                if written == len {
                    return Ok(());
                }
            }
        });
        match result {
            Err(error) if written == 0 => Err(error),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.defer(&error);
                Ok(written)
            }
            Ok(()) | Err(_) => Ok(written),
        }
    }

    /// The core tells an error once, and a write that was taken in part can't return it.
    fn defer(&self, error: &io::Error) {
        let told = match error.kind() {
            io::ErrorKind::ConnectionReset => Error::ConnectionReset,
            io::ErrorKind::ConnectionAborted => Error::ConnectionAborted,
            io::ErrorKind::TimedOut => Error::TimedOut,
            io::ErrorKind::HostUnreachable => Error::HostUnreachable,
            io::ErrorKind::NetworkUnreachable => Error::NetworkUnreachable,
            io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            // Told by every later write all the same.
            _ => return,
        };
        *self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    fn tell_deferred(&self) -> io::Result<()> {
        match self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn block_on<T>(
        &self,
        side: Side,
        patience: Patience,
        verb: impl FnMut(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        self.0.net.shared().block_on(SocketId::Tcp(self.0.id), side, patience, verb)
    }
}

/// Addresses, options, inner life.
impl TcpStream {
    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.net.shared().ask(|stack| stack.tcp_peer_addr(self.0.id))
    }

    /// This side's address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.net.shared().ask(|stack| stack.tcp_local_addr(self.0.id))
    }

    /// Whether reading and writing answer `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.modes.set_nonblocking(nonblocking);
        Ok(())
    }

    /// How long a read waits; `None` for ever. When the time is over, it answers `WouldBlock`.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.modes.set_timeout(Side::Read, timeout)
    }

    /// How long a read waits.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.modes.timeout(Side::Read))
    }

    /// How long a write waits for room; `None` for ever. When the time is over, it answers how much was
    /// taken, or `WouldBlock` if nothing was.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.modes.set_timeout(Side::Write, timeout)
    }

    /// How long a write waits for room.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.0.modes.timeout(Side::Write))
    }

    /// Whether small segments go at once, without waiting for acknowledgements (Nagle's algorithm off).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.change(|options| options.nodelay = nodelay)
    }

    /// Whether small segments go at once.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.options()?.nodelay)
    }

    /// Has writes wait while so many bytes wait to be sent (Linux's `TCP_NOTSENT_LOWAT`), or, with `None`, only while the send
    /// buffer is full. Who decides late what to say next, or has much to say to many, wants little to wait.
    pub fn set_notsent_lowat(&self, bytes: Option<u32>) -> io::Result<()> {
        self.change(|options| options.notsent_lowat = bytes)
    }

    /// How many bytes may wait to be sent.
    pub fn notsent_lowat(&self) -> io::Result<Option<u32>> {
        Ok(self.options()?.notsent_lowat)
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

    /// Sets the type of service (traffic class) of what is sent; the two ECN bits are the stack's own.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        self.change(|options| options.tos = tos)
    }

    /// The type of service (traffic class) of what is sent.
    pub fn tos(&self) -> io::Result<u8> {
        Ok(self.options()?.tos)
    }

    /// What dropping the last handle does: `None` sends what is queued in the background, zero resets the
    /// connection at once, a longer time waits until the peer has acknowledged everything, for so long at
    /// most.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.change(|options| options.linger = linger)
    }

    /// What dropping the last handle does.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(self.options()?.linger)
    }

    /// Probes a peer that has been silent, and gives the connection up if it stays so; `None` doesn't (RFC 9293
    /// section 3.8.4).
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero or no probes at all.
    pub fn set_keepalive(&self, keepalive: Option<KeepAlive>) -> io::Result<()> {
        self.change(|options| options.keepalive = keepalive)
    }

    /// How a silent peer is probed.
    pub fn keepalive(&self) -> io::Result<Option<KeepAlive>> {
        Ok(self.options()?.keepalive)
    }

    /// Gives the connection up when sent data stays unacknowledged for so long (`TCP_USER_TIMEOUT`); `None`
    /// leaves it to R2.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.change(|options| options.user_timeout = timeout)
    }

    /// When the connection is given up for want of acknowledgements.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.options()?.user_timeout)
    }

    /// Sets RFC 9293's R1, how many retransmissions of a segment are a sign of trouble, and R2, after how long
    /// without acknowledgement the connection is given up.
    ///
    /// # Errors
    /// `InvalidInput` for an `r2` of zero.
    pub fn set_retransmit_limits(&self, r1: u32, r2: Duration) -> io::Result<()> {
        self.change(|options| (options.r1_retransmits, options.r2) = (r1, r2))
    }

    /// All options of the connection.
    pub fn options(&self) -> io::Result<SocketOptions> {
        self.0.net.shared().ask(|stack| stack.tcp_options(self.0.id))
    }

    /// Sets all options of the connection.
    ///
    /// # Errors
    /// `InvalidInput`, and nothing is set, for a time to live, R2, user time-out or keep-alive time of zero, and for
    /// keep-alive without probes. (A linger time of zero has a meaning: see [`set_linger`](Self::set_linger).)
    pub fn set_options(&self, options: SocketOptions) -> io::Result<()> {
        self.change(|current| *current = options)
    }

    /// The pending error, which is then no longer pending.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        if let Err(deferred) = self.tell_deferred() {
            return Ok(Some(deferred));
        }
        let taken = self.0.net.shared().call(|shard, _| shard.stack.tcp_take_error(self.0.id))?;
        Ok(taken.map(io::Error::from))
    }

    /// The connection's inner life, as it stands now.
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        self.0.net.shared().ask(|stack| stack.tcp_info(self.0.id))
    }

    fn change(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        self.0.net.shared().call(|shard, now| {
            let mut options = shard.stack.tcp_options(self.0.id)?;
            change(&mut options);
            modes::check(&options)?;
            shard.stack.tcp_set_options(now, self.0.id, options)
        })
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(|shard, now| shard.stack.tcp_read(now, self.0.id, buffer))
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data.len(), |shard, now, written| shard.stack.tcp_write(now, self.0.id, &data[written..]))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("id", &self.0.id).finish()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let linger = self.net.shared().ask(|stack| stack.tcp_options(self.id));
        if let Some(linger) = linger.ok().and_then(|options| options.linger).filter(|time| !time.is_zero()) {
            self.linger(linger);
        }
        // A stack that failed has nothing left to close.
        let _ = self.net.shared().call(|shard, now| {
            shard.handles -= 1;
            shard.stack.tcp_close(now, self.id);
            Ok(())
        });
    }
}

impl Connected {
    /// Waits until all that was written, and the FIN, is acknowledged. Whatever comes of it, the close that
    /// follows is the same.
    fn linger(&self, time: Duration) {
        let shared = self.net.shared();
        let closed = shared.call(|shard, now| {
            // Unread data makes the close a reset: there is nothing to wait for.
            if shard.stack.tcp_info(self.id)?.unread > 0 {
                return Err(Error::ConnectionAborted);
            }
            shard.stack.tcp_shutdown(now, self.id, stack::Shutdown::Write)
        });
        if closed.is_err() {
            return;
        }
        let _ =
            shared.block_on(SocketId::Tcp(self.id), Side::Write, Patience::For(time), |shard, _| match shard
                .stack
                .tcp_info(self.id)?
                .state
            {
                State::FinWait2 | State::TimeWait | State::Closed => Ok(()),
                State::Listen
                | State::SynSent
                | State::SynReceived
                | State::Established
                | State::FinWait1
                | State::CloseWait
                | State::Closing
                | State::LastAck => Err(Error::WouldBlock),
            });
    }
}
