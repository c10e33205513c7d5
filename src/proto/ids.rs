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
