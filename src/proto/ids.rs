//! Handles: names for what one layer owns and others only refer to. They know nothing of what they name.

slotmap::new_key_type! {
    /// Names a TCP connection (or an attempt at one). It outlives the connection: unread bytes, the pending
    /// error and [`TcpInfo`](super::tcp::TcpInfo) stay until the handle is closed.
    pub struct TcpId;

    /// Names a listening TCP socket.
    pub struct ListenerId;

    /// Names a UDP socket.
    pub struct UdpId;

    /// Names a raw socket.
    pub struct RawId;

    /// Names an ICMP echo socket.
    pub struct PingId;

    /// Names a half-open connection of a listener.
    pub(crate) struct HalfOpenId;

    /// Names an entry in TIME-WAIT.
    pub(crate) struct TimeWaitId;
}

/// Whom a timer of the stack's wheel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerKey {
    /// Something of TCP's.
    Tcp(TcpTimer),
    /// The datagram that has waited longest for its missing parts.
    Reassembly,
    /// What was learnt longest ago of a path's MTU.
    PathMtu,
}

/// What of TCP's a timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpTimer {
    /// A connection, in whatever phase: it knows which of its timers is due.
    Socket(TcpId),
    /// A half-open connection of a listener, to which something was sent again.
    HalfOpen(HalfOpenId),
    /// The half-open connection whose first answer is late first.
    SynQueue,
    /// The entry in TIME-WAIT whose wait is over first.
    TimeWait,
}
