//! What socket verbs answer when they can't do what they were asked.

/// Why a socket verb failed. Each variant has the meaning of the errno named beside it, and `net` turns it
/// into the [`std::io::ErrorKind`](https://doc.rust-lang.org/std/io/enum.ErrorKind.html) that `std::net`
/// gives for the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EAGAIN: nothing to read, no room to write, nothing to accept; try again after the next event.
    #[error("operation would block")]
    WouldBlock,
    /// EINPROGRESS, EALREADY: the handshake is still under way.
    #[error("connection attempt in progress")]
    InProgress,
    /// ECONNREFUSED: the peer answered a SYN with RST, or ICMP said that nobody listens.
    #[error("connection refused")]
    ConnectionRefused,
    /// ECONNRESET: the peer reset the connection.
    #[error("connection reset by peer")]
    ConnectionReset,
    /// ECONNABORTED: the connection was aborted on this side.
    #[error("connection aborted")]
    ConnectionAborted,
    /// ETIMEDOUT: the peer did not answer within R2, the user time-out or keep-alive's patience.
    #[error("connection timed out")]
    TimedOut,
    /// EHOSTUNREACH.
    #[error("no route to host")]
    HostUnreachable,
    /// ENETUNREACH.
    #[error("network is unreachable")]
    NetworkUnreachable,
    /// ENOPROTOOPT as an ICMP error: the peer does not speak this protocol.
    #[error("protocol not available")]
    ProtocolUnreachable,
    /// EPROTO: a host or router could not understand the datagram's headers (ICMP's parameter problem).
    #[error("protocol error")]
    ProtocolError,
    /// EHOSTDOWN, from ICMP's "destination host unknown" (RFC 1122 section 3.2.2.1).
    #[error("host is down")]
    HostDown,
    /// ENONET, from ICMP's "source host isolated" (RFC 1122 section 3.2.2.1).
    #[error("machine is not on the network")]
    HostIsolated,
    /// EOPNOTSUPP, also from ICMP's "source route failed" (RFC 792).
    #[error("operation not supported")]
    OperationNotSupported,
    /// EADDRINUSE.
    #[error("address in use")]
    AddrInUse,
    /// EADDRNOTAVAIL: the address isn't the stack's, or no free port is left.
    #[error("address not available")]
    AddrNotAvailable,
    /// EISCONN.
    #[error("socket is already connected")]
    AlreadyConnected,
    /// ENOTCONN.
    #[error("socket is not connected")]
    NotConnected,
    /// EPIPE: written after the sending side was closed.
    #[error("broken pipe")]
    BrokenPipe,
    /// EMSGSIZE: the datagram is larger than can be sent.
    #[error("message too long")]
    MessageTooLong,
    /// ENOBUFS: a limit of [`Config`](super::Config) is reached.
    #[error("no buffer space available")]
    NoBufferSpace,
    /// EINVAL.
    #[error("invalid argument")]
    InvalidInput,
    /// EACCES: a datagram to a broadcast address without the option that allows it, or (as an ICMP error)
    /// something on the way forbids the traffic.
    #[error("permission denied")]
    PermissionDenied,
    /// EDESTADDRREQ.
    #[error("destination address required")]
    DestinationRequired,
    /// EEXIST: there is such a route already.
    #[error("already exists")]
    AlreadyExists,
    /// ENOENT: there is no such route or address.
    #[error("not found")]
    NotFound,
    /// EBADF: the handle was closed.
    #[error("no such socket")]
    NoSuchSocket,
}

/// Why nothing was moved from one connection to another ([`Stack::tcp_splice`](super::Stack::tcp_splice)): which of the two
/// can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpliceError {
    /// What a read would have answered; [`Error::WouldBlock`] if nothing has come.
    #[error("can't read: {0}")]
    Read(Error),
    /// What a write would have answered; [`Error::WouldBlock`] if there is no room.
    #[error("can't write: {0}")]
    Write(Error),
}
